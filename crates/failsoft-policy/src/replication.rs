//! How many replicas have to have an invalidation before it counts, and what follows where they do not.
//!
//! What a primary has acknowledged is lost if a replica without it is promoted. `WAIT` tells how many replicas have all
//! that was written before it on its connection, so one of them covers all keys of a window; it is asked on the connection
//! of invalidations, where no read stands behind it.
//!
//! A node whose replicas were too slow is *behind*. It is asked again by one mark and one `WAIT`, however many keys that is
//! about: a replica that has the later write has the earlier ones, too. Nothing is deleted again for it.

use crate::config::Config;
use crate::invalidations::{Id, Reign};
use crate::read::Answer;
use crate::reply::ErrorReply;
use crate::setting::Choice;
use crate::slot::slot_of;
use crate::time::Instant;
use crate::turn::Turn;
use crate::words::{NodeKey, Slot, words};
use crate::write::{Cause, Write, cause_of_answer};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// The most nodes that are known to be behind.
pub const MAX_BEHIND: usize = 1_024;
/// How long after a failed attempt the next one follows, at first.
const PAUSE: Duration = Duration::from_millis(500);
/// How often that doubles.
const DOUBLINGS: u32 = 4;

words! {
    /// Who has to have an invalidation before it is complete.
    Durability {
        /// The primary alone.
        Primary = "primary",
        /// One replica, too, where there are any.
        Replica = "replica",
        /// All of its replicas.
        All = "all",
    }
}

impl Choice for Durability {
    fn all() -> &'static [Self] {
        Self::ALL
    }

    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Durability {
    /// How many of the `linked` replicas of a primary have to have it.
    pub fn of(self, linked: u32) -> u32 {
        match self {
            Self::Primary => 0,
            Self::Replica => linked.min(1),
            Self::All => linked,
        }
    }
}

/// What a write has left, and where it was acknowledged.
#[derive(Clone, Debug)]
pub struct Landed {
    /// The node and the connection on which it was sent last.
    pub(crate) node: NodeKey,
    pub(crate) line: u64,
    pub(crate) reign: Reign,
    /// The slot that it was written in.
    pub(crate) slot: Slot,
    pub(crate) sent_at: Instant,
}

/// One `WAIT`.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Of whom it is asked.
    pub node: NodeKey,
    /// On which connection: on another one it would say nothing of this write.
    pub line: u64,
    /// How many replicas.
    pub replicas: u32,
    /// How long the server may take. It answers with their number then, so that the connection is not taken for hung, and
    /// what stands behind it on the connection is not late.
    pub patience: Duration,
    /// How long until there is no answer.
    pub limit: Duration,
    landed: Landed,
}

impl Wait {
    /// The one that a write needs; none where the primary's word is enough, or all that can be had.
    pub fn after(landed: &Landed, config: &Config, turn: &Turn<'_>) -> Option<Self> {
        let node = landed.node;
        let replicas = turn.cluster.replicas_to_wait_for(node, config.invalidate_durability(), turn.now);
        let limit = config.attempt_timeout();
        let patience = (limit / 2).max(Duration::from_millis(1));
        (replicas > 0).then(|| Self { node, line: landed.line, replicas, patience, limit, landed: landed.clone() })
    }

    /// What it said, about a key that was invalidated at `called_at`: why the replicas do not have it, if they do not.
    pub fn ended(
        &self,
        said: Result<i64, Answer>,
        (key, called_at): (&Bytes, Instant),
        turn: &mut Turn<'_>,
    ) -> Option<Cause> {
        let Landed { reign, slot, sent_at, .. } = self.landed;
        let cause = match said {
            Ok(number) if number >= i64::from(self.replicas) => {
                turn.cluster.behind().caught_up(reign, sent_at);
                return None;
            }
            Ok(_) => Cause::NotReplicated,
            // It is not allowed, or there is none.
            Err(Answer::Error(ErrorReply::Denied | ErrorReply::Other)) => {
                turn.cluster.handle_no_wait(self.node, turn.now);
                turn.cluster.behind().forget(reign);
                return None;
            }
            Err(answer) => cause_of_answer(&answer),
        };
        if turn.cluster.behind().add(reign, (slot, key.clone(), called_at), turn.now) {
            // A replica may have failed: a view will tell.
            turn.cluster.handle_doubt();
        }
        Some(cause)
    }
}

/// A node whose replicas lack something.
#[derive(Clone, Debug)]
struct Lack {
    /// What is marked again: the key that was found to be lacking last, in the slot of its mark.
    slot: Slot,
    key: Bytes,
    /// When that was called for, and when it was found.
    called_at: Instant,
    found_at: Instant,
    failed: u32,
    due: Option<Instant>,
}

