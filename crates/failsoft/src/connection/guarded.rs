//! What the callers of a connection and its I/O task share: the machine and the queued bytes behind one short lock.

use super::error::SubmitError;
use super::handshake::Greeted;
use super::notices::{Caller, Notices, Outcome};
use super::outbox::Outbox;
use super::resp::Reply;
use failsoft_policy::connection::{Attempt, Connection, Failure, Phase};
use failsoft_policy::{Instant, Reason};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Bytes that wait to be sent; a connection that holds as many takes no further request, so that what it holds is less
/// than this and one request more.
const MAX_UNSENT: usize = 256 * 1024 * 1024;

/// What the I/O task, asleep, wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WakeFor {
    /// Nothing: it is awake and will look.
    Awake,
    /// A deadline before its timer: it cannot write now.
    Deadline,
    /// Any request.
    Request,
}

/// The answer to the I/O task that wants to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Park {
    Asleep,
    /// Requests came meanwhile, or the connection ended.
    Stay,
    /// First set the timer to this.
    Arm(Instant),
}

/// Takes what is to be held against a node whose connection ended or does not come about. It is called before the
/// requests that waited fail.
pub(crate) type Report = dyn Fn(Blame) + Send + Sync;

/// What is to be held against a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blame {
    pub(crate) reason: Reason,
    /// Since when it owed what it did not answer, if that is known.
    pub(crate) since: Option<Instant>,
    /// When the node was last known to be there.
    pub(crate) contact: Option<Instant>,
}

pub(super) struct Guarded {
    state: Mutex<State>,
    greeted: OnceLock<Greeted>,
    report: Option<Arc<Report>>,
}

