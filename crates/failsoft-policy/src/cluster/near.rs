//! When a near copy may be served: nothing can have happened to its key since it was asked for that was not heard of.
//!
//! Two connections have to be heard without a gap since then. The first is the one on which the key was read: on it the
//! node pushes every change of the key, whoever makes it. The others lead to the shards in which the echoes of the node's
//! invalidations are rung: a slot may move to another owner without a push, and an invalidation at the new owner is then
//! heard by its echo.

use super::Cluster;
use crate::time::Instant;
use crate::words::NodeKey;

/// What is known of the copies of a node's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The connection on which keys are asked for.
    pub line: u64,
    /// What was asked for on it at this time or later may be served ...
    pub since: Instant,
    /// ... before this time.
    pub until: Instant,
}

impl Cluster {
    /// What is known of the near copies of a node's keys; none if none may be served.
    pub fn trust(&self, node: NodeKey) -> Option<Trust> {
        let (line, since, until) = self.keys.as_ref()?.heard(node)?;
        let (echo_since, echo_until) = self.hearing.echoes_heard(node)?;
        let (since, until) = (since.max(echo_since), until.min(echo_until));
        Some(Trust { line, since: since.max(self.taken_up_at), until })
    }

    /// Whose trust depends on what this node tells.
    pub fn trusted_by(&self, node: NodeKey) -> impl Iterator<Item = NodeKey> {
        self.keys.iter().flat_map(move |keys| keys.told_by(node))
    }
}
