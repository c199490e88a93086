//! Keyword arguments to the core's settings. Keys, defaults and ranges are the core's alone.

use crate::convert::{described, failed, number, one, type_name};
use crate::errors::raised;
use crate::tls::Tls;
use failsoft::{
    Builder, Cause, Coalesce, Config, ConfigError, Durability, EventKind, InvalidationRecord, KeySpec, Reason, Router,
    ServedBy, Setting, SettingKind, ShedCause, Step, unknown_key,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PyMemoryView, PySequence, PyString,
};

/// What a router is made from; `decode_responses` is Python's own.
pub(crate) struct Settings {
    pub(crate) builder: Builder,
    pub(crate) decode: bool,
    /// The addresses that it begins with, without their credentials.
    pub(crate) seeds: Vec<String>,
}

/// Reads the arguments of a router.
pub(crate) fn read(nodes: &Bound<'_, PyAny>, config: &Bound<'_, PyDict>) -> PyResult<Settings> {
    let py = nodes.py();
    let bad = |key: &str, problem: String| raised(py, &ConfigError::new(key, problem).into());
    let addresses = addresses(nodes)?.map_err(|problem| bad("nodes", problem))?;
    let seeds = addresses.iter().map(|address| bare(address)).collect();
    let mut settings = Settings { builder: Router::builder(addresses), decode: false, seeds };
    for (key, value) in config {
        // Without UTF-8 it is none of ours: it is named as far as it can be.
        let key = key.cast::<PyString>()?.to_string_lossy().into_owned();
        let not_bool = |_| bad(&key, format!("{} is not allowed; allowed: true or false", type_name(&value)));
        let not_tls = |_| bad(&key, format!("{} is not allowed; allowed: true or false, or a Tls", type_name(&value)));
        match key.as_str() {
            "decode_responses" => settings.decode = value.extract().map_err(not_bool)?,
            "tls" => {
                if let Ok(tls) = value.cast::<Tls>() {
                    settings.builder = settings.builder.tls(tls.get().tls.clone());
                } else if !value.is_none() && value.extract().map_err(not_tls)? {
                    settings.builder = settings.builder.tls(failsoft::Tls::new());
                }
            }
            _ => {
                let Some(spec) = Config::KEYS.iter().find(|spec| spec.name == key) else {
                    let known = Config::KEYS.iter().map(|spec| spec.name).chain(["tls", "decode_responses"]);
                    return Err(raised(py, &unknown_key(&key, known.map(str::to_owned).collect()).into()));
                };
                let problem = |problem| bad(&key, format!("{problem}; allowed: {}", spec.kind));
                settings.builder = settings.builder.set(&key, setting(&value, spec)?.map_err(problem)?);
            }
        }
    }
    Ok(settings)
}

/// The addresses, or what is wrong with them.
fn addresses(nodes: &Bound<'_, PyAny>) -> PyResult<Result<Vec<String>, String>> {
    let py = nodes.py();
    if let Ok(text) = nodes.cast::<PyString>() {
        return Ok(text
            .to_cow()
            .map(|text| text.split(',').map(|node| node.trim().to_owned()).collect())
            .map_err(no_utf8));
    }
    // Bytes are a list of numbers.
    let octets = nodes.is_instance_of::<PyBytes>()
        || nodes.is_instance_of::<PyByteArray>()
        || nodes.is_instance_of::<PyMemoryView>();
    if octets || nodes.getattr_opt(intern!(py, "__iter__"))?.is_none() {
        let what = type_name(nodes);
        return Ok(Err(format!("{what} is not a list of addresses; allowed: str, or an iterable of them")));
    }
    let list = py.get_type::<PyList>().call1((nodes,))?.cast_into::<PyList>()?;
    let address = |node: Bound<'_, PyAny>| match node.cast::<PyString>() {
        Ok(text) => text.to_cow().map(|text| text.into_owned()).map_err(no_utf8),
        Err(_) => Err(format!("{} is not an address; allowed: str", type_name(&node))),
    };
    Ok(list.iter().map(address).collect())
}

fn no_utf8(_: PyErr) -> String {
    "an address has a lone surrogate, which has no UTF-8".to_owned()
}

/// An address without its scheme and credentials.
fn bare(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.rsplit_once('@').map_or(rest, |(_, place)| place).to_owned()
}

