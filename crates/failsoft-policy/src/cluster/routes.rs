//! What the reads and writes ask: routes, further sources, and the write gate.

use super::Cluster;
use super::timers::Timer;
use crate::breaker::Admission;
use crate::nodes::{MAX_NODES, Node};
use crate::pace;
use crate::partition::Verdict;
use crate::rank::{self, Dated};
use crate::refresh::Scope;
use crate::route::{Route, Snapshot, StandIn};
use crate::time::Instant;
use crate::topology::Kind;
use crate::view::Role;
use crate::words::{NodeKey, Reason, ServedBy, Slot};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// How recently a node must have answered to be written to.
pub(crate) const CONTACT: Duration = Duration::from_secs(1);

/// What stands in the way of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The slot has no owner.
    Uncovered,
    /// The owner gets no traffic now, because of this.
    Trouble(Reason),
    /// No view of the cluster has come yet.
    NoView,
}

/// Whether and where a slot may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteGate {
    /// To this node.
    Open(NodeKey),
    /// To this node, but not with a fill: whether it is in the majority is not known.
    InDoubt(NodeKey),
    /// To this node, once it has answered a `PING`: its last answer is older than a second.
    NeedsContact(NodeKey),
    /// To this node, once its own word and a view agree that it is the primary.
    NeedsProof(NodeKey),
    /// Not now.
    Closed(Blocked),
}

impl Cluster {
    /// Whether the routes changed since the last [`Self::snapshot`].
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Works out all routes.
    pub fn snapshot(&mut self) -> Snapshot {
        self.dirty = false;
        let (slots, owners) = match self.slots.take() {
            Some(kept) => kept,
            None => self.map_slots(),
        };
        let best = rank::best(&self.nodes);
        let routes = owners.iter().map(|o| self.route_of(*o, best.get(o).copied()));
        let routes = core::iter::once(self.no_owner()).chain(routes).collect();
        self.slots = Some((Arc::clone(&slots), owners));
        Snapshot { slots, routes }
    }

    /// The route of a slot as it is now; the same as in a snapshot taken now.
    pub fn route(&self, slot: Slot) -> Route {
        self.topology.owner(slot).map_or_else(
            || self.no_owner(),
            |owner| self.route_of(owner, rank::ranked(&self.nodes, owner).first().copied()),
        )
    }

    /// The slot's owner, if it may be read from.
    pub fn open_primary(&self, slot: Slot) -> Option<NodeKey> {
        let owner = self.topology.owner(slot)?;
        Some(owner).filter(|&owner| self.admits(owner))
    }

    /// Whether this node is known, its breaker lets reads through, and a majority is in reach.
    pub fn admits(&self, node: NodeKey) -> bool {
        !self.down && self.nodes.get(node).is_some_and(Node::admits)
    }

    /// On which side of a partition a node is held to be; none if it is not known.
    pub fn verdict(&self, node: NodeKey) -> Option<Verdict> {
        self.nodes.get(node).map(|n| n.verdict())
    }

    /// Whether a node may be asked for leases: it has not refused any a moment ago.
    pub(crate) fn takes_leases(&self, node: NodeKey, now: Instant) -> bool {
        self.nodes.get(node).is_some_and(|n| n.leases_denied().is_none_or(|until| now >= until))
    }

    /// Whether a node may be sent entries of the log: it has not refused any a moment ago.
    pub(crate) fn takes_log(&self, node: NodeKey, now: Instant) -> bool {
        self.nodes.get(node).is_some_and(|n| n.log_denied().is_none_or(|until| now >= until))
    }

    /// Whether a node is the owner of a slot.
    pub fn owns(&self, node: NodeKey, slot: Slot) -> bool {
        self.topology.owner(slot) == Some(node)
    }

    /// The config epoch of a node, as far as it is known; none if the node is not.
    pub fn epoch(&self, node: NodeKey) -> Option<u64> {
        self.nodes.get(node).map(|n| n.epoch())
    }

