//! Calls of Python code that may be where its thread is ended.
//!
//! When the interpreter ends, it ends daemon threads as soon as they take its lock again, which Python code does all the
//! time: before 3.14 by `pthread_exit`, and glibc does that by unwinding the stack. Rust frames below cannot be unwound
//! so: the process would be aborted. Such a thread is stopped here instead, for the little that is left of the process,
//! as 3.14 does by itself, and as PyO3 does where it takes the lock.

// To unwind as far as the guard, the function has to be declared as one that may.
#![allow(unsafe_code)]

use pyo3::BoundObject;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

unsafe extern "C-unwind" {
    fn PyObject_CallObject(callable: *mut PyObject, arguments: *mut PyObject) -> *mut PyObject;
}

/// Stops the thread that unwinds through it.
struct Stop;

impl Drop for Stop {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// Calls what may run Python code.
pub(crate) fn call<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: impl IntoPyObject<'py, Target = PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callable.py();
    let arguments = arguments.into_pyobject(py).map_err(Into::into)?;
    let stop = Stop;
    // SAFETY: both are objects that are held here, the second a tuple, and `py` shows that the lock is.
    let result = unsafe { PyObject_CallObject(callable.as_ptr(), arguments.as_borrowed().as_ptr()) };
    std::mem::forget(stop);
    // SAFETY: it gives a new reference, or null and an exception that is set.
    unsafe { Bound::from_owned_ptr_or_err(py, result) }
}

/// Calls a method that may run Python code.
pub(crate) fn method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    arguments: impl IntoPyObject<'py, Target = PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    call(&object.getattr(name)?, arguments)
}
