//! The account of reads: the one place where a read that ended is counted and turned into what its caller gets.
//!
//! Every read comes here exactly once, whichever source served it and however it was called.

use crate::copies::Copy;
use crate::driver::Served;
use crate::error::Error;
use crate::near;
use crate::outcome::Outcome;
use crate::shared::Shared;
use crate::tally::Tally;
use bytes::Bytes;
use failsoft_policy::action::Notes;
use failsoft_policy::route::Source;
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason, ServedBy, Status};
use std::sync::Arc;
use std::time::Duration;

/// How a read ended.
pub(crate) enum ReadEnd {
    /// A near copy served, and no node was asked.
    Near(near::Hit),
    /// A node had the value, on the first attempt.
    AtOnce(Served),
    /// A node had the value, in the end.
    Node {
        value: Bytes,
        served_by: ServedBy,
        node: NodeKey,
        reason: Option<Reason>,
        /// How current a replica's value is at the least.
        current_at: Option<Instant>,
        attempts: u32,
    },
    /// The primary confirmed that it does not exist, and there was no callback.
    Missing { reason: Reason, attempts: u32 },
    /// The primary had the value again when a load was to begin: this caller's, or (`coalesced`) another one's.
    Found { value: Bytes, node: Option<NodeKey>, coalesced: bool, attempts: u32 },
    /// The callback was asked: by this caller, or (`coalesced`) by another one.
    Loaded { value: Option<Bytes>, reason: Reason, coalesced: bool, attempts: u32 },
    /// A copy in this process stood in.
    Stale { copy: Arc<Copy>, reason: Option<Reason>, attempts: u32 },
    /// The caller gets an error.
    Failed { error: Error, reason: Option<Reason>, attempts: u32 },
}

/// The value of a read that a node served on the first attempt, for a caller who does not ask how: the end of most reads.
#[inline]
pub(crate) fn value_at_once(served: Served, shared: &Shared) -> Bytes {
    count_at_once(&served, &shared.tally);
    served.value
}

impl ReadEnd {
    /// The value alone, for a caller who does not ask how.
    #[inline]
    pub(crate) fn into_value(self, shared: &Shared) -> Result<Option<Bytes>, Error> {
        self.count(&shared.tally);
        match self {
            Self::Near(hit) => Ok(Some(hit.copy.value.clone())),
            Self::AtOnce(Served { value, .. }) | Self::Node { value, .. } | Self::Found { value, .. } => {
                Ok(Some(value))
            }
            Self::Stale { copy, .. } => Ok(Some(copy.value.clone())),
            Self::Missing { .. } => Ok(None),
            Self::Loaded { value, .. } => Ok(value),
            Self::Failed { error, .. } => Err(error),
        }
    }

    /// The value, and how it came.
    pub(crate) fn into_outcome(self, shared: &Shared) -> Result<Outcome, Error> {
        self.count(&shared.tally);
        match self {
            Self::Near(near::Hit { copy, age }) => {
                let (value, served_by) = (Some(copy.value.clone()), ServedBy::Near);
                let (reason, attempts, coalesced, node) = (None, 0, false, None);
                Ok(Outcome { value, served_by, reason, age: Some(age), attempts, coalesced, node })
            }
            Self::AtOnce(Served { value, node, source, reason, current_at }) => {
                let served_by = served_by(source);
                let (node, age) = placed(shared, served_by, node, current_at);
                Ok(Outcome { value: Some(value), served_by, reason, age, attempts: 1, coalesced: false, node })
            }
            Self::Node { value, served_by, node, reason, current_at, attempts } => {
                let (node, age) = placed(shared, served_by, node, current_at);
                Ok(Outcome { value: Some(value), served_by, reason, age, attempts, coalesced: false, node })
            }
            Self::Found { value, node, coalesced, attempts } => {
                let placed = node.map(|node| placed(shared, ServedBy::Primary, node, None));
                let (node, age) = placed.unwrap_or((None, Some(Duration::ZERO)));
                let served_by = ServedBy::Primary;
                Ok(Outcome { value: Some(value), served_by, reason: None, age, attempts, coalesced, node })
            }
            Self::Stale { copy, reason, attempts } => {
                let (value, age) = (Some(copy.value.clone()), Some(shared.now().since(copy.held.current_at)));
                let (served_by, coalesced, node) = (ServedBy::Stale, false, None);
                Ok(Outcome { value, served_by, reason, age, attempts, coalesced, node })
            }
            Self::Missing { reason, attempts } => Ok(without_node(None, reason, attempts, false)),
            Self::Loaded { value, reason, coalesced, attempts } => Ok(without_node(value, reason, attempts, coalesced)),
            Self::Failed { error, .. } => Err(error),
        }
    }

    #[inline]
    fn count(&self, tally: &Tally) {
        match self {
            Self::Near(_) => {
                tally.attempt(Status::NearHit, None);
                tally.read(Some(ServedBy::Near), None);
            }
            Self::AtOnce(served) => count_at_once(served, tally),
            Self::Node { served_by, reason, .. } => tally.read(Some(*served_by), *reason),
            Self::Found { .. } => tally.read(Some(ServedBy::Primary), None),
            Self::Stale { reason, .. } => tally.read(Some(ServedBy::Stale), *reason),
            Self::Missing { reason, .. } => tally.read(Some(ServedBy::None), Some(*reason)),
            Self::Loaded { value, reason, .. } => tally.read(Some(loaded_by(value)), Some(*reason)),
            Self::Failed { reason, .. } => tally.read(None, *reason),
        }
    }
}

#[inline]
fn count_at_once(served: &Served, tally: &Tally) {
    match served.source {
        Source::Primary => tally.primary_at_once(),
        Source::Replica => {
            tally.attempt(Status::ReplicaHit, served.reason);
            tally.read(Some(ServedBy::Replica), served.reason);
        }
    }
}

/// What a step of a read adds to the attempt counters.
pub(crate) fn attempts(shared: &Shared, notes: Notes) {
    for (status, reason) in notes {
        shared.tally.attempt(status, reason);
    }
}

/// Where a node's value came from, and how old it may be.
fn placed(
    shared: &Shared,
    served_by: ServedBy,
    node: NodeKey,
    current_at: Option<Instant>,
) -> (Option<Endpoint>, Option<Duration>) {
    // The age of all others is no matter of time, and the clock costs more than all the rest here.
    let now = current_at.map_or(Instant::ZERO, |_| shared.now());
    shared.look_at_cluster(|cluster| (cluster.endpoint(node).cloned(), cluster.age(node, served_by, current_at, now)))
}

fn without_node(value: Option<Bytes>, reason: Reason, attempts: u32, coalesced: bool) -> Outcome {
    let served_by = loaded_by(&value);
    Outcome { value, served_by, reason: Some(reason), age: Some(Duration::ZERO), attempts, coalesced, node: None }
}

fn loaded_by(value: &Option<Bytes>) -> ServedBy {
    if value.is_some() { ServedBy::Secondary } else { ServedBy::None }
}

fn served_by(source: Source) -> ServedBy {
    match source {
        Source::Primary => ServedBy::Primary,
        Source::Replica => ServedBy::Replica,
    }
}
