//! Singleflight: which caller leads the load of a key, which callers wait for it, and which get its end.
//!
//! A *load* is one run of a callback. It holds a *flight* for each key that it loads: while the
//! flight lasts, later callers of that key wait for this load instead of starting another. The
//! caller whose callback runs waits for its load like everyone else, so that it can go away without
//! harm to the others. This module does not see results: the driver shares one among the waiters.
//!
//! The stages of a load, and what moves it on:
//!
//! | stage | [`join`](Flights::join) makes it | then |
//! |---|---|---|
//! | queued | its callback is still to be started, perhaps after others ([`crate::bulkhead`]) or after its leases | [`begin`](Flights::begin): running; [`expire`](Flights::expire) at its limit: over |
//! | running | the callback runs | [`expire`](Flights::expire) at its limit: overdue |
//! | overdue | the callback runs on without waiters, and its keys may have a new load | `expire` once more: over |
//!
//! It is over from any stage by [`complete`](Flights::complete), and from the first two when the last caller
//! [leaves](Flights::leave).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

use crate::time::Instant;

mod words;

pub use words::{Completed, Counts, Expired, Join, LoadId, LoadKeys, Reentrant, TimedOut, WaiterId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Queued,
    Running,
    Overdue,
}

#[derive(Debug)]
struct Load {
    stage: Stage,
    keys: Vec<Bytes>,
    /// Those whose flights were taken from it.
    detached: BTreeSet<Bytes>,
    waiters: BTreeSet<WaiterId>,
    /// The loads that callers inside its callback wait for, with the number of those callers.
    awaits: BTreeMap<LoadId, usize>,
    /// Its deadline: the load's limit while it holds flights; once overdue, the time at which it is stopped.
    due: Instant,
    timeout: Duration,
}

#[derive(Debug)]
struct Waiter {
    /// The loads inside whose callbacks it asked.
    parents: Vec<LoadId>,
    /// Never empty.
    loads: BTreeSet<LoadId>,
}

/// All flights of a router.
///
/// Bounded by its callers: it holds a flight only while someone waits for its load, and at most
/// [`MAX_DETACHED`](Self::MAX_DETACHED) loads beyond that. Operations cost O(log n) for each key
/// and waiter they touch; the search for a circle visits each load at most once.
#[derive(Debug, Default)]
pub struct Flights {
    next_id: u64,
    flights: BTreeMap<Bytes, LoadId>,
    loads: BTreeMap<LoadId, Load>,
    waiters: BTreeMap<WaiterId, Waiter>,
    /// The loads that hold flights, by their limit.
    limits: BTreeSet<(Instant, LoadId)>,
    /// The overdue loads, by when they are stopped.
    overdue: BTreeSet<(Instant, LoadId)>,
}

impl Flights {
    /// The most loads that may run on after their limit; one more, and the one that would be
    /// stopped first is stopped at once.
    pub const MAX_DETACHED: usize = 1_024;

    /// A caller wants these keys: it leads one new load for those that are not being loaded, and
    /// waits for the loads of the others.
    ///
    /// `parents` are the loads that go on only when the caller does: the one inside whose callback
    /// it runs, and those whose callbacks stand on the same thread and called that one. Those that
    /// have ended count for nothing. A new load has until `now + load_timeout`. Without keys there
    /// is nothing to wait for.
    ///
    /// # Errors
    /// [`Reentrant`] if one of the `parents` would wait for itself; nothing is changed then.
    pub fn join(
        &mut self,
        keys: &[Bytes],
        parents: &[LoadId],
        now: Instant,
        load_timeout: Duration,
    ) -> Result<Join, Reentrant> {
        let mut led = Vec::new();
        let mut waits: BTreeMap<LoadId, Vec<Bytes>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for key in keys.iter().filter(|&key| seen.insert(key)) {
            match self.flights.get(key) {
                Some(&load) => waits.entry(load).or_default().push(key.clone()),
                None => led.push(key.clone()),
            }
        }
        self.check_circle(parents, &waits)?;
        let waiter = WaiterId(self.id());
        let lead = (!led.is_empty()).then(|| self.start(led, now, load_timeout));
        let loads: BTreeSet<LoadId> = waits.keys().copied().chain(lead.iter().map(|lead| lead.load)).collect();
        for id in &loads {
            if let Some(load) = self.loads.get_mut(id) {
                load.waiters.insert(waiter);
            }
            for parent in parents {
                if let Some(parent) = self.loads.get_mut(parent) {
                    *parent.awaits.entry(*id).or_default() += 1;
                }
            }
        }
        if !loads.is_empty() {
            self.waiters.insert(waiter, Waiter { parents: parents.to_vec(), loads });
        }
        let waits = waits.into_iter().map(|(load, keys)| LoadKeys { load, keys }).collect();
        Ok(Join { waiter, lead, waits })
    }