/// A node that is asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    reign: Reign,
    /// In which slot the mark is left.
    pub slot: Slot,
    /// The key that it is about.
    pub key: Bytes,
    called_at: Instant,
}

impl Again {
    /// It sets out under this id. Gives the config epoch that its mark names.
    pub fn begin(&self, id: Id, turn: &mut Turn<'_>) -> u64 {
        turn.cluster.invalidations().begun(slot_of(&self.key), &self.key, id);
        turn.cluster.reign(self.slot).map_or(0, |(_, epoch)| epoch)
    }

    /// The write that leaves the mark.
    pub fn mark(&self, config: &Config, now: Instant) -> Write {
        Write::announce(config, self.slot, now + config.deadline())
    }

    /// The question that follows it, if it was acknowledged. Otherwise it is over, and comes again later.
    pub fn wait(&self, write: &Write, refused: Option<Cause>, config: &Config, turn: &mut Turn<'_>) -> Option<Wait> {
        let landed = write.landed().filter(|_| refused.is_none());
        let Some(landed) = landed else {
            turn.cluster.behind().failed(self.reign, turn.now);
            return None;
        };
        let wait = Wait::after(&landed, config, turn);
        if wait.is_none() {
            // The replicas that it lacked have failed, or may not be asked for.
            turn.cluster.behind().forget(self.reign);
        }
        wait
    }

    /// What that came to: whether the replicas have it.
    pub fn ended(&self, wait: &Wait, said: Result<i64, Answer>, turn: &mut Turn<'_>) -> bool {
        let lacks = wait.ended(said, (&self.key, self.called_at), turn).is_some();
        if lacks {
            turn.cluster.behind().failed(self.reign, turn.now);
            turn.cluster.handle_doubt();
        } else if wait.landed.reign != self.reign {
            // What was written under the last owner is sent again as a whole.
            turn.cluster.behind().forget(self.reign);
        }
        !lacks
    }
}

/// The nodes that are behind, each until `ttl` after the last call whose key its replicas lacked.
#[derive(Clone, Debug)]
pub struct Behind {
    ttl: Duration,
    nodes: BTreeMap<Reign, Lack>,
}

impl Behind {
    /// None is.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, nodes: BTreeMap::new() }
    }

    /// The replicas of this one lack a key whose invalidation was called for at `called_at`. Whether that is news.
    pub fn add(&mut self, reign: Reign, (slot, key, called_at): (Slot, Bytes, Instant), now: Instant) -> bool {
        let before = self.nodes.remove(&reign);
        let news = before.is_none();
        let (failed, due) = before.map_or((0, None), |lack| (lack.failed, lack.due));
        if self.nodes.len() >= MAX_BEHIND {
            self.nodes.pop_first();
        }
        let due = Some(due.unwrap_or(now + PAUSE));
        self.nodes.insert(reign, Lack { slot, key, called_at, found_at: now, failed, due });
        news
    }

    /// Its replicas have what was written to it at `sent_at`, so all that was found to be lacking before.
    pub fn caught_up(&mut self, reign: Reign, sent_at: Instant) {
        if self.nodes.get(&reign).is_some_and(|lack| lack.found_at <= sent_at) {
            self.nodes.remove(&reign);
        }
    }

    /// An attempt was in vain.
    pub fn failed(&mut self, reign: Reign, now: Instant) {
        if let Some(lack) = self.nodes.get_mut(&reign) {
            lack.due = Some(now + PAUSE * (1 << lack.failed.min(DOUBLINGS)));
            lack.failed += 1;
        }
    }

    /// Nothing of it matters any more.
    pub fn forget(&mut self, reign: Reign) {
        self.nodes.remove(&reign);
    }

    /// Those that are to be asked again now.
    pub fn take_due(&mut self, now: Instant) -> Vec<Again> {
        let ttl = self.ttl;
        self.nodes.retain(|_, lack| now < lack.called_at + ttl);
        let due = self.nodes.iter_mut().filter(|(_, lack)| lack.due.is_some_and(|at| at <= now));
        let take = |(&reign, lack): (&Reign, &mut Lack)| {
            lack.due = None;
            Again { reign, slot: lack.slot, key: lack.key.clone(), called_at: lack.called_at }
        };
        due.map(take).collect()
    }

    /// When the first is asked again, or forgotten.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.nodes.values().map(|lack| lack.due.unwrap_or(Instant::MAX).min(lack.called_at + self.ttl)).min()
    }
}

#[cfg(test)]
mod tests;
