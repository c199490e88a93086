//! Leases: what proves, when a loaded value is written back, that nothing happened to its key since its load set out.
//!
//! A value that was read from the secondary store before somebody else changed it there must not be written into the
//! cluster afterwards. So a load that may be written back first takes a lease of each key, on the primary that confirmed
//! the miss: a random token under a name beside the key ([`crate::wire`]). Whoever changes the key deletes the lease
//! before, so only its *presence* proves anything: expired, evicted, deleted, replaced or lost, the value is served and
//! not written (the leases of "Scaling Memcache at Facebook", NSDI 2013).
//!
//! One script takes it, on the server, where the key is still absent ([`LEASE_SCRIPT`](crate::wire::LEASE_SCRIPT)). Where
//! another load holds the lease its token is as good as an own one; with `lease_ttl` its end is waited for instead
//! ([`crate::fleet`]). Every one that is sent is a token of its own, for a server executes also what came on a connection
//! that is closed by now. If the key has a value again, that is served.
//!
//! The fill goes only to the process that answered: the same node, with the same config epoch, on the same connection. A
//! node that was restarted may have an old lease beside an old value, and one that was promoted may lack the deletion.

use crate::config::Config;
use crate::connection::Attempt;
use crate::invalidations::Standing;
use crate::read::Answer;
use crate::reply::ErrorReply;
use crate::text::{Text, Then, Which};
use crate::time::Instant;
use crate::turn::Turn;
use crate::wire::{self, Tenure};
use crate::words::{NodeKey, Slot};
use crate::write::{Cause, cause_of_answer, heed};
use bytes::Bytes;
use core::time::Duration;

/// A key whose miss its primary has confirmed, before its callback begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The key.
    pub key: Bytes,
    /// The primary that confirmed the miss.
    pub node: NodeKey,
    /// When its lease has to be there, if the caller's own deadline says so.
    pub by: Option<Instant>,
    /// The value that is to be replaced, if the key is not missing but refreshed early.
    pub over: Option<Bytes>,
}

/// How long a lease lasts: until it would have to be prolonged, or as long as its load may run, its fill included.
pub fn lasts(config: &Config) -> Duration {
    // After its limit a load runs on for as long again.
    config.lease_ttl().unwrap_or(config.load_timeout() * 2 + config.deadline())
}

/// The token of a lease that is to be taken, made of a random number.
pub fn token(config: &Config, dice: u64) -> [u8; 17] {
    wire::token(if config.lease_ttl().is_some() { Tenure::Kept } else { Tenure::Fixed }, dice)
}

/// One lease that is being taken.
#[derive(Clone, Debug)]
pub struct Taking {
    slot: Slot,
    lessor: Lessor,
    token: Bytes,
    /// Another's lease is waited for, if its owner keeps it.
    waits: bool,
    /// The value that is to be replaced.
    over: Option<Bytes>,
    sent_at: Instant,
    text: Text,
}

impl Taking {
    /// Begins to take the lease of a key in this slot, with this token. Gives the time that the script has. The node is not asked if the
    /// slot has another owner by now, if it gets no reads, if it has refused leases, or if there is no time.
    ///
    /// # Errors
    /// Why it is not asked.
    pub fn begin(
        missing: &Missing,
        (slot, token): (Slot, Bytes),
        config: &Config,
        turn: &mut Turn<'_>,
    ) -> Result<(Self, Attempt), Cause> {
        let (cluster, now) = (&turn.cluster, turn.now);
        let node = missing.node;
        let epoch = cluster.epoch(node).filter(|_| cluster.owns(node, slot)).ok_or(Cause::OwnerChanged)?;
        if !cluster.admits(node) {
            return Err(Cause::BreakerOpen);
        }
        // Whoever joins the load was perhaps told of an invalidation that the node was not.
        if matches!(cluster.standing(slot, &missing.key, now), Standing::Owed | Standing::InDoubt(_)) {
            return Err(Cause::LeaseGone);
        }
        if !cluster.takes_leases(node, now) {
            return Err(Cause::Denied);
        }
        let last = missing.by.unwrap_or(Instant::MAX);
        if now >= last {
            return Err(Cause::Timeout);
        }
        // The key may have a long value by now.
        let (until, limit) = (now + config.attempt_timeout(), now + config.deadline());
        let lessor = Lessor { node, epoch, line: 0 };
        Ok((
            Self {
                slot,
                lessor,
                token,
                waits: config.lease_ttl().is_some(),
                over: missing.over.clone(),
                sent_at: now,
                text: Text::default(),
            },
            Attempt { until: until.min(last), limit: limit.min(last) },
        ))
    }

