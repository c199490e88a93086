//! Which callbacks the current thread is inside. This is how a loader that reads its own key is recognised, and a close
//! that would wait for itself.

use crate::fork::{InChild, Process};
use crate::status::{Failure, Status};
use failsoft::foreign::Parent;
use std::cell::RefCell;
use std::ffi::c_int;

/// One callback.
struct Frame {
    /// The router's address. It cannot change while one of its callbacks runs.
    router: usize,
    /// The load, if it is a loader's.
    load: Option<Parent>,
}

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// Held while the thread is inside a callback, or calls several in a row: setting it up once is enough for all of them.
pub(crate) struct Inside {
    process: Process,
    /// Dropped after the frame has been removed.
    _not_cancelled: NotCancelled,
}

impl Inside {
    /// For callbacks of the router at this address.
    pub(crate) fn new(router: usize) -> Self {
        Self::of(Frame { router, load: None })
    }

    /// For a loader that runs this load.
    pub(crate) fn loader(router: usize, load: Parent) -> Self {
        Self::of(Frame { router, load: Some(load) })
    }

    fn of(frame: Frame) -> Self {
        let inside = Self { process: Process::current(), _not_cancelled: NotCancelled::new() };
        with_frames(|frames| frames.push(frame));
        inside
    }

    /// To be called after each callback, before anything else. An error means that the callback forked and that this is
    /// the child.
    pub(crate) fn check(&self) -> Result<(), InChild> {
        self.process.check()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        with_frames(|frames| drop(frames.pop()));
    }
}

/// A thread that is ending has lost its frames: a program may call the library in its last functions (`atexit`, the
/// destructors of globals and of a thread's own data). A loader that reads its own key is not recognised there, and ends
/// by `load_timeout`.
fn with_frames<T: Default>(look: impl FnOnce(&mut Vec<Frame>) -> T) -> T {
    FRAMES.try_with(|frames| look(&mut frames.borrow_mut())).unwrap_or_default()
}

/// Keeps the thread from being cancelled. A cancelled thread unwinds its stack, and the library's frames, which catch
/// panics and may hold locks, do not survive that. So a cancellation has to wait until they have returned.
pub(crate) struct NotCancelled(c_int);

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// `PTHREAD_CANCEL_DISABLE` of glibc and musl.
const DISABLED: c_int = 1;

impl NotCancelled {
    pub(crate) fn new() -> Self {
        let mut before = DISABLED;
        // SAFETY: it writes one number, and it cannot fail with a valid state.
        unsafe { pthread_setcancelstate(DISABLED, &raw mut before) };
        Self(before)
    }
}

impl Drop for NotCancelled {
    fn drop(&mut self) {
        let mut unused = 0;
        // SAFETY: as above. The function is not a cancellation point.
        unsafe { pthread_setcancelstate(self.0, &raw mut unused) };
    }
}

/// The load of the innermost loader that the thread is inside, whatever other callbacks that loader has called by
/// dispatching: it cannot continue before they return.
pub(crate) fn load() -> Option<Parent> {
    with_frames(|frames| frames.iter().rev().find_map(|frame| frame.load.clone()))
}

/// The loads of all loaders on this thread's stack, for a call that blocks the thread: while it waits, none of them can
/// continue, although by dispatching one may have called another whose result it does not wait for.
pub(crate) fn loads() -> Option<Parent> {
    with_frames(|frames| {
        let loads = frames.iter().filter_map(|frame| frame.load.clone());
        loads.reduce(|beneath, load| load.on_top_of(&beneath))
    })
}

/// An error if the thread is inside a callback of this router.
pub(crate) fn check_outside(router: usize) -> Result<(), Failure> {
    if with_frames(|frames| frames.iter().any(|frame| frame.router == router)) {
        return Err(Failure::new(Status::FAILSOFT_MISUSE, "a router cannot be closed inside one of its callbacks"));
    }
    Ok(())
}
