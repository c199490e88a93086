//! Who is to be told of what became of their requests, once a lane's lock is let go.

use super::inflight::Outcome;
use std::sync::Arc;
use std::task::Waker;

/// Takes the outcome of a request by itself, without a task that waits for it. It is called on the I/O thread, or on
/// the thread that ends the lane, which may hold the lock of the policy's knowledge then: it must not block, and may
/// take that lock for a reply only.
pub(crate) trait Sink: Send + Sync {
    /// The request's one outcome. Whoever is to be woken for it goes into `wakers`: once for a whole batch of replies.
    fn told(self: Arc<Self>, outcome: Outcome, wakers: &mut Vec<Waker>);
}

/// Filled under the lock, told after it.
#[derive(Default)]
pub(super) struct Notices {
    wakers: Vec<Waker>,
    sinks: Vec<(Arc<dyn Sink>, Outcome)>,
}

impl Notices {
    #[inline]
    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    #[inline]
    pub(super) fn pass(&mut self, sink: Arc<dyn Sink>, outcome: Outcome) {
        self.sinks.push((sink, outcome));
    }

    /// Tells all; it is empty then.
    pub(super) fn tell(&mut self) {
        for (sink, outcome) in self.sinks.drain(..) {
            sink.told(outcome, &mut self.wakers);
        }
        self.wakers.drain(..).for_each(Waker::wake);
    }
}
