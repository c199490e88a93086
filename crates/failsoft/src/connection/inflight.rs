//! The requests of one lane: a slab of slots, and the order in which their replies will come.
//!
//! A slot is held by two: the order (until the reply came) and the caller (until the result was taken or the
//! caller gave up). It is free again when both let go, so an index in use never means another request.

use super::error::LaneError;
use super::notices::{Notices, Sink};
use super::resp::Reply;
use failsoft_policy::Instant;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Stands in the order for the `+OK` of an `ASKING`.
const ASKING: u32 = u32::MAX;

pub(crate) type Outcome = Result<Reply, LaneError>;

#[derive(Debug, Default)]
pub(super) struct InFlight {
    slots: Vec<Slot>,
    free: Vec<u32>,
    order: VecDeque<u32>,
    waiting: usize,
    abandoned: usize,
}

#[derive(Debug)]
struct Slot {
    deadline: Instant,
    ordered: bool,
    caller: Caller,
}

/// What a slot knows of its caller.
pub(super) enum Caller {
    /// It waits, and is to be woken if it asked before.
    Waiting(Option<Waker>),
    /// It is told, and holds the slot no longer then.
    Sink(Arc<dyn Sink>),
    /// Its result lies ready.
    Told(Outcome),
    /// It took its result, or gave up.
    Gone,
}

impl Caller {
    fn waits(&self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Sink(_))
    }

    /// Gives the outcome to one who waits.
    #[inline]
    fn tell(&mut self, outcome: Outcome, notices: &mut Notices) {
        match std::mem::replace(self, Self::Gone) {
            Self::Waiting(waker) => {
                notices.wake(waker);
                *self = Self::Told(outcome);
            }
            Self::Sink(sink) => notices.pass(sink, outcome),
            told_or_gone => *self = told_or_gone,
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting(_) => "Waiting",
            Self::Sink(_) => "Sink",
            Self::Told(_) => "Told",
            Self::Gone => "Gone",
        })
    }
}

impl InFlight {
    /// Adds a request at the end; its slot.
    #[inline]
    pub(super) fn push(&mut self, asking: bool, deadline: Instant, caller: Caller) -> u32 {
        let slot = Slot { deadline, ordered: true, caller };
        let index = if let Some(index) = self.free.pop() {
            self.slots[index as usize] = slot;
            index
        } else {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 requests fit in memory")
        };
        if asking {
            self.order.push_back(ASKING);
        }
        self.order.push_back(index);
        self.waiting += 1;
        index
    }

    /// Submitted, and neither answered, timed out nor dropped.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Timed out or dropped, and their reply has yet to come.
    pub(super) fn abandoned(&self) -> usize {
        self.abandoned
    }

    /// Gives the reply to the request it belongs to; false if there is none.
    #[inline]
    pub(super) fn complete(&mut self, reply: Reply, notices: &mut Notices) -> bool {
        let Some(index) = self.order.pop_front() else { return false };
        if index == ASKING {
            // If it was refused, the command behind it gets an error of its own.
            return true;
        }
        let slot = &mut self.slots[index as usize];
        slot.ordered = false;
        if slot.caller.waits() {
            slot.caller.tell(Ok(reply), notices);
            self.waiting -= 1;
        } else {
            self.abandoned -= 1;
        }
        if matches!(slot.caller, Caller::Gone) {
            self.free.push(index);
        }
        true
    }

    /// The caller asks for its result; once it has it, the slot is no longer the caller's.
    /// A waker that is no longer needed goes to `old`, to be dropped outside the lock.
    #[inline]
    pub(super) fn poll(&mut self, index: u32, cx: &Context<'_>, old: &mut Option<Waker>) -> Poll<Outcome> {
        if let Caller::Waiting(waker) = &mut self.slots[index as usize].caller {
            if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                *old = waker.replace(cx.waker().clone());
            }
            return Poll::Pending;
        }
        match self.forget(index) {
            Caller::Told(outcome) => Poll::Ready(outcome),
            Caller::Waiting(_) | Caller::Sink(_) | Caller::Gone => Poll::Ready(Err(LaneError::Closed)),
        }
    }

    /// The caller is gone; returns what it left behind, to be dropped outside the lock.
    pub(super) fn forget(&mut self, index: u32) -> Caller {
        let slot = &mut self.slots[index as usize];
        let caller = std::mem::replace(&mut slot.caller, Caller::Gone);
        match caller {
            Caller::Waiting(_) | Caller::Sink(_) => {
                self.waiting -= 1;
                self.abandoned += 1;
            }
            Caller::Told(_) if !slot.ordered => self.free.push(index),
            Caller::Told(_) | Caller::Gone => {}
        }
        caller
    }

    /// The same for a caller that is told, if the slot is still its own; none if it was told, or is about to be.
    pub(super) fn withdraw(&mut self, index: u32, sink: *const ()) -> Option<Caller> {
        let ours =
            matches!(&self.slots[index as usize].caller, Caller::Sink(s) if std::ptr::addr_eq(Arc::as_ptr(s), sink));
        ours.then(|| self.forget(index))
    }

    /// Times out what is past its deadline; returns the earliest deadline left.
    pub(super) fn expire(&mut self, now: Instant, notices: &mut Notices) -> Instant {
        let mut earliest = Instant::MAX;
        for &index in self.order.iter().filter(|&&i| i != ASKING) {
            let slot = &mut self.slots[index as usize];
            if !slot.caller.waits() {
                continue;
            }
            if slot.deadline > now {
                earliest = earliest.min(slot.deadline);
                continue;
            }
            slot.caller.tell(Err(LaneError::Timeout), notices);
            self.waiting -= 1;
            self.abandoned += 1;
        }
        earliest
    }

    /// Lets the request whose reply comes next wait until `deadline`, if that is later than its own.
    /// False if nobody waits for that reply.
    pub(super) fn extend_first(&mut self, deadline: Instant) -> bool {
        let Some(slot) = self.order.front().and_then(|&i| self.slots.get_mut(i as usize)) else { return false };
        slot.deadline = slot.deadline.max(deadline);
        slot.caller.waits()
    }

    /// No reply will come any more: tells everyone who waits.
    pub(super) fn fail(&mut self, why: &LaneError, notices: &mut Notices) {
        for index in self.order.drain(..).filter(|&i| i != ASKING) {
            let slot = &mut self.slots[index as usize];
            slot.ordered = false;
            slot.caller.tell(Err(why.clone()), notices);
            if matches!(slot.caller, Caller::Gone) {
                self.free.push(index);
            }
        }
        self.waiting = 0;
        self.abandoned = 0;
    }
}
