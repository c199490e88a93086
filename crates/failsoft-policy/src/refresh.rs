//! When views of the cluster are asked for, and from how many nodes.
//!
//! One refresh at a time and at most one a second. A quiet cluster costs one full view from one
//! random node every `slot_refresh_interval`; only suspicion asks for config epochs: from two nodes, from
//! five of different shards when it may be a partition, and from five, seeds among them, when those
//! gave nothing. While trouble lasts and nothing changes, the pause doubles up to the interval (up to a
//! third of it in a partition), so that a long outage is not a load on what is left.

use crate::time::Instant;
use core::time::Duration;

/// The shortest time between the starts of two refreshes.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// How many nodes a first suspicion asks.
pub const FEW: usize = 2;
/// How many nodes are asked at the most.
pub const MANY: usize = 5;

/// How much a refresh asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One random node, no epochs.
    Routine,
    /// Two nodes other than those in trouble, with epochs.
    Suspicion,
    /// Five nodes of different shards and hosts, those in doubt among them, with epochs.
    Ballot,
    /// Five nodes, some of them seeds, with epochs.
    Broad,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    number: u64,
    scope: Scope,
    /// From when on it counts as lost.
    lost_at: Instant,
    views: usize,
    ours: usize,
}

/// What is left to be asked when a round is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// How much.
    pub scope: Scope,
    /// How far the pause before it may grow while nothing changes.
    pub most: Duration,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Refresh {
    interval: Duration,
    wanted: Option<Scope>,
    routine_at: Instant,
    started: Option<Instant>,
    pause: Duration,
    /// Whether the pause was cut short while a round was under way, which does not answer that wish.
    urgent: bool,
    round: Option<Round>,
    rounds: u64,
}

/// What a finished round says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoundEnd {
    /// At least one view of our cluster came.
    Fine,
    /// No node answered.
    Silent,
    /// No node that answered knows any of ours.
    Foreign,
}

impl Refresh {
    /// The first refresh is due at once and asks the seeds.
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            wanted: Some(Scope::Broad),
            routine_at: now + interval,
            started: None,
            pause: SHORTEST,
            urgent: false,
            round: None,
            rounds: 0,
        }
    }

    /// Asks for a refresh as soon as one may start; `urgent` forgets the growing pause.
    pub fn want(&mut self, scope: Scope, urgent: bool) {
        self.wanted = self.wanted.max(Some(scope));
        if urgent {
            self.pause = SHORTEST;
            self.urgent = self.round.is_some();
        }
    }

    /// Whether a refresh was asked for, and has not started.
    pub fn is_wanted(&self) -> bool {
        self.wanted.is_some() && self.round.is_none()
    }

    /// Starts a round if one is due: its number and scope. Its questions take no longer than `limit`.
    pub fn start(&mut self, now: Instant, jitter: Duration, limit: Duration) -> Option<(u64, Scope)> {
        self.give_up(now);
        if self.round.is_some() || now < self.due() {
            return None;
        }
        let scope = self.wanted.take().unwrap_or(Scope::Routine);
        self.rounds += 1;
        self.round = Some(Round { number: self.rounds, scope, lost_at: now + limit, views: 0, ours: 0 });
        self.started = Some(now);
        self.routine_at = now + self.interval + jitter;
        Some((self.rounds, scope))
    }

    /// A round whose end was never reported, through a defect of the driver, ends as silent: no other one starts before.
    fn give_up(&mut self, now: Instant) {
        if self.round.take_if(|r| r.lost_at <= now).is_some() {
            self.end_in_vain();
        }
    }

    fn end_in_vain(&mut self) {
        self.pause = SHORTEST;
        self.wanted = Some(Scope::Broad);
        self.urgent = false;
    }

    /// A view came in this round; false if the round is over.
    pub fn on_view(&mut self, number: u64, ours: bool) -> bool {
        let Some(round) = self.round.as_mut().filter(|r| r.number == number) else { return false };
        round.views += 1;
        round.ours += usize::from(ours);
        true
    }

    /// What was heard in the round under way turned out to be our cluster.
    pub fn found_ours(&mut self) {
        if let Some(round) = &mut self.round {
            round.ours += 1;
        }
    }

    /// How much this round asks; none if it is over.
    pub fn scope_of(&self, number: u64) -> Option<Scope> {
        self.round.filter(|r| r.number == number).map(|r| r.scope)
    }

    /// Whether a view came in this round, and it is not over.
    pub fn has_views(&self, number: u64) -> bool {
        self.round.is_some_and(|r| r.number == number && r.views > 0)
    }

    /// Whether a view of our cluster came in this round, and it is not over.
    pub fn has_ours(&self, number: u64) -> bool {
        self.round.is_some_and(|r| r.number == number && r.ours > 0)
    }

    /// The round is over; `next` is what the trouble that is left wants to be asked, `unsettled` that
    /// this round has changed something.
    pub fn finish(&mut self, number: u64, next: Option<Wish>, unsettled: bool) -> Option<RoundEnd> {
        let round = self.round.take_if(|r| r.number == number)?;
        let end = match round {
            Round { views: 0, .. } => RoundEnd::Silent,
            Round { ours: 0, .. } => RoundEnd::Foreign,
            _ => RoundEnd::Fine,
        };
        match (end, next) {
            (RoundEnd::Fine, Some(wish)) => {
                let cap = wish.most.max(SHORTEST);
                self.pause = if unsettled || self.urgent { SHORTEST } else { (self.pause * 2).min(cap) };
                self.wanted = self.wanted.max(Some(wish.scope));
            }
            (RoundEnd::Fine, None) => self.pause = SHORTEST,
            (RoundEnd::Silent | RoundEnd::Foreign, _) => self.end_in_vain(),
        }
        self.urgent = false;
        Some(end)
    }

    /// When a round may start; while one is under way, when that counts as lost.
    pub fn due(&self) -> Instant {
        if let Some(round) = &self.round {
            return round.lost_at;
        }
        let soonest = self.started.map_or(Instant::ZERO, |at| at + self.pause);
        if self.wanted.is_some() { soonest } else { self.routine_at.max(soonest) }
    }

    /// How many rounds have ended or are under way.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }
}
