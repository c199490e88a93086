//! Connections that ended, or do not come about, through their node's fault, kept until the policy takes them: a hung
//! node is noticed even if every caller has gone elsewhere.

use crate::connection::Blame;
use failsoft_policy::NodeKey;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// One connection that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) node: NodeKey,
    pub(crate) blame: Blame,
}

/// No more than one for each connection and `attempt_timeout`: the conductor, woken by each, takes them all.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    list: Mutex<Vec<Ending>>,
    /// Wakes the conductor, for this and for everything else.
    pub(crate) wake: Notify,
}

impl Endings {
    pub(crate) fn push(&self, ending: Ending) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(ending);
        self.wake.notify_one();
    }

    pub(crate) fn take(&self) -> Vec<Ending> {
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
