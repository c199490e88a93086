//! Freeing texts that the program owns, and the version.

use std::ffi::{CString, c_char};

/// Frees a text from failsoft_health. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_string_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: it comes from `CString::into_raw`, and the caller gives it back once.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// The version of the library in use, such as "0.1.0"; FAILSOFT_VERSION is that of the header. Static.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_version() -> *const c_char {
    const { concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast() }
}
