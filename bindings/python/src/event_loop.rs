//! What one event loop waits for: a Future for each call, and one wake-up for many completions.
//!
//! The loop owns it: the loop's registration of the descriptor is the one strong reference. When the
//! loop is closed everything here is let go, and callbacks that ran on it are taken over by others.

use crate::convert;
use crate::errors::{Thrown, thrown};
use crate::load::Load;
use crate::outcome::Outcome;
use failsoft::foreign::{Channel, Completion, Pending, forks};
use failsoft::{Bytes, Error};
use pyo3::exceptions::{PyAttributeError, PyNotImplementedError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple, PyWeakrefReference};
use slab::Slab;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The attribute of a loop that leads here.
const ATTRIBUTE: &str = "_failsoft_reads";

/// What runs when the callback of a call is needed.
pub(crate) struct Callback {
    pub(crate) fallback: Py<PyAny>,
    /// The caller's context variables.
    pub(crate) context: Py<PyAny>,
    /// The key or the keys, as they were given.
    pub(crate) asked: Py<PyAny>,
}

/// Somebody who waits.
pub(crate) struct Entry {
    pub(crate) future: Py<PyAny>,
    pub(crate) callback: Option<Callback>,
    pub(crate) decode: bool,
    pub(crate) pending: Option<Pending>,
}

/// See the module.
#[pyclass(frozen, weakref, module = "failsoft._failsoft")]
pub(crate) struct EventLoop {
    channel: Arc<Channel>,
    #[cfg(target_os = "linux")]
    descriptor: Option<crate::wake::Descriptor>,
    entries: Mutex<Slab<Entry>>,
    batch: Mutex<Vec<Completion>>,
    /// `asyncio.Future`, and its arguments.
    future: Py<PyAny>,
    arguments: Py<PyDict>,
    /// Runs callbacks: `failsoft._callbacks.Callbacks`.
    callbacks: Py<PyAny>,
    forks: u32,
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        let entries = std::mem::take(&mut *self.lock());
        if forks() == self.forks {
            self.channel.close();
        } else {
            // In a forked child nothing may be touched that the parent's threads may have locked.
            std::mem::forget(entries);
        }
    }
}

