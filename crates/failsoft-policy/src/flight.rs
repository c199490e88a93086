//! Singleflight: who leads the load of a key, who waits for it, and who is told when it ends.
//!
//! A *load* is one run of a callback. It holds a *flight* for each key that it loads: while the
//! flight lasts, later callers of that key wait for this load instead of starting another. The
//! caller whose callback runs waits for its load like everyone else, so that it can go away without
//! harm to the others. The result itself is no business of this module: the driver shares one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::time::Duration;

use crate::time::Instant;

/// One run of a callback. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(u64);

/// One caller, in all the flights that it waits for. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(u64);

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
    /// The caller, for [`Flights::leave`].
    pub waiter: WaiterId,
    /// The new load, if there is one: its callback is to be run once, for these keys.
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
        // A key may be large; its beginning tells enough.
        let start = self.key.slice(..self.key.len().min(64));
        write!(f, "a callback asked for the key {start:?} while it was loading it itself")
    }
}

impl core::error::Error for Reentrant {}

/// A load that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The keys it was run for.
    pub keys: Vec<Bytes>,
    /// Those who get its result, each once.
    pub waiters: Vec<WaiterId>,
    /// It ended after its limit: nobody waits, and the keys may have another load by now.
    pub late: bool,
}

/// A load that reached its limit. It may run on, but nobody waits for it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// The load.
    pub load: LoadId,
    /// Those who are told so, each once.
    pub waiters: Vec<WaiterId>,
}

/// What became due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Loads that reached their limit, the earliest first.
    pub timed_out: Vec<TimedOut>,
    /// Detached loads whose callbacks are to be stopped now.
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

#[derive(Debug)]
struct Load {
    keys: Vec<Bytes>,
    waiters: BTreeSet<WaiterId>,
    /// The loads that callers inside its callback wait for, with the number of those callers.
    awaits: BTreeMap<LoadId, usize>,
    /// When it has to end: while it holds flights its limit, once detached when it is stopped.
    due: Instant,
    timeout: Duration,
    detached: bool,
}

#[derive(Debug)]
struct Waiter {
    /// The load inside whose callback it asked.
    parent: Option<LoadId>,
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
    /// The detached loads, by when they are stopped.
    detached: BTreeSet<(Instant, LoadId)>,
}

impl Flights {
    /// The most loads that may run on after their limit; one more, and the one that would be
    /// stopped first is stopped at once.
    pub const MAX_DETACHED: usize = 1_024;

    /// A caller wants these keys: it leads one new load for those that nobody loads, and waits
    /// for the loads of the others.
    ///
    /// `parent` is the load inside whose callback the caller runs; one that has ended counts as
    /// none. A new load has until `now + load_timeout`. Without keys there is nothing to wait for.
    ///
    /// # Errors
    /// [`Reentrant`] if `parent` would wait for itself; nothing is changed then.
    pub fn join(
        &mut self,
        keys: &[Bytes],
        parent: Option<LoadId>,
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
        if let Some(parent) = parent {
            self.check_circle(parent, &waits)?;
        }
        let waiter = WaiterId(self.id());
        let lead = (!led.is_empty()).then(|| self.start(led, now, load_timeout));
        let loads: BTreeSet<LoadId> = waits.keys().copied().chain(lead.iter().map(|lead| lead.load)).collect();
        for id in &loads {
            if let Some(load) = self.loads.get_mut(id) {
                load.waiters.insert(waiter);
            }
            if let Some(parent) = parent.and_then(|parent| self.loads.get_mut(&parent)) {
                *parent.awaits.entry(*id).or_default() += 1;
            }
        }
        if !loads.is_empty() {
            self.waiters.insert(waiter, Waiter { parent, loads });
        }
        let waits = waits.into_iter().map(|(load, keys)| LoadKeys { load, keys }).collect();
        Ok(Join { waiter, lead, waits })
    }

    /// A caller goes away: it was cancelled, its own time is up, or it has all it needs.
    ///
    /// Returns the loads that nobody waits for any more: their callbacks are to be cancelled, and
    /// their flights are gone already. Leaving twice, or after all was told, does nothing.
    #[must_use = "the loads have to be cancelled"]
    pub fn leave(&mut self, waiter: WaiterId) -> Vec<LoadId> {
        let Some(Waiter { parent, loads }) = self.waiters.remove(&waiter) else { return Vec::new() };
        let mut cancel = Vec::new();
        for id in loads {
            self.unlink(parent, id);
            let Some(load) = self.loads.get_mut(&id) else { continue };
            load.waiters.remove(&waiter);
            if load.waiters.is_empty() {
                self.remove(id);
                cancel.push(id);
            }
        }
        cancel
    }