    /// When a node was last seen to have evicted keys since the look before.
    pub fn evicting_at(&self, node: NodeKey) -> Option<Instant> {
        self.nodes.get(node).and_then(|n| n.evicting_at())
    }

    /// Whether no majority is in reach, so that no node is asked.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// Whether the slot has an owner.
    pub fn is_covered(&self, slot: Slot) -> bool {
        self.topology.owner(slot).is_some()
    }

    /// The best replica for a slot that is not among `tried`, with answers that are not too old, or not older than `asked`
    /// if that is given; if `since` is given, as of then at the earliest.
    pub fn replica(
        &self,
        slot: Slot,
        tried: &[NodeKey],
        since: Option<Instant>,
        asked: Option<Duration>,
        now: Instant,
    ) -> Option<StandIn> {
        let owner = self.topology.owner(slot).filter(|_| !self.down)?;
        let ranked = rank::ranked(&self.nodes, owner);
        let serves = |r: &StandIn| !tried.contains(&r.node) && now < r.until && r.is_as_of(since);
        ranked.into_iter().map(|n| self.stand_in(n, asked)).find(serves)
    }

    /// What is known of the age of a replica's answers; none if it must not stand in.
    pub fn dated(&self, replica: NodeKey) -> Option<Dated> {
        self.nodes.get(replica).and_then(|n| rank::dated(&self.nodes, n))
    }

    /// Since when a replica's answers may be out of date; none if that is not known.
    pub fn current_at(&self, replica: NodeKey) -> Option<Instant> {
        self.nodes.get(replica).and_then(|n| rank::current_at(&self.nodes, n))
    }

    /// How old the answer of a node may be that served as this; none if it is not known. `current_at` is what was known
    /// of a replica when it was asked.
    pub fn age(
        &self,
        node: NodeKey,
        served_by: ServedBy,
        current_at: Option<Instant>,
        now: Instant,
    ) -> Option<Duration> {
        match served_by {
            ServedBy::Replica => current_at.map(|at| now.since(at)),
            ServedBy::Primary if !self.is_original(node) => None,
            ServedBy::Near | ServedBy::Primary | ServedBy::Secondary | ServedBy::Stale | ServedBy::None => {
                Some(Duration::ZERO)
            }
        }
    }

    /// Whether a node that is asked as the owner is the primary. In a cluster a replica would redirect; a server without
    /// cluster mode answers all the same when it copies another one, which may be out of its reach.
    fn is_original(&self, node: NodeKey) -> bool {
        self.topology.kind() != Kind::Standalone || self.nodes.get(node).is_some_and(|n| n.report().primary)
    }

    /// Whether and where a slot may be written now. A node that lacks proof is probed soon.
    pub fn write_gate(&mut self, slot: Slot, now: Instant) -> WriteGate {
        let Some(owner) = self.topology.owner(slot) else {
            self.refresh.want(Scope::Suspicion, false);
            let blocked = if self.topology.kind() == Kind::Unknown { Blocked::NoView } else { Blocked::Uncovered };
            return WriteGate::Closed(blocked);
        };
        // A redirect may come from a node that lags, or was cut off: it is no proof of ownership as
        // long as the claim that it overrode has the higher epoch.
        let epoch = self.nodes.get(owner).map_or(0, |n| n.epoch());
        if self.topology.epoch(slot).is_some_and(|claimed| epoch < claimed) {
            self.refresh.want(Scope::Suspicion, false);
            return WriteGate::NeedsProof(owner);
        }
        self.gate_of(owner, now)
    }

