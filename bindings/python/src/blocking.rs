//! A call of the router for threads: it waits without the interpreter's lock, and runs its callback itself.

use crate::caller::Callback;
use crate::errors::raised;
use crate::given::{Given, ended};
use crate::home::Home;
use crate::load::{self, Load};
use crate::messages::Messages;
use crate::running::Running;
use failsoft::Error;
use failsoft::foreign::{Caller, Completion, Own, Pending, Waiting, forks};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::time::Duration;

/// How soon Ctrl-C is noticed.
const SIGNALS: Duration = Duration::from_millis(50);

/// Starts something and waits for what comes of it.
pub(crate) fn wait(
    py: Python<'_>,
    callback: Option<&Callback>,
    messages: &Messages,
    start: impl FnOnce(Caller<'_>) -> Result<Pending, Error>,
) -> PyResult<Given> {
    let process = forks();
    let waiting = Waiting::default();
    let parent = load::inside(py)?;
    let pending = start(waiting.caller(parent.as_ref())).map_err(|error| raised(py, &error))?;
    let mut own: Option<Own> = None;
    let mut first = None;
    loop {
        py.detach(|| waiting.bell().wait(Some(SIGNALS)));
        let told = py.check_signals().and_then(|()| if forks() == process { messages.log(py) } else { Ok(()) });
        if forks() != process {
            return forked(py, told, (waiting, pending));
        }
        told.inspect_err(|_| pending.cancel())?;
        let mut batch = Vec::new();
        waiting.drain(&mut batch);
        let mut batch = batch.into_iter();
        while let Some(completion) = batch.next() {
            let completion = match (&own, callback) {
                (Some(own), Some(callback)) => own.instead_of(completion, &callback.keys),
                _ => completion,
            };
            match ended(completion) {
                Ok((_, result)) => return first.unwrap_or(result).map_err(|error| raised(py, &error)),
                // What is left is to run the callback, for which there is no other thread.
                Err(Completion::Served(served)) => first = ended(*served).ok().map(|(_, result)| result),
                Err(Completion::Run(run)) => {
                    let Some(callback) = callback else { continue };
                    let called = callback.of_run(&run);
                    // What it raises here is no failure of the load: Ctrl-C, or the thread's end.
                    let load = Bound::new(py, Load::new(run, None, Home::default(), Running::default()))?;
                    let ran = run_here(py)?.call1((&load, called, &callback.asked));
                    if forks() != process {
                        return forked(py, ran.map(drop), (waiting, pending, batch));
                    }
                    ran.inspect_err(|_| pending.cancel())?;
                    own = load.get().own().take();
                }
                Err(Completion::Cancelled { .. }) => {
                    if let Some(result) = first {
                        return result.map_err(|error| raised(py, &error));
                    }
                    return Err(raised(py, &Error::Internal("a call was cancelled that cannot be")));
                }
                Err(_) => {}
            }
        }
    }
}

/// In a child that a callback or a signal's handler forked: nothing comes any more, and the parent's threads may have
/// locked what belongs to the call.
fn forked(py: Python<'_>, ended: PyResult<()>, call: impl Sized) -> PyResult<Given> {
    std::mem::forget(call);
    ended.and_then(|()| Err(raised(py, &Error::Forked)))
}

/// `failsoft._callbacks.run_here`.
fn run_here(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static RUN_HERE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    RUN_HERE.import(py, "failsoft._callbacks", "run_here")
}
