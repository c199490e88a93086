//! What a read does next when a node could not answer: other sources, and further attempts.

use super::{Action, Other, REFRESH_WAIT, Read, Then};
use crate::route::Step;
use crate::time::Instant;
use crate::topology::Kind;
use crate::turn::Turn;
use crate::words::{NodeKey, Reason, Status};
use core::time::Duration;

impl Read {
    /// The source that was asked failed. A replica that was not asked yet comes next; the first one
    /// is free, others cost a token. Then the primary, if it may have recovered: after a `lost`
    /// connection it may be a matter of milliseconds, while a cluster that says it is down is not
    /// waited for by a caller who has a callback.
    pub(super) fn next_source(&mut self, lost: bool, turn: &mut Turn<'_>) -> Action {
        if turn.now >= self.bounds.deadline {
            return self.give_up(Reason::Deadline, turn.now);
        }
        if let Some(other) = self.next_other(turn) {
            return self.ask_other(other, turn.now);
        }
        if self.callback && !lost {
            return self.give_up(Reason::Connection, turn.now);
        }
        self.retry(turn)
    }

    /// What stands in; a replica only if a further attempt may be spent on it.
    fn next_other(&self, turn: &mut Turn<'_>) -> Option<Other> {
        let other = self.stand_in(turn)?;
        (other == Other::Copy || self.replica_attempts == 0 || turn.cluster.take_retry()).then_some(other)
    }

    /// A further attempt on the primary: the first waits for a refresh, the others back off.
    fn retry(&mut self, turn: &Turn<'_>) -> Action {
        if self.retries >= self.max_retries {
            return self.give_up(Reason::Connection, turn.now);
        }
        self.retries += 1;
        let pause = if self.retries == 1 { REFRESH_WAIT } else { self.backoff(turn.dice) };
        self.wait(turn.now + pause, Then::Retry)
    }

    /// Full jitter: anything up to the doubled base (Brooker, "Exponential Backoff And Jitter").
    fn backoff(&self, dice: u32) -> Duration {
        let cap = self.base_backoff * (1 << self.retries.saturating_sub(1).min(16));
        cap.mul_f64(f64::from(dice) / f64::from(u32::MAX))
    }

    pub(super) fn woken(&mut self, until: Instant, then: Then, turn: &mut Turn<'_>) -> Action {
        if turn.now >= self.bounds.deadline {
            let cause = if then == Then::Begin { Reason::Connection } else { Reason::Deadline };
            return self.give_up(cause, turn.now);
        }
        match then {
            Then::Begin => match self.first_step(turn) {
                Step::Wait(_) if turn.now < until => self.wait(until, then),
                Step::Wait(_) => self.begin(Step::Secondary(Reason::Connection), turn.now),
                step => self.take(step, turn),
            },
            Then::Follow(from) => self.follow_view(from, until, turn),
            Then::Retry => self.retry_now(until, turn),
            Then::Again { .. } if turn.now < until => self.wait(until, then),
            Then::Again { node, asking } if turn.cluster.admits(node) => self.ask_again(node, asking, turn.now),
            Then::Again { .. } => self.give_up(Reason::ErrorReply, turn.now),
        }
    }

    /// The owner that failed is not asked again before its breaker lets reads through.
    fn retry_now(&mut self, until: Instant, turn: &mut Turn<'_>) -> Action {
        if let Some(owner) = turn.cluster.open_primary(self.slot) {
            if self.primary_attempts > 0 && !turn.cluster.take_retry() {
                return self.give_up(Reason::Connection, turn.now);
            }
            self.tried.retain(|&n| n != owner);
            return self.ask_primary(owner, turn);
        }
        if turn.now < until && self.callback {
            return self.wait(until, Then::Retry);
        }
        let uncovered = turn.cluster.kind() != Kind::Unknown && !turn.cluster.is_covered(self.slot);
        if self.callback || uncovered {
            return self.give_up(if uncovered { Reason::SlotUncovered } else { Reason::Connection }, turn.now);
        }
        match self.next_other(turn) {
            Some(other) => self.ask_other(other, turn.now),
            // Nothing else can serve it: it waits for the routes to change while it has time.
            None => self.wait(self.bounds.deadline, Then::Retry),
        }
    }

    /// `TRYAGAIN`: the node is asked again after a pause.
    pub(super) fn try_again(&mut self, node: NodeKey, asking: bool, turn: &mut Turn<'_>) -> Action {
        let more = self.retries < self.max_retries && turn.cluster.is_covered(self.slot);
        if !more || !turn.cluster.budget().take_try_again() {
            self.note(Status::Error, Some(Reason::ErrorReply));
            return self.give_up(Reason::ErrorReply, turn.now);
        }
        self.retries += 1;
        self.wait(turn.now + self.backoff(turn.dice), Then::Again { node, asking })
    }
}
