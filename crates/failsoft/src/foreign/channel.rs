//! The queue in which completions wait for their consumer: an event loop, or a thread that blocks.

use super::run::Run;
use crate::account::{self, ReadEnd};
use crate::driver::Served;
use crate::error::Error;
use crate::history::LastInvalidation;
use crate::outcome::Outcome;
use crate::shared::Shared;
use bytes::Bytes;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// News of a call that was started.
#[derive(Debug)]
pub enum Completion {
    /// A read has ended: the last completion of its token.
    Value {
        /// The call's token.
        token: u64,
        /// The value; none if the key does not exist.
        result: Result<Option<Bytes>, Error>,
    },
    /// A read whose outcome was asked for has ended: the last completion of its token.
    Outcome {
        /// The call's token.
        token: u64,
        /// The outcome.
        result: Result<Outcome, Error>,
    },
    /// A read of many keys has ended: the last completion of its token.
    Many {
        /// The call's token.
        token: u64,
        /// One result for each key, in the order of the keys.
        result: Result<Vec<Result<Outcome, Error>>, Error>,
    },
    /// A write, `ready` or `close` has ended: the last completion of its token.
    Done {
        /// The call's token.
        token: u64,
        /// How it ended.
        result: Result<(), Error>,
    },
    /// The question after a key's last invalidation has ended: the last completion of its token.
    Last {
        /// The call's token.
        token: u64,
        /// The invalidation; none if there is no record of any.
        result: Result<Option<LastInvalidation>, Error>,
    },
    /// A question whose answer is yes or no has ended: the last completion of its token.
    Said {
        /// The call's token.
        token: u64,
        /// The answer.
        result: Result<bool, Error>,
    },
    /// The call was cancelled: the last completion of its token.
    Cancelled {
        /// The call's token.
        token: u64,
    },
    /// A read has its answer, but its call goes on, since its callback is wanted for something else (an early refresh, or to
    /// compare): its caller gets what is in here, a [`Value`](Self::Value) or an [`Outcome`](Self::Outcome) of the same token.
    /// `Done` is the last completion of the token, or `Cancelled`.
    Served(Box<Completion>),
    /// From now on the read waits for a load, its own or another caller's. If its caller goes away, the read has to be
    /// [cancelled](super::Pending::cancel), or the load continues for nobody.
    ///
    /// This is for languages in which it costs something for each call to notice that the caller goes away, as
    /// asyncio's Futures need a callback for it. Most reads end before this, and save that cost. Where there is no such
    /// cost, a channel [without it](Channel::without_loading) is simpler.
    Loading {
        /// The call's token.
        token: u64,
    },
    /// The callback of a call is to be run.
    Run(Run),
    /// Nobody waits for this run any more: it should be stopped, and its answer would be ignored.
    Stop {
        /// [`Run::id`].
        id: u64,
    },
}

