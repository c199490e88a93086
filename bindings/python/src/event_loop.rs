//! What one event loop waits for: a Future for each call, and one wake-up for many completions.
//!
//! The loop owns it: its registration of the descriptor, or a timer, is the one strong reference. When the
//! loop is closed everything here is let go, and callbacks that ran on it are taken over by others.

use crate::caller::Callback;
use crate::ending;
use crate::entries::Entries;
use crate::errors::{Thrown, raised, thrown};
use crate::given::{Form, Given, ended};
use crate::home::Home;
use crate::load::{self, Load};
use crate::loops;
use crate::messages::{Heard, Messages};
use crate::running::Running;
use crate::settle::{Settle, surely};
use failsoft::Error;
use failsoft::foreign::{Caller, Channel, Completion, Pending, Run, forks};
use pyo3::exceptions::{PyAttributeError, PyNotImplementedError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyWeakrefReference};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The attribute of a loop that leads here.
const ATTRIBUTE: &str = "_failsoft_reads";

/// A hundred years, in seconds.
const NEVER: f64 = 36_500.0 * 86_400.0;

/// See the module.
#[pyclass(frozen, weakref, module = "failsoft._failsoft")]
pub(crate) struct EventLoop {
    channel: Arc<Channel>,
    #[cfg(target_os = "linux")]
    descriptor: Option<crate::wake::Descriptor>,
    entries: Mutex<Entries>,
    batch: Mutex<Vec<Completion>>,
    /// `asyncio.Future`, and its arguments.
    future: Py<PyAny>,
    arguments: Py<PyDict>,
    /// Runs callbacks: `failsoft._callbacks.Callbacks`.
    callbacks: Py<PyAny>,
    settle: Settle,
    heard: Heard,
    home: Home,
    running: Running,
    forks: u32,
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        let entries = std::mem::take(&mut self.lock().waiting);
        if forks() == self.forks {
            self.channel.close();
            self.home.close();
            self.running.abandon();
            loops::let_go();
        } else {
            // In a forked child nothing may be touched that the parent's threads may have locked.
            std::mem::forget(entries);
        }
    }
}

impl EventLoop {
    /// Whether it was made for this very loop.
    pub(crate) fn is_of(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.settle.is_of(event_loop)
    }

    /// Whether it was made in this process.
    pub(crate) fn is_here(&self) -> bool {
        self.forks == forks()
    }

    pub(crate) fn attach<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        let asyncio = py.import("asyncio")?;
        let arguments = PyDict::new(py);
        arguments.set_item("loop", event_loop)?;
        let callbacks = py.import("failsoft._callbacks")?.getattr("Callbacks")?;
        let callbacks = callbacks.call1((event_loop,))?.unbind();
        let future = asyncio.getattr("Future")?.unbind();
        let settle = Settle::new(event_loop)?;
        let new = |channel, descriptor| Self {
            home: Home::new(&channel),
            channel,
            #[cfg(target_os = "linux")]
            descriptor,
            entries: Mutex::default(),
            batch: Mutex::default(),
            future: future.clone_ref(py),
            arguments: arguments.clone().unbind(),
            callbacks: callbacks.clone_ref(py),
            settle: settle.clone_ref(py),
            heard: Heard::default(),
            running: Running::default(),
            forks: forks(),
        };
        let ours = match Self::by_descriptor(event_loop, &new)? {
            Some(ours) => ours,
            None => {
                let (channel, drain) = crate::wake::by_method(event_loop)?;
                let ours = Bound::new(py, new(channel, None))?;
                // Since there is no registration, the loop keeps it by a timer, which it lets go of when it is closed.
                event_loop.call_method1(intern!(py, "call_later"), (NEVER, ours.getattr("drain")?))?;
                let call = py.import("failsoft._callbacks")?.getattr("drain")?;
                let weak = PyWeakrefReference::new(&ours)?;
                let partial = py.import("functools")?.getattr("partial")?.call1((call, weak))?;
                // It is set here once and nowhere else.
                let _ = drain.0.set(partial.unbind());
                ours
            }
        };
        let weak = PyWeakrefReference::new(&ours)?;
        loops::add(&weak);
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
        match event_loop.call_method1(intern!(py, "add_reader"), (descriptor.number(), ours.getattr("drain")?)) {
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

    /// The Future of a call that has ended already.
    pub(crate) fn at_once<'py>(
        &self,
        py: Python<'py>,
        given: PyResult<Bound<'py, PyAny>>,
        messages: &Arc<Messages>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.heard.call(messages, &self.channel);
        let future = self.new_future(py)?;
        match given {
            Ok(value) => self.settle.new_result(&future, &value)?,
            Err(error) => self.settle.exception(&future, error.into_value(py).into_bound(py).into_any())?,
        }
        Ok(future)
    }