/// The running loop's.
pub(crate) fn running(py: Python<'_>) -> PyResult<Bound<'_, EventLoop>> {
    static GET_RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let event_loop = GET_RUNNING.import(py, "asyncio", "get_running_loop")?.call0()?;
    if let Some(weak) = event_loop.getattr_opt(intern!(py, "_failsoft_reads"))? {
        let weak = weak.cast_into::<PyWeakrefReference>()?;
        if let Some(ours) = weak.upgrade_as::<EventLoop>()? {
            return Ok(ours);
        }
    }
    EventLoop::attach(&event_loop)
}

impl EventLoop {
    fn attach<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        let asyncio = py.import("asyncio")?;
        let arguments = PyDict::new(py);
        arguments.set_item("loop", event_loop)?;
        let callbacks = py.import("failsoft._callbacks")?.getattr("Callbacks")?.call1((event_loop,))?.unbind();
        let future = asyncio.getattr("Future")?.unbind();
        let new = |channel, descriptor| Self {
            channel,
            #[cfg(target_os = "linux")]
            descriptor,
            entries: Mutex::default(),
            batch: Mutex::default(),
            future: future.clone_ref(py),
            arguments: arguments.clone().unbind(),
            callbacks: callbacks.clone_ref(py),
            forks: forks(),
        };
        let ours = match Self::by_descriptor(event_loop, &new)? {
            Some(ours) => ours,
            None => {
                let (channel, drain) = crate::wake::by_method(event_loop)?;
                let ours = Bound::new(py, new(channel, None))?;
                // The loop keeps it: an attribute, since there is no registration.
                event_loop.setattr("_failsoft_keeps", &ours)?;
                let call = py.import("failsoft._callbacks")?.getattr("drain")?;
                let weak = PyWeakrefReference::new(&ours)?;
                let partial = py.import("functools")?.getattr("partial")?.call1((call, weak))?;
                // It is set here once and nowhere else.
                let _ = drain.0.set(partial.unbind());
                ours
            }
        };
        let weak = PyWeakrefReference::new(&ours)?;
        match event_loop.setattr(ATTRIBUTE, weak) {
            Err(e) if e.is_instance_of::<PyAttributeError>(py) => {
                Err(PyTypeError::new_err(format!("failsoft needs an event loop that takes attributes: {e}")))
            }
            other => other.map(|()| ours),
        }
    }

    #[cfg(target_os = "linux")]
    fn by_descriptor<'py>(
        event_loop: &Bound<'py, PyAny>,
        new: &dyn Fn(Arc<Channel>, Option<crate::wake::Descriptor>) -> Self,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        let py = event_loop.py();
        let descriptor = crate::wake::Descriptor::new()?;
        let set = descriptor.clone();
        let ours = Bound::new(py, new(Channel::new(move || set.set()), Some(descriptor.clone())))?;
        match event_loop.call_method1("add_reader", (descriptor.number(), ours.getattr("drain")?)) {
            Ok(_) => Ok(Some(ours)),
            Err(e) if e.is_instance_of::<PyNotImplementedError>(py) => Ok(None),
            Err(e) => Err(e),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn by_descriptor<'py>(
        _: &Bound<'py, PyAny>,
        _: &dyn Fn(Arc<Channel>, Option<()>) -> Self,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        Ok(None)
    }

    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    pub(crate) fn new_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.future.bind(py).call(PyTuple::empty(py), Some(self.arguments.bind(py)))
    }

    /// Enters one who waits, and starts what is waited for: `start` is given the token.
    pub(crate) fn wait<'py>(
        &self,
        py: Python<'py>,
        callback: Option<Callback>,
        decode: bool,
        start: impl FnOnce(u64) -> Result<Pending, Error>,
    ) -> PyResult<(Bound<'py, PyAny>, Pending)> {
        let future = self.new_future(py)?;
        let entry = Entry { future: future.clone().unbind(), callback, decode, pending: None };
        let place = self.lock().insert(entry);
        match start(place as u64) {
            Ok(pending) => {
                if let Some(entry) = self.lock().get_mut(place) {
                    entry.pending = Some(pending.clone());
                }
                Ok((future, pending))
            }
            Err(error) => {
                let entry = self.lock().try_remove(place);
                drop(entry);
                Err(crate::errors::raised(py, &error))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, token: u64) -> Option<Entry> {
        self.lock().try_remove(usize::try_from(token).ok()?)
    }

    fn complete(&self, py: Python<'_>, completion: Completion) -> PyResult<()> {
        let (token, result) = match completion {
            Completion::Value { token, result } => (token, result.map(Given::Value)),
            Completion::Outcome { token, result } => (token, result.map(Given::Outcome)),
            Completion::Many { token, result } => (token, result.map(Given::Many)),
            Completion::Done { token, result } => (token, result.map(|()| Given::Nothing)),
            Completion::Cancelled { token } => {
                if let Some(entry) = self.remove(token) {
                    entry.future.call_method0(py, intern!(py, "cancel"))?;
                }
                return Ok(());
            }
            Completion::Loading { token } => return self.loading(py, token),
            Completion::Run(run) => return self.run(py, run.token, Load::new(run)),
            Completion::Stop { id } => {
                self.callbacks.call_method1(py, intern!(py, "stop"), (id,))?;
                return Ok(());
            }
        };
        let Some(entry) = self.remove(token) else { return Ok(()) };
        let given = match result {
            Ok(given) => given.into_python(py, entry.decode),
            Err(error) => match thrown(py, &error)? {
                Thrown::Exception(exception) => Err(PyErr::from_value(exception)),
                Thrown::Cancelled => {
                    entry.future.call_method0(py, intern!(py, "cancel"))?;
                    return Ok(());
                }
            },
        };
        let future = entry.future.bind(py);
        let set = match given {
            Ok(value) => future.call_method1(intern!(py, "set_result"), (value,)),
            Err(error) => fail(future, error.into_value(py).into_bound(py).into_any()),
        };
        match set {
            // It was cancelled: nobody wants to know.
            Err(_) if future.call_method0(intern!(py, "done"))?.is_truthy()? => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// From now on a caller that goes away has to tell.
    fn loading(&self, py: Python<'_>, token: u64) -> PyResult<()> {
        let place = usize::try_from(token).unwrap_or(usize::MAX);
        let waiting = self.lock().get(place).and_then(|e| Some((e.future.clone_ref(py), e.pending.clone()?)));
        let Some((future, pending)) = waiting else { return Ok(()) };
        cancel_with(future.bind(py), pending)
    }

    fn run(&self, py: Python<'_>, token: u64, load: Load) -> PyResult<()> {
        let place = usize::try_from(token).unwrap_or(usize::MAX);
        let callback = self.lock().get(place).and_then(|e| {
            let Callback { fallback, context, asked } = e.callback.as_ref()?;
            Some((fallback.clone_ref(py), context.clone_ref(py), asked.clone_ref(py)))
        });
        // Without it the load is dropped, and another caller's callback takes over.
        let Some((fallback, context, asked)) = callback else { return Ok(()) };
        self.callbacks.call_method1(py, intern!(py, "run"), (load, fallback, context, asked))?;
        Ok(())
    }
}

#[pymethods]
impl EventLoop {
    /// Hands out all that has come.
    fn drain(slf: &Bound<'_, Self>) {
        let (py, this) = (slf.py(), slf.get());
        #[cfg(target_os = "linux")]
        if let Some(descriptor) = &this.descriptor {
            descriptor.clear();
        }
        let mut batch = std::mem::take(&mut *this.batch.lock().unwrap_or_else(PoisonError::into_inner));
        this.channel.drain(&mut batch);
        for completion in batch.drain(..) {
            if let Err(error) = this.complete(py, completion) {
                error.write_unraisable(py, Some(slf));
            }
        }
        *this.batch.lock().unwrap_or_else(PoisonError::into_inner) = batch;
    }

    /// How many calls wait.
    fn waiting(&self) -> usize {
        self.lock().len()
    }
}

/// Gives a call up when its Future is cancelled.
pub(crate) fn cancel_with(future: &Bound<'_, PyAny>, pending: Pending) -> PyResult<()> {
    if future.call_method0(intern!(future.py(), "cancelled"))?.is_truthy()? {
        pending.cancel();
        return Ok(());
    }
    future.call_method1(intern!(future.py(), "add_done_callback"), (Canceller { pending },))?;
    Ok(())
}

#[pyclass(frozen)]
struct Canceller {
    pending: Pending,
}

#[pymethods]
impl Canceller {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if future.call_method0(intern!(future.py(), "cancelled"))?.is_truthy()? {
            self.pending.cancel();
        }
        Ok(())
    }
}

/// What a call came to.
enum Given {
    Value(Option<Bytes>),
    Outcome(failsoft::Outcome),
    Many(Vec<Result<failsoft::Outcome, Error>>),
    Nothing,
}

impl Given {
    fn into_python(self, py: Python<'_>, decode: bool) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Self::Value(value) => convert::value(py, value.as_ref(), decode),
            Self::Outcome(outcome) => Ok(Bound::new(py, Outcome::new(py, outcome, decode)?)?.into_any()),
            Self::Many(results) => many(py, results, decode),
            Self::Nothing => Ok(py.None().into_bound(py)),
        }
    }
}

/// An outcome or an exception for each key.
pub(crate) fn many(
    py: Python<'_>,
    results: Vec<Result<failsoft::Outcome, Error>>,
    decode: bool,
) -> PyResult<Bound<'_, PyAny>> {
    let list = PyList::empty(py);
    for result in results {
        match result {
            Ok(outcome) => match Outcome::new(py, outcome, decode) {
                Ok(outcome) => list.append(outcome)?,
                Err(error) => list.append(error.into_value(py))?,
            },
            Err(error) => list.append(crate::errors::raised(py, &error).into_value(py))?,
        }
    }
    Ok(list.into_any())
}

/// A Future refuses `StopIteration`; then it gets a `RuntimeError` that names it.
fn fail<'py>(future: &Bound<'py, PyAny>, exception: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = future.py();
    let set = future.call_method1(intern!(py, "set_exception"), (&exception,));
    match set {
        Err(e) if e.is_instance_of::<PyTypeError>(py) => {
            let error = pyo3::exceptions::PyRuntimeError::new_err("the fallback raised StopIteration");
            error.set_cause(py, Some(PyErr::from_value(exception)));
            future.call_method1(intern!(py, "set_exception"), (error.into_value(py),))
        }
        other => other,
    }
}
