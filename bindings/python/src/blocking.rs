//! A call of the router for threads: it waits without the interpreter's lock, and runs its callback itself.

use crate::caller::Callback;
use crate::errors::raised;
use crate::given::{Given, ended};
use crate::load::{self, Load};
use crate::wake::Home;
use bytes::Bytes;
use failsoft::Error;
use failsoft::foreign::{Caller, Channel, Completion, Own, Pending};
use pyo3::prelude::*;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How soon Ctrl-C is noticed.
const SIGNALS: Duration = Duration::from_millis(50);

/// Wakes the thread that waits.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits until it is rung, or for some time.
    fn wait(&self) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(rung, SIGNALS, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// Closes the channel of a call, however the call ends: what was not run is another caller's to run.
struct Ours(Arc<Channel>);

impl Drop for Ours {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Starts something and waits for what comes of it. `octets` are the keys, of a call for many.
pub(crate) fn wait(
    py: Python<'_>,
    octets: &[Bytes],
    callback: Option<&Callback>,
    start: impl FnOnce(Caller<'_>) -> Result<Pending, Error>,
) -> PyResult<Given> {
    let bell = Arc::new(Bell::default());
    let ringer = Arc::clone(&bell);
    let ours = Ours(Channel::new(move || ringer.ring()));
    let parent = load::inside(py)?;
    let caller = Caller { channel: &ours.0, token: 0, parent: parent.as_ref() };
    let pending = start(caller).map_err(|error| raised(py, &error))?;
    let mut batch = Vec::new();
    let mut own: Option<Own> = None;
    loop {
        py.detach(|| bell.wait());
        py.check_signals().inspect_err(|_| pending.cancel())?;
        ours.0.drain(&mut batch);
        for completion in batch.drain(..) {
            let completion = match &own {
                Some(own) => own.instead_of(completion, octets),
                None => completion,
            };
            match ended(completion) {
                Ok((_, result)) => return result.map_err(|error| raised(py, &error)),
                Err(Completion::Run(run)) => {
                    let Some(Callback { fallback, asked }) = callback else { continue };
                    let run_it = py.import("failsoft._callbacks")?.getattr("run_here")?;
                    // What it raises here is no failure of the load: Ctrl-C, or the thread's end.
                    let load = Bound::new(py, Load::new(run, None, Home::default()))?;
                    run_it.call1((&load, fallback, asked)).inspect_err(|_| pending.cancel())?;
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