    fn new_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.future.bind(py).call(PyTuple::empty(py), Some(self.arguments.bind(py)))
    }

    /// Registers a call and starts it. With `long`, cancelling the Future cancels the call in the core at once.
    pub(crate) fn wait<'py>(
        &self,
        py: Python<'py>,
        callback: Option<Callback>,
        form: Form,
        long: bool,
        messages: &Arc<Messages>,
        start: impl FnOnce(Caller<'_>) -> Result<Pending, Error>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static COPY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        self.heard.call(messages, &self.channel);
        let parent = load::inside(py)?;
        let callback = match callback {
            Some(callback) => Some((callback, COPY.import(py, "contextvars", "copy_context")?.call0()?.unbind())),
            None => None,
        };
        let future = self.new_future(py)?;
        let token = self.lock().insert(future.clone().unbind(), callback, form);
        let caller = Caller { channel: &self.channel, token, parent: parent.as_ref() };
        match start(caller) {
            Ok(pending) => {
                if long {
                    cancel_with(&future, pending.clone())?;
                }
                if let Some(entry) = self.lock().get(token) {
                    entry.pending = Some(pending);
                }
                Ok(future)
            }
            Err(error) => {
                let entry = self.lock().remove(token);
                drop(entry);
                Err(raised(py, &error))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, py: Python<'_>, completion: Completion) -> PyResult<()> {
        let completion = self.lock().with_own(completion);
        let (token, result) = match ended(completion) {
            Ok((token, result)) => (token, Some(result)),
            Err(Completion::Cancelled { token }) => (token, None),
            Err(Completion::Loading { token }) => return self.loading(py, token),
            Err(Completion::Run(run)) => return self.run(py, run),
            // The call goes on, so its entry stays; its end finds the Future done.
            Err(Completion::Served(first)) => {
                let Ok((token, result)) = ended(*first) else { return Ok(()) };
                let waiting = self.lock().get(token).map(|e| (e.future.clone_ref(py), e.form.clone()));
                let Some((future, form)) = waiting else { return Ok(()) };
                return self.tell(py, future.bind(py), &form, Some(result));
            }
            Err(Completion::Stop { id }) => {
                return surely(|| self.callbacks.call_method1(py, intern!(py, "stop"), (id,)).map(drop));
            }
            // There is no other that is no end.
            Err(_) => return Ok(()),
        };
        let Some(entry) = self.lock().remove(token) else { return Ok(()) };
        self.tell(py, entry.future.bind(py), &entry.form, result)
    }

    /// Ends a Future; without a result, its call was cancelled.
    fn tell(
        &self,
        py: Python<'_>,
        future: &Bound<'_, PyAny>,
        form: &Form,
        result: Option<Result<Given, Error>>,
    ) -> PyResult<()> {
        let given = match result {
            None => return self.settle.cancel(future),
            Some(Ok(given)) => Given::into_python(given, py, form),
            Some(Err(error)) => match thrown(py, &error) {
                Ok(Thrown::Exception(exception)) => Err(PyErr::from_value(exception)),
                Ok(Thrown::Cancelled) => return self.settle.cancel(future),
                Err(failed) => Err(failed),
            },
        };
        match given {
            Ok(value) => self.settle.result(future, value),
            Err(error) => self.settle.exception(future, error.into_value(py).into_bound(py).into_any()),
        }
    }

    /// From now on a caller that goes away has to tell.
    fn loading(&self, py: Python<'_>, token: u64) -> PyResult<()> {
        let waiting = self.lock().get(token).and_then(|e| Some((e.future.clone_ref(py), e.pending.clone()?)));
        let Some((future, pending)) = waiting else { return Ok(()) };
        surely(|| cancel_with(future.bind(py), pending.clone()))
    }

    fn run(&self, py: Python<'_>, run: Run) -> PyResult<()> {
        let waiting = self.lock().get(run.token).and_then(|e| {
            let (callback, context) = e.callback.as_ref()?;
            let called = callback.of_run(&run).clone_ref(py);
            Some((called, callback.asked.clone_ref(py), context.clone_ref(py), e.future.clone_ref(py)))
        });
        // Without it the load is dropped, and another caller's callback takes over.
        let Some((called, asked, context, future)) = waiting else { return Ok(()) };
        let token = run.token;
        let load = Bound::new(py, Load::new(run, Some(future), self.home.clone(), self.running.clone()))?;
        if let Some(entry) = self.lock().get(token) {
            entry.own = Some(load.get().own());
        }
        let call = || self.callbacks.call_method1(py, intern!(py, "run"), (&load, &called, &context, &asked));
        surely(|| call().map(drop))
    }

    /// In a child that was forked on this loop, and may go on with it: who waits hears of it.
    pub(crate) fn end_forked(&self, py: Python<'_>) -> PyResult<()> {
        let entries = std::mem::take(&mut self.lock().waiting);
        for (_, entry) in entries {
            std::mem::forget(entry.pending);
            let future = entry.future.bind(py);
            self.settle.exception(future, raised(py, &Error::Forked).into_value(py).into_bound(py).into_any())?;
            // Whoever does not go on with the loop leaves it there, which is no mistake to be logged.
            if !future.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
                future.call_method0(intern!(py, "exception"))?;
            }
        }
        Ok(())
    }
}

