//! What a call brings with it beside its key, checked: the fallback, the options, the load it is made in.

use crate::convert::{octets, seconds, type_name};
use crate::errors::invalid;
use bytes::Bytes;
use failsoft::foreign::ReadOptions;
use pyo3::prelude::*;

/// The arguments of a read of one key.
pub(crate) struct Asked<'a, 'py> {
    pub(crate) key: &'a Bound<'py, PyAny>,
    pub(crate) octets: Bytes,
    pub(crate) fallback: Option<&'a Bound<'py, PyAny>>,
    pub(crate) options: ReadOptions,
}

impl<'a, 'py> Asked<'a, 'py> {
    pub(crate) fn new(
        key: &'a Bound<'py, PyAny>,
        fallback: Option<&'a Bound<'py, PyAny>>,
        ttl: Option<f64>,
        deadline: Option<f64>,
    ) -> PyResult<Self> {
        let py = key.py();
        if let Some(fallback) = fallback {
            callable(fallback)?;
        }
        let options = ReadOptions { ttl: seconds(py, "ttl", ttl)?, deadline: seconds(py, "deadline", deadline)? };
        Ok(Self { key, octets: octets("key", key)?, fallback, options })
    }
}

pub(crate) fn callable(fallback: &Bound<'_, PyAny>) -> PyResult<()> {
    if fallback.is_callable() {
        return Ok(());
    }
    Err(invalid(fallback.py(), "fallback", format!("{} cannot be called", type_name(fallback))))
}

/// The keys of a call, and a list of them as they were given.
pub(crate) fn keys(given: &Bound<'_, PyAny>) -> PyResult<(Vec<Bytes>, Vec<Py<PyAny>>)> {
    let mut all = (Vec::new(), Vec::new());
    for key in given.try_iter()? {
        let key = key?;
        all.0.push(octets("keys", &key)?);
        all.1.push(key.unbind());
    }
    Ok(all)
}
