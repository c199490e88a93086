//! What a machine is given each time it is asked what to do next.

use crate::cluster::Cluster;
use crate::time::Instant;

/// One turn of a read or a write.
#[derive(Debug)]
pub struct Turn<'c> {
    /// What is known of the cluster, for the machine to ask and to tell.
    pub cluster: &'c mut Cluster,
    /// The time.
    pub now: Instant,
    /// Any number, drawn anew for each turn.
    pub dice: u32,
}