#[pymethods]
impl EventLoop {
    /// Hands out all that has come. What a signal's handler raises meanwhile is raised when that is done.
    fn drain(slf: &Bound<'_, Self>) -> PyResult<()> {
        ending::watch();
        let (py, this) = (slf.py(), slf.get());
        if forks() != this.forks {
            // The descriptor is the parent's, which would not be woken if it were cleared here.
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        if let Some(descriptor) = &this.descriptor {
            descriptor.clear();
        }
        this.home.let_go();
        loops::let_go();
        let mut batch = std::mem::take(&mut *this.batch.lock().unwrap_or_else(PoisonError::into_inner));
        this.channel.drain(&mut batch);
        let mut first = None;
        for completion in batch.drain(..) {
            match this.complete(py, completion) {
                Err(error) if first.is_some() => error.write_unraisable(py, Some(slf)),
                Err(error) => first = Some(error),
                Ok(()) => {}
            }
        }
        *this.batch.lock().unwrap_or_else(PoisonError::into_inner) = batch;
        let logged = if forks() == this.forks { this.heard.log(py) } else { Ok(()) };
        match (first, logged) {
            (Some(first), Err(error)) => {
                error.write_unraisable(py, Some(slf));
                Err(first)
            }
            (Some(first), Ok(())) => Err(first),
            (None, logged) => logged,
        }
    }

    /// How many calls wait.
    fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// A loop that is dropped without being closed is in a circle with this: `add_reader` keeps it, and the
    /// Futures keep their loop.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.arguments)?;
        visit.call(&self.callbacks)?;
        self.settle.traverse(&visit)?;
        self.home.traverse(&visit)?;
        // Nobody holds the lock while objects are made.
        let Ok(entries) = self.entries.try_lock() else { return Ok(()) };
        for (_, entry) in entries.waiting.iter() {
            visit.call(&entry.future)?;
            if let Some((callback, context)) = &entry.callback {
                callback.traverse(&visit)?;
                visit.call(context)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let entries = std::mem::take(&mut self.lock().waiting);
        drop(entries);
        self.home.let_go();
    }
}

/// Gives a call up when its Future is cancelled.
fn cancel_with(future: &Bound<'_, PyAny>, pending: Pending) -> PyResult<()> {
    if future.call_method0(intern!(future.py(), "cancelled"))?.is_truthy()? {
        pending.cancel();
        return Ok(());
    }
    future.call_method1(intern!(future.py(), "add_done_callback"), (Canceller { pending },))?;
    Ok(())
}

#[pyclass(frozen, module = "failsoft._failsoft")]
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
