//! The router for threads: a call waits without the interpreter's lock, and runs its callback itself.

use crate::caller::{self, Asked};
use crate::config;
use crate::convert::{self, octets, seconds};
use crate::errors::raised;
use crate::event_loop::many;
use crate::load::{self, Load};
use crate::outcome::Outcome;
use failsoft::Error;
use failsoft::foreign::{Caller, Channel, Completion, Foreign, Pending};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How soon Ctrl-C is noticed.
const SIGNALS: Duration = Duration::from_millis(50);

/// What `failsoft.blocking.Router` is made of.
#[pyclass(frozen, subclass, weakref, module = "failsoft._failsoft")]
pub(crate) struct BlockingRouter {
    foreign: Foreign,
    decode: bool,
}

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

/// The callback of a call, and the key or keys as they were given.
type Callback<'a, 'py> = Option<(&'a Bound<'py, PyAny>, Bound<'py, PyAny>)>;

impl BlockingRouter {
    /// Starts something and waits for its final completion.
    fn wait<'py>(
        &self,
        py: Python<'py>,
        callback: &Callback<'_, 'py>,
        start: impl FnOnce(Caller<'_>) -> Result<Pending, Error>,
    ) -> PyResult<Completion> {
        let bell = Arc::new(Bell::default());
        let ringer = Arc::clone(&bell);
        let ours = Ours(Channel::new(move || ringer.ring()));
        let parent = load::inside(py)?;
        let caller = Caller { channel: &ours.0, token: 0, parent: parent.as_ref() };
        let pending = start(caller).map_err(|error| raised(py, &error))?;
        let mut batch = Vec::new();
        loop {
            py.detach(|| bell.wait());
            py.check_signals().inspect_err(|_| pending.cancel())?;
            ours.0.drain(&mut batch);
            for completion in batch.drain(..) {
                match completion {
                    Completion::Run(run) => {
                        let Some((fallback, asked)) = callback else { continue };
                        let run_it = py.import("failsoft._callbacks")?.getattr("run_here")?;
                        // What it raises here is no failure of the load: Ctrl-C, or the thread's end.
                        run_it.call1((Load::new(run), fallback, asked)).inspect_err(|_| pending.cancel())?;
                    }
                    Completion::Loading { .. } | Completion::Stop { .. } => {}
                    last => return Ok(last),
                }
            }
        }
    }

    fn one<'py>(
        &self,
        asked: Asked<'_, 'py>,
        start: impl FnOnce(Caller<'_>, &Asked<'_, 'py>) -> Result<Pending, Error>,
    ) -> PyResult<Completion> {
        let callback = asked.fallback.map(|fallback| (fallback, asked.key.clone()));
        self.wait(asked.key.py(), &callback, |caller| start(caller, &asked))
    }
}

fn unexpected(py: Python<'_>) -> PyErr {
    raised(py, &Error::Internal("another completion than the call's"))
}

fn done(py: Python<'_>, completion: Completion) -> PyResult<()> {
    match completion {
        Completion::Done { result, .. } => result.map_err(|error| raised(py, &error)),
        _ => Err(unexpected(py)),
    }
}

#[pymethods]
impl BlockingRouter {
    #[new]
    #[pyo3(signature = (nodes, **config))]
    fn new(nodes: &Bound<'_, PyAny>, config: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let settings = config::read(nodes, config)?;
        let foreign = Foreign::open(settings.builder).map_err(|error| raised(nodes.py(), &error))?;
        Ok(Self { foreign, decode: settings.decode })
    }

    #[pyo3(signature = (key, fallback=None, *, ttl=None, deadline=None))]
    fn get_with_fallback<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        fallback: Option<&Bound<'py, PyAny>>,
        ttl: Option<f64>,
        deadline: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let ended = self.one(Asked::new(key, fallback, ttl, deadline)?, |caller, asked| {
            self.foreign.get(caller, asked.octets.clone(), asked.options, asked.fallback.is_some())
        })?;
        match ended {
            Completion::Value { result: Ok(value), .. } => convert::value(py, value.as_ref(), self.decode),
            Completion::Value { result: Err(error), .. } => Err(raised(py, &error)),
            _ => Err(unexpected(py)),
        }
    }

    #[pyo3(signature = (key, fallback=None, *, ttl=None, deadline=None))]
    fn resolve<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        fallback: Option<&Bound<'py, PyAny>>,
        ttl: Option<f64>,
        deadline: Option<f64>,
    ) -> PyResult<Outcome> {
        let py = key.py();
        let ended = self.one(Asked::new(key, fallback, ttl, deadline)?, |caller, asked| {
            self.foreign.resolve(caller, asked.octets.clone(), asked.options, asked.fallback.is_some())
        })?;
        match ended {
            Completion::Outcome { result: Ok(outcome), .. } => Outcome::new(py, outcome, self.decode),
            Completion::Outcome { result: Err(error), .. } => Err(raised(py, &error)),
            _ => Err(unexpected(py)),
        }
    }

    fn resolve_many<'py>(&self, keys: &Bound<'py, PyAny>, fallback: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        caller::callable(fallback)?;
        let py = keys.py();
        let (octets, given) = caller::keys(keys)?;
        let callback = Some((fallback, PyList::new(py, given)?.into_any()));
        match self.wait(py, &callback, |caller| self.foreign.resolve_many(caller, octets))? {
            Completion::Many { result: Ok(results), .. } => many(py, results, self.decode),
            Completion::Many { result: Err(error), .. } => Err(raised(py, &error)),
            _ => Err(unexpected(py)),
        }
    }

    #[pyo3(signature = (key, value, ttl=None))]
    fn set(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<f64>) -> PyResult<()> {
        let py = key.py();
        let (key, value) = (octets("key", key)?, octets("value", value)?);
        let ttl = seconds(py, "ttl", ttl)?;
        done(py, self.wait(py, &None, |caller| self.foreign.set(caller, key, value, ttl))?)
    }

    fn ready(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let timeout = seconds(py, "timeout", Some(timeout))?.unwrap_or(Duration::ZERO);
        done(py, self.wait(py, &None, |caller| self.foreign.ready(caller, timeout))?)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        done(py, self.wait(py, &None, |caller| self.foreign.close(caller))?)
    }

    /// The account of the router as JSON.
    fn health_json(&self, py: Python<'_>) -> PyResult<String> {
        let health = py.detach(|| self.foreign.health());
        health.map(|health| health.to_json()).map_err(|error| raised(py, &error))
    }
}
