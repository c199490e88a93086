//! Whether what stands in for a primary may serve: the one rule for copies in this process and for replicas.

use super::Cluster;
use crate::copies::Held;
use crate::invalidations::Standing;
use crate::rank::Dated;
use crate::time::Instant;
use crate::words::Slot;
use core::time::Duration;

impl Cluster {
    /// Whether a copy of a key of this slot may stand in now: no invalidation of the key is known since it was current, and
    /// it is not older than the caller asks for (`asked`), or else than `outage_budget` if all invalidations since then
    /// are known, and than `staleness_budget` if one may have been missed. What is of another cluster never does.
    pub fn copy_serves(&self, (slot, key): (Slot, &[u8]), held: Held, asked: Option<Duration>, now: Instant) -> bool {
        let known = match self.standing(slot, key, now) {
            Standing::Clear => true,
            Standing::Since(since) | Standing::InDoubt(since) => held.current_at >= since,
            Standing::Owed => false,
        };
        let at = held.current_at;
        let complete = self.topology.owner(slot).and_then(|owner| {
            // The owner's bells cover values that it served itself. A value of another owner may have been invalidated
            // there, so for that one only the echoes count.
            match held.node {
                Some(node) if node == owner => self.hearing.complete_until(owner, at),
                _ => self.hearing.echoed_until(owner, at),
            }
        });
        known && at >= self.taken_up_at && now < self.stands_in_until(Dated::at(at), complete, asked)
    }

    /// From when the callback of a load has to have begun that a caller joins now: all invalidations since then are known,
    /// and would have detached it; or it is younger than what stands in where one may have been missed, or than what is
    /// promised to who hears.
    pub fn joins_since(&self, slot: Slot, now: Instant) -> Instant {
        let young = now - self.staleness_budget.min(self.outage_budget).max(self.hearing.trust_window());
        let complete =
            self.topology.owner(slot).and_then(|owner| self.hearing.complete_since(owner, self.map_changed_at, now));
        complete.map_or(young, |complete| complete.min(young))
    }

    /// Whether it is known that nobody has invalidated this key for `max_age`: no such invalidation is known, none is
    /// under way here, and none can have been missed, since the key's own node or those that tell its echoes were heard
    /// all that time. For longer than `invalidation_ttl` nobody knows. To ask is to use these nodes: they go on being
    /// heard.
    pub fn is_untouched(&mut self, (slot, key): (Slot, &[u8]), max_age: Duration, now: Instant) -> bool {
        let at = now - max_age;
        if let Some(owner) = self.topology.owner(slot) {
            self.handle_use(owner, now, now);
        }
        let known = match self.standing(slot, key, now) {
            Standing::Clear => max_age <= self.invalidations.ttl(),
            Standing::Since(since) => since <= at,
            Standing::InDoubt(_) | Standing::Owed => false,
        };
        // The owner's own word counts for the time in which it was the owner.
        let own = self.map_changed_at <= at;
        let complete = self.topology.owner(slot).and_then(|owner| match own {
            true => self.hearing.complete_until(owner, at),
            false => self.hearing.echoed_until(owner, at),
        });
        known && self.taken_up_at <= at && complete.is_some_and(|complete| now < complete)
    }

    /// When what stands in is too old. `complete` is until when all invalidations are known since it was current.
    pub(super) fn stands_in_until(&self, dated: Dated, complete: Option<Instant>, asked: Option<Duration>) -> Instant {
        if let Some(asked) = asked {
            return dated.current_at.map_or(Instant::ZERO, |at| at + asked);
        }
        let stale = dated.counts_from + self.staleness_budget.min(self.outage_budget);
        complete.map_or(stale, |complete| stale.max(complete.min(dated.counts_from + self.outage_budget)))
    }
}
