//! What the driver learns from the cluster: views of the topology and reports of single nodes.

use crate::time::Instant;
use crate::words::{Endpoint, NodeKey, Reason};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// A node's part in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Whether the asked node counts it as failed (`FAIL`, not `PFAIL`).
    pub failed: bool,
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
}

impl View {
    /// Whether it carries config epochs, so that ownership can be compared.
    pub fn has_epochs(&self) -> bool {
        self.nodes.iter().flatten().any(|n| n.epoch.is_some())
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
    /// Whether its role is primary.
    pub primary: bool,
    /// `cluster_state:ok`; true without cluster mode.
    pub cluster_ok: bool,
    /// Its own config epoch (`cluster_my_epoch`); a replica's is its primary's.
    pub my_epoch: Option<u64>,
    /// The highest epoch it has seen (`cluster_current_epoch`).
    pub current_epoch: Option<u64>,
    /// Whether it is loading its data set.
    pub loading: bool,
    /// Replication offset; none where `INFO` is denied.
    pub offset: Option<u64>,
    /// A replica's link to its primary: up or not; none for a primary or where `INFO` is denied.
    pub link_up: Option<bool>,
    /// For how long that link has been down.
    pub link_down_for: Option<Duration>,
    /// `replica-priority`; 0 is never promoted.
    pub priority: Option<u32>,
    /// `evicted_keys` since its start.
    pub evicted: Option<u64>,
    /// `expired_keys` since its start.
    pub expired: Option<u64>,
    /// `maxmemory_policy`.
    pub maxmemory_policy: Option<String>,
    /// The server's version.
    pub version: Option<String>,
    /// What we were not allowed to ask: `INFO`, `CLUSTER INFO`, `CLUSTER NODES`.
    pub denied: Vec<&'static str>,
}

impl NodeReport {
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
    /// What the node said, or why it said nothing.
    pub report: Result<NodeReport, String>,
    /// Another node's view, asked for after the report had come; none if none was asked or came.
    pub witness: Option<View>,
}