    /// A caller goes away: it was cancelled, its own time is up, or it has all it needs.
    ///
    /// Returns the loads left without a waiter: the driver cancels their callbacks; their flights
    /// are gone already. Leaving twice, or after the last result, does nothing.
    #[must_use = "the loads have to be cancelled"]
    pub fn leave(&mut self, waiter: WaiterId) -> Vec<LoadId> {
        let Some(Waiter { parents, loads }) = self.waiters.remove(&waiter) else { return Vec::new() };
        let mut cancel = Vec::new();
        for id in loads {
            self.unlink(&parents, id);
            let Some(load) = self.loads.get_mut(&id) else { continue };
            load.waiters.remove(&waiter);
            if load.waiters.is_empty() {
                self.remove(id);
                cancel.push(id);
            }
        }
        cancel
    }

    /// The driver is about to start the callback of a load; false if the load is over already.
    pub fn begin(&mut self, load: LoadId) -> bool {
        match self.loads.get_mut(&load) {
            Some(load) => {
                debug_assert!(load.stage != Stage::Running, "a callback runs once");
                if load.stage == Stage::Queued {
                    load.stage = Stage::Running;
                }
                true
            }
            None => false,
        }
    }

    /// The load that holds the flight of a key.
    pub fn load_of(&self, key: &Bytes) -> Option<LoadId> {
        self.flights.get(key).copied()
    }

    /// Whether a callback that still runs waits for a load.
    pub fn is_needed(&self, load: LoadId) -> bool {
        let waiters = self.loads.get(&load).into_iter().flat_map(|load| &load.waiters);
        let mut parents = waiters.filter_map(|id| self.waiters.get(id)).flat_map(|waiter| &waiter.parents);
        parents.any(|parent| self.loads.contains_key(parent))
    }

    /// Who asks for a key from now on starts a new load: what the one under way brings may be out of date.
    pub fn detach(&mut self, key: &Bytes) {
        let load = self.flights.remove(key).and_then(|id| self.loads.get_mut(&id));
        load.into_iter().for_each(|load| load.detached.extend([key.clone()]));
    }

