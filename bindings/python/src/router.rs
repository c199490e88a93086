//! The router for asyncio: each call gives a Future of the running loop.

use crate::caller::{self, Asked};
use crate::config;
use crate::convert::{octets, seconds};
use crate::errors::raised;
use crate::event_loop::{self, Callback, EventLoop, cancel_with};
use crate::load;
use failsoft::Error;
use failsoft::foreign::{Caller, Foreign, Pending};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList};
use std::time::Duration;

/// What `failsoft.Router` is made of.
#[pyclass(frozen, subclass, weakref, module = "failsoft._failsoft")]
pub(crate) struct AsyncRouter {
    foreign: Foreign,
    decode: bool,
}

impl AsyncRouter {
    /// Starts something that a Future of the running loop waits for.
    fn start<'py>(
        &self,
        py: Python<'py>,
        callback: Option<Callback>,
        start: impl FnOnce(Caller<'_>) -> Result<Pending, Error>,
    ) -> PyResult<(Bound<'py, PyAny>, Pending)> {
        // First of all: in a forked child the loop itself is of no use.
        self.foreign.check().map_err(|error| raised(py, &error))?;
        let here: Bound<'_, EventLoop> = event_loop::running(py)?;
        let parent = load::inside(py)?;
        let channel = here.get().channel();
        here.get().wait(py, callback, self.decode, |token| start(Caller { channel, token, parent: parent.as_ref() }))
    }
}

#[pymethods]
impl AsyncRouter {
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
        let asked = Asked::new(key, fallback, ttl, deadline)?;
        let callback = callback(&asked)?;
        let started = self.start(key.py(), callback, |caller| {
            self.foreign.get(caller, asked.octets, asked.options, asked.fallback.is_some())
        })?;
        Ok(started.0)
    }

    #[pyo3(signature = (key, fallback=None, *, ttl=None, deadline=None))]
    fn resolve<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        fallback: Option<&Bound<'py, PyAny>>,
        ttl: Option<f64>,
        deadline: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let asked = Asked::new(key, fallback, ttl, deadline)?;
        let callback = callback(&asked)?;
        let started = self.start(key.py(), callback, |caller| {
            self.foreign.resolve(caller, asked.octets, asked.options, asked.fallback.is_some())
        })?;
        Ok(started.0)
    }

    fn resolve_many<'py>(&self, keys: &Bound<'py, PyAny>, fallback: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        caller::callable(fallback)?;
        let py = keys.py();
        let (octets, given) = caller::keys(keys)?;
        let asked = PyList::new(py, given)?.into_any().unbind();
        let callback = Callback { fallback: fallback.clone().unbind(), context: context(py)?, asked };
        let (future, pending) = self.start(py, Some(callback), |caller| self.foreign.resolve_many(caller, octets))?;
        cancel_with(&future, pending)?;
        Ok(future)
    }

    #[pyo3(signature = (key, value, ttl=None))]
    fn set<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        ttl: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (key_octets, value) = (octets("key", key)?, octets("value", value)?);
        let ttl = seconds(key.py(), "ttl", ttl)?;
        let started = self.start(key.py(), None, |caller| self.foreign.set(caller, key_octets, value, ttl))?;
        Ok(started.0)
    }

    fn ready<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Bound<'py, PyAny>> {
        let timeout = seconds(py, "timeout", Some(timeout))?.unwrap_or(Duration::ZERO);
        let (future, pending) = self.start(py, None, |caller| self.foreign.ready(caller, timeout))?;
        cancel_with(&future, pending)?;
        Ok(future)
    }

    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let here = match self.foreign.check() {
            // Nothing of the parent's can be closed in a child.
            Err(error @ Error::Forked) => return Err(raised(py, &error)),
            _ => event_loop::running(py)?,
        };
        let channel = here.get().channel();
        let start = |token| self.foreign.close(Caller { channel, token, parent: None });
        Ok(here.get().wait(py, None, false, start)?.0)
    }

    /// The account of the router as JSON.
    fn health_json(&self, py: Python<'_>) -> PyResult<String> {
        let health = py.detach(|| self.foreign.health());
        health.map(|health| health.to_json()).map_err(|error| raised(py, &error))
    }
}

fn callback(asked: &Asked<'_, '_>) -> PyResult<Option<Callback>> {
    let Some(fallback) = asked.fallback else { return Ok(None) };
    let context = context(fallback.py())?;
    Ok(Some(Callback { fallback: fallback.clone().unbind(), context, asked: asked.key.clone().unbind() }))
}

fn context(py: Python<'_>) -> PyResult<Py<PyAny>> {
    static COPY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Ok(COPY.import(py, "contextvars", "copy_context")?.call0()?.unbind())
}
