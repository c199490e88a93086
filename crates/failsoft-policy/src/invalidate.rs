//! One key's invalidation: its key is deleted where it lives, and a mark is left there and in another slot.
//!
//! The *key step* deletes the lease and the key, first of all, and leaves a mark beside them. The *echo* is the same mark
//! in the opposite slot, which another shard nearly always owns, so that whoever has lost the key's own shard can still
//! learn of it. It comes after the key step; or at once, when that has failed. The invalidation is complete when both are
//! acknowledged. What is not is sent again in the background for `invalidation_ttl`, and after a key step that was late
//! the echo once more ([`crate::invalidations`]). Both also have to reach replicas ([`crate::replication`]).
//!
//! A writer may *hold* the key first: for so long, by the server's clock, nobody takes a lease of it, so whatever is loaded
//! meanwhile is served and kept nowhere. It does so before its transaction, since what it commits may be followed by its
//! own end; and where the secondary store is read from copies that lag. Its own hold alone is lifted afterwards.

use crate::config::Config;
use crate::invalidations::{Due, Id};
use crate::read::Answer;
use crate::replication::{Landed, Wait};
use crate::time::Instant;
use crate::turn::Turn;
use crate::wire::echo_slot;
use crate::words::{Slot, words};
use crate::write::{Cause, Write};
use bytes::Bytes;
use core::time::Duration;

words! {
    /// A step of an invalidation.
    Step {
        /// The key is held.
        Hold = "hold",
        /// The key is deleted.
        Key = "key",
        /// It is announced in another slot.
        Echo = "echo",
        /// Replicas have it, so that a failover does not lose it.
        Replicas = "replicas",
    }
}

/// What an invalidation lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Why the key is not held, if it was to be. That is not tried again.
    pub hold: Option<Cause>,
    /// Why the key step was not acknowledged, if it was not.
    pub key: Option<Cause>,
    /// Why the echo was not.
    pub echo: Option<Cause>,
    /// Why replicas of the key's node may lack what that has acknowledged, a hold among it.
    pub replicas: Option<Cause>,
}

impl Pending {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a transaction may begin under the hold: the key is gone, and stays away for that time, also after a
    /// failover.
    pub fn lets_write(&self) -> bool {
        self.hold.is_none() && self.key.is_none() && self.replicas.is_none()
    }

    /// The steps with their causes.
    pub fn steps(&self) -> impl Iterator<Item = (Step, Cause)> {
        let all =
            [(Step::Hold, self.hold), (Step::Key, self.key), (Step::Echo, self.echo), (Step::Replicas, self.replicas)];
        all.into_iter().filter_map(|(step, cause)| Some((step, cause?)))
    }
}

/// See the module. [`Self::hold`] is carried out first, where the key is to be held, then [`Self::key_step`] unless its
/// node was told before, then [`Self::echo`], each whatever became of the one before.
#[derive(Clone, Debug)]
pub struct Invalidation {
    slot: Slot,
    key: Bytes,
    called_at: Instant,
    /// Its node was told, so that it is only announced.
    is_told: bool,
    /// How long all its steps together may take.
    limit: Duration,
    /// When that is over, once it has begun.
    deadline: Option<Instant>,
    /// Where the key step and the echo were acknowledged.
    landed: [Option<Landed>; 2],
    pending: Pending,
}

impl Invalidation {
    /// A caller invalidates a key: from now on no node is asked for it, until one has acknowledged that it is gone.
    pub fn call(config: &Config, slot: Slot, key: Bytes, turn: &mut Turn<'_>) -> Self {
        turn.cluster.invalidations().call(slot, &key, turn.now);
        Self::again(config, Due { slot, key, called_at: turn.now, owed: true })
    }

    /// The router sends it again: of [`crate::invalidations::Invalidations::take_due`].
    pub fn again(config: &Config, Due { slot, key, called_at, owed }: Due) -> Self {
        let (limit, landed, pending) = (config.deadline(), [None, None], Pending::default());
        Self { slot, key, called_at, is_told: !owed, limit, deadline: None, landed, pending }
    }