struct State {
    machine: Connection<Caller, Reply>,
    /// Encoded requests that the I/O task has not taken yet.
    out: Outbox,
    /// How many bytes it took last, and perhaps has not sent yet.
    taken: usize,
    io: Option<Waker>,
    wake_for: WakeFor,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl Guarded {
    pub(super) fn new(attempt_timeout: Duration, max_in_flight: usize, report: Option<Arc<Report>>) -> Self {
        let state = State {
            machine: Connection::new(attempt_timeout, max_in_flight),
            out: Outbox::default(),
            taken: 0,
            io: None,
            wake_for: WakeFor::Awake,
        };
        Self { state: Mutex::new(state), greeted: OnceLock::new(), report }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock; were it to, the counts are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues one request, which `enqueue` adds to what is to be sent; its place.
    #[inline]
    pub(super) fn submit(
        &self,
        asking: bool,
        attempt: Attempt,
        caller: Caller,
        enqueue: impl FnOnce(&mut Outbox),
    ) -> Result<u32, SubmitError> {
        let mut state = self.lock();
        if let Phase::Ended(why) = state.machine.phase() {
            return Err(SubmitError::Ended(why.clone()));
        }
        let before = state.out.len();
        if !state.machine.has_room() || before + state.taken >= MAX_UNSENT {
            return Err(SubmitError::Full);
        }
        enqueue(&mut state.out);
        let bytes = state.out.len() - before;
        let next = if state.wake_for == WakeFor::Deadline { state.machine.next_timeout() } else { Instant::ZERO };
        let place = state.machine.submit(attempt, bytes, asking, caller);
        let wake = match state.wake_for {
            WakeFor::Awake => false,
            WakeFor::Deadline => state.machine.next_timeout() < next,
            WakeFor::Request => true,
        };
        if wake {
            state.wake_for = WakeFor::Awake;
            let io = state.io.clone();
            drop(state);
            if let Some(io) = io {
                io.wake();
            }
        }
        Ok(place)
    }

    #[inline]
    pub(super) fn poll(&self, place: u32, cx: &Context<'_>) -> Poll<Outcome> {
        // A waker that is not needed any more outlives the lock: dropping it may drop a task, and with it a request
        // of this connection.
        let _old;
        let mut state = self.lock();
        match state.machine.poll(place) {
            Ok(outcome) => return Poll::Ready(outcome),
            Err(Caller::Waiting(waker)) if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) => {
                _old = waker.replace(cx.waker().clone());
            }
            Err(_) => {}
        }
        drop(state);
        Poll::Pending
    }

    /// The caller gave up, or does not want what lies ready.
    pub(super) fn release(&self, place: u32) {
        // Dropped outside the lock.
        let _left = self.lock().machine.release(place);
    }

    /// Gives up the request of a sink; false if its outcome was delivered, or is about to be.
    pub(super) fn withdraw(&self, place: u32, sink: *const ()) -> bool {
        let mut state = self.lock();
        let ours =
            matches!(state.machine.caller_mut(place), Some(Caller::Sink(s)) if std::ptr::addr_eq(Arc::as_ptr(s), sink));
        let left = ours.then(|| state.machine.release(place));
        drop(state);
        left.is_some()
    }

    pub(super) fn phase(&self) -> Phase {
        self.lock().machine.phase().clone()
    }

    pub(super) fn contact(&self) -> Option<Instant> {
        self.lock().machine.contact()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.lock().machine.waiting()
    }

    /// Ends the connection: every request that waits gets `why`, and the I/O task stops. The first reason holds.
    pub(super) fn end(&self, why: Failure) {
        let mut notices = Notices::default();
        let mut state = self.lock();
        state.machine.end(why, &mut notices);
        self.settle(state, &mut notices);
    }

    /// The node is in trouble: the connection is closed, unless it is only being made.
    pub(super) fn fail_over(&self) {
        let mut notices = Notices::default();
        let mut state = self.lock();
        state.machine.fail_over(&mut notices);
        self.settle(state, &mut notices);
    }

    /// Reports what is held against the node, and only then delivers the outcomes to the callers; if the connection is
    /// over, its I/O task learns of it.
    fn settle(&self, mut state: MutexGuard<'_, State>, notices: &mut Notices) {
        let mut unsent = Outbox::default();
        if matches!(state.machine.phase(), Phase::Ended(_)) {
            std::mem::swap(&mut state.out, &mut unsent);
            notices.wake(state.io.take());
        }
        let machine = &mut state.machine;
        let blame = machine.take_blame().map(|reason| {
            let (since, contact) = (machine.silent_since(), machine.contact());
            Blame { reason, since, contact }
        });
        drop(state);
        drop(unsent);
        if let (Some(blame), Some(report)) = (blame, &self.report) {
            report(blame);
        }
        notices.deliver_all();
    }

    /// What the server said of itself, once the handshake is done.
    pub(super) fn greeted(&self) -> Option<&Greeted> {
        self.greeted.get()
    }

    // What follows is for the I/O task.

    /// The handshake, begun at `sent_at`, is done.
    pub(super) fn opened(&self, sent_at: Instant, greeted: Greeted) {
        // Set once: a connection shakes hands once.
        let _ = self.greeted.set(greeted);
        self.lock().machine.handle_opened(sent_at);
    }

    /// Why the connection ended, if it did.
    pub(super) fn ended(&self) -> Option<Failure> {
        match self.lock().machine.phase() {
            Phase::Ended(why) => Some(why.clone()),
            Phase::Connecting | Phase::Open => None,
        }
    }

    /// Takes what is to be sent, in exchange for an empty one: what was taken before was sent.
    pub(super) fn take_out(&self, empty: &mut Outbox, now: Instant) {
        debug_assert!(empty.is_empty());
        let mut state = self.lock();
        let cut = state.machine.take(now);
        if !cut.is_empty() {
            state.out.cut(&cut);
        }
        std::mem::swap(&mut state.out, empty);
        state.taken = empty.len();
    }

    /// The socket took this many bytes, `all` if nothing is left of what was taken.
    pub(super) fn written(&self, bytes: usize, all: bool, now: Instant) {
        self.lock().machine.handle_written(bytes, all, now);
    }

    /// Hands out replies in order, under one lock, and wakes the tasks that wait for them after it.
    ///
    /// # Errors
    /// A reply without a request.
    pub(super) fn deliver(&self, replies: &mut Vec<Reply>, now: Instant, notices: &mut Notices) -> Result<(), Failure> {
        let asked = {
            let mut state = self.lock();
            // Who is woken now asks again soon, and the I/O task looks for that before it sleeps.
            state.wake_for = WakeFor::Awake;
            state.machine.handle_replies(replies.drain(..), now, notices)
        };
        notices.deliver_all();
        if asked { Ok(()) } else { Err(Failure::Protocol("a reply nobody asked for".into())) }
    }

    /// The time of a timer has come, and everything that had arrived was delivered.
    pub(super) fn expire(&self, now: Instant, notices: &mut Notices) {
        let mut state = self.lock();
        state.machine.handle_timeout(now, notices);
        self.settle(state, notices);
    }

    /// So much of a long reply is here; false if no request waits for it.
    pub(super) fn arriving(&self, here: usize, total: usize, now: Instant) -> bool {
        self.lock().machine.handle_arriving(here, total, now)
    }

    /// The I/O task wants to sleep, its timer set for deadlines from `covered` on. To wait for any request, it must
    /// have sent all that it took.
    pub(super) fn park(&self, waker: &Waker, covered: Instant, wake_for: WakeFor) -> Park {
        let mut state = self.lock();
        let over = matches!(state.machine.phase(), Phase::Ended(_));
        if over || (wake_for == WakeFor::Request && !state.out.is_empty()) {
            return Park::Stay;
        }
        let next = state.machine.next_timeout();
        if next < covered {
            return Park::Arm(next);
        }
        if !state.io.as_ref().is_some_and(|io| io.will_wake(waker)) {
            state.io = Some(waker.clone());
        }
        state.wake_for = wake_for;
        if wake_for == WakeFor::Request {
            state.taken = 0;
        }
        Park::Asleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Guarded {
        let guarded = Guarded::new(Duration::from_secs(1), 100, None);
        guarded.opened(Instant::ZERO, Greeted::default());
        guarded
    }

    #[test]
    fn what_waits_to_be_sent_is_bounded_in_bytes_until_it_is_sent() {
        let guarded = open();
        let (never, now) = (Attempt::until(Instant::MAX), Instant::ZERO);
        let submit = |bytes: usize| guarded.submit(false, never, Caller::Waiting(None), |out| out.push(vec![0; bytes]));
        assert_eq!(submit(MAX_UNSENT - 1), Ok(0));
        assert_eq!(submit(MAX_UNSENT), Ok(1), "one request may go beyond");
        assert_eq!(submit(1), Err(SubmitError::Full));
        let mut taken = Outbox::default();
        guarded.take_out(&mut taken, now);
        assert_eq!(taken.len(), 2 * MAX_UNSENT - 1);
        assert_eq!(submit(1), Err(SubmitError::Full), "taken is not sent");
        assert_eq!(guarded.park(Waker::noop(), Instant::ZERO, WakeFor::Deadline), Park::Asleep);
        assert_eq!(submit(1), Err(SubmitError::Full), "nor is it while the socket is blocked");
        guarded.take_out(&mut Outbox::default(), now);
        assert_eq!(submit(1), Ok(2));
    }

    #[test]
    fn a_connection_that_sleeps_has_sent_everything() {
        let guarded = open();
        let submit = |bytes: usize| {
            guarded.submit(false, Attempt::until(Instant::MAX), Caller::Waiting(None), |out| out.push(vec![0; bytes]))
        };
        assert_eq!(submit(MAX_UNSENT), Ok(0));
        guarded.take_out(&mut Outbox::default(), Instant::ZERO);
        assert_eq!(guarded.park(Waker::noop(), Instant::ZERO, WakeFor::Request), Park::Asleep);
        assert_eq!(submit(1), Ok(1));
    }
}
