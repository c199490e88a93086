//! The real policy in virtual time against a model of a cluster that fails and splits by itself: one seed, one run.

mod check;
mod large;
mod model;
mod net;
mod plan;
mod router;
mod shrink;
mod sim;
mod trace;

pub use shrink::{Shrunk, shrink};

use plan::Plan;
use sim::{Outcome, Sim};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What one seed came to, or the sum of several.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Of all that happened: the same for the same seed.
    pub hash: u64,
    /// Runs.
    pub seeds: u64,
    /// Events.
    pub events: u64,
    /// Reads whose cluster side ended.
    pub reads: u64,
    /// Virtual nanoseconds.
    pub time: u64,
    /// Replicas that were promoted.
    pub promotions: u64,
    /// Runs in which the model's cluster was whole in the end, so that the routers were judged by it.
    pub whole: u64,
    /// The invariant that was broken.
    pub problem: Option<String>,
}

impl Ran {
    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        self.hash ^= other.hash;
        self.seeds += other.seeds;
        self.events += other.events;
        self.reads += other.reads;
        self.time += other.time;
        self.promotions += other.promotions;
        self.whole += other.whole;
    }
}

/// One seed in so many also runs a cluster of a thousand primaries.
const LARGE: u64 = 1_024;

/// Runs a seed.
pub fn run(seed: u64) -> Ran {
    let mut ran = run_small(seed);
    if seed % LARGE == LARGE - 1 && ran.problem.is_none() {
        let (events, problem) = large::run(seed);
        ran.events += events;
        ran.problem = problem.map(|problem| format!("a thousand primaries: {problem}"));
    }
    ran
}

fn run_small(seed: u64) -> Ran {
    let outcome = play(&Plan::new(seed), false);
    Ran {
        hash: outcome.hash,
        seeds: 1,
        events: outcome.events,
        reads: outcome.reads,
        time: outcome.time,
        promotions: u64::from(outcome.promotions),
        whole: u64::from(outcome.whole),
        problem: outcome.problem,
    }
}

/// Whether a fault of this kind, as the plan spells it, is in a seed's run.
pub fn has_fault(seed: u64, kind: &str) -> bool {
    let spelt = |fault| format!("{fault:?}").split([' ', '(']).next() == Some(kind);
    Plan::new(seed).faults.iter().any(|f| spelt(&f.fault))
}

/// All that happens in a seed's run, in words.
pub fn trace(seed: u64) -> Vec<String> {
    play(&Plan::new(seed), true).lines
}

/// Runs a plan; a panic in it is a problem like any other.
fn play(plan: &Plan, wordy: bool) -> Outcome {
    let run = catch_unwind(AssertUnwindSafe(|| Sim::new(plan, wordy).run()));
    run.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Outcome { problem: Some(format!("a panic: {}", words.unwrap_or("without words"))), ..Outcome::default() }
    })
}
