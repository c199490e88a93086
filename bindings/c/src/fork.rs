//! After a fork the child has none of its parent's threads: the core learns of it before anything else runs there. A callback
//! may fork and return in the child as well. What the code outside it holds is left as it is there: its locks may be held
//! by threads that do not exist.

use crate::status::Failure;
use failsoft::Error;
use failsoft::foreign::forks;
use std::sync::Once;

extern "C" fn in_child() {
    failsoft::foreign::after_fork();
}

/// Every child that is forked from now on knows that it is one.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function takes nothing and does nothing but add to an atomic number, which is allowed there. The
        // library is never unloaded (`-z nodelete`). It fails only without memory; then a child is not recognised.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// The process in which something was made.
#[derive(Clone, Copy)]
pub(crate) struct Process(u32);

/// This process is a child of the one in which something was made: it is not to be touched.
#[derive(Debug)]
pub(crate) struct InChild;

impl Process {
    pub(crate) fn current() -> Self {
        Self(forks())
    }

    pub(crate) fn check(self) -> Result<(), InChild> {
        if self.0 == forks() { Ok(()) } else { Err(InChild) }
    }
}

impl From<InChild> for Failure {
    fn from(InChild: InChild) -> Self {
        Error::Forked.into()
    }
}
