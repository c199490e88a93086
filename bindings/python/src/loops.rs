//! Which event loops of the process have reads, and how those of the running one are found.

use crate::event_loop::EventLoop;
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
static LAST: Mutex<Option<Py<PyWeakrefReference>>> = Mutex::new(None);

fn last() -> MutexGuard<'static, Option<Py<PyWeakrefReference>>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running loop's.
pub(crate) fn running(py: Python<'_>) -> PyResult<Bound<'_, EventLoop>> {
    static GET_RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let event_loop = GET_RUNNING.import(py, "asyncio", "get_running_loop")?.call0()?;
    let upgraded = last().as_ref().map_or(Ok(None), |weak| weak.bind(py).upgrade_as::<EventLoop>())?;
    match upgraded {
        Some(ours) if ours.get().is_of(&event_loop) && ours.get().is_here() => Ok(ours),
        _ => find(&event_loop),
    }
}

/// That of any loop, by its attribute; made, if it has none yet.
#[cold]
fn find<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, EventLoop>> {
    let known = match event_loop.getattr_opt(intern!(event_loop.py(), "_failsoft_reads"))? {
        Some(weak) => weak.cast_into::<PyWeakrefReference>()?.upgrade_as::<EventLoop>()?,
        None => None,
    };
    let ours = match known {
        Some(ours) if ours.get().is_here() => ours,
        _ => EventLoop::attach(event_loop)?,
    };
    let before = last().replace(PyWeakrefReference::new(&ours)?.unbind());
    drop(before);
    Ok(ours)
}
