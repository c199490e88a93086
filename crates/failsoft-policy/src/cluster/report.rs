//! The account of the cluster that `health()` gives.

use super::Cluster;
use crate::rank;
use crate::time::Instant;
use crate::topology::Kind;
use crate::view::{NodeReport, Role};
use crate::words::{Endpoint, NodeKey, Reason, Slot};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

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
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
}

impl Cluster {
    /// The account of the cluster at `now`.
    pub fn report(&self, now: Instant) -> ClusterReport {
        let slots = || (0..Slot::COUNT).filter_map(Slot::new);
        let mut owned: Vec<usize> = Vec::new();
        for owner in slots().filter_map(|s| self.topology.owner(s)) {
            let at = owner.index as usize;
            owned.resize(owned.len().max(at + 1), 0);
            owned[at] += 1;
        }
        let slots_of = |key: NodeKey| owned.get(key.index as usize).copied().unwrap_or(0);
        let status = |n: &crate::nodes::Node| NodeStatus {
            key: n.key,
            id: n.id.clone(),
            endpoint: n.endpoint.clone(),
            role: match n.role {
                Role::Primary => Role::Primary,
                Role::Replica(of) => Role::Replica(of.and_then(|k| self.endpoint(k)).cloned()),
            },
            epoch: n.epoch,
            slots: slots_of(n.key),
            breaker: n.breaker.as_str(),
            trouble: n.trouble.map(|t| (t.reason, now.since(t.since))),
            contact: n.contact.map(|at| now.since(at)),
            lag: rank::current_at(&self.nodes, n).map(|at| now.since(at)),
            validated: n.validated,
            failed: n.failed,
            report: n.report.clone(),
        };
        ClusterReport {
            kind: self.topology.kind(),
            slots_assigned: self.topology.assigned(),
            slots_ok: self.nodes.iter().filter(|n| n.admits()).map(|n| slots_of(n.key)).sum(),
            patches: self.topology.patched(),
            retry_tokens: self.budget.tokens(),
            refreshes: self.refresh.rounds(),
            nodes: self.nodes.iter().map(status).collect(),
        }
    }
}
