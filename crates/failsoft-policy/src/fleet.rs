//! One load for a key in all processes, with the setting `lease_ttl`: how long a load waits for another process's, and how
//! its own lease is kept while its callback runs.
//!
//! The lease is the one that the fill needs anyway ([`crate::lease`]). A load that finds another
//! load's lease does not run its callback but asks again, by the script that takes a lease, until the key has a value, or
//! the lease is gone and so its own. The owner prolongs it each third of its time to live; if it dies or hangs, the lease
//! is gone within that time, and the next one takes over.
//!
//! Nobody waits for ever. After half of `load_timeout`, counted from when its caller set out, a load goes on without its
//! turn, with the other's token and with at least as much time of its own: a source that hangs for the owner alone costs
//! one load for each process. And nobody waits in a circle: a load waits only while it holds no lease itself, and not if a
//! callback waits for it, since the process that it would wait for may wait for that callback's key. So a load of many
//! keys waits as long as others load all that are still missing, and then loads the rest, whose callback is called once.

use crate::fills::time_to_live;
use crate::lease::{Fillable, Lease, Missing};
use crate::time::Instant;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// The first pause before the primary is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest one, for a single key. Up to half of each is taken off by chance.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// The shortest one for each key of a load of many.
const PAUSE_PER_KEY: Duration = Duration::from_millis(1);

/// What came of the leases that a load asked for, but for keys that have a value again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// Those that may be loaded now, with their leases or without.
    pub taken: Vec<Fillable>,
    /// Those that another process loads, with its lease.
    pub elsewhere: Vec<(Missing, Lease)>,
}

/// What a load does when it has asked for its leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another process loads all keys that are still missing: ask for these leases once more, then.
    Wait {
        /// When.
        until: Instant,
        /// Of what.
        missing: Vec<Missing>,
    },
    /// Run the callback, for the keys that have no value, and keep its leases meanwhile.
    Run(Keeping),
}

/// The leases of one load, until its end.
#[derive(Clone, Debug)]
pub(crate) struct Leases {
    /// Not asked for yet.
    pub(crate) missing: Vec<Missing>,
    pub(crate) taken: Vec<Fillable>,
    /// How often it has waited.
    pub(crate) rounds: u32,
    /// Until when it waits for others; never, if it has keys without a confirmed miss.
    pub(crate) patience: Instant,
    /// When its callers get `DeadlineExceeded`.
    pub(crate) limit: Instant,
}

impl Leases {
    /// What the load does with what came of those that it asked for.
    pub(crate) fn came(&mut self, came: Came, ttl: Option<Duration>, now: Instant, dice: u32) -> Next {
        let Came { taken, elsewhere } = came;
        if taken.is_empty() && !elsewhere.is_empty() && now < self.patience {
            let pause = pause(self.rounds, elsewhere.len(), dice);
            self.rounds = self.rounds.saturating_add(1);
            let missing = elsewhere.into_iter().map(|(missing, _)| missing).collect();
            return Next::Wait { until: (now + pause).min(self.patience), missing };
        }
        self.taken = taken;
        // Their tokens are as good as own ones for the fill.
        self.taken.extend(elsewhere.into_iter().map(|(missing, lease)| (missing.key, Ok(lease))));
        Next::Run(Keeping::new(self, ttl))
    }

    /// Those that are this load's own to be released.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (Bytes, Lease)> {
        let kept =
            |(key, lease): &Fillable| Some((key.clone(), lease.as_ref().ok().filter(|lease| lease.kept)?.clone()));
        self.taken.iter().filter_map(kept)
    }
}

/// How long a load waits before it asks again, for the so many-th time.
fn pause(round: u32, keys: usize, dice: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << round.min(8)).min(LONGEST_PAUSE);
    let keys = u32::try_from(keys).unwrap_or(u32::MAX);
    time_to_live(longest, 0.5, dice).max(PAUSE_PER_KEY.saturating_mul(keys))
}

/// When the leases of a load are prolonged while its callback runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    leases: Vec<(Bytes, Lease)>,
    every: Duration,
    next: Instant,
    /// Callers do not wait for the load after that, and so the next one may take over.
    ends: Instant,
}

impl Keeping {
    pub(crate) fn new(leases: &Leases, ttl: Option<Duration>) -> Self {
        let every = ttl.unwrap_or_default() / 3;
        let kept: Vec<(Bytes, Lease)> = ttl.map(|_| leases.kept().collect()).unwrap_or_default();
        let next = kept.iter().map(|(_, lease)| lease.at).min().unwrap_or(Instant::ZERO) + every;
        Self { leases: kept, every, next, ends: leases.limit }
    }

    /// When the leases have to be prolonged next; none if the load has none, or has reached its time limit.
    pub fn next(&self) -> Option<Instant> {
        (!self.leases.is_empty() && self.next < self.ends).then_some(self.next)
    }

    /// The leases to be prolonged now, whose turn comes again after a third of their time to live.
    pub fn due(&mut self, now: Instant) -> Vec<(Bytes, Lease)> {
        self.next = now + self.every;
        self.leases.clone()
    }

    /// The lease of this key is gone, or of no use for a fill any more.
    pub fn lost(&mut self, key: &Bytes) {
        self.leases.retain(|(kept, _)| kept != key);
    }
}

#[cfg(test)]
mod tests;
