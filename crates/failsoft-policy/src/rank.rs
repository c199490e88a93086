//! The order in which the replicas of a shard are asked, and how old their answers are.

use crate::nodes::{Node, Nodes};
use crate::time::Instant;
use crate::view::Role;
use crate::words::NodeKey;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

/// The replicas of `primary` that may be read from, best first: link up before link down,
/// `replica-priority` ascending with 0 last (such a replica is never promoted), the furthest offset,
/// the quickest answer.
pub fn ranked(nodes: &Nodes, primary: NodeKey) -> Vec<&Node> {
    let mut replicas: Vec<&Node> =
        nodes.iter().filter(|n| n.role == Role::Replica(Some(primary)) && n.admits()).collect();
    replicas.sort_by_key(|n| {
        let r = &n.report;
        let priority = match r.priority {
            Some(0) => u32::MAX,
            Some(p) => p,
            None => 100, // the servers' default
        };
        (
            r.link_up == Some(false),
            priority,
            Reverse(r.offset.unwrap_or(0)),
            n.latency.unwrap_or(Duration::MAX),
            n.key, // a tie must not depend on anything that a replay would not repeat
        )
    });
    replicas
}

/// The last moment at which a replica was known to hold all that its primary had: its gap when both
/// were last compared, before the primary's last answer to us. A gap that could not be measured
/// (nothing compared yet, `INFO` denied) counts as none, unless the link is known to be down: then
/// the replica has had nothing for as long as that.
///
/// None if its primary is not known or never answered, or that moment was before the clock's origin:
/// its age can't be told then.
pub fn current_at(nodes: &Nodes, replica: &Node) -> Option<Instant> {
    let Role::Replica(Some(of)) = replica.role else { return None };
    let contact = nodes.get(of)?.contact?;
    let down = replica.report.link_down_for.filter(|_| replica.report.link_up == Some(false));
    let behind = replica.gap.max(down).unwrap_or_default();
    // Before the origin of the clock there is no instant: that is older than any budget can be dated.
    (contact.since(Instant::ZERO) >= behind).then(|| contact - behind)
}
