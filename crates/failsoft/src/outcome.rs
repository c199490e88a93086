//! What a read came to, with the account of how.

use bytes::Bytes;
use failsoft_policy::{Endpoint, Reason, ServedBy};
use std::time::Duration;

/// The outcome of one read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The value; `None` if the key does not exist.
    pub value: Option<Bytes>,
    /// Which source answered.
    pub served_by: ServedBy,
    /// Why the primary did not serve it; `None` if it did.
    pub reason: Option<Reason>,
    /// Time since the value was last known to be current: zero from the primary and the callback,
    /// for a replica the time since it was last known to hold all that its primary had, and `None` if
    /// that is unknown (its offset is not known, for instance because `INFO` is denied); for a copy the time since its
    /// node was asked for it, or since its load began; for a near copy the time up to which nothing can have been missed,
    /// less than `trust_window`.
    pub age: Option<Duration>,
    /// How many attempts were sent to nodes.
    pub attempts: u32,
    /// Whether another caller's work served this one.
    pub coalesced: bool,
    /// The node that answered, for `primary` and `replica`.
    pub node: Option<Endpoint>,
}
