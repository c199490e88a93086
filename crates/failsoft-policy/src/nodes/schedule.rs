//! When a node is probed: routinely, sooner if somebody wants to know, and in a large fleet by turns.

use crate::pace;
use crate::time::Instant;
use core::time::Duration;

/// A node that does not prove itself to a write that waits for it is not asked again sooner than this.
const PROOF_PAUSE: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// While a probe is under way: from when on it counts as lost, and another one is sent.
    lost_at: Option<Instant>,
    /// Whether the node has moved since that was sent.
    astray: bool,
    /// When the last one was sent.
    sent_at: Option<Instant>,
    /// When the next one is due, if no breaker says otherwise.
    due_at: Instant,
    /// Whether a write waits for what it will say.
    wanted: bool,
    /// From when on it may be sent, where it had to wait for its turn.
    turn_at: Option<Instant>,
}

impl Schedule {
    /// The first probe is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { lost_at: None, astray: false, sent_at: None, due_at: now, wanted: false, turn_at: None }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.lost_at.is_some()
    }

    /// When the next one is due; `cool_down` is what the breaker of a node says that gets no reads.
    pub(super) fn next(&self, cool_down: Option<Option<Instant>>) -> Option<Instant> {
        let due = self.lost_at.or(cool_down.unwrap_or(Some(self.due_at)));
        due.map(|at| at.max(self.turn_at.unwrap_or(Instant::ZERO)))
    }

    /// The next one is due at this time at the latest.
    pub(super) fn by(&mut self, at: Instant) {
        self.due_at = self.due_at.min(at);
    }

    /// It is sent, and takes no longer than `limit`; the next one is due after `pause`.
    pub(super) fn send(&mut self, now: Instant, pause: Duration, limit: Duration) {
        let lost_at = Some(now + limit);
        let sent_at = Some(now);
        *self = Self { lost_at, astray: false, sent_at, due_at: now + pause, wanted: false, turn_at: None };
    }

    /// The node listens elsewhere from now on.
    pub(super) fn mislead(&mut self) {
        self.astray = self.is_under_way();
    }

    /// It has come to an end; false if it went to where the node is not any more.
    pub(super) fn end(&mut self) -> bool {
        self.lost_at = None;
        !core::mem::take(&mut self.astray)
    }

    /// A write waits for its node's proof: it is sent soon, but not again and again.
    pub(super) fn want(&mut self, turn: Duration, now: Instant) {
        let soonest = self.sent_at.map_or(now, |at| (at + turn.max(PROOF_PAUSE)).max(now));
        if self.lost_at.is_none() && soonest < self.due_at {
            (self.due_at, self.wanted) = (soonest, true);
            self.turn_at = self.turn_at.map(|at| at.min(soonest));
        }
    }

    /// Whether one that is due has to wait for its turn first: once, for a part of `turn`. One that somebody waits
    /// for takes a short one.
    pub(super) fn hold_back(&mut self, turn: Duration, urgent: bool, now: Instant, dice: u32) -> bool {
        let turn = if self.wanted || urgent { turn.min(pace::SHORT_TURN) } else { turn };
        let part = turn / 1000 * (dice % 1000);
        if part.is_zero() || self.turn_at.is_some() {
            return false;
        }
        self.turn_at = Some(now + part);
        true
    }
}
