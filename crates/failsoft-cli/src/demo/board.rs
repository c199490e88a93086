//! The account of the demo while it runs: written by the readers and the scenario, read by the picture.

use crate::latency::Latency;
use failsoft::ServedBy;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How many sources there are.
pub(super) const SOURCES: usize = ServedBy::ALL.len();
/// How many failed reads are kept in words.
const MAX_FAILURES: usize = 5;

/// What was read in one phase, or in all.
#[derive(Clone)]
pub(super) struct Tally {
    pub(super) reads: u64,
    /// Errors and wrong values.
    pub(super) failed: u64,
    /// In the order of [`ServedBy::ALL`].
    pub(super) served: [u64; SOURCES],
    pub(super) latency: Latency,
}

/// One phase.
#[derive(Clone)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    /// The fault that is on, in words.
    pub(super) fault: String,
    pub(super) began: Instant,
    /// How long it is to last; it may take longer.
    pub(super) share: Duration,
    pub(super) tally: Tally,
}

/// See the module.
pub(super) struct Board {
    pub(super) began: Instant,
    /// About how long all phases take together.
    pub(super) planned: Duration,
    state: Mutex<State>,
}

struct State {
    phases: Vec<Phase>,
    failures: Vec<String>,
    /// Phases that have begun or ended and are not shown yet: at most two for each phase.
    news: VecDeque<News>,
}

/// Something to tell.
pub(super) enum News {
    Began(Phase),
    Ended(Phase, Duration),
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { reads: 0, failed: 0, served: [0; SOURCES], latency: Latency::new() }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.reads += other.reads;
        self.failed += other.failed;
        self.served.iter_mut().zip(other.served).for_each(|(mine, theirs)| *mine += theirs);
        self.latency.merge(&other.latency);
    }

    /// Each source's word with its count.
    pub(super) fn sources(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ServedBy::ALL.iter().map(|source| source.as_str()).zip(self.served)
    }
}

impl Board {
    pub(super) fn new(planned: Duration) -> Self {
        let state = State { phases: Vec::new(), failures: Vec::new(), news: VecDeque::new() };
        Self { began: Instant::now(), planned, state: Mutex::new(state) }
    }

    /// Ends the phase that is on and begins the next one.
    pub(super) fn begin(&self, name: &'static str, share: Duration, fault: impl Into<String>) {
        let mut state = self.state();
        state.end();
        let phase = Phase { name, fault: fault.into(), began: Instant::now(), share, tally: Tally::new() };
        state.news.push_back(News::Began(phase.clone()));
        state.phases.push(phase);
    }

    /// Ends the last phase. Reads that end later still count in it.
    pub(super) fn end(&self) {
        self.state().end();
    }

    /// Says what is on now, in the same phase.
    pub(super) fn now(&self, fault: impl Into<String>) {
        if let Some(phase) = self.state().phases.last_mut() {
            phase.fault = fault.into();
        }
    }

    /// A read that ended; it counts in the phase in which it ends. A failed one says how.
    pub(super) fn read(&self, took: Duration, result: Result<ServedBy, String>) {
        let mut state = self.state();
        if let Some(phase) = state.phases.last_mut() {
            let tally = &mut phase.tally;
            tally.reads += 1;
            tally.latency.add(took);
            match &result {
                Ok(source) => tally.served[*source as usize] += 1,
                Err(_) => tally.failed += 1,
            }
        }
        if let Err(what) = result {
            let phase = state.phases.last().map_or("", |phase| phase.name);
            if state.failures.len() < MAX_FAILURES {
                state.failures.push(format!("{phase}: {what}"));
            }
        }
    }

    /// All phases so far.
    pub(super) fn phases(&self) -> Vec<Phase> {
        self.state().phases.clone()
    }

    /// The first failed reads in words.
    pub(super) fn failures(&self) -> Vec<String> {
        self.state().failures.clone()
    }

    /// What there is to tell since the last time.
    pub(super) fn news(&self) -> Option<News> {
        self.state().news.pop_front()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&mut self) {
        if let Some(phase) = self.phases.last() {
            self.news.push_back(News::Ended(phase.clone(), phase.began.elapsed()));
        }
    }
}

/// The sum of all phases.
pub(super) fn total(phases: &[Phase]) -> Tally {
    let mut total = Tally::new();
    phases.iter().for_each(|phase| total.merge(&phase.tally));
    total
}
