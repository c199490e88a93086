//! Watches a node while a fault goes on: when it calls itself a primary, and when the router takes it back.

use crate::Problem;
use failsoft::Router;
use failsoft_testkit::{Cluster, Role};
use std::time::{Duration, Instant};

/// Between two looks: the times below are exact to this, and to one command's round trip.
const LOOK: Duration = Duration::from_millis(5);
/// A failover with a node timeout of 2 s takes four or five seconds.
const PROMOTION: Duration = Duration::from_secs(30);
/// A node that is back is looked at within a probe's back-off.
const READMISSION: Duration = Duration::from_secs(30);

/// When the node first says `role:master`.
pub(crate) async fn promoted(cluster: &Cluster, node: usize) -> Result<Instant, Problem> {
    let until = Instant::now() + PROMOTION;
    // While it is voted for, it may be too busy to answer: that is no yet.
    while cluster.role(node).await.ok() != Some(Role::Primary) {
        if Instant::now() >= until {
            return Err(format!("node {node} was not promoted within {PROMOTION:?}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(Instant::now())
}

/// When the router has the node as a replica that it trusts again. Asked once the node's place was taken and its
/// breaker open, which a hang that outlasts the promotion is enough for.
pub(crate) async fn readmitted(router: &Router, address: &str) -> Result<Instant, Problem> {
    let until = Instant::now() + READMISSION;
    while !router.health().node(address).is_some_and(|node| node.role == "replica" && node.breaker == "closed") {
        if Instant::now() >= until {
            return Err(format!("{address} was not taken back within {READMISSION:?}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(Instant::now())
}
