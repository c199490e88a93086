//! The runtime of the bindings, one for a process, and the processes themselves: after a fork the child
//! has none of its parent's threads.

use crate::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::{Builder, Handle, Runtime};

/// How many forks lie between the process that loaded the library and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The runtime, and the process that its thread is in.
static RUNTIME: Mutex<Option<(u32, Arc<Runtime>)>> = Mutex::new(None);

/// To be called first in a forked child, by the hook that the language has for that: from then on the
/// parent's routers say [`Error::Forked`], and new ones get a runtime of their own.
pub fn after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// How often [`after_fork`] was called in this process and those it was forked from.
pub fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// The process in which something was made, with its runtime.
pub(super) struct Process {
    forks: u32,
    handle: Handle,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("forks", &self.forks).finish_non_exhaustive()
    }
}

impl Process {
    /// This process; its runtime is started if it has none yet.
    pub(super) fn current() -> Result<Self, Error> {
        let forks = forks();
        let mut held = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made_in, runtime)) = &*held
            && *made_in == forks
        {
            return Ok(Self { forks, handle: runtime.handle().clone() });
        }
        let runtime = Arc::new(without_signals(start)?);
        let handle = runtime.handle().clone();
        // Dropping the parent's would wait for threads that do not exist here.
        std::mem::forget(held.replace((forks, runtime)));
        Ok(Self { forks, handle })
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.handle
    }

    /// Whether it is still this process.
    pub(super) fn check(&self) -> Result<(), Error> {
        if forks() == self.forks { Ok(()) } else { Err(Error::Forked) }
    }
}

fn start() -> Result<Runtime, Error> {
    let lacks = |lacks| move |why| Error::System { lacks, why: Arc::new(why) };
    // The runtime panics where it gets no thread, so one is asked for before.
    let tried = std::thread::Builder::new().spawn(|| ()).map_err(lacks("thread"))?;
    // It has nothing to panic with.
    let _ = tried.join();
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("failsoft").enable_all().build();
    runtime.map_err(lacks("descriptor"))
}

/// Starts threads that take no signals, and neither do the threads that these start: signals are for the program's
/// own threads, which may have them blocked to take them from a descriptor.
#[cfg(unix)]
pub fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    use nix::sys::signal::{SigSet, SigmaskHow};
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let started = start();
    // What this thread blocked before, it blocks again; where the mask cannot be set, it was not changed either.
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    started
}

/// There are no signals here.
#[cfg(not(unix))]
pub fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    start()
}
