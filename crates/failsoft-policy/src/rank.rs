//! The order in which the replicas of a shard are asked, and how old their answers are.

use crate::nodes::{Node, Nodes, Step};
use crate::partition::Verdict;
use crate::time::Instant;
use crate::view::Role;
use crate::words::NodeKey;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

/// The replicas of `primary` that may be read from, best first: those whose answers can be dated at all, link up
/// before link down, `replica-priority` ascending with 0 last (such a replica is never promoted), the furthest
/// offset, the quickest answer.
pub fn ranked(nodes: &Nodes, primary: NodeKey) -> Vec<&Node> {
    let mut replicas: Vec<&Node> = nodes.replicas_of(primary).filter(|n| stands_in_for(n).is_some()).collect();
    replicas.sort_by_cached_key(|n| rank(nodes, n));
    replicas
}

/// The first of them for every primary that has any.
pub fn best(nodes: &Nodes) -> BTreeMap<NodeKey, &Node> {
    let mut best = BTreeMap::new();
    for node in nodes.iter() {
        let Some(primary) = stands_in_for(node) else { continue };
        let first: &mut &Node = best.entry(primary).or_insert(node);
        if node.key() != first.key() && rank(nodes, node) < rank(nodes, first) {
            *first = node;
        }
    }
    best
}

/// The primary that a node may stand in for. A node that still takes itself for a primary has none: it may be
/// on the wrong side of a cut.
fn stands_in_for(node: &Node) -> Option<NodeKey> {
    match node.role() {
        Role::Replica(of) if node.admits() && !node.report().primary => of,
        _ => None,
    }
}

fn rank(nodes: &Nodes, node: &Node) -> impl Ord + use<> {
    let report = node.report();
    let priority = match report.priority {
        Some(0) => u32::MAX,
        Some(p) => p,
        None => 100, // the servers' default
    };
    (
        dated(nodes, node).is_none(),
        report.link_up == Some(false),
        priority,
        Reverse(report.offset.unwrap_or(0)),
        node.latency().unwrap_or(Duration::MAX),
        node.key(), // a tie must not depend on anything that a replay would not repeat
    )
}

/// What is known of the age of a replica's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated {
    /// The last moment at which it is known to have held all that its primary had; `None` (unknown) if the two
    /// were never compared.
    pub current_at: Option<Instant>,
    /// The start of the time for which it may stand in.
    pub counts_from: Instant,
}

/// How old a replica's answers are.
///
/// It is as current as the newest offset of its primary that it has reached: its link may have broken any time since, and
/// what its primary has answered since says nothing of that. One whose link is down is as old as that, too. Where nothing is known (`INFO` is denied, or
/// nothing was compared yet) the age is unknown, and it may stand in for as long after its primary's last answer as
/// any other.
///
/// `None` if it must not stand in: it is behind by more than can be dated, its link has been down for an unknown
/// time, or its primary never answered.
pub fn dated(nodes: &Nodes, replica: &Node) -> Option<Dated> {
    let Role::Replica(Some(of)) = replica.role() else { return None };
    let primary = nodes.get(of)?;
    let contact = match primary.trouble() {
        // A primary that is cut off from its replicas says nothing about their age.
        Some(t) if primary.verdict() == Verdict::Minority => primary.contact()?.min(t.since),
        _ => primary.contact()?,
    };
    let linked = match replica.report().link_up {
        Some(false) => contact.min(replica.link_broke_at()?),
        _ => contact,
    };
    match replica.step() {
        Step::Unmeasured => Some(Dated { current_at: None, counts_from: linked }),
        Step::Held(at) => Some(Dated::at(linked.min(at))),
        Step::Lost => None,
    }
}

/// The last moment at which a replica is known to have held all that its primary had; `None` if unknown.
pub fn current_at(nodes: &Nodes, replica: &Node) -> Option<Instant> {
    dated(nodes, replica)?.current_at
}

impl Dated {
    /// Of this time, from which its budgets count.
    pub(crate) fn at(at: Instant) -> Self {
        Self { current_at: Some(at), counts_from: at }
    }
}
