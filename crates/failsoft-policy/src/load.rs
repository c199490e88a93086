//! A load, from the callers who want its keys to what follows from its end.
//!
//! Its stages are those of the [flights](crate::flight): queued until its callback is started, running, overdue
//! once its limit has passed, and over. Between its turn and its callback it takes leases, if it may be written back
//! ([`crate::lease`]), and waits while another process loads its keys ([`crate::fleet`]). Around the stages this module decides which callers need no load, because one
//! that had not ended when they set out answers them ([`crate::echo`]), and what happens to a result: which
//! callers get it, which load anew, what is kept for late callers, and what is written back.
//!
//! [`Loads::join`] when keys are to be loaded, [`Loads::leases`] and [`Loads::leased`] when its turn has come,
//! [`Loads::begin`] before the callback is started, [`Loads::finish`] and [`Loads::release`] when it has ended,
//! [`Loads::leave`] when a caller goes away, and [`Loads::expire`] at [`Loads::next_timeout`]. The turn of a load comes
//! when `join` or `release` says so ([`crate::bulkhead`]).

use crate::bulkhead::Bulkhead;
use crate::config::Config;
use crate::echo::Echoes;
use crate::fleet::{Came, Leases, Next};
use crate::flight::{Counts, Flights, Join, LoadId, LoadKeys, Reentrant, WaiterId};
use crate::lease::{Lease, Missing};
use crate::store::{ShedCause, Store, StoreStatus};
use crate::time::Instant;
use crate::wire::LONGEST_KEY;
use crate::write::Cause;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

mod words;

pub use words::{Begin, Due, Ending, Finished, Joined, Wanted};

/// The most loads that wait in line.
pub const LONGEST_LINE: usize = 16_384;

/// All loads of a router. See the module; bounded as the flights and the echoes are.
#[derive(Debug)]
pub struct Loads {
    flights: Flights,
    bulkhead: Bulkhead,
    store: Store,
    /// For [`Loads::shed`].
    shed: Vec<LoadId>,
    echoes: Echoes,
    /// When the callbacks began that have not ended.
    begun: BTreeMap<LoadId, Instant>,
    /// Of the loads that may be written back.
    leases: BTreeMap<LoadId, Leases>,
    /// To be released, for [`Loads::released`].
    released: Vec<(Bytes, Lease)>,
    lease_ttl: Option<Duration>,
    timeout: Duration,
    /// How long a failed load is not repeated.
    pause: Option<Duration>,
    /// How long a result may be of use: a caller can be as long on its way to a load.
    keep: Duration,
    fill: bool,
}

impl Loads {
    /// No load yet. Chance shortens how long loads are shed.
    pub fn new(config: &Config, dice: u32) -> Self {
        Self {
            flights: Flights::default(),
            bulkhead: Bulkhead::new(config.max_concurrent_loads() as usize),
            store: Store::new(config, dice),
            shed: Vec::new(),
            echoes: Echoes::default(),
            begun: BTreeMap::new(),
            leases: BTreeMap::new(),
            released: Vec::new(),
            lease_ttl: config.lease_ttl(),
            timeout: config.load_timeout(),
            pause: config.failure_pause(),
            keep: config.deadline().max(config.failure_pause().unwrap_or_default()),
            fill: config.fill(),
        }
    }

