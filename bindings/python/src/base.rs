//! What both routers are made of, and how a call of theirs starts: for asyncio it gives a Future of the running loop, for
//! a thread it waits and gives the result.

use crate::caller::{self, Callback};
use crate::errors::raised;
use crate::event_loop::EventLoop;
use crate::given::{self, Form};
use crate::messages::Messages;
use crate::{blocking, convert, ending, loops};
use failsoft::foreign::{Caller, Foreign, Pending, ReadOptions};
use failsoft::{Bytes, Error};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::{Arc, OnceLock};

/// Who waits for the result of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiter {
    Loop,
    Thread,
}

/// How a call goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A read of one key: its end is near, so nothing is spent on its being cancelled before it waits for a load.
    Short,
    /// A call that may take long: when it is cancelled, the core is told at once.
    Long,
    /// Closing the router, which may be done more than once.
    End,
}

/// What both routers are made of. Python names it in the errors of a call whose arguments don't fit.
#[pyclass(frozen, subclass, weakref, generic, name = "Router", module = "failsoft._failsoft")]
pub(crate) struct Core {
    waiter: Waiter,
    /// By `__init__`: a subclass may have one with arguments of its own, and these come to `__new__`, too.
    pub(crate) opened: OnceLock<Opened>,
}

pub(crate) struct Opened {
    pub(crate) foreign: Foreign,
    pub(crate) decode: bool,
    pub(crate) seeds: Vec<String>,
    pub(crate) messages: Arc<Messages>,
}

/// What `failsoft.Router` is made of.
#[pyclass(frozen, subclass, extends = Core, module = "failsoft._failsoft")]
pub(crate) struct AsyncRouter;

/// What `failsoft.blocking.Router` is made of.
#[pyclass(frozen, subclass, extends = Core, module = "failsoft._failsoft")]
pub(crate) struct BlockingRouter;

#[pymethods]
impl AsyncRouter {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Core { waiter: Waiter::Loop, opened: OnceLock::new() }).add_subclass(Self)
    }
}

#[pymethods]
impl BlockingRouter {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Core { waiter: Waiter::Thread, opened: OnceLock::new() }).add_subclass(Self)
    }
}

impl Core {
    pub(crate) fn opened(&self) -> PyResult<&Opened> {
        self.opened.get().ok_or_else(|| PyRuntimeError::new_err("`__init__` of the router was not called"))
    }

    pub(crate) fn call<'py>(
        &self,
        py: Python<'py>,
        callback: Option<Callback>,
        manner: Manner,
        form: Form,
        start: impl FnOnce(&Foreign, Caller<'_>) -> Result<Pending, Error>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let here = self.here(py, manner)?;
        self.wait(py, here.as_ref(), callback, (form, manner), start)
    }

    /// The running loop's part in a call that begins now; none of a thread that waits. Fails if no call can begin.
    fn here<'py>(&self, py: Python<'py>, manner: Manner) -> PyResult<Option<Bound<'py, EventLoop>>> {
        let foreign = &self.opened()?.foreign;
        if self.waiter == Waiter::Thread {
            return Ok(None);
        }
        // First of all: in a forked child the loop itself is of no use.
        match foreign.check() {
            Err(error @ Error::Forked) => return Err(raised(py, &error)),
            Err(error) if manner != Manner::End => return Err(raised(py, &error)),
            _ => {}
        }
        loops::running(py).map(Some)
    }

    fn wait<'py>(
        &self,
        py: Python<'py>,
        here: Option<&Bound<'py, EventLoop>>,
        callback: Option<Callback>,
        (form, manner): (Form, Manner),
        start: impl FnOnce(&Foreign, Caller<'_>) -> Result<Pending, Error>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Opened { foreign, messages, .. } = self.opened()?;
        let start = |caller: Caller<'_>| start(foreign, caller);
        match here {
            Some(here) => here.get().wait(py, callback, form, manner == Manner::Long, messages, start),
            None => blocking::wait(py, callback.as_ref(), messages, start)?.into_python(py, &form),
        }
    }

    pub(crate) fn read<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        fallback: Option<&Bound<'py, PyAny>>,
        recompute: Option<&Bound<'py, PyAny>>,
        options: PyResult<ReadOptions>,
        account: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        ending::watch();
        let py = key.py();
        let octets = convert::key(key)?;
        fallback.map_or(Ok(()), |fallback| caller::callable("fallback", fallback))?;
        recompute.map_or(Ok(()), |recompute| caller::callable("recompute", recompute))?;
        let options = options?;
        let Opened { foreign, decode, messages, .. } = self.opened()?;
        let here = self.here(py, Manner::Short)?;
        let text_of = decode.then_some(&*octets);
        let near = if account {
            let near = foreign.near_outcome(&octets, &options, fallback.is_some());
            near.map(|near| near.map(|outcome| given::outcome(py, outcome, text_of)))
        } else {
            let near = foreign.near(&octets, &options, fallback.is_some());
            near.map(|near| near.map(|value| convert::value(py, Some(&value), text_of)))
        };
        if let Some(given) = near.map_err(|error| raised(py, &error))? {
            return match here {
                Some(here) => here.get().at_once(py, given, messages),
                None => messages.log(py).and(given),
            };
        }
        let callback = fallback.map(|fallback| Callback::of_key(fallback, recompute, key, &octets));
        let ask = callback.is_some();
        let form = if *decode { Form::text(vec![Bytes::copy_from_slice(&octets)]) } else { Form::BYTES };
        self.wait(py, here.as_ref(), callback, (form, Manner::Short), |foreign, caller| {
            if account {
                foreign.resolve(caller, octets, options, ask)
            } else {
                foreign.get(caller, octets, options, ask)
            }
        })
    }

    pub(crate) fn many<'py>(
        &self,
        keys: &Bound<'py, PyAny>,
        fallback: &Bound<'py, PyAny>,
        options: PyResult<ReadOptions>,
        values: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        ending::watch();
        let (octets, given) = caller::keys(keys)?;
        let callback = Callback::of_keys(fallback, given, octets.clone())?;
        let options = options?;
        let form = if self.opened()?.decode { Form::text(octets.clone()) } else { Form::BYTES };
        self.call(keys.py(), Some(callback), Manner::Long, form.values(values), |foreign, caller| {
            foreign.resolve_many(caller, octets, options)
        })
    }
}
