//! Outcomes collected under a connection's lock and delivered after it is released.

use super::resp::Reply;
use failsoft_policy::connection::{Deliver, Failure};
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

pub(crate) type Outcome = Result<Reply, Failure>;

/// Who made a request.
pub(super) enum Caller {
    /// A future: its outcome lies ready, and it is woken if it asked before.
    Waiting(Option<Waker>),
    /// Takes the outcome by itself.
    Sink(Arc<dyn Sink>),
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting(_) => "Waiting",
            Self::Sink(_) => "Sink",
        })
    }
}

/// Takes the outcome of a request by itself, without a task that waits for it. It is called on the I/O thread, or on
/// the thread that ends the connection, which may hold the lock of the policy's knowledge then: it must not block, and
/// may take that lock for a reply only.
pub(crate) trait Sink: Send + Sync {
    /// The request's one outcome. A task that is to be woken for it goes into `wakers`: once for a whole batch of replies.
    fn told(self: Arc<Self>, outcome: Outcome, wakers: &mut Vec<Waker>);
}

/// Filled under the lock, delivered after it.
#[derive(Default)]
pub(super) struct Notices {
    wakers: Vec<Waker>,
    sinks: Vec<(Arc<dyn Sink>, Outcome)>,
}

impl Deliver<Caller, Reply> for Notices {
    #[inline]
    fn wakes(&mut self, caller: &mut Caller) -> bool {
        let Caller::Waiting(waker) = caller else { return false };
        self.wakers.extend(waker.take());
        true
    }

    #[inline]
    fn deliver(&mut self, caller: Caller, outcome: Outcome) {
        if let Caller::Sink(sink) = caller {
            self.sinks.push((sink, outcome));
        }
    }
}

impl Notices {
    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Delivers everything; nothing is left then.
    pub(super) fn deliver_all(&mut self) {
        for (sink, outcome) in self.sinks.drain(..) {
            sink.told(outcome, &mut self.wakers);
        }
        self.wakers.drain(..).for_each(Waker::wake);
    }
}
