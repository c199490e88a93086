//! What shows that a thread still runs the event loop that it ran before, without asking asyncio for it.
//!
//! Before 3.12 asyncio asks the system for the process's number each time that it is asked for the running loop, and
//! that may take as long as all else in the call of a read. `_asyncio` notes the running loop in a dictionary of the
//! thread: up to 3.11 by an object made anew whenever a loop begins or ends to run there, in 3.12 by the loop itself.
//! In either case the same object means the same loop. Later versions note nothing there, and answer quickly.

// The dictionary is not in PyO3's own interface.
#![allow(unsafe_code)]

use pyo3::prelude::*;
use pyo3::{Borrowed, ffi, intern};

/// What is noted for this thread, if anything is.
pub(crate) fn of_this_thread(py: Python<'_>) -> Option<Borrowed<'_, '_, PyAny>> {
    let name = intern!(py, "__asyncio_running_event_loop__");
    // SAFETY: `py` shows that this thread has a state, which keeps the dictionary, which keeps what is found there until
    // Python code runs. Without one, or with a failure, it is null.
    let noted = unsafe {
        let thread = ffi::PyThreadState_GetDict();
        if thread.is_null() {
            return None;
        }
        Borrowed::from_ptr_or_opt(py, ffi::PyDict_GetItemWithError(thread, name.as_ptr()))
    };
    if noted.is_none() {
        // It is no failure if nothing is there.
        drop(PyErr::take(py));
    }
    noted
}
