//! Forks. A child has none of its parent's threads, and the core is told before anything else runs in the child.
//!
//! A callback may fork, and return in the child as well. The frames around it then leave what they hold untouched in
//! the child: locks in it may be held by threads that do not exist there.

use crate::status::Failure;
use failsoft::Error;
use failsoft::foreign::forks;
use std::sync::Once;

extern "C" fn in_child() {
    failsoft::foreign::after_fork();
}

/// From now on every forked child knows that it is one.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function takes no argument and only adds to an atomic number, which is allowed in a forked child.
        // The library is never unloaded (`-z nodelete`). It fails only without memory; children are not recognised then.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// The process in which an object was made.
#[derive(Clone, Copy)]
pub(crate) struct Process(u32);

/// This process is a child of the one in which the object was made, and must not touch it.
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
