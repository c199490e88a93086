//! The requests of a connection: the places their callers hold, and the order in which their replies will come.
//!
//! A place is held by two: the order (until the reply came) and the caller (until the outcome was taken or the caller
//! gave up). It is free again when both let go, so a place in use never means another request.

use super::{Deliver, Failure, Outcome};
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

/// Stands in the order for the `+OK` of an `ASKING`.
const ASKING: u32 = u32::MAX;

/// How long a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Then it is late, unless a long transfer that it is part of or waits behind advances.
    pub until: Instant,
    /// Then it is late in any case.
    pub limit: Instant,
}

impl Attempt {
    /// One that ends at this moment, whatever happens.
    pub fn until(until: Instant) -> Self {
        Self { until, limit: until }
    }

    fn late_at(&self, advancing_until: Instant) -> Instant {
        self.until.max(advancing_until.min(self.limit))
    }
}

#[derive(Debug)]
enum Holder<C, R> {
    /// It waits.
    Waiting(C),
    /// Its outcome lies ready.
    Ready(Outcome<R>),
    /// It took its outcome, or gave up.
    Gone,
}

#[derive(Debug)]
struct Place<C, R> {
    attempt: Attempt,
    /// Where in the order of all requests it stands.
    number: u64,
    bytes: usize,
    /// Whether its reply is to come.
    ordered: bool,
    holder: Holder<C, R>,
}

#[derive(Debug)]
pub(super) struct Requests<C, R> {
    places: Vec<Place<C, R>>,
    free: Vec<u32>,
    /// Places, oldest first, and [`ASKING`] before a request that has it.
    order: VecDeque<u32>,
    /// The number of the next entry of the order, and of the first that was not taken to be sent.
    next: u64,
    taken: u64,
    /// Bytes that were not taken yet.
    queued: usize,
    /// When what was taken together was taken, and the number of the entry behind it, oldest first.
    batches: VecDeque<(u64, Instant)>,
    waiting: usize,
    /// Requests given up before they were taken.
    withdrawn: usize,
}

impl<C, R> Default for Requests<C, R> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
            next: 0,
            taken: 0,
            queued: 0,
            batches: VecDeque::new(),
            waiting: 0,
            withdrawn: 0,
        }
    }
}

impl<C, R> Requests<C, R> {
    /// Adds a request at the end; its place.
    #[inline]
    pub(super) fn push(&mut self, attempt: Attempt, bytes: usize, asking: bool, caller: C) -> u32 {
        if asking {
            self.order.push_back(ASKING);
            self.next += 1;
        }
        let place = Place { attempt, number: self.next, bytes, ordered: true, holder: Holder::Waiting(caller) };
        let index = if let Some(index) = self.free.pop() {
            self.places[index as usize] = place;
            index
        } else {
            self.places.push(place);
            (self.places.len() - 1) as u32
        };
        self.order.push_back(index);
        self.next += 1;
        self.queued += bytes;
        self.waiting += 1;
        index
    }

    /// Requests whose caller waits.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Entries whose reply has yet to come, whether or not anybody waits for it.
    #[inline]
    pub(super) fn in_flight(&self) -> usize {
        self.order.len()
    }

    /// Those of them that were taken to be sent.
    #[inline]
    pub(super) fn owed(&self) -> usize {
        self.order.len() - self.unsent()
    }

    /// The number of the next request, which only a cut sets back.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// How many requests are answered: the number of the next one that is to be.
    #[inline]
    pub(super) fn answered(&self) -> u64 {
        self.next - self.order.len() as u64
    }

    fn unsent(&self) -> usize {
        (self.next - self.taken) as usize
    }

    /// Whether a caller waits for the reply that comes next.
    pub(super) fn first_waits(&self) -> bool {
        let first = self.order.front().and_then(|&i| self.places.get(i as usize));
        first.is_some_and(|p| matches!(p.holder, Holder::Waiting(_)))
    }

    /// All that is queued is taken to be sent; how many bytes that is.
    pub(super) fn take(&mut self, now: Instant) -> usize {
        if self.taken < self.next {
            self.taken = self.next;
            self.batches.push_back((self.next, now));
        }
        mem::take(&mut self.queued)
    }

    /// Leaves out what was given up before it was taken; for each queued request its bytes, and whether it stays.
    /// Empty if all stay.
    pub(super) fn cut(&mut self) -> Vec<(usize, bool)> {
        if mem::take(&mut self.withdrawn) == 0 {
            return Vec::new();
        }
        let mut cut = Vec::new();
        let first = self.owed();
        let queued = self.order.split_off(first);
        self.next = self.taken;
        let mut asking = false;
        for index in queued {
            if index == ASKING {
                asking = true;
                continue;
            }
            let place = &mut self.places[index as usize];
            let stays = matches!(place.holder, Holder::Waiting(_));
            cut.push((place.bytes, stays));
            if stays {
                if asking {
                    self.order.push_back(ASKING);
                    self.next += 1;
                }
                place.number = self.next;
                self.next += 1;
                self.order.push_back(index);
            } else {
                place.ordered = false;
                self.queued -= place.bytes;
                if matches!(place.holder, Holder::Gone) {
                    self.free.push(index);
                }
            }
            asking = false;
        }
        cut
    }

