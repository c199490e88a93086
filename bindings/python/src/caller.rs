//! What a call brings with it, checked: its keys, the callbacks, the options.

use crate::convert::{octets, seconds, type_name, unchanging};
use crate::errors::invalid;
use bytes::Bytes;
use failsoft::MAX_KEYS;
use failsoft::foreign::{ReadOptions, Run};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMemoryView, PyString};

/// What runs when a callback of a call is needed.
pub(crate) struct Callback {
    fallback: Py<PyAny>,
    recompute: Option<Py<PyAny>>,
    /// The key or the keys, as they were given.
    pub(crate) asked: Py<PyAny>,
    /// The keys, of a call for many.
    pub(crate) keys: Vec<Bytes>,
}

impl Callback {
    /// Both have to be [`callable`].
    pub(crate) fn of_key(
        fallback: &Bound<'_, PyAny>,
        recompute: Option<&Bound<'_, PyAny>>,
        key: &Bound<'_, PyAny>,
        octets: &[u8],
    ) -> Self {
        Self {
            fallback: fallback.clone().unbind(),
            recompute: recompute.map(|recompute| recompute.clone().unbind()),
            asked: unchanging(key, octets).unbind(),
            keys: Vec::new(),
        }
    }

    pub(crate) fn of_keys(
        fallback: &Bound<'_, PyAny>,
        given: Vec<Bound<'_, PyAny>>,
        keys: Vec<Bytes>,
    ) -> PyResult<Self> {
        callable("fallback", fallback)?;
        let asked = PyList::new(fallback.py(), given)?.into_any().unbind();
        Ok(Self { fallback: fallback.clone().unbind(), recompute: None, asked, keys })
    }

    /// The one that a run is to call.
    pub(crate) fn of_run(&self, run: &Run) -> &Py<PyAny> {
        self.recompute.as_ref().filter(|_| run.recompute).unwrap_or(&self.fallback)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.fallback)?;
        visit.call(&self.recompute)?;
        visit.call(&self.asked)
    }
}

pub(crate) fn options(
    ttl: Option<&Bound<'_, PyAny>>,
    deadline: Option<&Bound<'_, PyAny>>,
    staleness_budget: Option<&Bound<'_, PyAny>>,
    recompute: bool,
) -> PyResult<ReadOptions> {
    Ok(ReadOptions {
        ttl: seconds("ttl", ttl)?,
        deadline: seconds("deadline", deadline)?,
        staleness_budget: seconds("staleness_budget", staleness_budget)?,
        recompute,
    })
}

/// Refuses what cannot be called.
pub(crate) fn callable(argument: &'static str, callback: &Bound<'_, PyAny>) -> PyResult<()> {
    if callback.is_callable() {
        return Ok(());
    }
    Err(invalid(callback.py(), argument, format!("{} cannot be called", type_name(callback))))
}

/// The keys of a call, and each as its callback is given it.
pub(crate) fn keys<'py>(given: &Bound<'py, PyAny>) -> PyResult<(Vec<Bytes>, Vec<Bound<'py, PyAny>>)> {
    let mut all = (Vec::new(), Vec::new());
    let py = given.py();
    let refused = || invalid(py, "keys", format!("{}; allowed: an iterable of keys", type_name(given)));
    // A single key would be taken apart into its characters.
    let one = given.is_instance_of::<PyString>()
        || given.is_instance_of::<PyBytes>()
        || given.is_instance_of::<PyByteArray>()
        || given.is_instance_of::<PyMemoryView>();
    if one {
        return Err(refused());
    }
    if given.getattr_opt(intern!(py, "__iter__"))?.is_none() && given.getattr_opt(intern!(py, "__getitem__"))?.is_none()
    {
        return Err(refused());
    }
    for key in given.try_iter()? {
        let key = key?;
        // Here, and not by the core alone: an iterable may have no end.
        if all.0.len() == MAX_KEYS {
            return Err(invalid(py, "keys", format!("more than {MAX_KEYS} keys in one call")));
        }
        let octets = octets("keys", &key)?;
        all.1.push(unchanging(&key, &octets));
        all.0.push(octets);
    }
    Ok(all)
}
