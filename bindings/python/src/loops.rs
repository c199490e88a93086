//! Which event loops of the process have reads, and how those of the running one are found.

use crate::event_loop::EventLoop;
use crate::mark;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Every one in this process.
static LOOPS: Mutex<Vec<Py<PyWeakrefReference>>> = Mutex::new(Vec::new());

/// Locked only while the interpreter's lock is held, and never during a call into Python.
fn loops() -> MutexGuard<'static, Vec<Py<PyWeakrefReference>>> {
    LOOPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds one, and forgets those that are gone.
pub(crate) fn add(weak: &Bound<'_, PyWeakrefReference>) {
    let mut loops = loops();
    loops.retain(|known| known.bind(weak.py()).upgrade().is_some());
    loops.push(weak.clone().unbind());
}

/// In a forked child.
pub(crate) fn after_fork(py: Python<'_>) -> PyResult<()> {
    let all = std::mem::take(&mut *loops());
    for weak in all {
        if let Some(ours) = weak.bind(py).upgrade_as::<EventLoop>()? {
            // A loop of another thread may refuse, which is not there any more.
            let _ = ours.get().end_forked(py);
        }
    }
    Ok(())
}

/// The one that was asked for last: most programs have no other. Locked as [`LOOPS`] is.
static LAST: Mutex<Option<Last>> = Mutex::new(None);

struct Last {
    ours: Py<PyWeakrefReference>,
    /// While a thread has it, the loop is that thread's running one. It keeps the loop, and so it is held no longer than
    /// to the loop's next turn for what has come.
    mark: Option<Py<PyAny>>,
}

fn last() -> MutexGuard<'static, Option<Last>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets go of the loop that was asked for last.
pub(crate) fn let_go() {
    let mark = last().as_mut().and_then(|last| last.mark.take());
    // Not under the lock: it may be the last that keeps the loop.
    drop(mark);
}

/// The running loop's.
pub(crate) fn running(py: Python<'_>) -> PyResult<Bound<'_, EventLoop>> {
    match marked(py)? {
        Some(ours) if ours.get().is_here() => Ok(ours),
        _ => ask(py),
    }
}

/// The one that was asked for last, if this thread shows that it is the running one still.
fn marked(py: Python<'_>) -> PyResult<Option<Bound<'_, EventLoop>>> {
    let last = last();
    let Some(Last { ours, mark: Some(mark) }) = &*last else { return Ok(None) };
    if !mark::of_this_thread(py).is_some_and(|here| here.is(mark)) {
        return Ok(None);
    }
    ours.bind(py).upgrade_as::<EventLoop>()
}

/// The running one, as asyncio says.
fn ask(py: Python<'_>) -> PyResult<Bound<'_, EventLoop>> {
    static GET_RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let event_loop = GET_RUNNING.import(py, "asyncio", "get_running_loop")?.call0()?;
    let known = last().as_ref().map_or(Ok(None), |last| last.ours.bind(py).upgrade_as::<EventLoop>())?;
    let ours = match known {
        Some(ours) if ours.get().is_of(&event_loop) && ours.get().is_here() => ours,
        _ => find(&event_loop)?,
    };
    let asked = Last {
        ours: PyWeakrefReference::new(&ours)?.unbind(),
        mark: mark::of_this_thread(py).map(|mark| mark.to_owned().unbind()),
    };
    let before = last().replace(asked);
    drop(before);
    Ok(ours)
}

/// That of any loop, by its attribute; made, if it has none yet.
#[cold]
fn find<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, EventLoop>> {
    let known = match event_loop.getattr_opt(intern!(event_loop.py(), "_failsoft_reads"))? {
        Some(weak) => weak.cast_into::<PyWeakrefReference>()?.upgrade_as::<EventLoop>()?,
        None => None,
    };
    match known {
        Some(ours) if ours.get().is_here() => Ok(ours),
        _ => EventLoop::attach(event_loop),
    }
}
