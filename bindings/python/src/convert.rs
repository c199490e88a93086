//! Keys, values and durations: from Python objects to the core's and back.

use crate::errors::invalid;
use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::time::Duration;

/// The bytes of a key or a value that a caller gave.
pub(crate) fn octets(argument: &'static str, object: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    match owned(object)? {
        Some(bytes) => Ok(bytes),
        None => {
            let problem = format!("{} is neither bytes nor str", type_name(object));
            Err(invalid(object.py(), argument, problem))
        }
    }
}

/// The bytes of a `bytes` or of a `str` as UTF-8; none for anything else.
pub(crate) fn owned(object: &Bound<'_, PyAny>) -> PyResult<Option<Bytes>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(Some(Bytes::copy_from_slice(bytes.as_bytes())));
    }
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(Some(Bytes::copy_from_slice(text.to_cow()?.as_bytes())));
    }
    Ok(None)
}

/// A value as the caller wants it: `bytes`, or `str` if it is to be decoded.
pub(crate) fn value<'py>(py: Python<'py>, value: Option<&Bytes>, decode: bool) -> PyResult<Bound<'py, PyAny>> {
    match value {
        None => Ok(py.None().into_bound(py)),
        Some(bytes) if decode => {
            let text = std::str::from_utf8(bytes);
            let text = text.map_err(|e| unicode_error(py, bytes, e))?;
            Ok(PyString::new(py, text).into_any())
        }
        Some(bytes) => Ok(PyBytes::new(py, bytes).into_any()),
    }
}

fn unicode_error(py: Python<'_>, bytes: &Bytes, error: std::str::Utf8Error) -> PyErr {
    match pyo3::exceptions::PyUnicodeDecodeError::new_utf8(py, bytes, error) {
        Ok(error) => PyErr::from_value(error.into_any()),
        Err(failed) => failed,
    }
}

/// A duration in seconds, as Python has them.
pub(crate) fn seconds(py: Python<'_>, argument: &'static str, seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(seconds) = seconds else { return Ok(None) };
    let duration = Duration::try_from_secs_f64(seconds);
    duration.map(Some).map_err(|_| invalid(py, argument, format!("{seconds} is no number of seconds from 0 up")))
}

pub(crate) fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}
