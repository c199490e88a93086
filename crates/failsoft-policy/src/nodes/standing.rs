//! How a node stands with us: it gets its reads, or it is in trouble, and comes back by its breaker.

use crate::breaker::{Admission, Breaker};
use crate::time::Instant;
use crate::words::Reason;

/// Why a node gets no reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: Instant,
    /// The first cause.
    pub reason: Reason,
    /// Whether it had answered shortly before.
    pub sudden: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) enum Standing {
    /// It gets its reads.
    #[default]
    Well,
    /// It gets none, or so many as its readmission allows.
    InTrouble {
        trouble: Trouble,
        breaker: Breaker,
        /// While it gets none: since when it has been ready to serve, by its own word.
        ready_at: Option<Instant>,
    },
}

impl Standing {
    pub(super) fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Well => None,
            Self::InTrouble { trouble, .. } => Some(*trouble),
        }
    }

    pub(super) fn admission(&self) -> Admission {
        self.breaker().map_or(Admission::All, Breaker::admission)
    }

    pub(super) fn ready_at(&self) -> Option<Instant> {
        match self {
            Self::Well => None,
            Self::InTrouble { ready_at, .. } => *ready_at,
        }
    }

    /// When a probe is due, or the next step of the readmission.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.breaker()?.next_timeout()
    }

    /// Whether it has failed once, and not again since.
    pub(super) fn failed_once(&self) -> bool {
        self.breaker().is_some_and(|b| b.failures() == 1)
    }

    /// Its breaker in a word, for reports.
    pub(super) fn as_str(&self) -> &'static str {
        self.breaker().map_or(Breaker::default().as_str(), Breaker::as_str)
    }

    /// It failed; true if it gets fewer reads from now on.
    pub(super) fn fail(&mut self, trouble: Trouble) -> bool {
        let before = self.admission();
        if matches!(self, Self::Well) {
            *self = Self::InTrouble { trouble, breaker: Breaker::default(), ready_at: None };
        }
        if let Self::InTrouble { breaker, .. } = self {
            breaker.on_failure(trouble.since);
        }
        before != self.admission()
    }

    /// It was voted out; true if that is news.
    pub(super) fn quarantine(&mut self, now: Instant) -> bool {
        let out = self.trouble().is_some_and(|t| t.reason == Reason::Quarantined);
        if out && self.admission() == Admission::Closed {
            return false;
        }
        let new = Trouble { since: now, reason: Reason::Quarantined, sudden: false };
        self.fail(new);
        if let Self::InTrouble { trouble, .. } = self {
            *trouble = new;
        }
        true
    }

    /// A probe is sent.
    pub(super) fn take_probe(&mut self, now: Instant) {
        if let Self::InTrouble { breaker, .. } = self {
            breaker.take_probe(now);
        }
    }

    /// The probe under way ended: `passed` if the node may be believed.
    pub(super) fn end_probe(&mut self, passed: bool, now: Instant) {
        if let Self::InTrouble { breaker, .. } = self {
            breaker.on_probe(passed, now);
        }
    }

    /// By its own word it is ready, or not.
    pub(super) fn note_ready(&mut self, ready: bool, now: Instant) {
        if let Self::InTrouble { breaker, ready_at, .. } = self {
            let waits = ready && breaker.admission() == Admission::Closed;
            *ready_at = if waits { ready_at.or(Some(now)) } else { None };
        }
    }

    /// Moves readmission on; true if that changed how many reads it gets.
    pub(super) fn step_on(&mut self, now: Instant) -> bool {
        let Self::InTrouble { breaker, .. } = self else { return false };
        let moved = breaker.tick(now);
        if moved && breaker.admission() == Admission::All {
            *self = Self::Well;
        }
        moved
    }

    fn breaker(&self) -> Option<&Breaker> {
        match self {
            Self::Well => None,
            Self::InTrouble { breaker, .. } => Some(breaker),
        }
    }
}
