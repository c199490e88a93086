//! The core's errors as exceptions of `failsoft._errors`, and the callback's own exceptions as they are.

use crate::home::Home;
use failsoft::{Bytes, CallbackGone, Detail, DetailValue, Error, Incomplete};
use pyo3::exceptions::{PyRuntimeError, PyUnicodeDecodeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple, PyType};
use std::fmt;
use std::str::Utf8Error;

/// The exception that a callback raised, on its way through the core.
pub(crate) struct Raised {
    /// There until it is dropped.
    exception: Option<Py<PyAny>>,
    /// As it was when it came from the callback: each time it is raised again, more would be added.
    traceback: Option<Py<PyAny>>,
    home: Home,
}

impl Raised {
    pub(crate) fn new(exception: &Bound<'_, PyAny>, home: Home) -> Self {
        let traceback = exception.getattr(intern!(exception.py(), "__traceback__")).ok().map(Bound::unbind);
        Self { exception: Some(exception.clone().unbind()), traceback, home }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        for object in self.exception.take().into_iter().chain(self.traceback.take()) {
            self.home.leave(object);
        }
    }
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an exception of the callback")
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the callback raised an exception")
    }
}

impl std::error::Error for Raised {}

/// What a caller gets.
pub(crate) enum Thrown<'py> {
    /// This exception.
    Exception(Bound<'py, PyAny>),
    /// Its callback was cancelled, and so is it.
    Cancelled,
}

/// The exception for an error of the core.
pub(crate) fn thrown<'py>(py: Python<'py>, error: &Error) -> PyResult<Thrown<'py>> {
    if let Error::Fallback(inner) = error {
        if let Some(raised) = inner.downcast_ref::<Raised>()
            && let Some(exception) = &raised.exception
        {
            let exception = exception.bind(py);
            let traceback = raised.traceback.as_ref().map(|t| t.bind(py));
            exception.call_method1(intern!(py, "with_traceback"), (traceback,))?;
            return Ok(Thrown::Exception(exception.clone()));
        }
        if inner.is::<CallbackGone>() {
            return Ok(Thrown::Cancelled);
        }
    }
    let detail = error.detail().map(|Detail { name, value }| PyResult::Ok((name, detail(py, value)?)));
    made(py, error.code(), error.to_string(), detail.transpose()?).map(Thrown::Exception)
}

fn detail<'py>(py: Python<'py>, value: DetailValue<'_>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        DetailValue::Setting(word) | DetailValue::Word(word) => PyString::new(py, word).into_any(),
        DetailValue::Key(key) => PyBytes::new(py, key).into_any(),
        DetailValue::Pending(keys) => pending(py, keys)?.into_any(),
    })
}

/// A `failsoft.PendingInvalidation` for each step.
fn pending<'py>(py: Python<'py>, keys: &[Incomplete]) -> PyResult<Bound<'py, PyTuple>> {
    let class = py.import("failsoft._types")?.getattr("PendingInvalidation")?;
    let mut all = Vec::with_capacity(keys.len());
    for Incomplete { key, pending } in keys {
        let key = PyBytes::new(py, key);
        for (step, cause) in pending.steps() {
            all.push(class.call1((&key, step.as_str(), cause.as_str()))?);
        }
    }
    PyTuple::new(py, all)
}

/// The same, to be raised; `CancelledError` if the callback was cancelled.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    static CANCELLED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match thrown(py, error) {
        Ok(Thrown::Exception(exception)) => PyErr::from_value(exception),
        Ok(Thrown::Cancelled) => match CANCELLED.import(py, "asyncio", "CancelledError") {
            Ok(class) => PyErr::from_type(class.clone(), ()),
            Err(failed) => failed,
        },
        Err(failed) => failed,
    }
}

/// The exception for a bad argument, found here and not in the core.
pub(crate) fn invalid(py: Python<'_>, argument: &'static str, problem: impl Into<String>) -> PyErr {
    raised(py, &Error::InvalidArgument { argument, problem: problem.into() })
}

/// The exception for a value that should be text and is not UTF-8: Python's own, which says where, with the key.
pub(crate) fn no_text(py: Python<'_>, key: &[u8], value: &Bytes, why: Utf8Error) -> PyErr {
    let exception = || {
        let arguments = PyUnicodeDecodeError::new_utf8(py, value, why)?.getattr(intern!(py, "args"))?;
        let exception = class_of(py, "DECODE")?.call1(arguments.cast_into::<PyTuple>()?)?;
        exception.setattr(intern!(py, "key"), PyBytes::new(py, key))?;
        PyResult::Ok(exception)
    };
    exception().map_or_else(|failed| failed, PyErr::from_value)
}

fn made<'py>(
    py: Python<'py>,
    code: &str,
    message: String,
    detail: Option<(&str, Bound<'py, PyAny>)>,
) -> PyResult<Bound<'py, PyAny>> {
    let exception = class_of(py, code)?.call1((message,))?;
    if let Some((name, value)) = detail {
        exception.setattr(name, value)?;
    }
    Ok(exception)
}

fn class_of<'py>(py: Python<'py>, code: &str) -> PyResult<Bound<'py, PyAny>> {
    static BY_CODE: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let by_code = BY_CODE.get_or_try_init(py, || {
        let table = py.import("failsoft._errors")?.getattr("BY_CODE")?;
        PyResult::Ok(table.cast_into::<PyDict>()?.unbind())
    })?;
    let known = by_code.bind(py).get_item(code)?.or(by_code.bind(py).get_item("INTERNAL")?);
    known.ok_or_else(|| PyRuntimeError::new_err("no exception for errors"))
}