    /// What the script came to, on the connection of this number. The node last answered anything at `contact`.
    pub fn on(&mut self, line: u64, given: Given, contact: Option<Instant>, turn: &mut Turn<'_>) -> Step {
        match (self.given(line, given, contact, turn), &self.over) {
            (Step::Over(Taken::Leased(lease)), Some(_)) if lease.token == self.token => {
                Step::Over(Taken::Leased(lease))
            }
            // Somebody else is about to load or to write it, or it could not be written: the value is there as it is.
            (Step::Over(_), Some(value)) => Step::Over(Taken::Found(value.clone())),
            (step, _) => step,
        }
    }

    fn given(&mut self, line: u64, given: Given, contact: Option<Instant>, turn: &mut Turn<'_>) -> Step {
        let node = self.lessor.node;
        let answer = match given {
            Given::Token(token) => {
                turn.cluster.handle_lease(node, true, turn.now);
                let lessor = Lessor { line, ..self.lessor };
                let (own, kept) = (token == self.token, Tenure::Kept.is_of(&token));
                let over = self.over.clone();
                let lease = Lease { lessor, token, at: self.sent_at, kept: own && kept, over };
                let elsewhere = self.waits && !own && kept;
                return Step::Over(if elsewhere { Taken::Elsewhere(lease) } else { Taken::Leased(lease) });
            }
            Given::Value(value) => return Step::Over(Taken::Found(value)),
            Given::Held => {
                turn.cluster.handle_lease(node, true, turn.now);
                return Step::Over(Taken::Refused(Cause::Held));
            }
            Given::Neither(answer) => answer,
        };
        match &answer {
            Answer::Error(ErrorReply::NoScript) => {
                if let Then::Again { with_text } = self.text.is_unknown(Which::Lease, node, line, turn) {
                    return Step::Again { with_text };
                }
            }
            Answer::Error(ErrorReply::Moved(slot, target)) if *slot == self.slot => {
                turn.cluster.handle_moved(self.slot, target, node, turn.now);
            }
            Answer::Error(ErrorReply::Ask(..)) => {}
            Answer::Error(ErrorReply::Denied) => turn.cluster.handle_lease(node, false, turn.now),
            _ => {
                heed(&answer, node, (self.sent_at, contact), turn);
            }
        }
        Step::Over(Taken::Refused(cause_of_answer(&answer)))
    }
}

/// Where a lease was taken: whoever answers there later is the same process, with the same memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lessor {
    /// The node.
    pub node: NodeKey,
    /// Its config epoch when it was asked.
    pub epoch: u64,
    /// The connection, by a number that no other one of this router has.
    pub line: u64,
}

/// A lease that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who gave it.
    pub lessor: Lessor,
    /// What stands there.
    pub token: Bytes,
    /// When it was asked for: it stands until later than its time to live from then.
    pub at: Instant,
    /// It is this load's own, to be prolonged and, if nothing comes of it, released.
    pub kept: bool,
    /// The value that is to be replaced.
    pub over: Option<Bytes>,
}

/// What became of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The key is absent, and this may be written back.
    Leased(Lease),
    /// Another process loads the key, and keeps this lease meanwhile.
    Elsewhere(Lease),
    /// The key has a value again.
    Found(Bytes),
    /// No lease: what is loaded is served and not written back.
    Refused(Cause),
}

/// What the script gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// The token that stands there.
    Token(Bytes),
    /// The key's value.
    Value(Bytes),
    /// A writer holds the key.
    Held,
    /// None of these.
    Neither(Answer),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the script again, in the time that was said at first.
    Again {
        /// With its text in the same write, before it.
        with_text: bool,
    },
    /// That was all.
    Over(Taken),
}

/// A key whose value may be written back, with its lease or the reason why there is none.
pub type Fillable = (Bytes, Result<Lease, Cause>);