    /// A caller who set out at `began` wants these keys. `parents` as [`Flights::join`] has them.
    ///
    /// # Errors
    /// [`Reentrant`] if one of the `parents` would wait for itself; nothing is changed then.
    pub fn join(
        &mut self,
        wanted: &[Wanted],
        parents: &[LoadId],
        began: Instant,
        now: Instant,
    ) -> Result<Joined, Reentrant> {
        let (mut answered, mut keys) = (BTreeMap::<LoadId, Vec<Bytes>>::new(), Vec::with_capacity(wanted.len()));
        for Wanted { key, since, .. } in wanted {
            // What a callback asks for may be the key that its own load holds, and then it has to be told so.
            let begun = self.flights.load_of(key).filter(|_| parents.is_empty()).and_then(|load| self.begun.get(&load));
            if begun.is_some_and(|begun| begun < since) {
                self.flights.detach(key);
            }
            match self.echoes.find(key, began, *since) {
                Some(load) => answered.entry(load).or_default().push(key.clone()),
                None => keys.push(key.clone()),
            }
        }
        let mut join = self.flights.join(&keys, parents, now, self.timeout)?;
        let nested = parents.iter().any(|&parent| self.bulkhead.is_running(parent));
        let shed = if nested { None } else { self.shed_lead(&mut join, now) };
        if let Some(lead) = join.lead.as_ref().filter(|_| self.fill) {
            let of = |key: &Bytes| self.flights.load_of(key) == Some(lead.load);
            let confirmed = wanted.iter().filter(|w| of(&w.key) && w.key.len() <= LONGEST_KEY);
            let missing = confirmed.filter_map(|w| {
                let (key, over) = (w.key.clone(), w.over.clone());
                Some(Missing { key, node: w.confirmed?, by: w.lease_by, over })
            });
            let missing: Vec<Missing> = missing.collect();
            if !missing.is_empty() {
                let by = missing.iter().filter_map(|missing| missing.by).min();
                let patience = by.unwrap_or(Instant::MAX).min(began + self.timeout / 2);
                let patience = if missing.len() == lead.keys.len() { patience } else { Instant::ZERO };
                let limit = now + self.timeout;
                self.leases.insert(lead.load, Leases { missing, taken: Vec::new(), rounds: 0, patience, limit });
            }
        }
        let answered = answered.into_iter().map(|(load, keys)| LoadKeys { load, keys }).collect();
        if nested {
            for load in join.lead.iter().chain(&join.waits).map(|load| load.load) {
                self.leases.entry(load).and_modify(|leases| leases.patience = Instant::ZERO);
            }
        }
        let needed = join.waits.iter().filter(|_| nested).map(|theirs| theirs.load);
        let mut begin: Vec<LoadId> = needed.filter(|&load| self.bulkhead.promote(load)).collect();
        let lead = join.lead.iter().map(|lead| lead.load);
        for load in lead {
            let begins = self.bulkhead.enter(load, nested, now);
            begin.extend(begins.then_some(load));
            if begins && !nested {
                self.store.turn(Duration::ZERO, now);
            }
        }
        self.look_at_line();
        Ok(Joined { answered, waiter: join.waiter, lead: join.lead, begin, waits: join.waits, shed })
    }

    /// Takes the new load back if the store is spared, or the line is too long: its keys, and why.
    fn shed_lead(&mut self, join: &mut Join, now: Instant) -> Option<(Vec<Bytes>, ShedCause)> {
        let load = join.lead.as_ref()?.load;
        let cause = if self.bulkhead.waiting() >= LONGEST_LINE {
            ShedCause::QueueFull
        } else if !self.store.admit(load, now) {
            ShedCause::BreakerOpen
        } else {
            return None;
        };
        let _ = self.flights.complete(load);
        join.lead.take().map(|lead| (lead.keys, cause))
    }

    /// The turn of a load has come: the keys of which a lease has to be taken before its callback starts.
    pub fn leases(&mut self, load: LoadId) -> Vec<Missing> {
        self.leases.get_mut(&load).map(|leases| core::mem::take(&mut leases.missing)).unwrap_or_default()
    }

    /// What came of the leases of a load; of keys that were found nothing is said here. `None` if the load is over.
    pub fn leased(&mut self, load: LoadId, came: Came, now: Instant, dice: u32) -> Option<Next> {
        let Some(leases) = self.leases.get_mut(&load) else {
            self.released.extend(came.taken.into_iter().filter_map(|(key, lease)| Some((key, own(lease)?))));
            return None;
        };
        Some(leases.came(came, self.lease_ttl, now, dice))
    }

    /// The leases to be released: their loads came to nothing, and whoever waits for one in another process goes on at
    /// once. To be asked after each call that ends loads, and after [`Loads::leased`].
    #[must_use = "others wait for them"]
    pub fn released(&mut self) -> Vec<(Bytes, Lease)> {
        core::mem::take(&mut self.released)
    }

    /// The driver is about to start the callback of a load; or has no need to, if `needed` is false, as all of its keys
    /// were found when their leases were to be taken.
    pub fn begin(&mut self, load: LoadId, needed: bool, now: Instant) -> Begin {
        if !self.flights.begin(load) {
            return Begin::Over;
        }
        self.begun.insert(load, now);
        if !needed {
            return Begin::Run;
        }
        // The breaker may have opened while it was taking its leases.
        if !self.store.lets(load) && !self.flights.is_needed(load) {
            return Begin::Shed(ShedCause::BreakerOpen);
        }
        self.store.begin(load, now);
        Begin::Run
    }

    /// The loads that waited in line when the breaker of the store opened: their callers get
    /// [`ShedCause::BreakerOpen`]. To be asked after [`Loads::finish`] and [`Loads::expire`].
    #[must_use = "their callers wait"]
    pub fn shed(&mut self) -> Vec<LoadId> {
        core::mem::take(&mut self.shed)
    }

    /// A key was invalidated, or set: who asks for it from now on gets nothing of a load that began before.
    pub fn detach(&mut self, key: &Bytes) {
        self.flights.detach(key);
        self.echoes.forget(key);
    }

