//! Ends Futures so that no signal's handler can keep who waits for one from hearing of it.
//!
//! Telling a Future's callbacks goes through `loop.call_soon`, which is Python: a handler may run and raise inside it,
//! and `asyncio` then forgets the callbacks. Here they are scheduled after all, and the exception goes on.

use crate::direct;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{PyErr, intern};

/// How often something is retried when the exception of a signal's handler kept it from being done.
const TRIES: usize = 16;

/// Repeats a step that may be done twice until it succeeds; gives the first exception.
pub(crate) fn surely(mut step: impl FnMut() -> PyResult<()>) -> PyResult<()> {
    let mut first = None;
    for _ in 0..TRIES {
        match step() {
            Ok(()) => break,
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// See the module. Of one loop.
pub(crate) struct Settle {
    event_loop: Py<PyAny>,
    /// `failsoft._callbacks.reschedule`.
    reschedule: Py<PyAny>,
    invalid_state: Py<PyAny>,
    cancelled: Py<PyAny>,
    /// Whether its `call_soon` may be Python: see `reschedule`, which can do nothing otherwise.
    interruptible: bool,
}

impl Settle {
    pub(crate) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = event_loop.py();
        let reschedule = py.import("failsoft._callbacks")?.getattr("reschedule")?.unbind();
        let invalid_state = py.import("asyncio")?.getattr("InvalidStateError")?.unbind();
        let cancelled = py.import("asyncio")?.getattr("CancelledError")?.unbind();
        let interruptible = event_loop.getattr_opt(intern!(py, "_ready"))?.is_some();
        Ok(Self { event_loop: event_loop.clone().unbind(), reschedule, invalid_state, cancelled, interruptible })
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            event_loop: self.event_loop.clone_ref(py),
            reschedule: self.reschedule.clone_ref(py),
            invalid_state: self.invalid_state.clone_ref(py),
            cancelled: self.cancelled.clone_ref(py),
            interruptible: self.interruptible,
        }
    }

    /// Whether it is this loop's.
    pub(crate) fn is_of(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.event_loop.is(event_loop)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)
    }

    pub(crate) fn result<'py>(&self, future: &Bound<'py, PyAny>, value: Bound<'py, PyAny>) -> PyResult<()> {
        self.end(future, intern!(future.py(), "set_result"), Some(&value))
    }

    /// The same of a Future that nobody knows yet: there are no callbacks to be told.
    pub(crate) fn new_result<'py>(&self, future: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>) -> PyResult<()> {
        direct::method(future, intern!(future.py(), "set_result"), Some(value)).map(drop)
    }

    pub(crate) fn cancel(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        self.end(future, intern!(future.py(), "cancel"), None)
    }

    /// A Future refuses `StopIteration`; then it gets a `RuntimeError` that names it. One whose callback was cancelled is
    /// cancelled.
    pub(crate) fn exception<'py>(&self, future: &Bound<'py, PyAny>, exception: Bound<'py, PyAny>) -> PyResult<()> {
        let py = future.py();
        // By its type: whoever asks an object for its class may run a method of its own, which may raise.
        if exception.get_type().is_subclass(self.cancelled.bind(py))? {
            return self.cancel(future);
        }
        let set = intern!(py, "set_exception");
        match self.end(future, set, Some(&exception)) {
            Err(e) if e.is_instance_of::<PyTypeError>(py) => {
                let error = PyRuntimeError::new_err("the callback raised StopIteration");
                error.set_cause(py, Some(PyErr::from_value(exception)));
                self.end(future, set, Some(error.into_value(py).bind(py)))
            }
            other => other,
        }
    }

    fn end<'py>(
        &self,
        future: &Bound<'py, PyAny>,
        how: &Bound<'py, PyString>,
        argument: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let py = future.py();
        let told = if self.interruptible { Some(future.getattr(intern!(py, "_callbacks"))?) } else { None };
        let Err(error) = direct::method(future, how, argument) else { return Ok(()) };
        if error.is_instance(py, self.invalid_state.bind(py)) {
            // It was cancelled: nobody wants to know.
            return Ok(());
        }
        if let Some(told) = told
            && future.call_method0(intern!(py, "done"))?.is_truthy()?
        {
            let again = || self.reschedule.call1(py, (&self.event_loop, future, &told)).map(drop);
            // The exception that came first is the one that goes on.
            let _ = surely(again);
        }
        Err(error)
    }
}
