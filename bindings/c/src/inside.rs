//! Which callbacks the current thread is inside of: by them a read of the key that is being loaded is recognised, and
//! a close that would wait for itself.

use crate::fork::{InChild, Process};
use crate::status::{Failure, Status};
use failsoft::foreign::Parent;
use std::cell::RefCell;
use std::ffi::c_int;

/// One callback.
struct Frame {
    /// The router's address: it stays where it is as long as one of its callbacks runs.
    router: usize,
    /// Of a loader, its load.
    load: Option<Parent>,
}

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// The thread is inside of a callback, or of several that it calls one after the other: what that takes is done once for
/// all of them.
pub(crate) struct Inside {
    process: Process,
    /// Ends after the frame does.
    _not_cancelled: NotCancelled,
}

impl Inside {
    /// Of callbacks of the router at this address.
    pub(crate) fn new(router: usize) -> Self {
        Self::of(Frame { router, load: None })
    }

    /// Of a loader, for this load.
    pub(crate) fn loader(router: usize, load: Parent) -> Self {
        Self::of(Frame { router, load: Some(load) })
    }

    fn of(frame: Frame) -> Self {
        let inside = Self { process: Process::current(), _not_cancelled: NotCancelled::new() };
        FRAMES.with_borrow_mut(|frames| frames.push(frame));
        inside
    }

    /// To be looked at after each callback, before anything else. An error: it has forked, and returned in the child.
    pub(crate) fn check(&self) -> Result<(), InChild> {
        self.process.check()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        FRAMES.with_borrow_mut(|frames| drop(frames.pop()));
    }
}

/// A thread that is cancelled unwinds its stack, and there are frames of ours outside the callback, which may hold locks
/// and catch panics: until they are left, it is not cancelled.
struct NotCancelled(c_int);

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// `PTHREAD_CANCEL_DISABLE` of glibc and musl.
const DISABLED: c_int = 1;

impl NotCancelled {
    fn new() -> Self {
        let mut before = DISABLED;
        // SAFETY: it writes one number. With a state that exists it cannot fail.
        unsafe { pthread_setcancelstate(DISABLED, &raw mut before) };
        Self(before)
    }
}

impl Drop for NotCancelled {
    fn drop(&mut self) {
        let mut unused = 0;
        // SAFETY: as above; this is no point at which a cancelled thread ends.
        unsafe { pthread_setcancelstate(self.0, &raw mut unused) };
    }
}

/// The load that the thread is inside of: that of the innermost loader, whatever other callbacks it has called by
/// dispatching. It cannot go on before they return.
pub(crate) fn load() -> Option<Parent> {
    FRAMES.with_borrow(|frames| frames.iter().rev().find_map(|frame| frame.load.clone()))
}

/// For a call that this thread waits for: the loads of all loaders that stand on it. By dispatching, one may have
/// called another that it does not wait for.
pub(crate) fn loads() -> Option<Parent> {
    FRAMES.with_borrow(|frames| {
        let loads = frames.iter().filter_map(|frame| frame.load.clone());
        loads.reduce(|beneath, load| load.on_top_of(&beneath))
    })
}

/// An error if the thread is inside a callback of this router.
pub(crate) fn check_outside(router: usize) -> Result<(), Failure> {
    if FRAMES.with_borrow(|frames| frames.iter().any(|frame| frame.router == router)) {
        return Err(Failure::new(Status::FAILSOFT_MISUSE, "a router cannot be closed inside one of its callbacks"));
    }
    Ok(())
}
