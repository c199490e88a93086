//! The routing snapshot and the first step of a read: a plain lookup in which the gates (breakers,
//! roles, ages) are already worked out.

use crate::config::Config;
use crate::connection::Attempt;
use crate::time::Instant;
use crate::words::{NodeKey, Reason, Slot};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// Which connection of a node a read takes: a replica's is `READONLY`, a primary's is not, so that a
/// primary that was demoted says MOVED instead of serving what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The node is asked as the slot's owner.
    Primary,
    /// The node is asked as a replica.
    Replica,
}

/// A replica that may stand in, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The replica.
    pub node: NodeKey,
    /// The last moment at which it was known to hold all that its primary had; `None` if unknown.
    pub current_at: Option<Instant>,
    /// When its answers become too old (`outage_budget`, `staleness_budget`): from then on it does not stand in.
    pub until: Instant,
}

impl StandIn {
    /// Whether its answers are as of this time or later, as far as that is known.
    pub fn is_as_of(&self, since: Option<Instant>) -> bool {
        since.is_none_or(|since| self.current_at.is_some_and(|at| at >= since))
    }
}

/// Where the reads of one shard go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the owner; a replica that could stand in shortens what the owner may take of the deadline.
    Primary {
        /// The owner.
        node: NodeKey,
        /// Whether a replica could stand in.
        backed: bool,
    },
    /// The owner is being readmitted: a share of the reads goes to it, the stand-in gets the others.
    Readmitting {
        /// The owner.
        node: NodeKey,
        /// The owner's share, in permille.
        permille: u16,
        /// The replica that gets the others.
        replica: StandIn,
        /// Why.
        reason: Reason,
    },
    /// To a replica, because of `reason`.
    Replica {
        /// Which.
        replica: StandIn,
        /// Why not to the primary.
        reason: Reason,
    },
    /// No node may be asked.
    Secondary {
        /// Why.
        reason: Reason,
    },
    /// The first view is still on its way: wait for it, but not longer than this.
    Await {
        /// The latest moment.
        until: Instant,
    },
}

impl Route {
    /// The owner, if reads go to it.
    pub fn owner(self) -> Option<NodeKey> {
        match self {
            Self::Primary { node, .. } | Self::Readmitting { node, .. } => Some(node),
            Self::Replica { .. } | Self::Secondary { .. } | Self::Await { .. } => None,
        }
    }
}

/// The first step of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this node.
    Send {
        /// The node.
        node: NodeKey,
        /// As the slot's owner or as a replica.
        source: Source,
        /// Why the primary was passed over; `None` if this is the primary.
        reason: Option<Reason>,
        /// How current a replica's answer is at the least; none for a primary's, or if nobody can say.
        current_at: Option<Instant>,
        /// When the attempt is given up ...
        until: Instant,
        /// ... or at the latest then, while a long transfer that it waits for or behind advances.
        limit: Instant,
    },
    /// No node may be asked.
    Secondary(Reason),
    /// Wait for the first view, if there is a callback no longer than this.
    Wait(Instant),
}

/// How long a read may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// `attempt_timeout`.
    pub attempt_timeout: Duration,
    /// The end of the cluster side of this read.
    pub deadline: Instant,
    /// Whether the whole call ends then: its caller set a deadline, and gave no callback.
    pub ends_call: bool,
    /// How old what stands in may be, if the caller says so.
    pub staleness: Option<Duration>,
}

impl Bounds {
    /// The limits of a call that begins now and has no deadline of its own.
    pub fn new(config: &Config, now: Instant) -> Self {
        let deadline = now + config.deadline();
        Self { attempt_timeout: config.attempt_timeout(), deadline, ends_call: false, staleness: None }
    }

    /// The limits of a call that begins now and has to end within `limit`, the callback included: the cluster
    /// side takes at most half of it where there is a callback, which so has time left when every node hangs.
    pub fn of_call(config: &Config, now: Instant, limit: Duration, callback: bool) -> Self {
        let share = if callback { limit / 2 } else { limit };
        let ends_call = !callback && limit <= config.deadline();
        Self { deadline: now + share.min(config.deadline()), ends_call, ..Self::new(config, now) }
    }

    /// What stands in may be no older than this, whatever the settings say; no more than `invalidation_ttl` counts.
    pub fn no_staler_than(self, config: &Config, budget: Option<Duration>) -> Self {
        Self { staleness: budget.map(|budget| budget.min(config.invalidation_ttl())), ..self }
    }

    /// How long an attempt that begins now may take, if `sources` (this one included) still share the time that is
    /// left.
    pub fn attempt(&self, now: Instant, sources: u32) -> Attempt {
        let share = self.deadline.since(now) / sources.max(1);
        Attempt { until: now + self.attempt_timeout.min(share), limit: now + share }
    }
}

