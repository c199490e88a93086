//! A load of a router: what it is for, where it is, and what it came to.

use super::state::Failure;
use crate::model::{KEYS, Time};
use crate::plan::Behaviour;
use failsoft_policy::fleet::{Came, Keeping};
use failsoft_policy::lease::{Lease, Missing};
use failsoft_policy::write::Cause;
use std::collections::BTreeMap;

/// Where a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It waits for its turn.
    Line,
    /// Its callback runs, as one of `max_concurrent_loads`.
    Counted,
    /// Its callback runs since another callback waits for it.
    Beside,
}

/// A callback, to be run or under way.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) keys: Vec<u8>,
    pub(crate) behaviour: Behaviour,
    pub(crate) began: Time,
    pub(crate) suspended_before: Time,
    pub(crate) place: Place,
    /// It was in line before.
    pub(crate) waited: bool,
    pub(crate) timed_out: bool,
    pub(crate) nested: Option<(u32, u32)>,
    pub(crate) nested_failed: bool,
    /// The leases that are still asked for, and what has come of the others.
    pub(crate) leasing: usize,
    pub(crate) leases: Came,
    /// Those that are asked for once more, since another router loads the keys.
    pub(crate) again: Vec<Missing>,
    pub(crate) keeping: Option<Keeping>,
    /// When the caller that leads it set out, and whether it may pass over another router's load at once: a callback of
    /// this router waits for it, or its caller has a deadline.
    pub(crate) set_out: Time,
    pub(crate) impatient: bool,
    /// Its key has a value that is to be replaced.
    pub(crate) refreshes: bool,
    /// Keys that had a value again.
    pub(crate) found: Vec<(u8, u32)>,
    /// Its leases are taken, and its callback has begun.
    pub(crate) begun: bool,
    /// When that was, and what had come of the leases.
    pub(crate) callback_at: Time,
    pub(crate) terms: BTreeMap<u8, Result<Lease, Cause>>,
    /// Keys whose flights were taken from it.
    pub(crate) detached: Vec<u8>,
    /// What its callback read from the store; without them it reads at its end.
    pub(crate) read: Option<[u32; KEYS]>,
}

/// What a load came to: the versions of its keys, or why there are none.
pub(crate) type Loaded = Result<Vec<(u8, u32)>, Failure>;

impl Running {
    /// It is to be run, for these keys.
    pub(crate) fn new(keys: Vec<u8>, behaviour: Behaviour, began: Time, suspended_before: Time) -> Self {
        Self {
            keys,
            behaviour,
            began,
            suspended_before,
            place: Place::Line,
            waited: false,
            timed_out: false,
            nested: None,
            nested_failed: false,
            leasing: 0,
            leases: Came::default(),
            again: Vec::new(),
            keeping: None,
            set_out: began,
            impatient: false,
            refreshes: false,
            found: Vec::new(),
            begun: false,
            callback_at: began,
            terms: BTreeMap::new(),
            detached: Vec::new(),
            read: None,
        }
    }

    /// Who asks for this key from now on starts a load of its own.
    pub(crate) fn detach(&mut self, key: u8) {
        if !self.timed_out && self.holds(key) {
            self.detached.push(key);
        }
    }

    /// Whether who asks for this key waits for it.
    pub(crate) fn holds(&self, key: u8) -> bool {
        self.keys.contains(&key) && !self.detached.contains(&key)
    }
}