    /// A load ended. `None` for one that was stopped, or has ended before: its result is ignored. To be told before its
    /// place is given on ([`Loads::release`]): nobody is to begin if this end opens the breaker of the store.
    pub fn finish(&mut self, load: LoadId, ending: Ending, now: Instant) -> Option<Finished> {
        self.store.end(load, ending, now);
        self.judge(now);
        // Also of a load whose limit passed right before it was to begin.
        let leases = self.leases.remove(&load);
        let Some(completed) = self.flights.complete(load) else {
            self.released.extend(leases.iter().flat_map(Leases::kept));
            return None;
        };
        let (mut dropped, mut kept) = (Vec::new(), false);
        // After the limit the callers have had `DeadlineExceeded` and may have loaded anew. A callback that is
        // gone, or was not asked, has no result.
        if !completed.late && !matches!(ending, Ending::Gone | Ending::Shed) {
            let bytes = if let Ending::Loaded { bytes } = ending { bytes } else { 0 };
            let until =
                self.pause.filter(|_| matches!(ending, Ending::Failed | Ending::Unusable)).map(|pause| now + pause);
            let begun = self.begun.get(&load).copied().unwrap_or(now);
            kept = self.echoes.keep(load, completed.keys, bytes, (begun, now, until), &mut dropped);
        }
        let mut fills = Vec::new();
        match (leases, ending) {
            (Some(leases), Ending::Loaded { .. }) => fills = leases.taken,
            (leases, _) => self.released.extend(leases.iter().flat_map(Leases::kept)),
        }
        Some(Finished { waiters: completed.waiters.len(), fills, kept, dropped })
    }

    /// The callback of a load has ended, or was stopped. The load that begins in its place.
    pub fn release(&mut self, load: LoadId, now: Instant) -> Option<LoadId> {
        self.store.withdraw(load);
        self.begun.remove(&load);
        let (next, since) = self.bulkhead.release(load)?;
        self.store.turn(now.since(since), now);
        self.look_at_line();
        Some(next)
    }

    /// A caller goes away. Returns the loads left without a waiter: the driver stops their callbacks.
    #[must_use = "the callbacks have to be stopped"]
    pub fn leave(&mut self, waiter: WaiterId) -> Vec<LoadId> {
        let over = self.flights.leave(waiter);
        self.drop_all(&over);
        over
    }

    /// Carries out the limits that are due.
    pub fn expire(&mut self, now: Instant) -> Due {
        let expired = self.flights.expire(now);
        let timed_out: Vec<LoadId> = expired.timed_out.iter().map(|late| late.load).collect();
        let mut stop = expired.abort;
        // Also those that are taking their leases: their callbacks do not begin any more.
        stop.extend(expired.timed_out.iter().filter(|late| !late.runs_on).map(|late| late.load));
        self.drop_all(&stop);
        self.judge(now);
        self.store.looked(now);
        let mut dropped = Vec::new();
        self.echoes.expire(now, self.keep, &mut dropped);
        Due { timed_out, stop, dropped }
    }

    /// When [`Self::expire`] has something to do next. Results that ended together are dropped together.
    pub fn next_timeout(&self) -> Option<Instant> {
        let kept = self.echoes.last().map(|at| at + self.keep + Duration::from_nanos(1));
        let store = self.store.next_timeout(self.bulkhead.oldest());
        self.flights.next_timeout().into_iter().chain(kept).chain(store).min()
    }

    /// The current counts.
    pub fn counts(&self) -> Counts {
        self.flights.counts()
    }

    /// How many loads wait in line.
    pub fn queued(&self) -> usize {
        self.bulkhead.waiting()
    }

    /// The store as it seems.
    pub fn store(&mut self, now: Instant) -> StoreStatus {
        self.store.status(now)
    }

    /// How many retries a read may make on its primary now. To be asked after [`Loads::finish`] and [`Loads::expire`].
    pub fn max_retries(&self) -> u32 {
        self.store.max_retries()
    }

    /// Whether equal reads share their requests, if the setting does not say so. To be asked at the same times.
    pub fn shares_reads(&self) -> bool {
        self.store.is_slow()
    }

    /// If the breaker of the store opens, those in line are not loaded any more.
    fn judge(&mut self, now: Instant) {
        if !self.store.judge(self.bulkhead.oldest(), now) {
            return;
        }
        for load in self.bulkhead.clear() {
            let _ = self.flights.complete(load);
            self.leases.remove(&load);
            self.shed.push(load);
        }
        self.look_at_line();
    }

    fn look_at_line(&mut self) {
        if self.bulkhead.waiting() == 0 {
            self.store.line_is_empty();
        }
    }

    /// These loads are over, with nothing to come of them. Those that run keep their places until they have stopped.
    fn drop_all(&mut self, loads: &[LoadId]) {
        for &load in loads {
            self.released.extend(self.leases.remove(&load).iter().flat_map(Leases::kept));
            if self.bulkhead.leave(load) {
                self.store.withdraw(load);
            }
        }
        self.look_at_line();
    }
}

/// A lease that is its load's own to be released.
fn own(lease: Result<Lease, Cause>) -> Option<Lease> {
    lease.ok().filter(|lease| lease.kept)
}

#[cfg(test)]
mod tests;
