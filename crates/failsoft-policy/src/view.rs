//! What the driver learns from the cluster: views of the topology and reports of single nodes.

use crate::time::Instant;
use crate::words::{Endpoint, NodeKey, Reason};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// A node's part in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<Id> {
    /// It is a primary, with or without slots.
    Primary,
    /// It copies this primary, if it says which.
    Replica(Option<Id>),
}

/// One node in a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewNode {
    /// The node id (40 hexadecimal digits).
    pub id: String,
    /// Where clients reach it; none if the server does not know.
    pub endpoint: Option<Endpoint>,
    /// Its role.
    pub role: Role<String>,
    /// The slots it owns, as inclusive ranges.
    pub slots: Vec<(u16, u16)>,
    /// Its config epoch (a replica's is its primary's). Only `CLUSTER NODES` says it.
    pub epoch: Option<u64>,
    /// Whether the asked node counts it as failed (`FAIL`: a majority of the primaries agreed).
    pub failed: bool,
    /// Whether the asked node itself can't reach it (`PFAIL`). Only `CLUSTER NODES` says it.
    pub suspected: bool,
}

/// What `CLUSTER INFO` says beside a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    /// `cluster_state:ok`.
    pub ok: bool,
    /// `cluster_slots_pfail`: slots whose owner the node can't reach.
    pub slots_pfail: Option<u32>,
    /// `cluster_slots_fail`: slots whose owner counts as failed.
    pub slots_fail: Option<u32>,
    /// `cluster_current_epoch`: the highest epoch it has seen.
    pub current_epoch: Option<u64>,
    /// `cluster_my_epoch`: its own config epoch; a replica's is its primary's.
    pub my_epoch: Option<u64>,
}

/// One node's account of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The id of the node that gave it; none for a server without cluster mode.
    pub by: Option<String>,
    /// The endpoint it was asked at.
    pub via: Endpoint,
    /// When the question was sent.
    pub asked_at: Instant,
    /// What it said; none if it is a server without cluster mode.
    pub nodes: Option<Vec<ViewNode>>,
    /// What it said in `CLUSTER INFO`; asked for together with config epochs.
    pub info: Option<ClusterInfo>,
}

impl View {
    /// Whether it carries config epochs, and with them what its node holds of the others.
    pub fn has_epochs(&self) -> bool {
        self.nodes.iter().flatten().any(|n| n.epoch.is_some())
    }

    /// Whether ownership can be compared by it: some servers fill in 0 for every epoch.
    pub fn can_be_compared(&self) -> bool {
        self.nodes.iter().flatten().any(|n| n.epoch > Some(0))
    }

    /// Whether any slot has an owner in it.
    pub fn covers_anything(&self) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.iter().any(|n| !n.slots.is_empty()))
    }
}

/// What a node said of itself when it was probed (`INFO`, `CLUSTER INFO`, `CLUSTER MYID`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeReport {
    /// Its id; none without cluster mode.
    pub id: Option<String>,
    /// Whether it says that it has no cluster mode.
    pub standalone: bool,
    /// Whether its role is primary.
    pub primary: bool,
    /// `cluster_state:ok`; true without cluster mode.
    pub cluster_ok: bool,
    /// Its own config epoch (`cluster_my_epoch`); a replica's is its primary's.
    pub my_epoch: Option<u64>,
    /// The highest epoch it has seen (`cluster_current_epoch`).
    pub current_epoch: Option<u64>,
    /// Slots whose owner it can't reach (`cluster_slots_pfail`).
    pub slots_pfail: Option<u32>,
    /// Slots whose owner counts as failed (`cluster_slots_fail`).
    pub slots_fail: Option<u32>,
    /// Whether it is loading its data set.
    pub loading: bool,
    /// Replication offset; none where `INFO` is denied.
    pub offset: Option<u64>,
    /// In which history that counts (`master_replid`): offsets of different ones can't be compared.
    pub history: Option<u128>,
    /// A replica's link to its primary: up or not; none for a primary or where `INFO` is denied.
    pub link_up: Option<bool>,
    /// For how long that link has been down.
    pub link_down_for: Option<Duration>,
    /// `replica-priority`; 0 is never promoted.
    pub priority: Option<u32>,
    /// Its clients, of whatever kind (`connected_clients`).
    pub clients: Option<u64>,
    /// `evicted_keys` since its start.
    pub evicted: Option<u64>,
    /// `expired_keys` since its start.
    pub expired: Option<u64>,
    /// `maxmemory_policy`.
    pub maxmemory_policy: Option<String>,
    /// The server's version.
    pub version: Option<String>,
    /// The commands that it refused, in whatever words.
    pub denied: Vec<&'static str>,
}

impl NodeReport {
    /// Whether it reaches all that own slots, as far as it says.
    pub fn sees_all(&self) -> bool {
        let none = |slots: Option<u32>| slots.unwrap_or(0) == 0;
        none(self.slots_pfail) && none(self.slots_fail)
    }

    /// Why a node that answers is not ready to serve, if it is not. As long as it is not, no witness
    /// is asked: a whole cluster that says it is down must not be asked for its views all the time.
    pub fn unready(&self) -> Option<Reason> {
        if self.loading {
            Some(Reason::Loading)
        } else if !self.cluster_ok {
            Some(Reason::ClusterDown)
        } else {
            None
        }
    }
}

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The probed node.
    pub node: NodeKey,
    /// When it was sent.
    pub sent_at: Instant,
    /// What the node said, or why it said nothing of itself: `Timeout`, `Connection`, or what an error reply means.
    pub report: Result<NodeReport, Reason>,
    /// Another node's view, asked for after the report had come; none if none was asked or came.
    pub witness: Option<View>,
}