    /// A load ended, however it did: with a value, without one, with an error or a panic, or
    /// because its event loop is gone.
    ///
    /// `None` for a load that was cancelled or stopped, or has ended before: its result is
    /// ignored.
    pub fn complete(&mut self, load: LoadId) -> Option<Completed> {
        let ended = self.remove(load)?;
        let waiters = self.tell(load, ended.waiters);
        let current = |key: &Bytes| !ended.detached.contains(key);
        let keys = ended.keys.into_iter().filter(current).collect();
        Some(Completed { keys, waiters, late: ended.stage == Stage::Overdue })
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, LoadId)>| set.first().map(|&(due, _)| due);
        first(&self.limits).into_iter().chain(first(&self.overdue)).min()
    }

    /// Carries out the limits that are due.
    ///
    /// At its limit a load loses its flights, so that later callers start a new one, and its
    /// waiters get `DeadlineExceeded`. If it has begun it may run on for one more `load_timeout`, since a fill can
    /// still use its value; then it is stopped.
    pub fn expire(&mut self, now: Instant) -> Expired {
        let mut expired = Expired::default();
        while let Some(&(due, id)) = self.limits.first()
            && due <= now
        {
            self.limits.pop_first();
            expired.timed_out.extend(self.overrun(id));
        }
        while let Some(&(due, id)) = self.overdue.first()
            && (due <= now || self.overdue.len() > Self::MAX_DETACHED)
        {
            self.remove(id);
            expired.abort.push(id);
        }
        expired
    }

    /// The current counts.
    pub fn counts(&self) -> Counts {
        Counts {
            flights: self.flights.len(),
            loads: self.limits.len(),
            waiters: self.waiters.len(),
            detached: self.overdue.len(),
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn start(&mut self, keys: Vec<Bytes>, now: Instant, timeout: Duration) -> LoadKeys {
        let id = LoadId(self.id());
        self.flights.extend(keys.iter().map(|key| (key.clone(), id)));
        let due = now + timeout;
        self.limits.insert((due, id));
        let (detached, waiters, awaits) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let (stage, keys_of) = (Stage::Queued, keys.clone());
        self.loads.insert(id, Load { stage, keys: keys_of, detached, waiters, awaits, due, timeout });
        LoadKeys { load: id, keys }
    }

    /// Whether a parent is among the loads that would be waited for, or that these wait for. A
    /// new load cannot close a circle: no caller runs inside it yet.
    fn check_circle(&self, parents: &[LoadId], waits: &BTreeMap<LoadId, Vec<Bytes>>) -> Result<(), Reentrant> {
        if parents.is_empty() {
            return Ok(());
        }
        let mut visited = BTreeSet::new();
        for (&first, keys) in waits {
            let mut ahead = Vec::from([first]);
            while let Some(id) = ahead.pop() {
                if parents.contains(&id) {
                    // Every entry has at least the key it was made for.
                    return Err(Reentrant { key: keys.first().cloned().unwrap_or_default() });
                }
                if visited.insert(id)
                    && let Some(load) = self.loads.get(&id)
                {
                    ahead.extend(load.awaits.keys());
                }
            }
        }
        Ok(())
    }

    /// A load has reached its limit: takes the flights and the waiters from it, and lets it run on if it has begun.
    fn overrun(&mut self, id: LoadId) -> Option<TimedOut> {
        let load = self.loads.get_mut(&id)?;
        if load.stage == Stage::Queued {
            let load = self.remove(id)?;
            return Some(TimedOut { load: id, waiters: self.tell(id, load.waiters), runs_on: false });
        }
        load.stage = Stage::Overdue;
        load.due = load.due + load.timeout;
        self.overdue.insert((load.due, id));
        let keys = core::mem::take(&mut load.keys);
        let waiters = core::mem::take(&mut load.waiters);
        self.land(id, &keys);
        self.loads.entry(id).and_modify(|load| load.keys = keys);
        Some(TimedOut { load: id, waiters: self.tell(id, waiters), runs_on: true })
    }

    /// A load is over: removes it with its flights and its timer.
    fn remove(&mut self, id: LoadId) -> Option<Load> {
        let load = self.loads.remove(&id)?;
        if load.stage == Stage::Overdue {
            self.overdue.remove(&(load.due, id));
        } else {
            self.limits.remove(&(load.due, id));
            self.land(id, &load.keys);
        }
        Some(load)
    }

    /// Takes the flights from a load, but for those that are another one's by now.
    fn land(&mut self, id: LoadId, keys: &[Bytes]) {
        for key in keys {
            if self.flights.get(key) == Some(&id) {
                self.flights.remove(key);
            }
        }
    }

    /// Ends the wait of these for one load; those who wait for nothing else are done.
    fn tell(&mut self, load: LoadId, waiters: BTreeSet<WaiterId>) -> Vec<WaiterId> {
        for id in &waiters {
            let Some(waiter) = self.waiters.get_mut(id) else { continue };
            waiter.loads.remove(&load);
            let over = waiter.loads.is_empty();
            let parents = if over { core::mem::take(&mut waiter.parents) } else { waiter.parents.clone() };
            if over {
                self.waiters.remove(id);
            }
            self.unlink(&parents, load);
        }
        waiters.into_iter().collect()
    }

    /// One caller less inside each of `parents` waits for `load`.
    fn unlink(&mut self, parents: &[LoadId], load: LoadId) {
        for parent in parents {
            let Some(parent) = self.loads.get_mut(parent) else { continue };
            if let Some(callers) = parent.awaits.get_mut(&load) {
                *callers -= 1;
                if *callers == 0 {
                    parent.awaits.remove(&load);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
