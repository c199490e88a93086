//! How many loads run at once: the others wait in line and begin in the order in which they came.
//!
//! A store that has to answer for the whole cluster is asked by everybody at once. Beyond `max_concurrent_loads` it
//! would answer nobody in time, so further loads wait here, each as long as its callers have time.
//!
//! A load that is asked for inside a callback does not wait: the load around it keeps its own place until it has the
//! answer, and with as many such loads as there are places none of them would ever go on. So these may exceed the limit.

use crate::flight::LoadId;
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};

/// See the module. The line is as long as there are loads: its owner bounds them.
#[derive(Debug)]
pub struct Bulkhead {
    limit: usize,
    running: BTreeSet<LoadId>,
    /// Since when they wait. Identifiers of loads rise, so the first is the oldest.
    line: BTreeMap<LoadId, Instant>,
}

impl Bulkhead {
    /// At most `limit` loads run at once.
    pub fn new(limit: usize) -> Self {
        Self { limit, running: BTreeSet::new(), line: BTreeMap::new() }
    }

    /// A new load; `nested` if it is asked for inside a callback. Whether it begins now; otherwise it waits.
    pub fn enter(&mut self, load: LoadId, nested: bool, now: Instant) -> bool {
        let begins = nested || (self.running.len() < self.limit && self.line.is_empty());
        if begins {
            self.running.insert(load);
        } else {
            self.line.insert(load, now);
        }
        begins
    }

    /// A callback waits for this load now. Whether it waited in line and begins therefore.
    pub fn promote(&mut self, load: LoadId) -> bool {
        let waited = self.line.remove(&load).is_some();
        if waited {
            self.running.insert(load);
        }
        waited
    }

    /// Nobody wants a load any more: it leaves the line. Whether it was there; one that runs keeps its place until its
    /// callback has ended.
    pub fn leave(&mut self, load: LoadId) -> bool {
        self.line.remove(&load).is_some()
    }

    /// Empties the line, and gives the loads that waited in it.
    pub fn clear(&mut self) -> impl Iterator<Item = LoadId> + use<> {
        core::mem::take(&mut self.line).into_keys()
    }

    /// The callback of a load has ended, or was stopped. The load that takes its place, and since when it has waited.
    pub fn release(&mut self, load: LoadId) -> Option<(LoadId, Instant)> {
        let freed = self.running.remove(&load) && self.running.len() < self.limit;
        let next = freed.then(|| self.line.pop_first()).flatten()?;
        self.running.insert(next.0);
        Some(next)
    }

    /// Whether the callback of this load runs.
    pub fn is_running(&self, load: LoadId) -> bool {
        self.running.contains(&load)
    }

    /// Since when the first in line has waited.
    pub fn oldest(&self) -> Option<Instant> {
        self.line.first_key_value().map(|(_, since)| *since)
    }

    /// How many wait in line.
    pub fn waiting(&self) -> usize {
        self.line.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// So many loads, the oldest first.
    fn loads(count: u64) -> Vec<LoadId> {
        (0..count).map(LoadId).collect()
    }

    /// When this one comes.
    fn at(load: LoadId) -> Instant {
        Instant::from_millis(load.0)
    }

    fn waited(load: LoadId) -> Option<(LoadId, Instant)> {
        Some((load, at(load)))
    }

    #[test]
    fn those_beyond_the_limit_begin_in_the_order_in_which_they_came() {
        let (mut bulkhead, loads) = (Bulkhead::new(2), loads(5));
        let begins: Vec<bool> = loads.iter().map(|&load| bulkhead.enter(load, false, at(load))).collect();
        assert_eq!(begins, [true, true, false, false, false]);
        assert_eq!(bulkhead.release(loads[1]), waited(loads[2]));
        assert_eq!(bulkhead.release(loads[1]), None, "a place is given on once");
        assert!(bulkhead.leave(loads[3]) && !bulkhead.leave(loads[0]));
        assert_eq!(bulkhead.release(loads[0]), waited(loads[4]));
        assert_eq!((bulkhead.release(loads[2]), bulkhead.release(loads[4]), bulkhead.waiting()), (None, None, 0));
    }

    #[test]
    fn what_a_callback_waits_for_begins_at_once_and_is_counted() {
        let (mut bulkhead, loads) = (Bulkhead::new(1), loads(4));
        assert!(bulkhead.enter(loads[0], false, at(loads[0])));
        assert!(!bulkhead.enter(loads[1], false, at(loads[1])) && !bulkhead.enter(loads[2], false, at(loads[2])));
        assert!(bulkhead.enter(loads[3], true, at(loads[3])), "asked for inside a callback");
        assert!(bulkhead.promote(loads[2]) && !bulkhead.promote(loads[2]), "a callback joined it");
        assert_eq!((bulkhead.release(loads[3]), bulkhead.release(loads[2])), (None, None), "one still runs");
        assert_eq!(bulkhead.release(loads[0]), waited(loads[1]));
    }
}
