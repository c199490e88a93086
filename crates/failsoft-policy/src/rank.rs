//! The order in which the replicas of a shard are asked, and how old their answers are.

use crate::nodes::{Node, Nodes};
use crate::partition::Verdict;
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
    // One that still takes itself for a primary copies nobody: it may be on the wrong side of a cut.
    let follows = |n: &&Node| n.role == Role::Replica(Some(primary)) && !n.report.primary;
    let mut replicas: Vec<&Node> = nodes.iter().filter(follows).filter(|n| n.admits()).collect();
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

/// The last moment at which a replica was known to hold all that its primary had: the primary's last
/// answer to us, unless the replica was behind or its link down when that was last measured. What was
/// measured is dated by when it was measured, not by an answer that came later. What could not be
/// measured (nothing compared yet, `INFO` denied) counts as no gap.
///
/// None if its primary is not known or never answered, or that moment was before the clock's origin:
/// its age can't be told then.
pub fn current_at(nodes: &Nodes, replica: &Node) -> Option<Instant> {
    let Role::Replica(Some(of)) = replica.role else { return None };
    let primary = nodes.get(of)?;
    let contact = match primary.trouble {
        // What a primary says that is cut off from its replicas dates none of them.
        Some(t) if primary.verdict == Verdict::Minority => primary.contact?.min(t.since),
        _ => primary.contact?,
    };
    let at = contact.min(replica.behind_since.unwrap_or(contact));
    match replica.report.link_down_for.filter(|_| replica.report.link_up == Some(false)) {
        // Before the origin of the clock there is no instant: that is older than any budget can be dated.
        Some(down) if replica.reported_at.since(Instant::ZERO) < down => None,
        Some(down) => Some(at.min(replica.reported_at - down)),
        None => Some(at),
    }
}
