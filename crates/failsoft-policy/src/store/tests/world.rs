//! Callers, places and a store, in virtual time.

use super::at;
use crate::config::{Config, Setting};
use crate::flight::LoadId;
use crate::load::{Begin, Ending, Joined, Loads, Wanted};
use crate::store::{StoreState, Trouble};
use crate::time::Instant;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A caller asks.
    Ask,
    /// The callback of a load ends.
    End(LoadId),
}

/// What the store does with a call.
pub(super) type Store = fn(Instant) -> (u64, Ending);

/// Never ends by itself.
pub(super) const HANGS: u64 = u64::MAX;

/// Callers who ask again, for other keys, as soon as they have an answer, and a moment after an error.
pub(super) struct World {
    pub(super) loads: Loads,
    pub(super) now: Instant,
    store: Store,
    pub(super) events: BTreeSet<(Instant, u64, Event)>,
    keys: u64,
    pub(super) served: u64,
    pub(super) shed: Vec<Instant>,
    pub(super) timed_out: u64,
}

impl World {
    /// `load_timeout` is 10 s, `slo` 50 ms.
    pub(super) fn new(places: i64, store: Store) -> Self {
        Self::with(places, store, &[])
    }

    pub(super) fn with(places: i64, store: Store, settings: &[(&str, Setting)]) -> Self {
        let mut config = Config::default();
        config.set("max_concurrent_loads", Setting::Integer(places)).expect("in range");
        for (name, value) in settings {
            config.set(name, value.clone()).expect("in range");
        }
        let (loads, events) = (Loads::new(&config, 7), BTreeSet::new());
        Self { loads, now: at(0), store, events, keys: 0, served: 0, shed: Vec::new(), timed_out: 0 }
    }

    pub(super) fn later(&mut self, millis: u64, event: Event) {
        self.keys += 1;
        self.events.insert((self.now + Duration::from_millis(millis), self.keys, event));
    }

    pub(super) fn callers(&mut self, count: u64) {
        (0..count).for_each(|_| self.later(0, Event::Ask));
    }

    pub(super) fn join(&mut self, parents: &[LoadId]) -> Joined {
        self.keys += 1;
        let key = Bytes::from(format!("{}", self.keys));
        let wanted = Wanted { key, confirmed: None, lease_by: None, over: None, since: Instant::ZERO };
        self.loads.join(&[wanted], parents, self.now, self.now).expect("no circle")
    }

    /// Asks, and starts the callback if it is its turn.
    pub(super) fn ask(&mut self, parents: &[LoadId]) -> Option<LoadId> {
        let joined = self.join(parents);
        if joined.shed.is_some() {
            self.is_shed();
        }
        joined.begin.into_iter().for_each(|load| self.begin(load));
        joined.lead.map(|lead| lead.load)
    }

    fn begin(&mut self, load: LoadId) {
        assert_eq!(self.loads.begin(load, true, self.now), Begin::Run);
        let (takes, _) = (self.store)(self.now);
        if takes != HANGS {
            self.later(takes, Event::End(load));
        }
    }

    fn is_shed(&mut self) {
        self.shed.push(self.now);
        self.later(10, Event::Ask);
    }

    pub(super) fn end(&mut self, load: LoadId, ending: Ending) {
        let finished = self.loads.finish(load, ending, self.now);
        self.settle();
        if let Some(next) = self.loads.release(load, self.now) {
            self.begin(next);
        }
        if finished.is_some() {
            self.served += 1;
            self.later(0, Event::Ask);
        }
    }

    fn settle(&mut self) {
        for _ in self.loads.shed() {
            self.is_shed();
        }
    }

    pub(super) fn run_until(&mut self, until: u64) {
        loop {
            let event = self.events.first().map(|event| event.0);
            let timer = self.loads.next_timeout();
            let next = event.into_iter().chain(timer).min().filter(|next| *next <= at(until));
            let Some(next) = next else { break };
            assert!(next >= self.now || timer == Some(next), "time goes on");
            self.now = self.now.max(next);
            if event == Some(next) {
                match self.events.pop_first().expect("an event").2 {
                    Event::Ask => drop(self.ask(&[])),
                    Event::End(load) => self.end(load, (self.store)(self.now).1),
                }
                continue;
            }
            let due = self.loads.expire(self.now);
            self.settle();
            self.timed_out += due.timed_out.len() as u64;
            for load in due.stop {
                if let Some(next) = self.loads.release(load, self.now) {
                    self.begin(next);
                }
            }
            let again = self.loads.next_timeout();
            assert!(again.is_none_or(|again| again > self.now), "what was due is not due again at once");
        }
        self.now = at(until);
    }

    pub(super) fn state(&mut self) -> StoreState {
        self.loads.store(self.now).state
    }

    pub(super) fn trouble(&mut self) -> Option<Trouble> {
        self.loads.store(self.now).trouble
    }
}
