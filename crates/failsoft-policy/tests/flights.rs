//! Random calls to the flights, held equal to a slow model that keeps nothing but a list of loads.

use bytes::Bytes;
use failsoft_policy::Instant;
use failsoft_policy::flight::{Completed, Counts, Expired, Flights, LoadId, LoadKeys, TimedOut, WaiterId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Clone, Debug)]
enum Call {
    Join { keys: Vec<u8>, parents: Vec<usize>, timeout: u64, begins: bool },
    Leave(usize),
    Complete(usize),
    Advance(u64),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let join = (prop::collection::vec(0u8..6, 0..5), prop::collection::vec(0usize..12, 0..3), 1u64..40, any::<bool>())
        .prop_map(|(keys, parents, timeout, begins)| Call::Join { keys, parents, timeout, begins });
    let call = prop_oneof![
        6 => join,
        2 => (0usize..12).prop_map(Call::Leave),
        2 => (0usize..12).prop_map(Call::Complete),
        1 => (0u64..30).prop_map(Call::Advance),
    ];
    prop::collection::vec(call, 1..80)
}

struct ModelLoad {
    id: LoadId,
    keys: Vec<Bytes>,
    /// Each with the loads inside whose callbacks it runs.
    waiters: Vec<(WaiterId, Vec<LoadId>)>,
    due: Instant,
    timeout: Duration,
    begun: bool,
    detached: bool,
}

#[derive(Default)]
struct Model {
    loads: Vec<ModelLoad>,
}

impl Model {
    fn flying(&self, key: &Bytes) -> Option<LoadId> {
        self.loads.iter().find(|load| !load.detached && load.keys.contains(key)).map(|load| load.id)
    }

    /// All loads that end only after these.
    fn behind(&self, mut found: BTreeSet<LoadId>) -> BTreeSet<LoadId> {
        loop {
            let more = |load: &&ModelLoad| load.waiters.iter().any(|(_, p)| p.iter().any(|p| found.contains(p)));
            let next: Vec<LoadId> = self.loads.iter().filter(more).map(|load| load.id).collect();
            let before = found.len();
            found.extend(next);
            if found.len() == before {
                return found;
            }
        }
    }

    fn counts(&self) -> Counts {
        let (detached, running): (Vec<_>, Vec<_>) = self.loads.iter().partition(|load| load.detached);
        let waiters: BTreeSet<WaiterId> = running.iter().flat_map(|load| &load.waiters).map(|(id, _)| *id).collect();
        Counts {
            flights: running.iter().map(|load| load.keys.len()).sum(),
            loads: running.len(),
            waiters: waiters.len(),
            detached: detached.len(),
        }
    }

    fn leave(&mut self, waiter: WaiterId) -> Vec<LoadId> {
        let mut cancel = Vec::new();
        for load in &mut self.loads {
            let before = load.waiters.len();
            load.waiters.retain(|(id, _)| *id != waiter);
            if load.waiters.is_empty() && before > 0 {
                cancel.push(load.id);
            }
        }
        self.loads.retain(|load| !cancel.contains(&load.id));
        cancel
    }

    fn complete(&mut self, id: LoadId) -> Option<Completed> {
        let at = self.loads.iter().position(|load| load.id == id)?;
        let load = self.loads.remove(at);
        let waiters = load.waiters.iter().map(|(id, _)| *id).collect();
        Some(Completed { keys: load.keys, waiters, late: load.detached })
    }

    fn expire(&mut self, now: Instant) -> Expired {
        let mut expired = Expired::default();
        self.loads.sort_by_key(|load| (load.due, load.id));
        for load in self.loads.iter_mut().filter(|load| !load.detached && load.due <= now) {
            let waiters = load.waiters.drain(..).map(|(id, _)| id).collect();
            expired.timed_out.push(TimedOut { load: load.id, waiters, runs_on: load.begun });
            (load.detached, load.due) = (true, load.due + load.timeout);
        }
        self.loads.retain(|load| load.begun || !load.detached);
        self.loads.sort_by_key(|load| (load.due, load.id));
        let over = |load: &&ModelLoad| load.detached && load.due <= now;
        expired.abort = self.loads.iter().filter(over).map(|load| load.id).collect();
        self.loads.retain(|load| !expired.abort.contains(&load.id));
        self.loads.sort_by_key(|load| load.id);
        expired
    }
}

/// Counts what each waiter was promised against what it was told.
#[derive(Default)]
struct Ledger(BTreeMap<(LoadId, WaiterId), u32>);

