//! One run of a callback, as the Python side sees it.

use crate::convert::{owned, type_name};
use crate::errors::{BadResult, Raised};
use bytes::Bytes;
use failsoft::foreign::{self, Answer, Run};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyMapping};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many there are: as long as there is none, nobody can be inside one.
static LOADS: AtomicUsize = AtomicUsize::new(0);

/// The load inside which a callback runs: the value of a context variable.
#[pyclass(frozen, module = "failsoft._failsoft")]
pub(crate) struct Parent {
    parent: foreign::Parent,
}

/// A callback to be run. Dropped without an answer, it says that its loop is gone.
#[pyclass(frozen, module = "failsoft._failsoft")]
pub(crate) struct Load {
    /// None once it is answered.
    run: Mutex<Option<Run>>,
    #[pyo3(get)]
    id: u64,
    #[pyo3(get)]
    reason: Option<&'static str>,
}

impl Load {
    pub(crate) fn new(run: Run) -> Self {
        LOADS.fetch_add(1, Ordering::Relaxed);
        Self { id: run.id(), reason: run.reason.map(|r| r.as_str()), run: Mutex::new(Some(run)) }
    }

    fn take(&self) -> Option<Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn finish(&self, answer: Result<Answer, BadResult>) {
        if let Some(run) = self.take() {
            run.finish(answer.unwrap_or_else(|bad| Answer::Failed(bad.into())));
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        LOADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The load that the running code is inside of.
pub(crate) fn inside(py: Python<'_>) -> PyResult<Option<foreign::Parent>> {
    if LOADS.load(Ordering::Relaxed) == 0 {
        return Ok(None);
    }
    let parent = variable(py)?.call_method1("get", (py.None(),))?;
    Ok(parent.cast::<Parent>().ok().map(|parent| parent.get().parent.clone()))
}

fn variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static INSIDE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = INSIDE.get_or_try_init(py, || {
        PyResult::Ok(py.import("contextvars")?.getattr("ContextVar")?.call1(("failsoft_load",))?.unbind())
    });
    Ok(made?.bind(py))
}

#[pymethods]
impl Load {
    /// The keys to load.
    fn wanted<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<_> = run.iter().flat_map(|run| &run.keys).map(|key| PyBytes::new(py, key)).collect();
        drop(run);
        PyList::new(py, keys)
    }

    /// From here on the current context is inside this load.
    fn enter(&self, py: Python<'_>) -> PyResult<()> {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = run.as_ref().map(|run| Parent { parent: run.parent().clone() });
        drop(run);
        if let Some(parent) = parent {
            variable(py)?.call_method1("set", (parent,))?;
        }
        Ok(())
    }

    /// The callback's result for one key.
    fn give(&self, result: &Bound<'_, PyAny>) -> PyResult<()> {
        let answer = if result.is_none() { Some(None) } else { owned(result)?.map(Some) };
        let bad = || BadResult(format!("{}; allowed: bytes, str or None", type_name(result)));
        self.finish(answer.map(Answer::Value).ok_or_else(bad));
        Ok(())
    }

    /// The callback's result for many keys.
    fn give_many(&self, result: &Bound<'_, PyAny>) -> PyResult<()> {
        self.finish(values(result)?.map(Answer::Values));
        Ok(())
    }

    /// The callback raised this.
    fn fail(&self, exception: &Bound<'_, PyAny>) {
        if let Some(run) = self.take() {
            run.finish(Answer::Failed(Box::new(Raised::new(exception))));
        }
    }

    /// The callback was cancelled: another caller's takes over.
    fn abandon(&self) {
        drop(self.take());
    }
}

fn values(result: &Bound<'_, PyAny>) -> PyResult<Result<HashMap<Bytes, Bytes>, BadResult>> {
    let Ok(mapping) = result.cast::<PyMapping>() else {
        return Ok(Err(BadResult(format!("{}; allowed: a mapping", type_name(result)))));
    };
    let mut values = HashMap::new();
    for item in mapping.items()? {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        let Some(key) = owned(&key)? else {
            return Ok(Err(BadResult(format!("{} as a key; allowed: bytes or str", type_name(&key)))));
        };
        if value.is_none() {
            continue;
        }
        let Some(value) = owned(&value)? else {
            return Ok(Err(BadResult(format!("{} as a value; allowed: bytes, str or None", type_name(&value)))));
        };
        values.insert(key, value);
    }
    Ok(Ok(values))
}
