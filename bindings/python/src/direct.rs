//! Calls of a method without a bound method and a tuple of arguments made for each: for what is called at every read.

// `PyObject_VectorcallMethod` is in every Python since 3.9, in the limited interface since 3.12 alone.
#![allow(unsafe_code)]

use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::PyString;

unsafe extern "C" {
    fn PyObject_VectorcallMethod(
        name: *mut PyObject,
        arguments: *const *mut PyObject,
        count: usize,
        names: *mut PyObject,
    ) -> *mut PyObject;
}

/// `object.name(argument)`, or without an argument.
pub(crate) fn method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    argument: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = [object.as_ptr(), argument.map_or(std::ptr::null_mut(), Bound::as_ptr)];
    let count = 1 + usize::from(argument.is_some());
    // SAFETY: all are objects that are held here, and `object` shows that the lock is; it gives a new reference, or null
    // and an exception that is set.
    unsafe {
        let result = PyObject_VectorcallMethod(name.as_ptr(), arguments.as_ptr(), count, std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(object.py(), result)
    }
}
