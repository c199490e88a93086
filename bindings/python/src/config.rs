//! Keyword arguments to the core's settings. Keys, defaults and ranges are the core's alone.

use crate::convert::{described, number, one, type_name};
use crate::errors::raised;
use crate::tls::Tls;
use failsoft::{
    Builder, Cause, Config, ConfigError, EventKind, KeySpec, Reason, Router, ServedBy, Setting, SettingKind,
    unknown_key,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};

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
    if nodes.getattr_opt(intern!(py, "__iter__"))?.is_none() || nodes.is_instance_of::<PyBytes>() {
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
        Setting::List(list) => PyList::new(py, list)?.into_any().unbind(),
        Setting::Off => py.None(),
    })
}

/// A Python value as the core takes it, or what is wrong with it; the core says whether it fits.
fn setting(value: &Bound<'_, PyAny>, spec: &KeySpec) -> PyResult<Result<Setting, String>> {
    let text_or_bool = value.is_instance_of::<PyString>() || value.is_instance_of::<PyBool>();
    if value.is_none() || text_or_bool {
        return Ok(plain(value, spec));
    }
    Ok(match spec.kind {
        SettingKind::Duration { .. } => {
            number(value)?.map(|seconds| Setting::Millis(seconds * 1000.0)).map_err(no_setting)
        }
        SettingKind::Number { .. } => number(value)?.map(Setting::Number).map_err(no_setting),
        _ => plain(value, spec),
    })
}

fn no_setting(what: String) -> String {
    format!("{what} is not a setting")
}

/// The same of what is no number, or one that has to be whole.
fn plain(value: &Bound<'_, PyAny>, spec: &KeySpec) -> Result<Setting, String> {
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
    if let (Ok(map), SettingKind::AddressMap { .. }) = (value.cast::<PyDict>(), spec.kind) {
        let pairs =
            map.iter().map(|(from, to)| Ok(format!("{}={}", from.extract::<String>()?, to.extract::<String>()?)));
        return pairs
            .collect::<PyResult<_>>()
            .map(Setting::List)
            .map_err(|_| "a dict of something else than str is not a setting".to_owned());
    }
    if let Ok(list) = value.extract::<Vec<String>>() {
        return Ok(Setting::List(list));
    }
    Err(no_setting(described(value)))
}
