//! The real policy in virtual time against a model of a cluster that fails and splits by itself: one seed, one run.

mod check;
mod model;
mod net;
mod plan;
mod router;
mod sim;
mod trace;

use plan::Plan;
use sim::Sim;

/// What one seed came to.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Of all that happened: the same for the same seed.
    pub hash: u64,
    /// Events.
    pub events: u64,
    /// Reads whose cluster side ended.
    pub reads: u64,
    /// Virtual nanoseconds.
    pub time: u64,
    /// The invariant that was broken.
    pub problem: Option<String>,
    /// Whether the model's cluster was whole in the end, so that the routers were judged by it.
    pub whole: bool,
    /// Replicas that were promoted.
    pub promotions: u32,
}

/// Runs a seed.
pub fn run(seed: u64) -> Ran {
    let plan = Plan::new(seed);
    let o = Sim::new(&plan, false).run();
    Ran {
        hash: o.hash,
        events: o.events,
        reads: o.reads,
        time: o.time,
        problem: o.problem,
        whole: o.whole,
        promotions: o.promotions,
    }
}

/// The words of a seed's run.
pub fn trace(seed: u64) -> Vec<String> {
    let plan = Plan::new(seed);
    Sim::new(&plan, true).run().lines
}
