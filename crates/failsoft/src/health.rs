//! The account of a router: typed, and as JSON.

use crate::shared::Shared;
use crate::tally::Counters;
use failsoft_policy::Kind;
use failsoft_policy::cluster::NodeStatus;
use failsoft_policy::view::Role;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a router knows, at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// `cluster`, `standalone` (a single server without cluster mode), or `unknown` as long as no
    /// view has come.
    pub kind: &'static str,
    /// Whether the router was closed.
    pub closed: bool,
    /// Slots that have an owner, of 16,384.
    pub slots_assigned: usize,
    /// Slots whose owner gets reads.
    pub slots_ok: usize,
    /// Redirected slots that no view has confirmed yet.
    pub moved_patches: usize,
    /// Retries that the router-wide budget allows now.
    pub retry_tokens: u64,
    /// Refreshes of the view so far.
    pub refreshes: u64,
    /// Keys being loaded by callbacks.
    pub flights: usize,
    /// Reads that wait for a callback.
    pub waiters: usize,
    /// Callbacks that run on after `load_timeout`.
    pub detached_loads: usize,
    /// Who gave no view of the cluster when last asked, and what they said or did instead.
    pub refusals: BTreeMap<String, String>,
    /// The nodes.
    pub nodes: Vec<NodeHealth>,
    /// What was counted since the router was built.
    pub counters: Counters,
}

/// One node, at one moment. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct NodeHealth {
    /// Where it listens.
    pub address: String,
    /// Its node id.
    pub id: Option<String>,
    /// `primary` or `replica`, by the newest view.
    pub role: &'static str,
    /// A replica's primary.
    pub replica_of: Option<String>,
    /// Its config epoch.
    pub epoch: u64,
    /// How many slots it owns.
    pub slots: usize,
    /// `closed`, `open`, `half_open` or `readmitting`.
    pub breaker: &'static str,
    /// Why it gets no reads.
    pub trouble: Option<&'static str>,
    /// For how long now.
    pub trouble_ms: Option<u64>,
    /// Time since its last answer.
    pub contact_ms: Option<u64>,
    /// For a replica: how long ago it was last known to hold all that its primary had.
    pub lag_ms: Option<u64>,
    /// Whether it is proved to be the primary it is taken for, so that it may be written to.
    pub validated: bool,
    /// Whether the cluster counts it as failed.
    pub failed: bool,
    /// Requests in flight to it.
    pub in_flight: usize,
    /// `cluster_state` is ok, by its own word.
    pub cluster_ok: bool,
    /// The highest epoch it has seen.
    pub current_epoch: Option<u64>,
    /// Its replication offset.
    pub offset: Option<u64>,
    /// A replica's link to its primary.
    pub link_up: Option<bool>,
    /// `replica-priority`.
    pub priority: Option<u32>,
    /// `evicted_keys`.
    pub evicted: Option<u64>,
    /// `expired_keys`.
    pub expired: Option<u64>,
    /// `maxmemory_policy`.
    pub maxmemory_policy: Option<String>,
    /// The server's version.
    pub version: Option<String>,
    /// What an ACL keeps from us, so that the fields above lack it.
    pub denied: Vec<&'static str>,
}

impl Health {
    pub(crate) fn of(shared: &Shared) -> Self {
        let report = shared.with_cluster(|cluster, now| cluster.report(now));
        let loads = shared.loads.counts();
        let table = shared.table.load();
        let in_flight = |n: &NodeStatus| table.member(n.key).map_or(0, |m| m.in_flight());
        Self {
            kind: match report.kind {
                Kind::Unknown => "unknown",
                Kind::Cluster => "cluster",
                Kind::Standalone => "standalone",
            },
            closed: shared.is_closed(),
            slots_assigned: report.slots_assigned,
            slots_ok: report.slots_ok,
            moved_patches: report.patches,
            retry_tokens: report.retry_tokens,
            refreshes: report.refreshes,
            flights: loads.flights,
            waiters: loads.waiters,
            detached_loads: loads.detached,
            refusals: shared.control.refusals(),
            nodes: report.nodes.into_iter().map(|n| NodeHealth::of(in_flight(&n), n)).collect(),
            counters: shared.tally.counters(),
        }
    }

    /// The same as JSON: one object with these fields.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}"))
    }

    /// The node at this address, if it is known.
    pub fn node(&self, address: &str) -> Option<&NodeHealth> {
        self.nodes.iter().find(|n| n.address == address)
    }
}

impl NodeHealth {
    fn of(in_flight: usize, node: NodeStatus) -> Self {
        let said = node.report;
        Self {
            address: node.endpoint.to_string(),
            id: node.id,
            role: match node.role {
                Role::Primary => "primary",
                Role::Replica(_) => "replica",
            },
            replica_of: match node.role {
                Role::Replica(Some(of)) => Some(of.to_string()),
                Role::Replica(None) | Role::Primary => None,
            },
            epoch: node.epoch,
            slots: node.slots,
            breaker: node.breaker,
            trouble: node.trouble.map(|(reason, _)| reason.as_str()),
            trouble_ms: node.trouble.map(|(_, since)| millis(since)),
            contact_ms: node.contact.map(millis),
            lag_ms: node.lag.map(millis),
            validated: node.validated,
            failed: node.failed,
            in_flight,
            cluster_ok: said.cluster_ok,
            current_epoch: said.current_epoch,
            offset: said.offset,
            link_up: said.link_up,
            priority: said.priority,
            evicted: said.evicted,
            expired: said.expired,
            maxmemory_policy: said.maxmemory_policy,
            version: said.version,
            denied: said.denied,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
