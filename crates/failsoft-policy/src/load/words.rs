//! The arguments and results of the methods of the loads.

use crate::flight::{LoadId, LoadKeys, WaiterId};
use crate::lease::Fillable;
use crate::store::ShedCause;
use crate::time::Instant;
use crate::words::NodeKey;
use alloc::vec::Vec;
use bytes::Bytes;

/// A key to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The key.
    pub key: Bytes,
    /// The primary that confirmed the miss: only then, and only there, may its value be written back.
    pub confirmed: Option<NodeKey>,
    /// When a lease has to be there: the end of the cluster's share of a call that has a deadline of its own.
    pub lease_by: Option<Instant>,
    /// The value that it has, if it is to be replaced before it expires.
    pub over: Option<Bytes>,
    /// What was read from the store before this time may lack an invalidation of which nothing was heard: a load whose
    /// callback began before is not joined ([`crate::cluster::Cluster::joins_since`]).
    pub since: Instant,
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With values of so many bytes together.
    Loaded {
        /// Their length.
        bytes: usize,
    },
    /// The callback failed.
    Failed,
    /// The callback gave something that is no answer: a defect of the callback, which says nothing of the store.
    Unusable,
    /// The callback's event loop or thread is gone, and its result with it.
    Gone,
    /// The callback was not asked, to spare the store ([`crate::store`]).
    Shed,
}

impl Ending {
    /// Whether a caller who waited for another's load does it anew with a callback of its own. Each such turn uses up
    /// the callback of a caller that is gone, so there are at most as many turns as callers.
    pub fn leaves_it_to(self, has_callback: bool) -> bool {
        self == Self::Gone && has_callback
    }
}

/// What a caller has to do for its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Keys that a load answers which ended after the caller had set out.
    pub answered: Vec<LoadKeys>,
    /// The caller, for [`Loads::leave`](super::Loads::leave).
    pub waiter: WaiterId,
    /// The new load, if there is one: the caller's callback is run once for these keys, when the load begins.
    pub lead: Option<LoadKeys>,
    /// The loads whose turn it is now: the new one, and others that waited in line until a callback needed them.
    pub begin: Vec<LoadId>,
    /// The loads of others that these keys wait for, the oldest first.
    pub waits: Vec<LoadKeys>,
    /// The keys that are not loaded, to spare the store, and why.
    pub shed: Option<(Vec<Bytes>, ShedCause)>,
}

/// Whether a callback is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It is.
    Run,
    /// The load is over already.
    Over,
    /// The store is spared: the load ends as [`Ending::Shed`].
    Shed(ShedCause),
}

/// What follows from the end of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How many callers get the result; `None` after its limit, when they already got `DeadlineExceeded`.
    pub waiters: usize,
    /// The keys whose values are written back, or the reasons why not: those whose miss a primary had confirmed. A kept
    /// lease of a key that does not exist is released.
    pub fills: Vec<Fillable>,
    /// The result is kept, for callers who set out before now.
    pub kept: bool,
    /// The results of these loads are dropped.
    pub dropped: Vec<LoadId>,
}

/// What became due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Loads that reached their limit: their waiters get `DeadlineExceeded`.
    pub timed_out: Vec<LoadId>,
    /// The callbacks of these are stopped, or not begun any more.
    pub stop: Vec<LoadId>,
    /// The results of these are dropped.
    pub dropped: Vec<LoadId>,
}