    /// Gives the reply to the request it belongs to; false if there is none.
    #[inline]
    pub(super) fn complete(&mut self, reply: R, out: &mut impl Deliver<C, R>) -> bool {
        if self.owed() == 0 {
            return false;
        }
        let Some(index) = self.order.pop_front() else { return false };
        if index == ASKING {
            // If it was refused, the command behind it gets an error of its own.
            return true;
        }
        let place = &mut self.places[index as usize];
        place.ordered = false;
        if let Holder::Waiting(_) = place.holder {
            self.waiting -= 1;
            place.hand(Ok(reply), out);
        }
        if matches!(place.holder, Holder::Gone) {
            self.free.push(index);
        }
        true
    }

    /// When the newest request that was answered was sent.
    pub(super) fn answered_sent_at(&mut self) -> Option<Instant> {
        let answered = self.answered();
        while self.batches.front().is_some_and(|&(end, _)| end < answered) {
            self.batches.pop_front();
        }
        self.batches.front().map(|&(_, at)| at)
    }

    /// When the first request was sent whose reply has yet to come.
    pub(super) fn owed_since(&self) -> Option<Instant> {
        let answered = self.answered();
        self.batches.iter().find(|&&(end, _)| end > answered).map(|&(_, at)| at)
    }

    /// The outcome of a request, if it lies ready: its place is no longer the caller's then. Else the caller.
    #[inline]
    pub(super) fn poll(&mut self, index: u32) -> Result<Outcome<R>, &mut C> {
        let Place { holder, ordered, .. } = &mut self.places[index as usize];
        if let Holder::Waiting(caller) = holder {
            return Err(caller);
        }
        let Holder::Ready(outcome) = mem::replace(holder, Holder::Gone) else { return Ok(Err(Failure::Closed)) };
        if !*ordered {
            self.free.push(index);
        }
        Ok(outcome)
    }

    pub(super) fn caller_mut(&mut self, index: u32) -> Option<&mut C> {
        match &mut self.places.get_mut(index as usize)?.holder {
            Holder::Waiting(caller) => Some(caller),
            Holder::Ready(_) | Holder::Gone => None,
        }
    }

    pub(super) fn release(&mut self, index: u32) -> (Option<C>, Option<Outcome<R>>) {
        let place = &mut self.places[index as usize];
        match mem::replace(&mut place.holder, Holder::Gone) {
            Holder::Waiting(caller) => {
                self.waiting -= 1;
                if place.number >= self.taken {
                    self.withdrawn += 1;
                }
                (Some(caller), None)
            }
            Holder::Ready(outcome) => {
                if !place.ordered {
                    self.free.push(index);
                }
                (None, Some(outcome))
            }
            Holder::Gone => (None, None),
        }
    }

    /// Fails the requests that are late; the earliest moment at which another one is.
    pub(super) fn expire(&mut self, advancing_until: Instant, now: Instant, out: &mut impl Deliver<C, R>) -> Instant {
        let mut earliest = Instant::MAX;
        for &index in self.order.iter().filter(|&&i| i != ASKING) {
            let place = &mut self.places[index as usize];
            if !matches!(place.holder, Holder::Waiting(_)) {
                continue;
            }
            let late_at = place.attempt.late_at(advancing_until);
            if late_at > now {
                earliest = earliest.min(late_at);
                continue;
            }
            self.waiting -= 1;
            if place.number >= self.taken {
                self.withdrawn += 1;
            }
            place.hand(Err(Failure::Timeout), out);
        }
        earliest
    }

    /// Fails every request that waits, before anything was taken to be sent.
    pub(super) fn send_away(&mut self, why: &Failure, out: &mut impl Deliver<C, R>) {
        for &index in self.order.iter().filter(|&&i| i != ASKING) {
            let place = &mut self.places[index as usize];
            if matches!(place.holder, Holder::Waiting(_)) {
                self.waiting -= 1;
                self.withdrawn += 1;
                place.hand(Err(why.clone()), out);
            }
        }
    }

    /// No reply will come any more: fails every request that waits.
    pub(super) fn end(&mut self, why: &Failure, out: &mut impl Deliver<C, R>) {
        for index in self.order.drain(..).filter(|&i| i != ASKING) {
            let place = &mut self.places[index as usize];
            place.ordered = false;
            place.hand(Err(why.clone()), out);
            if matches!(place.holder, Holder::Gone) {
                self.free.push(index);
            }
        }
        self.batches.clear();
        (self.taken, self.queued, self.waiting, self.withdrawn) = (self.next, 0, 0, 0);
    }
}

impl<C, R> Place<C, R> {
    /// Gives the outcome to the caller, if it waits.
    #[inline]
    fn hand(&mut self, outcome: Outcome<R>, out: &mut impl Deliver<C, R>) {
        let Holder::Waiting(caller) = &mut self.holder else { return };
        if out.wakes(caller) {
            self.holder = Holder::Ready(outcome);
        } else if let Holder::Waiting(caller) = mem::replace(&mut self.holder, Holder::Gone) {
            out.deliver(caller, outcome);
        }
    }
}