    /// Whether this node may be written to, as the owner or as the target of an `ASK`.
    pub fn gate_of(&mut self, key: NodeKey, now: Instant) -> WriteGate {
        let (down, up_to_date) = (self.down, self.is_up_to_date(key));
        let turn = pace::turn(self.clients, self.interval);
        let Some(node) = self.nodes.get_mut(key) else { return WriteGate::Closed(Blocked::Uncovered) };
        match node.trouble() {
            Some(trouble) if !node.admits() => return WriteGate::Closed(Blocked::Trouble(trouble.reason)),
            _ if down => return WriteGate::Closed(Blocked::Trouble(Reason::ClusterDown)),
            _ => {}
        }
        if !(node.is_proved() && up_to_date) {
            node.want_proof(turn, now);
            return WriteGate::NeedsProof(key);
        }
        match node.contact() {
            Some(at) if now.since(at) < CONTACT && node.verdict() == Verdict::Unknown => WriteGate::InDoubt(key),
            Some(at) if now.since(at) < CONTACT => WriteGate::Open(key),
            _ => WriteGate::NeedsContact(key),
        }
    }

    fn map_slots(&self) -> (Arc<[u16]>, Vec<NodeKey>) {
        // Routes are numbered in the order in which their owners first appear; 0 is "no owner".
        const { assert!(MAX_NODES < u16::MAX as usize) }
        let mut numbers: Vec<u16> = vec![0; self.nodes.iter().map(|n| n.key().index as usize + 1).max().unwrap_or(0)];
        let mut owners = Vec::new();
        let mut slots: Vec<u16> = vec![0; usize::from(Slot::COUNT)];
        for (first, last, owner) in self.topology.ranges() {
            let Some((owner, number)) = owner.and_then(|o| Some((o, numbers.get_mut(o.index as usize)?))) else {
                continue;
            };
            if *number == 0 {
                owners.push(owner);
                *number = owners.len() as u16;
            }
            slots[usize::from(first)..=usize::from(last)].fill(*number);
        }
        (slots.into(), owners)
    }

    fn no_owner(&self) -> Route {
        match (self.topology.kind(), self.timers.get(Timer::Starting)) {
            (Kind::Unknown, Some(until)) => Route::Await { until },
            (Kind::Unknown, None) => Route::Secondary { reason: self.no_view },
            _ => Route::Secondary { reason: Reason::SlotUncovered },
        }
    }

    /// The route of a shard, whose best replica is `replica`.
    fn route_of(&self, owner: NodeKey, replica: Option<&Node>) -> Route {
        let Some(node) = self.nodes.get(owner) else { return Route::Secondary { reason: Reason::SlotUncovered } };
        let reason = why(node);
        if self.down {
            let reason = if reason == Reason::Quarantined { reason } else { Reason::ClusterDown };
            return Route::Secondary { reason };
        }
        let replica = replica.map(|n| self.stand_in(n, None));
        match (node.admission(), replica) {
            (Admission::Permille(permille), Some(replica)) => {
                Route::Readmitting { node: owner, permille, replica, reason }
            }
            (Admission::All | Admission::Permille(_), replica) => {
                Route::Primary { node: owner, backed: replica.is_some() }
            }
            (Admission::Closed, Some(replica)) => Route::Replica { replica, reason },
            (Admission::Closed, None) => Route::Secondary { reason },
        }
    }

    fn stand_in(&self, replica: &Node, asked: Option<Duration>) -> StandIn {
        let dated = rank::dated(&self.nodes, replica);
        let of = if let Role::Replica(of) = replica.role() { of } else { None };
        let until = of.zip(dated).map_or(Instant::ZERO, |(of, dated)| {
            let complete = dated.current_at.and_then(|at| self.hearing.complete_until(of, at));
            self.stands_in_until(dated, complete, asked)
        });
        StandIn { node: replica.key(), current_at: dated.and_then(|d| d.current_at), until }
    }
}

/// Why a node in trouble is passed over: what it said of itself, or that its breaker is open.
fn why(node: &Node) -> Reason {
    match node.trouble().map(|t| t.reason) {
        Some(said @ (Reason::Loading | Reason::ClusterDown | Reason::ErrorReply | Reason::Quarantined)) => said,
        _ => Reason::BreakerOpen,
    }
}
