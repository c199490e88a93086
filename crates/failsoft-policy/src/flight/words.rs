//! The arguments and results of the flights' methods.

use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// One run of a callback. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(pub(crate) u64);

/// One caller, in all the flights that it waits for. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub(super) u64);

/// A load and the keys in question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadKeys {
    /// The load.
    pub load: LoadId,
    /// Keys of its flights, without duplicates, in the order in which they were asked for.
    pub keys: Vec<Bytes>,
}

/// What a caller has to do for its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The caller, for [`Flights::leave`](super::Flights::leave).
    pub waiter: WaiterId,
    /// The new load, if there is one: the caller runs its callback once, for these keys.
    pub lead: Option<LoadKeys>,
    /// The loads of others that these keys wait for, the oldest first.
    pub waits: Vec<LoadKeys>,
}

/// A callback asked, directly or through other loads, for a key that it is itself loading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reentrant {
    /// The first key that closes the circle.
    pub key: Bytes,
}

impl fmt::Display for Reentrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key may be large; its beginning is enough to recognise it.
        let start = self.key.slice(..self.key.len().min(64));
        write!(f, "a callback asked for the key {start:?} while it was loading it itself")
    }
}

impl core::error::Error for Reentrant {}

/// A load that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The keys it was run for, without those that were detached.
    pub keys: Vec<Bytes>,
    /// The callers that get its result, each once.
    pub waiters: Vec<WaiterId>,
    /// It ended after its limit: it has no waiters, and its keys may have another load by now.
    pub late: bool,
}

/// A load that reached its limit. It may run on, but has no waiters any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// The load.
    pub load: LoadId,
    /// The callers that waited for it, each once.
    pub waiters: Vec<WaiterId>,
    /// Its callback runs, and may run on; otherwise it does not begin any more.
    pub runs_on: bool,
}

/// What became due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Loads that reached their limit, the earliest first.
    pub timed_out: Vec<TimedOut>,
    /// Overdue loads whose callbacks must be stopped now.
    pub abort: Vec<LoadId>,
}

/// How many there are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys being loaded.
    pub flights: usize,
    /// Loads that hold flights.
    pub loads: usize,
    /// Callers that wait for at least one load.
    pub waiters: usize,
    /// Loads that run on after their limit.
    pub detached: usize,
}
