//! Which interpreter of the process loads the extension: the first one alone.
//!
//! Its types and what it keeps are the process's, and the I/O thread hands over to the interpreter that a thread without
//! a state of its own gets, which is the first. PyO3 checks no more than submodules.

// The id of an interpreter is in Python's C interface alone.
#![allow(unsafe_code)]

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// An `ImportError` in any other one.
pub(crate) fn check(py: Python<'_>) -> PyResult<()> {
    // SAFETY: `py` shows that an interpreter is attached, whose state the first gives and the second takes.
    let id = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    match id {
        0 => Ok(()),
        -1 => Err(PyErr::fetch(py)),
        id => Err(PyImportError::new_err(format!(
            "failsoft works in the main interpreter of a process alone; this is subinterpreter {id}"
        ))),
    }
}