/// The words of the core that types name: for each kind the list of them.
#[pyfunction]
pub(crate) fn vocabulary(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let table = PyDict::new(py);
    table.set_item("served_by", ServedBy::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    table.set_item("reason", Reason::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    table.set_item("cause", Cause::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    table.set_item("shed_cause", ShedCause::WORDS)?;
    table.set_item("step", Step::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    table.set_item("record", InvalidationRecord::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    table.set_item("durability", Durability::WORDS)?;
    table.set_item("shared", Coalesce::WORDS)?;
    table.set_item("event", EventKind::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    Ok(table)
}

/// The core's settings: for each key its default (seconds for a duration) and what is allowed.
#[pyfunction]
pub(crate) fn settings(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let table = PyDict::new(py);
    for spec in Config::KEYS {
        table.set_item(spec.name, (default(py, &spec.default)?, spec.kind.to_string()))?;
    }
    Ok(table)
}

fn default(py: Python<'_>, setting: &Setting) -> PyResult<Py<PyAny>> {
    Ok(match setting {
        Setting::Duration(duration) => PyFloat::new(py, duration.as_secs_f64()).into_any().unbind(),
        Setting::Millis(millis) => PyFloat::new(py, millis / 1000.0).into_any().unbind(),
        Setting::Integer(n) => n.into_pyobject(py)?.into_any().unbind(),
        Setting::Number(n) => PyFloat::new(py, *n).into_any().unbind(),
        Setting::Bool(b) => PyBool::new(py, *b).to_owned().into_any().unbind(),
        Setting::Text(text) => PyString::new(py, text).into_any().unbind(),
        Setting::Word(word) => PyString::new(py, word).into_any().unbind(),
        Setting::List(list) => PyList::new(py, list)?.into_any().unbind(),
        Setting::Off => py.None(),
    })
}

/// A Python value as the core takes it, or what is wrong with it; the core says whether it fits.
fn setting(value: &Bound<'_, PyAny>, spec: &KeySpec) -> PyResult<Result<Setting, String>> {
    let text_or_bool = value.is_instance_of::<PyString>() || value.is_instance_of::<PyBool>();
    if value.is_none() || text_or_bool {
        return Ok(plain(value));
    }
    Ok(match spec.kind {
        SettingKind::Duration { .. } => {
            number(value)?.map(|seconds| Setting::Millis(seconds * 1000.0)).map_err(no_setting)
        }
        SettingKind::Number { .. } => number(value)?.map(Setting::Number).map_err(no_setting),
        SettingKind::AddressMap { max } => return address_map(value, max),
        _ => plain(value),
    })
}

fn no_setting(what: String) -> String {
    format!("{what} is not a setting")
}

/// The same of what is no number, or one that has to be whole.
fn plain(value: &Bound<'_, PyAny>) -> Result<Setting, String> {
    let unusable = |_| format!("{} of that size is out of range", one(value));
    if value.is_none() {
        return Ok(Setting::Off);
    }
    if let Ok(value) = value.cast::<PyBool>() {
        return Ok(Setting::Bool(value.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(Setting::Integer(value.extract().map_err(unusable)?));
    }
    if let Ok(value) = value.cast::<PyFloat>() {
        return Ok(Setting::Number(value.value()));
    }
    if let Ok(text) = value.extract::<String>() {
        return Ok(Setting::Text(text));
    }
    Err(no_setting(described(value)))
}

/// The same of an address map: a mapping, or a sequence of pairs as texts. What it says of its length is not believed,
/// and there may be no end of it. It raises what a signal's handler raised.
fn address_map(value: &Bound<'_, PyAny>, max: usize) -> PyResult<Result<Setting, String>> {
    let map = value.cast::<PyMapping>().is_ok();
    if !map && value.cast::<PySequence>().is_err() {
        return Ok(Err(no_setting(described(value))));
    }
    match pairs(value, map, max) {
        Ok(Some(pairs)) if pairs.len() > max => Ok(Err(format!("more than {max} pairs"))),
        Ok(Some(pairs)) => Ok(Ok(Setting::List(pairs))),
        Ok(None) => Ok(Err(no_setting(format!("{} of something else than str", one(value))))),
        Err(error) => Ok(Err(failed(value, error)?)),
    }
}

/// Its pairs, at most one more than `max`; none if there is something else in it.
fn pairs(value: &Bound<'_, PyAny>, map: bool, max: usize) -> PyResult<Option<Vec<String>>> {
    let entries = if map { value.call_method0(intern!(value.py(), "items"))? } else { value.clone() };
    let mut pairs = Vec::new();
    for entry in entries.try_iter()?.take(max + 1) {
        let entry = entry?;
        let pair = if map {
            entry.extract::<(String, String)>().map(|(from, to)| format!("{from}={to}"))
        } else {
            entry.extract::<String>()
        };
        let Ok(pair) = pair else { return Ok(None) };
        pairs.push(pair);
    }
    Ok(Some(pairs))
}
