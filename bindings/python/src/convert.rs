//! Keys, values and durations: from Python objects to the core's and back.

use crate::errors::{invalid, no_text};
use bytes::Bytes;
use failsoft::foreign::Key;
use pyo3::exceptions::{PyException, PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyMemoryView, PyString, PyTuple};
use std::borrow::Cow;
use std::time::Duration;

/// What has bytes.
pub(crate) const OCTETS: &str = "bytes, str, bytearray or memoryview";

/// The bytes of a key or a value that a caller gave.
pub(crate) fn octets(argument: &'static str, object: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    owned(object)?.map_err(|problem| refused(argument, object, &problem))
}

/// The same of all keys of a call that takes them one by one.
pub(crate) fn all_octets(keys: &Bound<'_, PyTuple>) -> PyResult<Vec<Bytes>> {
    keys.iter().map(|key| octets("keys", &key)).collect()
}

/// The key of a read of one.
pub(crate) fn key(object: &Bound<'_, PyAny>) -> PyResult<Key> {
    match seen(object)? {
        Ok(octets) => Ok(Key::from(&*octets)),
        Err(problem) => Err(refused("key", object, &problem)),
    }
}

fn refused(argument: &'static str, object: &Bound<'_, PyAny>, problem: &str) -> PyErr {
    invalid(object.py(), argument, format!("{problem}; allowed: {OCTETS}"))
}

/// The bytes of a `bytes`, a `bytearray`, a `memoryview` or of a `str` as UTF-8; for anything else what is wrong with
/// it. It raises what a signal's handler raised.
pub(crate) fn owned(object: &Bound<'_, PyAny>) -> PyResult<Result<Bytes, String>> {
    let octets = seen(object)?;
    Ok(octets.map(|octets| match octets {
        Cow::Borrowed(octets) => Bytes::copy_from_slice(octets),
        Cow::Owned(octets) => octets.into(),
    }))
}

/// The same without a copy, if the object's bytes never change.
fn seen<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<Result<Cow<'a, [u8]>, String>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(Ok(Cow::Borrowed(bytes.as_bytes())));
    }
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(match text.to_cow() {
            Ok(Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
            Ok(Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
            Err(_) => Err(described(object)),
        });
    }
    if let Ok(array) = object.cast::<PyByteArray>() {
        return Ok(Ok(Cow::Owned(array.to_vec())));
    }
    if object.is_instance_of::<PyMemoryView>() {
        return match object.call_method0("tobytes") {
            Ok(bytes) => Ok(Ok(Cow::Owned(bytes.cast::<PyBytes>()?.as_bytes().to_vec()))),
            Err(error) => Ok(Err(failed(object, error)?)),
        };
    }
    Ok(Err(type_name(object)))
}

/// An object as it is given to a callback: a copy if its owner may change it in the meantime.
pub(crate) fn unchanging<'py>(object: &Bound<'py, PyAny>, octets: &[u8]) -> Bound<'py, PyAny> {
    if object.is_instance_of::<PyByteArray>() || object.is_instance_of::<PyMemoryView>() {
        return PyBytes::new(object.py(), octets).into_any();
    }
    object.clone()
}

/// What to say of an object that raised while it was read. Anything but an ordinary exception goes on.
pub(crate) fn failed(object: &Bound<'_, PyAny>, error: PyErr) -> PyResult<String> {
    let py = object.py();
    if !error.is_instance_of::<PyException>(py) {
        return Err(error);
    }
    Ok(format!("{} that cannot be read: {error}", one(object)))
}

/// A value as the caller wants it: `bytes`, or `str` if `text_of`, its key, is given; the error names that key.
pub(crate) fn value<'py>(
    py: Python<'py>,
    value: Option<&Bytes>,
    text_of: Option<&[u8]>,
) -> PyResult<Bound<'py, PyAny>> {
    let Some(bytes) = value else { return Ok(py.None().into_bound(py)) };
    let Some(key) = text_of else { return Ok(PyBytes::new(py, bytes).into_any()) };
    let text = std::str::from_utf8(bytes).map_err(|why| no_text(py, key, bytes, why))?;
    Ok(PyString::new(py, text).into_any())
}

/// A duration in seconds, as Python has them: any number, but for a bool, which is a mistake.
pub(crate) fn seconds(argument: &'static str, given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
    let Some(given) = given else { return Ok(None) };
    let py = given.py();
    let seconds = number(given)?.map_err(|what| no_seconds(py, argument, what))?;
    duration(py, argument, seconds).map(Some)
}

/// Whatever Python takes for a number, `Decimal` and `Fraction` too, but for a bool; for anything else what is wrong
/// with it. It raises what a signal's handler raised.
pub(crate) fn number(given: &Bound<'_, PyAny>) -> PyResult<Result<f64, String>> {
    let py = given.py();
    if given.is_instance_of::<PyBool>() {
        return Ok(Err(type_name(given)));
    }
    match given.extract() {
        Ok(number) => Ok(Ok(number)),
        Err(error) if error.is_instance_of::<PyTypeError>(py) => Ok(Err(type_name(given))),
        Err(error) if error.is_instance_of::<PyOverflowError>(py) => Ok(Err(format!("{} out of range", one(given)))),
        Err(error) if error.is_instance_of::<PyException>(py) => {
            Ok(Err(format!("{} that cannot be read ({error})", one(given))))
        }
        Err(error) => Err(error),
    }
}

/// The same of a number.
pub(crate) fn duration(py: Python<'_>, argument: &'static str, seconds: f64) -> PyResult<Duration> {
    // `Debug` writes no more digits than it takes.
    Duration::try_from_secs_f64(seconds).map_err(|_| no_seconds(py, argument, format!("{seconds:?}")))
}

fn no_seconds(py: Python<'_>, argument: &'static str, what: String) -> PyErr {
    let range = match argument {
        "ttl" => "1 ms to 36,500 days",
        "hold" => "1 ms to 1 h",
        _ => "from 0 to less than 2^64",
    };
    invalid(py, argument, format!("{what}; allowed: a number of seconds, {range}"))
}

pub(crate) fn type_name(object: &Bound<'_, PyAny>) -> String {
    let name = object.get_type().name().map(|name| name.to_string()).ok();
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "object of a class without a name".to_owned())
}

/// The name of its type with an article.
pub(crate) fn one(object: &Bound<'_, PyAny>) -> String {
    let name = type_name(object);
    let article = if name.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
    format!("{article} {name}")
}

/// What is wrong with an object that is refused: text that has no UTF-8, or its type.
pub(crate) fn described(object: &Bound<'_, PyAny>) -> String {
    if object.is_instance_of::<PyString>() {
        return format!("{} with a lone surrogate, which has no UTF-8", one(object));
    }
    type_name(object)
}