/// How many reads of batches may be under way to one node at a time: half of its limit, so that other readers find
/// room beside them.
pub fn batch_window(config: &Config) -> usize {
    (config.max_in_flight() as usize / 2).max(1)
}

/// All routes, as they were worked out at one moment. Cheap to share.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) slots: Arc<[u16]>,
    pub(crate) routes: Vec<Route>,
}

impl Route {
    /// Whether a read that waits for a source would find the same ones on the other route. Ages are not compared:
    /// they change with each table.
    pub fn offers_the_same(&self, other: &Self) -> bool {
        let sources = |route: &Self| match *route {
            Self::Primary { node, .. } => (Some(node), None),
            Self::Readmitting { node, replica, .. } => (Some(node), Some(replica.node)),
            Self::Replica { replica, .. } => (None, Some(replica.node)),
            Self::Secondary { .. } | Self::Await { .. } => (None, None),
        };
        let waits = |route: &Self| matches!(route, Self::Await { .. });
        let uncovered = |route: &Self| matches!(route, Self::Secondary { reason: Reason::SlotUncovered });
        let kind = |route: &Self| (waits(route), uncovered(route));
        sources(self) == sources(other) && kind(self) == kind(other)
    }
}

impl Snapshot {
    /// The route of a slot.
    pub fn route(&self, slot: Slot) -> Route {
        self.routes[usize::from(self.slots[slot.index()])]
    }
}

/// The first step of a read of `slot`. `dice` is any number, drawn anew for each read.
pub fn first_step(snapshot: &Snapshot, slot: Slot, now: Instant, bounds: Bounds, dice: u32) -> Step {
    step_of(snapshot.route(slot), now, bounds, dice)
}

/// The first step that a route leads to.
pub(crate) fn step_of(route: Route, now: Instant, bounds: Bounds, dice: u32) -> Step {
    let send = |node, source, reason, current_at, sources| {
        let Attempt { until, limit } = bounds.attempt(now, sources);
        Step::Send { node, source, reason, current_at, until, limit }
    };
    let primary = |node, backed: bool| send(node, Source::Primary, None, None, 1 + u32::from(backed));
    let stand_in = |replica: StandIn, reason| {
        if now >= replica.until {
            return Step::Secondary(reason);
        }
        send(replica.node, Source::Replica, Some(reason), replica.current_at, 1)
    };
    match route {
        Route::Primary { node, backed } => primary(node, backed),
        Route::Readmitting { node, permille, replica, .. }
            if dice % 1000 < u32::from(permille) || now >= replica.until =>
        {
            primary(node, true)
        }
        Route::Readmitting { replica, reason, .. } | Route::Replica { replica, reason } => stand_in(replica, reason),
        Route::Secondary { reason } => Step::Secondary(reason),
        Route::Await { until } => Step::Wait(until.min(bounds.deadline)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(index: u32) -> NodeKey {
        NodeKey { index, generation: 0 }
    }

    fn stand_in(index: u32, millis: u64) -> StandIn {
        let at = Instant::from_millis(millis);
        StandIn { node: node(index), current_at: Some(at), until: at + Duration::from_secs(30) }
    }

    #[test]
    fn a_read_that_waits_is_woken_by_other_sources_and_not_by_other_ages() {
        let reason = Reason::BreakerOpen;
        let replica = |index, millis| Route::Replica { replica: stand_in(index, millis), reason };
        let readmitting =
            |permille, millis| Route::Readmitting { node: node(0), permille, replica: stand_in(1, millis), reason };
        let none = Route::Secondary { reason };
        assert!(replica(1, 5).offers_the_same(&replica(1, 6)));
        assert!(readmitting(100, 5).offers_the_same(&readmitting(500, 6)));
        assert!(none.offers_the_same(&Route::Secondary { reason: Reason::Connection }));
        let primary = |index| Route::Primary { node: node(index), backed: false };
        let waiting = Route::Await { until: Instant::ZERO };
        let uncovered = Route::Secondary { reason: Reason::SlotUncovered };
        let all = [replica(1, 5), replica(2, 5), readmitting(100, 5), primary(0), primary(1), none, waiting, uncovered];
        for (i, one) in all.iter().enumerate() {
            for (k, other) in all.iter().enumerate() {
                assert_eq!(one.offers_the_same(other), i == k, "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn batches_leave_half_of_the_room_to_others() {
        let mut config = Config::default();
        assert_eq!(batch_window(&config), 5_000);
        config.set_text("max_in_flight", "1").expect("a setting");
        assert_eq!(batch_window(&config), 1, "a batch goes on all the same");
    }
}
