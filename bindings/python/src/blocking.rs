//! A call of the router for threads: it waits without the interpreter's lock, and runs its callback itself.

use crate::caller::Callback;
use crate::errors::raised;
use crate::given::{Given, ended};
use crate::home::Home;
use crate::invoke;
use crate::load::{self, Load};
use crate::messages::Messages;
use bytes::Bytes;
use failsoft::Error;
use failsoft::foreign::{Caller, Completion, Own, Pending, Waiting};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::time::Duration;

/// How soon Ctrl-C is noticed.
const SIGNALS: Duration = Duration::from_millis(50);

/// Starts something and waits for what comes of it. `octets` are the keys, of a call for many.
pub(crate) fn wait(
    py: Python<'_>,
    octets: &[Bytes],
    callback: Option<&Callback>,
    messages: &Messages,
    start: impl FnOnce(Caller<'_>) -> Result<Pending, Error>,
) -> PyResult<Given> {
    let waiting = Waiting::default();
    let parent = load::inside(py)?;
    let pending = start(waiting.caller(parent.as_ref())).map_err(|error| raised(py, &error))?;
    let mut batch = Vec::new();
    let mut own: Option<Own> = None;
    loop {
        py.detach(|| waiting.bell().wait(Some(SIGNALS)));
        py.check_signals().and_then(|()| messages.log(py)).inspect_err(|_| pending.cancel())?;
        waiting.drain(&mut batch);
        for completion in batch.drain(..) {
            let completion = match &own {
                Some(own) => own.instead_of(completion, octets),
                None => completion,
            };
            match ended(completion) {
                Ok((_, result)) => return result.map_err(|error| raised(py, &error)),
                Err(Completion::Run(run)) => {
                    let Some(Callback { fallback, asked }) = callback else { continue };
                    // What it raises here is no failure of the load: Ctrl-C, or the thread's end.
                    let load = Bound::new(py, Load::new(run, None, Home::default()))?;
                    invoke::call(run_here(py)?, (&load, fallback, asked)).inspect_err(|_| pending.cancel())?;
                    own = load.get().own();
                }
                Err(Completion::Cancelled { .. }) => {
                    return Err(raised(py, &Error::Internal("a call was cancelled that cannot be")));
                }
                Err(_) => {}
            }
        }
    }
}

/// `failsoft._callbacks.run_here`.
fn run_here(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static RUN_HERE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    RUN_HERE.import(py, "failsoft._callbacks", "run_here")
}
