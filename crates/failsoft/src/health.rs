//! The account of a router: typed, and as JSON.

use crate::member::Member;
use crate::shared::Shared;
use crate::tally::Counters;
use failsoft_policy::Kind;
use failsoft_policy::cluster::{BallotStatus, NodeStatus};
use failsoft_policy::hearing::Listening;
use failsoft_policy::sharing::Coalesce;
use failsoft_policy::store::{StoreStatus, Trouble};
use failsoft_policy::view::Role;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a router knows, at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// The router's own name, eight hexadecimal digits drawn when it was built: the ids of its invalidations begin with it.
    pub id: String,
    /// `cluster`, `standalone` (a single server without cluster mode), or `unknown` as long as no
    /// view has come.
    pub kind: &'static str,
    /// Whether the router was closed.
    pub closed: bool,
    /// Slots that have an owner, of 16,384.
    pub slots_assigned: usize,
    /// Slots whose owner gets reads.
    pub slots_ok: usize,
    /// No majority of the cluster is in reach: reads go to the callback, nothing is written.
    pub down: bool,
    /// More than half of the slots' owners are out of this router's own reach.
    pub isolated: bool,
    /// What nodes said of the cluster's health when they were last asked because something was wrong:
    /// at most five.
    pub ballots: Vec<BallotHealth>,
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
    /// Loads that wait in line, because `max_concurrent_loads` run.
    pub queued_loads: usize,
    /// Callbacks that run on after `load_timeout`.
    pub detached_loads: usize,
    /// Copies of values in this process, which may stand in when nothing else can answer.
    pub copies: u64,
    /// How many bytes they take, keys and what keeping them costs included; at most `near_cache_bytes`
    /// or `standin_bytes`.
    pub copies_bytes: u64,
    /// Your own store, as the calls of the callbacks show it.
    pub store: StoreHealth,
    /// Keys that this router invalidated, or heard that another one did, within `invalidation_ttl`.
    pub invalidations: usize,
    /// Those of them that no node has acknowledged, or that another owner may have lost: they are read from their
    /// callbacks alone until they are told again, or, if another router made them, only together with their marks.
    pub invalidations_owed: usize,
    /// What runs in the background panicked when it last ran: views and probes may be missing. It is a defect of ours, and
    /// is tried again after a pause of at most five seconds.
    pub stalled: bool,
    /// The nodes that gave no view of the cluster when last asked, or that refuse reads, and what they said or did
    /// instead.
    pub refusals: BTreeMap<String, String>,
    /// The nodes.
    pub nodes: Vec<NodeHealth>,
    /// What was counted since the router was built.
    pub counters: Counters,
}

/// The breaker of your own store, which callbacks ask, at one moment. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct StoreHealth {
    /// `closed`, `open` (loads are shed), or `half_open` (some are let in, to see how it is).
    pub state: &'static str,
    /// For how long that has been so.
    pub state_ms: u64,
    /// Why it is not closed: `failing` or `slow`.
    pub trouble: Option<&'static str>,
    /// The newest calls: those that ended within six seconds, or as many more seconds, up to a minute, as it takes for 20
    /// calls; and those that run and have taken longer than `slo` already.
    pub calls: u64,
    /// The share of them that failed.
    pub failure_share: f64,
    /// What 95 of 100 of them did not exceed, rounded up by an eighth at the most. None without calls.
    pub p95_ms: Option<u64>,
    /// `max_retries` as it is in force: no more than 2 while more than one in twenty of these calls takes longer than `slo`,
    /// until they have been fast again for a minute.
    pub max_retries: u32,
    /// `coalesce` as it is in force: `reads` during the same time.
    pub coalesce: &'static str,
    /// How often that time has begun so far.
    pub slowed: u64,
}

