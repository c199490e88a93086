//! Buffers, texts and handles that C passes as pointers, checked as far as pointers can be.

use crate::status::Failure;
use std::ffi::{CStr, c_char};

/// The bytes of an argument. NULL is allowed if the length is 0.
///
/// # Safety
/// Unless it is NULL, `data` has to point to `length` bytes that nobody changes while the result is used.
pub(crate) unsafe fn bytes<'a>(name: &str, data: *const u8, length: usize) -> Result<&'a [u8], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Failure::null(name));
    }
    if isize::try_from(length).is_err() {
        return Err(Failure::argument(name, &format!("{length} bytes are more than there can be")));
    }
    // SAFETY: it is not NULL, and the caller guarantees the rest.
    Ok(unsafe { std::slice::from_raw_parts(data, length) })
}

/// The text of an argument.
///
/// # Safety
/// Unless it is NULL, `text` has to point to a text that ends with a NUL and that nobody changes meanwhile.
pub(crate) unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::null(name));
    }
    // SAFETY: it is not NULL, and the caller guarantees the rest.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Failure::argument(name, "is not UTF-8"))
}

/// A handle that must not be NULL.
pub(crate) fn needed<'a, T: ?Sized>(name: &str, handle: Option<&'a T>) -> Result<&'a T, Failure> {
    handle.ok_or_else(|| Failure::null(name))
}
