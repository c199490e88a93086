//! What the callers of a lane and its I/O task share: one short lock around the queue and the requests.

use super::error::{LaneError, SubmitError};
use super::handshake::Greeted;
use super::inflight::{Caller, InFlight, Outcome};
use super::notices::Notices;
use super::outbox::Outbox;
use super::resp::Reply;
use failsoft_policy::Instant;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

/// Replies that nobody waits for any more; a lane with more of them closes itself.
const MAX_ABANDONED: usize = 4096;
/// Bytes that wait to be sent; a lane that holds as many takes no further request, so that what it holds is less than
/// this and one request more.
const MAX_UNSENT: usize = 256 * 1024 * 1024;

/// Where a lane is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LaneState {
    /// Connecting or shaking hands; requests queue.
    Connecting,
    /// Requests are sent.
    Open,
    /// Over, for this reason; open another lane.
    Dead(LaneError),
}

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
    /// Requests came meanwhile, or the lane died.
    Stay,
    /// First set the timer to this.
    Arm(Instant),
}

#[derive(Debug)]
pub(super) struct Core {
    state: Mutex<State>,
    greeted: OnceLock<Greeted>,
    max_in_flight: usize,
}

#[derive(Debug)]
struct State {
    phase: LaneState,
    requests: InFlight,
    /// Encoded requests that the I/O task has not taken yet.
    out: Outbox,
    /// How many bytes it took last, and perhaps has not sent yet.
    taken: usize,
    io: Option<Waker>,
    wake_for: WakeFor,
    /// No later than the earliest deadline.
    next_check: Instant,
    last_reply: Option<Instant>,
}

