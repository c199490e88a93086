//! Threads that the interpreter ends while they are inside the extension.
//!
//! When the interpreter ends, it ends daemon threads as soon as they take its lock again, which Python code does all the
//! time, and releasing an object may be enough to run some: before 3.14 by `pthread_exit`, and glibc does that by unwinding
//! the stack. Rust frames cannot be unwound so: the process would be aborted. Such a thread is stopped here instead, for
//! the little that is left of the process, as 3.14 does by itself.

// What stops it is a cleanup handler of the C library.
#![allow(unsafe_code)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) use glibc::watch;

/// Elsewhere a thread that is ended is not unwound.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn watch() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::cell::{Cell, OnceCell, UnsafeCell};
    use std::ffi::{CStr, c_int, c_void};
    use std::ptr;
    use std::sync::OnceLock;

    /// `struct _pthread_cleanup_buffer` of `<pthread.h>`.
    #[repr(C)]
    struct Buffer {
        routine: Option<unsafe extern "C" fn(*mut c_void)>,
        argument: *mut c_void,
        cancel_type: c_int,
        previous: *mut Buffer,
    }

    type Push = unsafe extern "C" fn(*mut Buffer, unsafe extern "C" fn(*mut c_void), *mut c_void);
    type IsFinalizing = unsafe extern "C" fn() -> c_int;

    unsafe extern "C" {
        fn dlsym(library: *mut c_void, name: *const std::ffi::c_char) -> *mut c_void;
    }

    thread_local! {
        static WATCHED: Cell<bool> = const { Cell::new(false) };
        /// Freed when the thread has ended, when the C library does not use it any more.
        static BUFFER: OnceCell<Box<UnsafeCell<Buffer>>> = const { OnceCell::new() };
    }

    /// To be called before anything of Python's may run, in each thread that calls the extension.
    #[inline]
    pub(crate) fn watch() {
        if !WATCHED.get() {
            watch_this();
        }
    }

    /// A handler is run before the first frame is left that lies below its buffer. A buffer on the heap counts as below
    /// all of them.
    #[cold]
    fn watch_this() {
        WATCHED.set(true);
        let Some(push) = push() else { return };
        // In a thread that is ending already, there is no place for it.
        let _ = BUFFER.try_with(|buffer| {
            let empty = Buffer { routine: None, argument: ptr::null_mut(), cancel_type: 0, previous: ptr::null_mut() };
            let buffer = buffer.get_or_init(|| Box::new(UnsafeCell::new(empty)));
            // SAFETY: the buffer stays where it is until the thread has ended, and is used by the C library alone.
            unsafe { push(buffer.get(), stop, ptr::null_mut()) };
        });
    }

    /// Runs when the thread is being ended, which does not hold the interpreter's lock then.
    unsafe extern "C" fn stop(_: *mut c_void) {
        if is_finalizing() {
            loop {
                std::thread::park();
            }
        }
    }

    fn push() -> Option<Push> {
        static PUSH: OnceLock<Option<Push>> = OnceLock::new();
        // SAFETY: that is its type.
        *PUSH.get_or_init(|| {
            symbol(c"_pthread_cleanup_push").map(|f| unsafe { std::mem::transmute::<*mut c_void, Push>(f) })
        })
    }

    fn is_finalizing() -> bool {
        // The first is Python's since 3.13, the second that of the ones before.
        let known = symbol(c"Py_IsFinalizing").or_else(|| symbol(c"_Py_IsFinalizing"));
        // SAFETY: both have this type, and need no lock.
        known.is_none_or(|f| unsafe { std::mem::transmute::<*mut c_void, IsFinalizing>(f)() } != 0)
    }

    fn symbol(name: &CStr) -> Option<*mut c_void> {
        // SAFETY: null stands for what the whole process has.
        let found = unsafe { dlsym(ptr::null_mut(), name.as_ptr()) };
        (!found.is_null()).then_some(found)
    }
}
