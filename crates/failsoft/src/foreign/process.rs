//! The runtime of the bindings, one for each process, and forks: a forked child has none of its parent's threads.

use crate::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::{Builder, Handle, Runtime};

/// How many forks there were between the process that loaded the library and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The runtime, and the number of forks before the process that its thread is in.
static RUNTIME: Mutex<Option<(u32, Arc<Runtime>)>> = Mutex::new(None);

/// To be called before anything else in a forked child, by the language's hook for that. From then on calls with the
/// parent's routers give [`Error::Forked`], and new routers get a runtime of their own.
pub fn after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// How often [`after_fork`] was called in this process and those it was forked from.
pub fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// The process in which an object was made, and its runtime.
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
    /// This process. Starts its runtime if there is none yet.
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
        // Dropping the parent's runtime would wait for threads that do not exist here.
        std::mem::forget(held.replace((forks, runtime)));
        Ok(Self { forks, handle })
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.handle
    }

    /// Fails in a process forked from that one.
    #[inline]
    pub(super) fn check(&self) -> Result<(), Error> {
        if forks() == self.forks { Ok(()) } else { Err(Error::Forked) }
    }
}

fn start() -> Result<Runtime, Error> {
    let lacks = |lacks| move |why| Error::System { lacks, why: Arc::new(why) };
    // The runtime panics if it gets no thread, so this tries to start one first.
    let tried = std::thread::Builder::new().spawn(|| ()).map_err(lacks("thread"))?;
    // An empty thread does not panic.
    let _ = tried.join();
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("failsoft").enable_all().build();
    runtime.map_err(lacks("descriptor"))
}

/// Runs `start` with all signals blocked, so that the threads it starts take none, and the threads that these start.
/// Signals are for the program's own threads, which may have blocked them to read them from a descriptor.
#[cfg(unix)]
pub fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    use nix::sys::signal::{SigSet, SigmaskHow};
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let started = start();
    // Restores this thread's mask; if it could not be set, it has not changed.
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
