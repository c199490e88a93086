//! One node that is listened to: how its connection stands, and from when and up to when it was heard.

use super::{Answer, IN_USE, Listening, PAUSE};
use crate::denied;
use crate::reply::ErrorReply;
use crate::time::Instant;
use crate::words::{NodeKey, Slot};
use alloc::vec::Vec;
use core::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is open; tried again then.
    Closed { again_at: Instant, why: Listening },
    /// Being opened; the end of that will not be told any more after this time.
    Opening { lost_at: Instant },
    /// It tells.
    Open { line: u64 },
}

/// From when, and up to when a node was heard without a lapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) since: Instant,
    pub(super) until: Instant,
}

/// One node that is listened to, or is to be.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    /// A slot of the node.
    pub(super) slot: Slot,
    /// Those who own the slots of its echoes.
    pub(super) echoes: Vec<NodeKey>,
    pub(super) phase: Phase,
    /// Connections that failed in a row.
    pub(super) failures: u32,
    /// When the probe under way was sent.
    pub(super) asked_at: Option<Instant>,
    /// When the next one is due.
    pub(super) probe_at: Instant,
    /// When the last answered one was sent, on this connection.
    pub(super) answered: Option<Instant>,
    pub(super) heard: Option<Heard>,
    /// What it told before may not be complete.
    pub(super) complete_from: Instant,
    pub(super) in_use_until: Instant,
    /// Bells told since then.
    pub(super) bells: (Instant, u32),
}

impl Listener {
    pub(super) fn new(slot: Slot, now: Instant) -> Self {
        Self {
            slot,
            echoes: Vec::new(),
            phase: Phase::Closed { again_at: now, why: Listening::Closed },
            failures: 0,
            asked_at: None,
            probe_at: now,
            answered: None,
            heard: None,
            complete_from: now,
            // Whoever begins to listen is about to read.
            in_use_until: now + IN_USE,
            bells: (now, 0),
        }
    }

    /// A probe that was sent at this time was answered. True if it is heard from now on.
    pub(super) fn answered(&mut self, sent_at: Instant, trust: Duration, now: Instant) -> bool {
        let before = self.answered.replace(sent_at);
        let Some(until) = before.filter(|at| *at >= self.complete_from && now <= *at + trust) else { return false };
        let since = self.heard.map_or(until, |heard| heard.since);
        self.heard.replace(Heard { since, until }).is_none()
    }

    /// True if it was heard until now.
    pub(super) fn lapse(&mut self, trust: Duration, now: Instant) -> bool {
        self.heard.take_if(|heard| now > heard.until + trust).is_some()
    }

    /// The connection has ended. True if it was heard until now.
    pub(super) fn close(&mut self, why: Listening, interval: Duration, now: Instant, dice: u32) -> bool {
        let pause = match why {
            Listening::Denied => denied::pause(interval),
            _ => (PAUSE * (1 << self.failures.min(16))).min(interval.max(PAUSE)),
        };
        self.failures += 1;
        // All routers lose a node at once.
        self.end(now + pause / 2 + pause / 2000 * (dice % 1000), why)
    }

    pub(super) fn end(&mut self, again_at: Instant, why: Listening) -> bool {
        self.phase = Phase::Closed { again_at, why };
        (self.answered, self.asked_at) = (None, None);
        self.heard.take().is_some()
    }
}

impl Answer {
    /// Why nobody listens after this.
    pub(super) fn means(&self) -> Listening {
        match self {
            Self::Dumb | Self::Refused(ErrorReply::Denied | ErrorReply::Other) => Listening::Denied,
            Self::Owner | Self::Refused(_) | Self::Lost => Listening::Closed,
        }
    }
}