    /// It sets out under this id. Gives the config epoch of the key's owner, which its marks name.
    pub fn begin(&self, id: Id, turn: &mut Turn<'_>) -> u64 {
        turn.cluster.invalidations().begun(self.slot, &self.key, id);
        turn.cluster.reign(self.slot).map_or(0, |(_, epoch)| epoch)
    }

    /// Whether its node was told before: then there is no key step, which would delete what was filled since then.
    pub fn is_told(&self) -> bool {
        self.is_told
    }

    /// The key.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// The slot that it is in.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The write that holds the key.
    pub fn hold(&mut self, config: &Config, now: Instant) -> Write {
        let by = self.by(config, now);
        Write::hold(config, self.slot, by)
    }

    /// What came of it.
    pub fn hold_ended(&mut self, refused: Option<Cause>) {
        self.pending.hold = refused;
    }

    /// The write that lifts it.
    pub fn lift(&mut self, config: &Config, now: Instant) -> Write {
        let by = self.by(config, now);
        Write::lift(config, self.slot, by)
    }

    /// The write that deletes the key.
    pub fn key_step(&mut self, config: &Config, now: Instant) -> Write {
        let by = self.by(config, now);
        Write::invalidate(config, self.slot, by)
    }

    /// What came of it. If it was acknowledged by who owns the slot now, the key may be read again.
    pub fn key_step_ended(&mut self, write: &Write, refused: Option<Cause>, turn: &mut Turn<'_>) {
        self.pending.key = refused;
        self.landed[0] = write.landed().filter(|_| refused.is_none());
        if let Some(at) = write.written_at().filter(|_| refused.is_none()) {
            let reign = turn.cluster.reign(self.slot);
            let call = (self.slot, &self.key, self.called_at);
            turn.cluster.invalidations().told(call, (at.node, at.epoch), reign, turn.now);
        }
    }

    /// When a step that begins now has to be over. The time of all counts from the first one: of many keys most wait for
    /// their turn. After one that took all of it the next still goes out once.
    pub fn by(&mut self, config: &Config, now: Instant) -> Instant {
        let deadline = *self.deadline.get_or_insert(now + self.limit);
        deadline.max(now + config.attempt_timeout())
    }

    /// The write that announces it, in the slot of [`Self::echo_slot`].
    pub fn echo(&mut self, config: &Config, now: Instant) -> Write {
        let by = self.by(config, now);
        Write::announce(config, self.echo_slot(), by)
    }

    /// The slot in which it is announced.
    pub fn echo_slot(&self) -> Slot {
        echo_slot(self.slot)
    }

    /// What came of it.
    pub fn echo_ended(&mut self, write: &Write, refused: Option<Cause>) {
        self.pending.echo = refused;
        self.landed[1] = write.landed().filter(|_| refused.is_none());
    }

    /// What is asked about the replicas of the key's node, and of its echo's; the two may be asked at once. None where
    /// there is nothing to be waited for.
    pub fn waits(&self, config: &Config, turn: &Turn<'_>) -> [Option<Wait>; 2] {
        self.landed.each_ref().map(|landed| Wait::after(landed.as_ref()?, config, turn))
    }

    /// What these came to. An echo that replicas lack is as good as none that was left.
    pub fn waits_ended(&mut self, said: [Option<(Wait, Result<i64, Answer>)>; 2], turn: &mut Turn<'_>) {
        let about = (&self.key, self.called_at);
        let [key, echo] = said.map(|said| said.and_then(|(wait, said)| wait.ended(said, about, turn)));
        self.pending.replicas = key;
        self.pending.echo = self.pending.echo.or(echo);
    }

    /// It is over, or was given up half way: what it lacks. Replicas are asked again for a whole node, and not for each
    /// key.
    pub fn ended(&self, turn: &mut Turn<'_>) -> Pending {
        let announced = self.landed[1].is_some();
        turn.cluster.invalidations().ended((self.slot, &self.key, self.called_at), announced, turn.now);
        self.pending
    }
}

#[cfg(test)]
mod tests;
