//! The delivery `threads`: one thread calls the functions at the end of calls, and others call loaders, so that a
//! loader that blocks delays no outcome.

use crate::inside::Inside;
use crate::load::{Callback, Load};
use crate::router::Router;
use failsoft::foreign::{Bell, without_signals};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The most threads that call loaders of one router. One is started when a load finds none idle, and stays until the
/// router is closed. Further loads wait in line, at most one for each read under way; their `load_timeout` runs
/// meanwhile.
const LOADERS: usize = 64;

/// A load that waits for a thread.
struct Waiting {
    token: u64,
    callback: Callback,
    load: Load,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    /// No more loads are taken from the line.
    held: bool,
    closed: bool,
}

/// Shared by the threads that call loaders.
struct Loaders {
    line: Mutex<Line>,
    /// How many loads wait, readable without the lock.
    length: AtomicUsize,
    changed: Condvar,
}

/// See the module.
pub(crate) struct Threads {
    bell: Arc<Bell>,
    stopped: AtomicBool,
    outcomes: Mutex<Option<JoinHandle<()>>>,
    loaders: Arc<Loaders>,
}

impl Threads {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        let loaders = Loaders { line: Mutex::default(), length: AtomicUsize::new(0), changed: Condvar::new() };
        Self { bell, stopped: AtomicBool::new(false), outcomes: Mutex::default(), loaders: Arc::new(loaders) }
    }

    /// Starts the thread that delivers.
    pub(crate) fn start(&self, router: &Arc<Router>) -> std::io::Result<()> {
        let router = Arc::clone(router);
        let thread = start_thread(move || {
            let mut batch = Vec::new();
            while let Some(threads) = router.threads().filter(|t| !t.stopped.load(Ordering::Acquire)) {
                threads.bell.wait(None);
                router.drain(&mut batch);
                let inside = Inside::new(router.address());
                let mut come = batch.drain(..);
                while let Some(completion) = come.next() {
                    if router.deliver(completion, &inside).is_err() {
                        std::mem::forget(come);
                        return;
                    }
                }
            }
        })?;
        *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// Gives a loader to a thread. If there is no thread for it, the load is dropped: the loader of another caller
    /// takes over, who may be waiting on a thread of the program. The last caller gets an error that says why.
    pub(crate) fn load(&self, router: usize, token: u64, callback: Callback, load: Load) {
        let mut line = self.loaders.lock();
        if line.closed {
            return;
        }
        if !line.held && line.idle <= line.waiting.len() && line.threads.len() < LOADERS {
            let loaders = Arc::clone(&self.loaders);
            match start_thread(move || loaders.work(router)) {
                Ok(thread) => line.threads.push(thread),
                Err(_) if line.threads.is_empty() => return,
                Err(_) => {}
            }
        }
        line.waiting.push_back(Waiting { token, callback, load });
        self.loaders.length.store(line.waiting.len(), Ordering::Release);
        drop(line);
        self.loaders.changed.notify_one();
    }

    /// Loaders that have not been called yet will not be: the router is closing, and their reads end without them.
    pub(crate) fn hold(&self) {
        self.loaders.lock().held = true;
    }

    /// Takes loads of a read that has ended out of the line.
    pub(crate) fn withdraw_read(&self, token: u64) {
        self.loaders.withdraw(|waiting| waiting.token == token);
    }

    /// Takes a load that nobody waits for out of the line.
    pub(crate) fn withdraw_load(&self, id: u64) {
        self.loaders.withdraw(|waiting| waiting.load.id() == id);
    }

    /// Ends all threads and waits for them, and so for the callbacks that are running.
    pub(crate) fn stop(&self) {
        let mut line = self.loaders.lock();
        line.closed = true;
        let (left, threads) = (std::mem::take(&mut line.waiting), std::mem::take(&mut line.threads));
        drop(line);
        drop(left);
        self.loaders.changed.notify_all();
        self.stopped.store(true, Ordering::Release);
        self.bell.ring();
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).take();
        for thread in threads.into_iter().chain(outcomes) {
            // An error would mean that the thread panicked; it has ended all the same.
            let _ = thread.join();
        }
    }
}

/// Starts a thread that takes no signals: those are for the program's own threads.
fn start_thread(run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    without_signals(|| std::thread::Builder::new().name("failsoft-c".to_owned()).spawn(run))
}

impl Loaders {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, router: usize) {
        while let Some(Waiting { callback, load, .. }) = self.next() {
            if callback.call(router, load).is_err() {
                return;
            }
        }
    }

    /// The next load; none when the router is closed.
    fn next(&self) -> Option<Waiting> {
        let mut line = self.lock();
        loop {
            if line.closed {
                return None;
            }
            if !line.held
                && let Some(waiting) = line.waiting.pop_front()
            {
                self.length.store(line.waiting.len(), Ordering::Release);
                return Some(waiting);
            }
            line.idle += 1;
            line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
            line.idle -= 1;
        }
    }

    fn withdraw(&self, ended: impl Fn(&Waiting) -> bool) {
        if self.length.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut line = self.lock();
        let (gone, left) = std::mem::take(&mut line.waiting).into_iter().partition(ended);
        line.waiting = left;
        self.length.store(line.waiting.len(), Ordering::Release);
        drop(line);
        let gone: VecDeque<Waiting> = gone;
        // Dropped outside the lock: dropping a load tells others who wait for it.
        drop(gone);
    }
}