impl Core {
    pub(super) fn new(max_in_flight: usize) -> Self {
        let state = State {
            phase: LaneState::Connecting,
            requests: InFlight::default(),
            out: Outbox::default(),
            taken: 0,
            io: None,
            wake_for: WakeFor::Awake,
            next_check: Instant::MAX,
            last_reply: None,
        };
        Self { state: Mutex::new(state), greeted: OnceLock::new(), max_in_flight }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock; were it to, the counts are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues one request, which `enqueue` adds to what is to be sent; its slot.
    #[inline]
    pub(super) fn submit(
        &self,
        asking: bool,
        deadline: Instant,
        caller: Caller,
        enqueue: impl FnOnce(&mut Outbox),
    ) -> Result<u32, SubmitError> {
        let mut state = self.lock();
        if let LaneState::Dead(why) = &state.phase {
            return Err(SubmitError::Dead(why.clone()));
        }
        if state.requests.waiting() >= self.max_in_flight || state.out.len() + state.taken >= MAX_UNSENT {
            return Err(SubmitError::Full);
        }
        enqueue(&mut state.out);
        let slot = state.requests.push(asking, deadline, caller);
        let earlier = deadline < state.next_check;
        if earlier {
            state.next_check = deadline;
        }
        let wake = match state.wake_for {
            WakeFor::Awake => false,
            WakeFor::Deadline => earlier,
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
        Ok(slot)
    }

    #[inline]
    pub(super) fn poll(&self, slot: u32, cx: &Context<'_>) -> Poll<Outcome> {
        let mut old = None;
        // `old` outlives the lock: dropping a waker may drop a task, and with it a request of this lane.
        self.lock().requests.poll(slot, cx, &mut old)
    }

    pub(super) fn forget(&self, slot: u32) {
        let (left, too_many) = {
            let mut state = self.lock();
            let left = state.requests.forget(slot);
            (left, state.requests.abandoned() > MAX_ABANDONED)
        };
        drop(left);
        if too_many {
            self.die(too_many_abandoned());
        }
    }

    /// Abandons the request of a sink; false if it was told, or is about to be.
    pub(super) fn withdraw(&self, slot: u32, sink: *const ()) -> bool {
        let (left, too_many) = {
            let mut state = self.lock();
            let left = state.requests.withdraw(slot, sink);
            (left, state.requests.abandoned() > MAX_ABANDONED)
        };
        if too_many {
            self.die(too_many_abandoned());
        }
        left.is_some()
    }

    pub(super) fn phase(&self) -> LaneState {
        self.lock().phase.clone()
    }

    pub(super) fn last_reply(&self) -> Option<Instant> {
        self.lock().last_reply
    }

    pub(super) fn in_flight(&self) -> usize {
        self.lock().requests.waiting()
    }

    /// Ends the lane: every request that waits gets `why`, and the I/O task stops. The first reason holds.
    pub(super) fn die(&self, why: LaneError) {
        let mut notices = Notices::default();
        let (io, out) = {
            let mut state = self.lock();
            if matches!(state.phase, LaneState::Dead(_)) {
                return;
            }
            state.requests.fail(&why, &mut notices);
            state.phase = LaneState::Dead(why);
            (state.io.take(), std::mem::take(&mut state.out))
        };
        drop(out);
        notices.wake(io);
        notices.tell();
    }

    /// What the server said of itself, once the handshake is done.
    pub(super) fn greeted(&self) -> Option<&Greeted> {
        self.greeted.get()
    }

    // What follows is for the I/O task.

    /// The handshake is done.
    pub(super) fn opened(&self, now: Instant, greeted: Greeted) {
        // Set once: a lane shakes hands once.
        let _ = self.greeted.set(greeted);
        let mut state = self.lock();
        if state.phase == LaneState::Connecting {
            state.phase = LaneState::Open;
            state.last_reply = Some(now);
        }
    }

    /// Why the lane died, if it did.
    pub(super) fn death(&self) -> Option<LaneError> {
        match &self.lock().phase {
            LaneState::Dead(why) => Some(why.clone()),
            LaneState::Connecting | LaneState::Open => None,
        }
    }

    /// Takes what is to be sent, in exchange for an empty one: what was taken before was sent.
    pub(super) fn take_out(&self, empty: &mut Outbox) {
        debug_assert!(empty.is_empty());
        let mut state = self.lock();
        std::mem::swap(&mut state.out, empty);
        state.taken = empty.len();
    }

    /// Hands out replies in order, under one lock, and wakes who waits for them after it.
    ///
    /// # Errors
    /// A reply that nobody asked for.
    pub(super) fn deliver(
        &self,
        replies: &mut Vec<Reply>,
        now: Instant,
        notices: &mut Notices,
    ) -> Result<(), LaneError> {
        let mut asked = true;
        {
            let mut state = self.lock();
            for reply in replies.drain(..) {
                asked &= state.requests.complete(reply, notices);
            }
            state.last_reply = Some(now);
            // Who is woken now asks again soon, and the I/O task looks for that before it sleeps.
            state.wake_for = WakeFor::Awake;
        }
        notices.tell();
        if asked { Ok(()) } else { Err(LaneError::Protocol("a reply nobody asked for".into())) }
    }

    /// Times out what is past its deadline.
    pub(super) fn expire(&self, now: Instant, notices: &mut Notices) {
        let too_many = {
            let mut state = self.lock();
            state.next_check = state.requests.expire(now, notices);
            state.requests.abandoned() > MAX_ABANDONED
        };
        notices.tell();
        if too_many {
            self.die(too_many_abandoned());
        }
    }

    /// Lets the request whose reply is arriving wait until `deadline`; false if nobody waits for it.
    pub(super) fn extend_first(&self, deadline: Instant) -> bool {
        self.lock().requests.extend_first(deadline)
    }

    /// The I/O task wants to sleep, its timer set for deadlines from `covered` on. To wait for any request, it must
    /// have sent all that it took.
    pub(super) fn park(&self, waker: &Waker, covered: Instant, wake_for: WakeFor) -> Park {
        let mut state = self.lock();
        if matches!(state.phase, LaneState::Dead(_)) || (wake_for == WakeFor::Request && !state.out.is_empty()) {
            return Park::Stay;
        }
        if state.next_check < covered {
            return Park::Arm(state.next_check);
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

fn too_many_abandoned() -> LaneError {
    LaneError::Lost(format!("more than {MAX_ABANDONED} replies are overdue").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_to_be_sent_is_bounded_in_bytes_until_it_is_sent() {
        let core = Core::new(100);
        let submit =
            |bytes: usize| core.submit(false, Instant::MAX, Caller::Waiting(None), |out| out.push(vec![0; bytes]));
        assert_eq!(submit(MAX_UNSENT - 1), Ok(0));
        assert_eq!(submit(MAX_UNSENT), Ok(1), "one request may go beyond");
        assert_eq!(submit(1), Err(SubmitError::Full));
        let mut taken = Outbox::default();
        core.take_out(&mut taken);
        assert_eq!(taken.len(), 2 * MAX_UNSENT - 1);
        assert_eq!(submit(1), Err(SubmitError::Full), "taken is not sent");
        assert_eq!(core.park(Waker::noop(), Instant::MAX, WakeFor::Deadline), Park::Asleep);
        assert_eq!(submit(1), Err(SubmitError::Full), "nor is it while the socket is blocked");
        core.take_out(&mut Outbox::default());
        assert_eq!(submit(1), Ok(2));
    }

    #[test]
    fn a_lane_that_sleeps_has_sent_everything() {
        let core = Core::new(100);
        assert_eq!(core.submit(false, Instant::MAX, Caller::Waiting(None), |out| out.push(vec![0; MAX_UNSENT])), Ok(0));
        core.take_out(&mut Outbox::default());
        assert_eq!(core.park(Waker::noop(), Instant::MAX, WakeFor::Request), Park::Asleep);
        assert_eq!(core.submit(false, Instant::MAX, Caller::Waiting(None), |out| out.push(vec![0; 1])), Ok(1));
    }
}