/// What one node said of the cluster's health.
#[derive(Clone, Debug, Serialize)]
pub struct BallotHealth {
    /// The node that said it.
    pub address: String,
    /// How long ago it was asked, in milliseconds.
    pub age_ms: u64,
    /// The primaries that own slots, in its view.
    pub primaries: u32,
    /// Those that are neither FAIL nor PFAIL.
    pub primaries_ok: u32,
    /// Whether that is more than half of them: by its own view the node is in the majority.
    pub majority: bool,
    /// The highest config epoch in its view.
    pub epoch: u64,
    /// `cluster_state` is ok; unset where an ACL denies `CLUSTER INFO`.
    pub cluster_ok: Option<bool>,
    /// `cluster_slots_pfail`.
    pub slots_pfail: Option<u32>,
    /// `cluster_slots_fail`.
    pub slots_fail: Option<u32>,
    /// `cluster_current_epoch`.
    pub current_epoch: Option<u64>,
    /// `cluster_my_epoch`.
    pub my_epoch: Option<u64>,
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
    /// Why it gets no reads, or not all of them.
    pub trouble: Option<&'static str>,
    /// For how long that has been so.
    pub trouble_ms: Option<u64>,
    /// Time since its last answer; none before the first one.
    pub contact_ms: Option<u64>,
    /// For a replica: how long ago it was last known to hold all that its primary had.
    pub lag_ms: Option<u64>,
    /// Whether it is proved to be the primary it is taken for, so that it may be written to.
    pub validated: bool,
    /// Whether the cluster counts it as failed.
    pub failed: bool,
    /// On which side of a partition it is: `majority` (or nothing speaks against it), `minority` (it is
    /// in quarantine), or `unknown`.
    pub verdict: &'static str,
    /// How it is listened to for invalidations: `heard` (all that it tells is known), `open` (up to when that is complete is
    /// not known just now), `closed`, `denied` (by its rights, or its version), or `too_costly` (it has too many clients).
    /// None if it owns no slots.
    pub listening: Option<&'static str>,
    /// The same for what happens to the keys of the near cache; none without one.
    pub tracking: Option<&'static str>,
    /// The same for which keys it evicts and which have expired; none without `eviction_events`. Whether its
    /// `notify-keyspace-events` lets it tell that is not known.
    pub events: Option<&'static str>,
    /// Requests in flight to it.
    pub in_flight: usize,
    /// `cluster_state` is ok, by its own word; false until it was first asked.
    pub cluster_ok: bool,
    /// The highest epoch it has seen.
    pub current_epoch: Option<u64>,
    /// Its replication offset, in bytes.
    pub offset: Option<u64>,
    /// A replica's link to its primary.
    pub link_up: Option<bool>,
    /// `replica-priority`: the lowest is promoted first, 0 never.
    pub priority: Option<u32>,
    /// `evicted_keys` since its start.
    pub evicted: Option<u64>,
    /// `expired_keys` since its start.
    pub expired: Option<u64>,
    /// `maxmemory_policy`.
    pub maxmemory_policy: Option<String>,
    /// The server's version.
    pub version: Option<String>,
    /// What the server refuses, as unknown or as not allowed, so that what needs it is missing.
    pub denied: Vec<&'static str>,
}

impl Health {
    pub(crate) fn of(shared: &Shared) -> Self {
        let (report, (invalidations, invalidations_owed)) =
            shared.with_cluster(|cluster, now| (cluster.report(now), cluster.invalidations().counts()));
        let (loads, queued_loads) = shared.loads.counts();
        let table = shared.table.load();
        let mut refusals = shared.control.who_refused();
        for member in table.members() {
            if let Some(refusal) = member.refusal() {
                refusals.entry(member.endpoint.to_string()).or_insert(refusal);
            }
        }
        let (copies, copies_bytes) = shared.copies.size();
        Self {
            id: shared.maker(),
            kind: match report.kind {
                Kind::Unknown => "unknown",
                Kind::Cluster => "cluster",
                Kind::Standalone => "standalone",
            },
            closed: shared.is_closed(),
            slots_assigned: report.slots_assigned,
            slots_ok: report.slots_ok,
            down: report.down,
            isolated: report.isolated,
            ballots: report.ballots.into_iter().map(BallotHealth::of).collect(),
            moved_patches: report.patches,
            retry_tokens: report.retry_tokens,
            refreshes: report.refreshes,
            flights: loads.flights,
            waiters: loads.waiters,
            queued_loads,
            detached_loads: loads.detached,
            copies,
            copies_bytes,
            store: StoreHealth::of(shared.loads.store(shared.now()), shared.config().coalesce()),
            invalidations,
            invalidations_owed,
            stalled: shared.stalled.load(Ordering::Relaxed),
            refusals,
            nodes: report.nodes.into_iter().map(|n| NodeHealth::of(table.member(n.key).map(Arc::as_ref), n)).collect(),
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

impl StoreHealth {
    fn of(store: StoreStatus, usual: Coalesce) -> Self {
        let coalesce = if store.slow { Coalesce::Reads } else { usual };
        Self {
            coalesce: coalesce.as_str(),
            slowed: store.slowed,
            state: store.state.as_str(),
            state_ms: millis(store.lasts),
            trouble: store.trouble.map(Trouble::as_str),
            calls: store.seen.calls,
            failure_share: store.seen.failures as f64 / store.seen.calls.max(1) as f64,
            p95_ms: store.p95.map(|p95| millis(p95 + Duration::from_micros(999))),
            max_retries: store.max_retries,
        }
    }
}

impl BallotHealth {
    fn of(ballot: BallotStatus) -> Self {
        Self {
            address: ballot.by.to_string(),
            age_ms: millis(ballot.age),
            primaries: ballot.primaries,
            primaries_ok: ballot.primaries_ok,
            majority: ballot.majority,
            epoch: ballot.epoch,
            cluster_ok: ballot.info.map(|i| i.ok),
            slots_pfail: ballot.info.and_then(|i| i.slots_pfail),
            slots_fail: ballot.info.and_then(|i| i.slots_fail),
            current_epoch: ballot.info.and_then(|i| i.current_epoch),
            my_epoch: ballot.info.and_then(|i| i.my_epoch),
        }
    }
}

impl NodeHealth {
    fn of(member: Option<&Member>, node: NodeStatus) -> Self {
        let mut said = node.report;
        let in_handshake = member.map(Member::refused_in_handshake).unwrap_or_default();
        let more = in_handshake.into_iter().filter(|refused| !said.denied.contains(refused)).collect::<Vec<_>>();
        said.denied.extend(more);
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
            verdict: node.verdict.as_str(),
            listening: node.listening.map(Listening::as_str),
            tracking: node.tracking.map(Listening::as_str),
            events: node.events.map(Listening::as_str),
            in_flight: member.map_or(0, Member::in_flight),
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