impl Ledger {
    fn tell(&mut self, load: LoadId, waiters: &[WaiterId]) {
        for &waiter in waiters {
            *self.0.get_mut(&(load, waiter)).expect("only who waits is told") += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_to_the_model(calls in calls()) {
        let (mut flights, mut model, mut ledger) = (Flights::default(), Model::default(), Ledger::default());
        let (mut loads, mut waiters): (Vec<LoadId>, Vec<WaiterId>) = (vec![], vec![]);
        let mut now = Instant::ZERO;
        // The indices count from the newest, so that most calls meet something alive.
        let newest = |back: usize, len: usize| len.checked_sub(back + 1);
        for call in calls {
            match call {
                Call::Join { keys, parents, timeout, begins } => {
                    let keys: Vec<Bytes> = keys.iter().map(|&key| Bytes::copy_from_slice(&[key])).collect();
                    let parents = parents.into_iter().filter_map(|back| newest(back, loads.len())).map(|at| loads[at]);
                    let parents: Vec<LoadId> = parents.collect();
                    let timeout = Duration::from_millis(timeout);
                    let mut once: Vec<Bytes> = vec![];
                    keys.iter().for_each(|key| if !once.contains(key) { once.push(key.clone()) });
                    let (old, new): (Vec<_>, Vec<_>) = once.into_iter().partition(|key| model.flying(key).is_some());
                    let awaited: BTreeSet<LoadId> = old.iter().filter_map(|key| model.flying(key)).collect();
                    let behind = model.behind(awaited.clone());
                    let circle = parents.iter().any(|parent| behind.contains(parent));
                    let joined = flights.join(&keys, &parents, now, timeout);
                    prop_assert_eq!(joined.is_err(), circle);
                    let Ok(join) = joined else { continue };
                    let of = |id| LoadKeys {
                        load: id,
                        keys: old.iter().filter(|key| model.flying(key) == Some(id)).cloned().collect(),
                    };
                    prop_assert_eq!(&join.waits, &awaited.iter().map(|&id| of(id)).collect::<Vec<_>>());
                    prop_assert_eq!(join.lead.as_ref().map_or(&[][..], |lead| &lead.keys), &new[..]);
                    prop_assert!(!waiters.contains(&join.waiter));
                    waiters.push(join.waiter);
                    if let Some(lead) = &join.lead {
                        prop_assert!(!loads.contains(&lead.load));
                        loads.push(lead.load);
                        let (id, keys, due) = (lead.load, lead.keys.clone(), now + timeout);
                        let begun = begins && flights.begin(id);
                        prop_assert_eq!(begun, begins);
                        let load = ModelLoad { id, keys, waiters: vec![], due, timeout, begun, detached: false };
                        model.loads.push(load);
                    }
                    let mine: BTreeSet<LoadId> = awaited.into_iter().chain(join.lead.map(|lead| lead.load)).collect();
                    for load in model.loads.iter_mut().filter(|load| mine.contains(&load.id)) {
                        load.waiters.push((join.waiter, parents.clone()));
                        ledger.0.insert((load.id, join.waiter), 0);
                    }
                }
                Call::Leave(back) => {
                    let Some(at) = newest(back, waiters.len()) else { continue };
                    prop_assert_eq!(flights.leave(waiters[at]), model.leave(waiters[at]));
                    // Who leaves is told nothing more: to be told is then an error.
                    ledger.0.retain(|&(_, waiter), told| waiter != waiters[at] || *told > 0);
                }
                Call::Complete(back) => {
                    let Some(at) = newest(back, loads.len()) else { continue };
                    let completed = flights.complete(loads[at]);
                    prop_assert_eq!(&completed, &model.complete(loads[at]));
                    ledger.tell(loads[at], &completed.map_or(vec![], |completed| completed.waiters));
                }
                Call::Advance(millis) => {
                    now = now + Duration::from_millis(millis);
                    let expired = flights.expire(now);
                    prop_assert_eq!(&expired, &model.expire(now));
                    expired.timed_out.iter().for_each(|it| ledger.tell(it.load, &it.waiters));
                }
            }
            prop_assert_eq!(flights.counts(), model.counts());
            prop_assert_eq!(flights.next_timeout(), model.loads.iter().map(|load| load.due).min());
        }

        // Whatever is left ends by time alone, and everyone has been told exactly once.
        while let Some(due) = flights.next_timeout() {
            let expired = flights.expire(due);
            prop_assert!(!expired.timed_out.is_empty() || !expired.abort.is_empty());
            expired.timed_out.iter().for_each(|it| ledger.tell(it.load, &it.waiters));
        }
        prop_assert_eq!(flights.counts(), Counts::default());
        prop_assert!(ledger.0.values().all(|&told| told == 1), "{:?}", ledger.0);
    }
}