    /// A load ended, however it did: with a value, without one, with an error or a panic, or
    /// because its event loop is gone.
    ///
    /// `None` for a load that was cancelled or stopped, or has ended before: its result counts
    /// for nothing.
    pub fn complete(&mut self, load: LoadId) -> Option<Completed> {
        let ended = self.remove(load)?;
        let waiters = self.tell(load, ended.waiters);
        Some(Completed { keys: ended.keys, waiters, late: ended.detached })
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, LoadId)>| set.first().map(|&(due, _)| due);
        first(&self.limits).into_iter().chain(first(&self.detached)).min()
    }

    /// Carries out the limits that are due.
    ///
    /// At its limit a load loses its flights, so that later callers start a new one, and its
    /// waiters are told. It may run on for one more `load_timeout`, for its value may still be
    /// of use to a fill; then it is stopped.
    pub fn expire(&mut self, now: Instant) -> Expired {
        let mut expired = Expired::default();
        while let Some(&(due, id)) = self.limits.first()
            && due <= now
        {
            self.limits.pop_first();
            expired.timed_out.extend(self.detach(id));
        }
        while let Some(&(due, id)) = self.detached.first()
            && (due <= now || self.detached.len() > Self::MAX_DETACHED)
        {
            self.remove(id);
            expired.abort.push(id);
        }
        expired
    }

    /// How many of everything there are now.
    pub fn counts(&self) -> Counts {
        Counts {
            flights: self.flights.len(),
            loads: self.limits.len(),
            waiters: self.waiters.len(),
            detached: self.detached.len(),
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
        let (waiters, awaits) = (BTreeSet::new(), BTreeMap::new());
        self.loads.insert(id, Load { keys: keys.clone(), waiters, awaits, due, timeout, detached: false });
        LoadKeys { load: id, keys }
    }

    /// Whether `parent` is among the loads that would be waited for, or that these wait for. A
    /// new load can close no circle: nobody runs inside it yet.
    fn check_circle(&self, parent: LoadId, waits: &BTreeMap<LoadId, Vec<Bytes>>) -> Result<(), Reentrant> {
        let mut visited = BTreeSet::new();
        for (&first, keys) in waits {
            let mut ahead = Vec::from([first]);
            while let Some(id) = ahead.pop() {
                if id == parent {
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

    /// Takes the flights and the waiters from a load, and lets it run on.
    fn detach(&mut self, id: LoadId) -> Option<TimedOut> {
        let load = self.loads.get_mut(&id)?;
        load.detached = true;
        load.due = load.due + load.timeout;
        self.detached.insert((load.due, id));
        for key in &load.keys {
            self.flights.remove(key);
        }
        let waiters = core::mem::take(&mut load.waiters);
        Some(TimedOut { load: id, waiters: self.tell(id, waiters) })
    }

    /// Forgets a load with its flights and its timer.
    fn remove(&mut self, id: LoadId) -> Option<Load> {
        let load = self.loads.remove(&id)?;
        if load.detached {
            self.detached.remove(&(load.due, id));
        } else {
            self.limits.remove(&(load.due, id));
            for key in &load.keys {
                self.flights.remove(key);
            }
        }
        Some(load)
    }

    /// Ends the wait of these for one load; those who wait for nothing else are forgotten.
    fn tell(&mut self, load: LoadId, waiters: BTreeSet<WaiterId>) -> Vec<WaiterId> {
        for id in &waiters {
            let Some(waiter) = self.waiters.get_mut(id) else { continue };
            waiter.loads.remove(&load);
            let parent = waiter.parent;
            if waiter.loads.is_empty() {
                self.waiters.remove(id);
            }
            self.unlink(parent, load);
        }
        waiters.into_iter().collect()
    }

    /// One caller less inside `parent` waits for `load`.
    fn unlink(&mut self, parent: Option<LoadId>, load: LoadId) {
        let Some(parent) = parent.and_then(|parent| self.loads.get_mut(&parent)) else { return };
        if let Some(callers) = parent.awaits.get_mut(&load) {
            *callers -= 1;
            if *callers == 0 {
                parent.awaits.remove(&load);
            }
        }
    }
}

#[cfg(test)]
mod tests;
