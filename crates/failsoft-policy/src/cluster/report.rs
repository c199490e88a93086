//! The account of the cluster that `health()` gives.

use super::Cluster;
use crate::hearing::Listening;
use crate::partition::{Ballot, Verdict};
use crate::rank;
use crate::time::Instant;
use crate::topology::Kind;
use crate::view::{ClusterInfo, NodeReport, Role};
use crate::words::{Endpoint, NodeKey, Reason};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// What one node said of the cluster's health in the last round of views with epochs.
#[derive(Clone, Debug)]
pub struct BallotStatus {
    /// Who said it.
    pub by: Endpoint,
    /// How long ago it was asked.
    pub age: Duration,
    /// The primaries that own slots, in its view.
    pub primaries: u32,
    /// Those that are neither FAIL nor PFAIL.
    pub primaries_ok: u32,
    /// Whether more than half of them are: by its own view it is in the majority.
    pub majority: bool,
    /// The highest config epoch in its view.
    pub epoch: u64,
    /// What it said in `CLUSTER INFO`, if it may be asked.
    pub info: Option<ClusterInfo>,
}

/// One node as the router sees it.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Its name in the policy.
    pub key: NodeKey,
    /// Its node id, if it has one.
    pub id: Option<String>,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Its role by the newest view; a replica with its primary's endpoint.
    pub role: Role<Endpoint>,
    /// Its config epoch.
    pub epoch: u64,
    /// How many slots it owns.
    pub slots: usize,
    /// Its breaker: `closed`, `open`, `half_open` or `readmitting`.
    pub breaker: &'static str,
    /// Why it gets no reads, and for how long now.
    pub trouble: Option<(Reason, Duration)>,
    /// Time since its last answer.
    pub contact: Option<Duration>,
    /// For a replica: how long ago it was last known to hold all that its primary had.
    pub lag: Option<Duration>,
    /// Whether it is proved to be the primary it is taken for, so that it may be written to.
    pub validated: bool,
    /// Whether the cluster counts it as failed.
    pub failed: bool,
    /// On which side of a partition it is.
    pub verdict: Verdict,
    /// How it is listened to; none if it owns no slots.
    pub listening: Option<Listening>,
    /// The same for the keys of a near cache; none without one.
    pub tracking: Option<Listening>,
    /// The same for evictions; none without `eviction_events`.
    pub events: Option<Listening>,
    /// What it last said of itself.
    pub report: NodeReport,
}

/// The cluster as the router sees it.
#[derive(Clone, Debug)]
pub struct ClusterReport {
    /// What kind of server answers.
    pub kind: Kind,
    /// Slots with an owner.
    pub slots_assigned: usize,
    /// Slots whose owner gets reads.
    pub slots_ok: usize,
    /// MOVED patches that wait for a view.
    pub patches: usize,
    /// Retries that the retry budget allows now.
    pub retry_tokens: u64,
    /// Refreshes so far.
    pub refreshes: u64,
    /// No majority is in reach: no node is asked.
    pub down: bool,
    /// More than half of the slots' owners are out of the router's own reach.
    pub isolated: bool,
    /// The ballots of the last round of views with epochs, at most five.
    pub ballots: Vec<BallotStatus>,
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
}

/// What a node said of itself, and what it refuses: those of the router's questions, and what writes need.
fn said_by(node: &crate::nodes::Node) -> NodeReport {
    let mut report = node.report().clone();
    if node.leases_denied().is_some() {
        report.denied.push("EVALSHA");
    }
    if node.waits_denied().is_some() {
        report.denied.push("WAIT");
    }
    if node.log_denied().is_some() {
        report.denied.push("XADD");
    }
    report
}

impl Cluster {
    /// The account of the cluster at `now`.
    pub fn report(&self, now: Instant) -> ClusterReport {
        let mut owned: Vec<usize> = Vec::new();
        for (first, last, owner) in self.topology.ranges() {
            let Some(at) = owner.map(|o| o.index as usize) else { continue };
            owned.resize(owned.len().max(at + 1), 0);
            owned[at] += usize::from(last - first) + 1;
        }
        let slots_of = |key: NodeKey| owned.get(key.index as usize).copied().unwrap_or(0);
        let status = |n: &crate::nodes::Node| NodeStatus {
            key: n.key(),
            id: n.id().map(Into::into),
            endpoint: n.endpoint().clone(),
            role: match n.role() {
                Role::Primary => Role::Primary,
                Role::Replica(of) => Role::Replica(of.and_then(|k| self.endpoint(k)).cloned()),
            },
            epoch: n.epoch(),
            slots: slots_of(n.key()),
            breaker: n.breaker(),
            trouble: n.trouble().map(|t| (t.reason, now.since(t.since))),
            contact: n.contact().map(|at| now.since(at)),
            lag: rank::current_at(&self.nodes, n).map(|at| now.since(at)),
            validated: n.is_proved(),
            failed: n.has_failed(),
            verdict: n.verdict(),
            listening: self.hearing.listening(n.key(), now),
            tracking: self.keys.as_ref().and_then(|keys| keys.listening(n.key(), now)),
            events: self.events.as_ref().and_then(|events| events.listening(n.key(), now)),
            report: said_by(n),
        };
        let ballot = |b: &Ballot| {
            Some(BallotStatus {
                by: self.endpoint(b.by)?.clone(),
                age: now.since(b.at),
                primaries: b.primaries,
                primaries_ok: b.primaries_ok,
                majority: b.majority(),
                epoch: b.epoch,
                info: b.info,
            })
        };
        ClusterReport {
            kind: self.topology.kind(),
            slots_assigned: self.topology.assigned(),
            slots_ok: self.nodes.iter().filter(|n| self.admits(n.key())).map(|n| slots_of(n.key())).sum(),
            patches: self.topology.patched(),
            retry_tokens: self.budget.tokens(),
            refreshes: self.refresh.rounds(),
            down: self.down,
            isolated: self.isolated,
            ballots: self.partition.ballots().iter().filter_map(ballot).collect(),
            nodes: self.nodes.iter().map(status).collect(),
        }
    }
}