/// A queue of completions for one consumer. Its length is bounded by what the consumer starts: each token has at most
/// five completions. Its lock is held only for a moment, never while anything else is done.
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
    /// Adds a completion, and tells whether the queue was empty before.
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
    /// A channel whose consumer is woken by `wake`, which must not block. It is called when a completion comes while the
    /// channel is empty, on the I/O thread or on a thread that cancels a call.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), wake: Box::new(wake), tells_loading: true })
    }

    /// The same for a consumer that cancels every call whose caller goes away, and so is not woken for
    /// [`Completion::Loading`].
    pub fn without_loading(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), wake: Box::new(wake), tells_loading: false })
    }

    /// Whether there are no completions.
    pub fn is_empty(&self) -> bool {
        self.lock().completions.is_empty()
    }

    /// Takes all completions. `batch` should be empty; its memory is used for the next ones.
    pub fn drain(&self, batch: &mut Vec<Completion>) {
        std::mem::swap(&mut self.lock().completions, batch);
    }

    /// Tells that the consumer is gone. Completions are dropped, those that are here and those that come later. Loads
    /// whose callbacks it had to run are taken over by other callers that wait for them.
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

    /// Tells that the read of this token waits for a load from now on.
    pub(super) fn push_loading(&self, token: u64) {
        if self.tells_loading {
            self.push(Completion::Loading { token });
        }
    }

    /// Adds a completion, and tells whether the consumer has to be woken for it.
    fn add(&self, completion: Completion) -> bool {
        let mut queue = self.lock();
        if queue.closed {
            drop(queue);
            drop(completion);
            return false;
        }
        queue.add(completion)
    }

    /// Adds a run. If its call is over, it is dropped instead, since its token may belong to another call by now.
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

    /// Makes what guarantees that a token gets its final completion.
    pub(super) fn ending(self: &Arc<Self>, token: u64) -> Ending {
        Ending { channel: Arc::clone(self), token, over: None, completed: false }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Used as a waker, a channel wakes its consumer.
impl Wake for Channel {
    fn wake(self: Arc<Self>) {
        (self.wake)();
    }
}

/// A final completion without its token.
pub(super) enum Final {
    Value(Result<Option<Bytes>, Error>),
    Outcome(Result<Outcome, Error>),
    Many(Result<Vec<Result<Outcome, Error>>, Error>),
    Done(Result<(), Error>),
    Last(Result<Option<LastInvalidation>, Error>),
    Said(Result<bool, Error>),
}

impl Final {
    /// The result of a read of one key: an outcome, or the bare value.
    pub(super) fn of_read(end: ReadEnd, shared: &Shared, account: bool) -> Self {
        if account { Self::Outcome(end.into_outcome(shared)) } else { Self::Value(end.into_value(shared)) }
    }

    /// The same of one that a node served on the first attempt.
    pub(super) fn at_once(served: Served, shared: &Shared, account: bool) -> Self {
        if account {
            Self::Outcome(ReadEnd::AtOnce(served).into_outcome(shared))
        } else {
            Self::Value(Ok(Some(account::value_at_once(served, shared))))
        }
    }

    fn of(self, token: u64) -> Completion {
        match self {
            Self::Value(result) => Completion::Value { token, result },
            Self::Outcome(result) => Completion::Outcome { token, result },
            Self::Many(result) => Completion::Many { token, result },
            Self::Done(result) => Completion::Done { token, result },
            Self::Last(result) => Completion::Last { token, result },
            Self::Said(result) => Completion::Said { token, result },
        }
    }
}

/// Gives a token its final completion, at the latest when it is dropped with the task that it is in.
pub(super) struct Ending {
    channel: Arc<Channel>,
    token: u64,
    /// Shared with the call's runs; made when there may be one.
    over: Option<Arc<AtomicBool>>,
    completed: bool,
}

/// How the callback of a call is asked to run.
#[derive(Clone)]
pub(super) struct Callee {
    pub(super) channel: Arc<Channel>,
    pub(super) token: u64,
    /// Set when the call ends: no run of it is put into the channel after that.
    pub(super) over: Arc<AtomicBool>,
}

impl Ending {
    pub(super) fn complete(mut self, end: Final) {
        self.end();
        self.channel.push(end.of(self.token));
    }

    /// The same without waking the consumer at once: if it has to be woken, its waker is added to `wakers`.
    pub(super) fn complete_with(mut self, end: Final, wakers: &mut Vec<Waker>) {
        self.end();
        if self.channel.add(end.of(self.token)) {
            wakers.push(Arc::clone(&self.channel).into());
        }
    }

    /// The caller has its answer, and the call goes on.
    pub(super) fn serve(&self, end: Final) {
        self.channel.push(Completion::Served(Box::new(end.of(self.token))));
    }

    /// The same without waking the consumer at once.
    pub(super) fn serve_with(&self, end: Final, wakers: &mut Vec<Waker>) {
        if self.channel.add(Completion::Served(Box::new(end.of(self.token)))) {
            wakers.push(Arc::clone(&self.channel).into());
        }
    }

    /// How the call's callback is asked to run, until the call ends.
    pub(super) fn callee(&mut self) -> Callee {
        let over = Arc::clone(self.over.get_or_insert_default());
        Callee { channel: Arc::clone(&self.channel), token: self.token, over }
    }

    /// Has to come before the final completion is put into the channel.
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
