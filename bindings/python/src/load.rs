//! One run of a callback, as the Python side sees it.

use crate::convert::{OCTETS, failed, owned, type_name};
use crate::errors::Raised;
use crate::home::Home;
use crate::running::{Running, Slot};
use bytes::Bytes;
use failsoft::foreign::{self, Answer, Own, Run, forks};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyTuple};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many loads there are: while there is none, no code can be running inside one.
static LOADS: AtomicUsize = AtomicUsize::new(0);

/// What a callback may give for a key.
const LOADED: &str = "bytes, str, bytearray, memoryview or None";

/// How often a step is retried when the exception of a signal's handler kept it from starting.
const TRIES: usize = 16;

/// The load inside which a callback runs: the value of a context variable.
#[pyclass(frozen, module = "failsoft._failsoft")]
pub(crate) struct Parent {
    parent: foreign::Parent,
}

/// A callback to be run. Dropped without an answer, it says that its loop is gone.
#[pyclass(frozen, module = "failsoft._failsoft")]
pub(crate) struct Load {
    /// Empty once it is answered, or its loop is closed.
    run: Slot,
    running: Running,
    /// What its caller waits for on an event loop, until it is answered: then it leads to the exception, from there
    /// to the frames of the callback, and from these back to here.
    future: Mutex<Option<Py<PyAny>>>,
    home: Home,
    begun: AtomicBool,
    forks: u32,
    /// What its own caller gets, however late it is: `load_timeout` stops no thread, and cannot be told by a busy loop.
    own: OwnSlot,
    #[pyo3(get)]
    id: u64,
    #[pyo3(get)]
    reason: Option<&'static str>,
    /// Which of its caller's callbacks is to be run: the name of the argument.
    #[pyo3(get)]
    callback: &'static str,
}

impl Load {
    pub(crate) fn new(run: Run, future: Option<Py<PyAny>>, home: Home, running: Running) -> Self {
        LOADS.fetch_add(1, Ordering::Relaxed);
        let (id, reason) = (run.id(), run.reason.map(|r| r.as_str()));
        let callback = run.callback();
        Self {
            run: running.add(run),
            running,
            future: Mutex::new(future),
            home,
            begun: AtomicBool::new(false),
            forks: forks(),
            own: OwnSlot::default(),
            id,
            reason,
            callback,
        }
    }

    /// The run, to be answered; none in a forked child, where nobody hears the answer and the parent's threads may have
    /// locked what is on the way.
    fn take(&self) -> Option<Run> {
        drop(self.future());
        self.running.remove(self.id);
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner).take();
        if forks() == self.forks {
            return run;
        }
        std::mem::forget(run);
        None
    }

    fn finish(&self, answer: Result<Answer, String>) {
        if let Some(run) = self.take() {
            if let Ok(answer) = &answer {
                *self.own.0.lock().unwrap_or_else(PoisonError::into_inner) = Own::of(&run, answer);
            }
            let answer = answer.unwrap_or_else(|problem| run.refused(problem));
            run.finish(answer);
        }
    }

    fn future(&self) -> Option<Py<PyAny>> {
        self.future.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Where to find what the callback came back with.
    pub(crate) fn own(&self) -> OwnSlot {
        self.own.clone()
    }

    fn stage(&self) -> (bool, bool) {
        let answered = self.run.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        (self.begun.load(Ordering::Relaxed), answered)
    }
}

/// What a callback came back with; nothing if it failed.
#[derive(Clone, Default)]
pub(crate) struct OwnSlot(Arc<Mutex<Option<Own>>>);

impl OwnSlot {
    pub(crate) fn take(&self) -> Option<Own> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.take());
        LOADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The load that the running code is inside of.
pub(crate) fn inside(py: Python<'_>) -> PyResult<Option<foreign::Parent>> {
    if LOADS.load(Ordering::Relaxed) == 0 {
        return Ok(None);
    }
    let parent = variable(py)?.call_method1("get", (py.None(),))?;
    Ok(parent.cast::<Parent>().ok().map(|parent| parent.get().parent.clone()))
}

fn variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static INSIDE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = INSIDE.get_or_try_init(py, || {
        PyResult::Ok(py.import("contextvars")?.getattr("ContextVar")?.call1(("failsoft_load",))?.unbind())
    });
    Ok(made?.bind(py))
}

