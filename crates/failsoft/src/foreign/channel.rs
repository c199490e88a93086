//! Where completions wait for their consumer: an event loop, or a thread that blocks.

use super::run::Run;
use crate::account::ReadEnd;
use crate::error::Error;
use crate::outcome::Outcome;
use crate::shared::Shared;
use bytes::Bytes;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// What happened to something that was started.
#[derive(Debug)]
pub enum Completion {
    /// A read ended: the last of its token.
    Value {
        /// Whose.
        token: u64,
        /// The value; none if the key does not exist.
        result: Result<Option<Bytes>, Error>,
    },
    /// A read with an account ended: the last of its token.
    Outcome {
        /// Whose.
        token: u64,
        /// Its account.
        result: Result<Outcome, Error>,
    },
    /// A read of many keys ended: the last of its token.
    Many {
        /// Whose.
        token: u64,
        /// One for each key, in their order.
        result: Result<Vec<Result<Outcome, Error>>, Error>,
    },
    /// A write, `ready` or `close` ended: the last of its token.
    Done {
        /// Whose.
        token: u64,
        /// How.
        result: Result<(), Error>,
    },
    /// It was cancelled: the last of its token.
    Cancelled {
        /// Whose.
        token: u64,
    },
    /// From now on the read waits for a load, its own or another caller's: a caller that goes away now
    /// has to [cancel](super::Pending::cancel) it, or the load goes on for nobody.
    ///
    /// It is for languages where hearing that a caller goes away costs something at each call, as it does with the
    /// Futures of asyncio, which take a callback for that: most reads end before, and are spared it. Where it
    /// costs nothing, a channel [without it](Channel::without_loading) is simpler.
    Loading {
        /// Whose.
        token: u64,
    },
    /// The token's callback is to be run.
    Run(Run),
    /// Nobody waits for this run any more: it is to be stopped, and its answer counts for nothing.
    Stop {
        /// [`Run::id`].
        id: u64,
    },
}

/// A queue of completions for one consumer. It is bounded by what the consumer starts: each token has at
/// most four completions. Cheap to lock: nobody holds the lock while doing anything else.
pub struct Channel {
    queue: Mutex<Queue>,
    wake: Box<dyn Fn() + Send + Sync>,
    tells_loading: bool,
}

#[derive(Default)]
struct Queue {
    completions: Vec<Completion>,
    closed: bool,
}

impl Queue {
    /// Whether it was empty before.
    fn add(&mut self, completion: Completion) -> bool {
        let first = self.completions.is_empty();
        self.completions.push(completion);
        first
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("queued", &self.lock().completions.len()).finish_non_exhaustive()
    }
}

impl Channel {
    /// A channel whose consumer is woken by `wake`: it is called on the I/O thread when the first
    /// completion comes after the channel was empty, and must not block.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), wake: Box::new(wake), tells_loading: true })
    }

    /// The same for a consumer that cancels whatever its callers give up, and is not to be woken to hear
    /// [`Completion::Loading`].
    pub fn without_loading(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), wake: Box::new(wake), tells_loading: false })
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.lock().completions.is_empty()
    }

    /// Takes all that is there. `batch` should be empty; its room is used for the next completions.
    pub fn drain(&self, batch: &mut Vec<Completion>) {
        std::mem::swap(&mut self.lock().completions, batch);
    }

    /// The consumer is gone: nothing more is taken, and what is there is dropped. Its callbacks are
    /// taken over by other callers who wait.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let left = std::mem::take(&mut queue.completions);
        drop(queue);
        drop(left);
    }

    pub(super) fn push(&self, completion: Completion) {
        if self.add(completion) {
            (self.wake)();
        }
    }

    /// From now on the read of this token waits for a load.
    pub(super) fn push_loading(&self, token: u64) {
        if self.tells_loading {
            self.push(Completion::Loading { token });
        }
    }

    /// Adds a completion; whether the consumer is to be woken for it.
    fn add(&self, completion: Completion) -> bool {
        let mut queue = self.lock();
        if queue.closed {
            drop(queue);
            drop(completion);
            return false;
        }
        queue.add(completion)
    }

    /// Adds a run, unless its call is over: its token may be another call's by now. It is dropped then.
    pub(super) fn push_run(&self, run: Run) {
        let mut queue = self.lock();
        if queue.closed || run.call_is_over() {
            drop(queue);
            return drop(run);
        }
        let first = queue.add(Completion::Run(run));
        drop(queue);
        if first {
            (self.wake)();
        }
    }

    /// What sees to it that a token gets its final completion.
    pub(super) fn ending(self: &Arc<Self>, token: u64) -> Ending {
        Ending { channel: Arc::clone(self), token, over: None, completed: false }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As a waker, a channel wakes its consumer.
impl Wake for Channel {
    fn wake(self: Arc<Self>) {
        (self.wake)();
    }
}

/// A final completion that has no token yet.
pub(super) enum Final {
    Value(Result<Option<Bytes>, Error>),
    Outcome(Result<Outcome, Error>),
    Many(Result<Vec<Result<Outcome, Error>>, Error>),
    Done(Result<(), Error>),
}

impl Final {
    /// Of one key: with its account, or the value alone.
    pub(super) fn of_read(end: ReadEnd, shared: &Shared, account: bool) -> Self {
        if account { Self::Outcome(end.into_outcome(shared)) } else { Self::Value(end.into_value(shared)) }
    }

    fn of(self, token: u64) -> Completion {
        match self {
            Self::Value(result) => Completion::Value { token, result },
            Self::Outcome(result) => Completion::Outcome { token, result },
            Self::Many(result) => Completion::Many { token, result },
            Self::Done(result) => Completion::Done { token, result },
        }
    }
}

/// Completes a token when it is told to, or when it is dropped with the task that it is in.
pub(super) struct Ending {
    channel: Arc<Channel>,
    token: u64,
    /// Shared with the call's runs; made when the first one is asked for.
    over: Option<Arc<AtomicBool>>,
    completed: bool,
}

/// Where the callback of a call is asked for.
#[derive(Clone)]
pub(super) struct Callee {
    pub(super) channel: Arc<Channel>,
    pub(super) token: u64,
    /// The call has ended, or is about to: no run of it is put into the channel any more.
    pub(super) over: Arc<AtomicBool>,
}

impl Ending {
    pub(super) fn complete(mut self, end: Final) {
        self.end();
        self.channel.push(end.of(self.token));
    }

    /// The same as one of several: what wakes the consumer goes into `wakers`.
    pub(super) fn complete_with(mut self, end: Final, wakers: &mut Vec<Waker>) {
        self.end();
        if self.channel.add(end.of(self.token)) {
            wakers.push(Arc::clone(&self.channel).into());
        }
    }

    /// Where the call's callback is asked for, until it ends.
    pub(super) fn callee(&mut self) -> Callee {
        let over = Arc::clone(self.over.get_or_insert_default());
        Callee { channel: Arc::clone(&self.channel), token: self.token, over }
    }

    /// Comes before the final completion is put into the channel.
    fn end(&mut self) {
        self.completed = true;
        if let Some(over) = &self.over {
            over.store(true, Ordering::Release);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.completed {
            self.end();
            self.channel.push(Completion::Cancelled { token: self.token });
        }
    }
}
