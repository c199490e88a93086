//! What a router tells an operator, on its way to Python's `logging`.
//!
//! The core tells it on its own thread, which must not wait for the interpreter: there it is put aside. It is logged
//! by the program's own threads, inside a call of the router or on a loop that has called it.

use failsoft::Event;
use failsoft::foreign::Channel;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Wake;

/// More messages than these do not wait for a program that makes no calls; the oldest go.
const MAX_MESSAGES: usize = 64;

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    /// The loops that are woken for it.
    loops: Vec<Weak<Channel>>,
}

/// The messages of one router.
pub(crate) struct Messages {
    queue: Mutex<Queue>,
    /// Whether there are any: asked at each turn of a loop.
    waiting: AtomicBool,
    number: usize,
    /// `failsoft._messages.log`. Held from the beginning: nothing is imported where a thread may be ended in it.
    log: Py<PyAny>,
}

/// The last number of a router in this process.
static ROUTERS: AtomicUsize = AtomicUsize::new(0);

impl Messages {
    pub(crate) fn new(py: Python<'_>) -> PyResult<Arc<Self>> {
        let log = py.import("failsoft._messages")?.getattr("log")?.unbind();
        // Above zero, which stands for no router.
        let number = ROUTERS.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Arc::new(Self { queue: Mutex::default(), waiting: AtomicBool::new(false), number, log }))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The core tells something.
    pub(crate) fn put(&self, event: &Event) {
        let mut queue = self.lock();
        if queue.events.len() == MAX_MESSAGES {
            queue.events.pop_front();
        }
        queue.events.push_back(event.clone());
        self.waiting.store(true, Ordering::Release);
        let loops: Vec<_> = queue.loops.iter().filter_map(Weak::upgrade).collect();
        drop(queue);
        for channel in loops {
            channel.wake();
        }
    }

    fn wakes(&self, channel: &Arc<Channel>) {
        let mut queue = self.lock();
        queue.loops.retain(|known| known.strong_count() > 0);
        queue.loops.push(Arc::downgrade(channel));
    }

    /// Logs what there is. A handler that fails is told as Python tells such things, and fails no call; what ends the
    /// program or the loop does.
    #[inline]
    pub(crate) fn log(&self, py: Python<'_>) -> PyResult<()> {
        if self.waiting.load(Ordering::Acquire) { self.log_all(py) } else { Ok(()) }
    }

    #[cold]
    fn log_all(&self, py: Python<'_>) -> PyResult<()> {
        let log = self.log.bind(py);
        self.waiting.store(false, Ordering::Relaxed);
        // A handler may call the router: nothing is locked, and what is logged here is not found there.
        let events = std::mem::take(&mut self.lock().events);
        let mut ends = Ok(());
        for event in events {
            let subjects = event.subjects.iter().map(|s| (s.node.as_ref().map(ToString::to_string), s.word));
            let logged = log.call1((event.kind.as_str(), event.count, subjects.collect::<Vec<_>>()));
            match logged {
                Ok(_) => {}
                Err(error) if error.is_instance_of::<PyException>(py) || ends.is_err() => {
                    error.write_unraisable(py, Some(log));
                }
                Err(error) => ends = Err(error),
            }
        }
        ends
    }
}

/// The routers that a loop has called: it logs their messages.
#[derive(Default)]
pub(crate) struct Heard {
    routers: Mutex<Vec<Weak<Messages>>>,
    /// The one that was called last.
    last: AtomicUsize,
}

impl Heard {
    /// A router is called: from now on its messages wake the loop.
    #[inline]
    pub(crate) fn call(&self, messages: &Arc<Messages>, channel: &Arc<Channel>) {
        if self.last.load(Ordering::Relaxed) != messages.number {
            self.last.store(messages.number, Ordering::Relaxed);
            self.other(messages, channel);
        }
    }

    #[cold]
    fn other(&self, messages: &Arc<Messages>, channel: &Arc<Channel>) {
        let mut routers = self.lock();
        routers.retain(|known| known.strong_count() > 0);
        if !routers.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(messages))) {
            routers.push(Arc::downgrade(messages));
            messages.wakes(channel);
        }
    }

    /// Logs what there is.
    pub(crate) fn log(&self, py: Python<'_>) -> PyResult<()> {
        // A handler may call a router: nothing is locked meanwhile.
        let waiting = |messages: &Arc<Messages>| messages.waiting.load(Ordering::Acquire);
        let routers: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).filter(waiting).collect();
        routers.iter().try_for_each(|messages| messages.log(py))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Messages>>> {
        self.routers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