#[pymethods]
impl Load {
    /// The keys to load.
    fn wanted<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<_> = run.iter().flat_map(|run| &run.keys).map(|key| PyBytes::new(py, key)).collect();
        drop(run);
        PyList::new(py, keys)
    }

    /// Calls a function with this load and `arguments`. A signal's handler may raise before the function has
    /// begun to do anything: then it is called again, and what was raised comes back in the end.
    #[pyo3(signature = (function, *arguments))]
    fn step(slf: &Bound<'_, Self>, function: &Bound<'_, PyAny>, arguments: &Bound<'_, PyTuple>) -> PyResult<()> {
        let py = slf.py();
        let mut all = vec![slf.clone().into_any()];
        all.extend(arguments.iter());
        let all = PyTuple::new(py, all)?;
        let mut first = None;
        for _ in 0..TRIES {
            let before = slf.get().stage();
            let Err(error) = function.call1(&all) else { break };
            first.get_or_insert(error);
            if slf.get().stage() != before {
                break;
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Whether the callback is to be run: not if its caller went away in the meantime, or has its answer. From here on
    /// the current context is inside this load.
    fn begin(&self, py: Python<'_>) -> PyResult<bool> {
        let future = self.future.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|f| f.clone_ref(py));
        if let Some(future) = future
            && future.call_method0(py, intern!(py, "cancelled"))?.is_truthy(py)?
        {
            self.abandon();
            return Ok(false);
        }
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = run.as_ref().filter(|run| run.is_wanted());
        let parent = wanted.map(|run| Parent { parent: run.parent().clone() });
        drop(run);
        let Some(parent) = parent else {
            self.abandon();
            return Ok(false);
        };
        variable(py)?.call_method1("set", (parent,))?;
        self.begun.store(true, Ordering::Relaxed);
        Ok(true)
    }

    /// The callback's result for one key.
    fn give(&self, result: &Bound<'_, PyAny>) -> PyResult<()> {
        let answer = if result.is_none() { Ok(None) } else { owned(result)?.map(Some) };
        self.finish(answer.map(Answer::Value).map_err(|problem| format!("{problem}; allowed: {LOADED}")));
        Ok(())
    }

    /// The callback's result for many keys.
    fn give_many(&self, result: &Bound<'_, PyAny>) -> PyResult<()> {
        self.finish(values(result)?.map(Answer::Values));
        Ok(())
    }

    /// The callback raised this: all who wait for it get it.
    fn fail(&self, exception: &Bound<'_, PyAny>) {
        if let Some(run) = self.take() {
            run.finish(Answer::Failed(Box::new(Raised::new(exception, self.home.clone()))));
        }
    }

    /// The callback was ended by this, which is about its thread and no answer: its caller gets it, and another
    /// caller's callback takes over.
    fn interrupt(&self, py: Python<'_>, exception: &Bound<'_, PyAny>) -> PyResult<()> {
        let future = self.future();
        self.abandon();
        if let Some(future) = future
            && !future.call_method0(py, intern!(py, "done"))?.is_truthy(py)?
        {
            future.call_method1(py, intern!(py, "set_exception"), (exception,))?;
        }
        Ok(())
    }

    /// The callback was cancelled: another caller's takes over.
    fn abandon(&self) {
        drop(self.take());
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Nobody holds the lock while objects are made.
        self.future.try_lock().map_or(Ok(()), |future| visit.call(&*future))
    }
}

type Pairs<'py> = Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

fn pairs<'py>(mapping: &Bound<'py, PyMapping>) -> PyResult<Pairs<'py>> {
    // A subclass may have `items` of its own.
    if let Ok(plain) = mapping.cast_exact::<PyDict>() {
        return Ok(plain.iter().collect());
    }
    let py = mapping.py();
    let items = mapping.call_method0(intern!(py, "items"))?;
    py.get_type::<PyList>().call1((items,))?.extract()
}

fn values(result: &Bound<'_, PyAny>) -> PyResult<Result<HashMap<Bytes, Bytes>, String>> {
    let Ok(mapping) = result.cast::<PyMapping>() else {
        return Ok(Err(format!("{}; allowed: a mapping", type_name(result))));
    };
    let items = match pairs(mapping) {
        Ok(items) => items,
        Err(error) => return Ok(Err(failed(result, error)?)),
    };
    let mut values = HashMap::new();
    for (key, value) in items {
        let key = match owned(&key)? {
            Ok(key) => key,
            Err(problem) => return Ok(Err(format!("{problem} as a key; allowed: {OCTETS}"))),
        };
        if value.is_none() {
            continue;
        }
        match owned(&value)? {
            Ok(value) => values.insert(key, value),
            Err(problem) => return Ok(Err(format!("{problem} as a value; allowed: {LOADED}"))),
        };
    }
    Ok(Ok(values))
}
