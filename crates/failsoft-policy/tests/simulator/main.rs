//! The real policy in virtual time against a small model of a cluster that fails: one seed, one run.
//!
//! `FAILSOFT_SIM_SEED=n` runs one seed, `FAILSOFT_SIM_SEEDS=n` so many (2,000 by default).

mod check;
mod driver;
mod faults;
mod model;

use driver::Sim;

#[test]
fn every_read_of_every_seed_ends_well() {
    let (first, count) = match number("FAILSOFT_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("FAILSOFT_SIM_SEEDS").unwrap_or(2_000)),
    };
    let mut failed = Vec::new();
    let mut reads = 0;
    for seed in first..first + count {
        let mut sim = Sim::new(seed);
        sim.run();
        reads += sim.check.reads;
        if !sim.check.problems.is_empty() {
            failed.push(format!("seed {seed}:\n  {}", sim.check.problems.join("\n  ")));
        }
    }
    assert!(reads >= 100 * count, "only {reads} reads ended in {count} runs");
    assert!(
        failed.is_empty(),
        "{} of {count} seeds failed; the first ones (again with FAILSOFT_SIM_SEED=<seed>):\n{}",
        failed.len(),
        failed[..failed.len().min(5)].join("\n")
    );
}

#[test]
fn the_same_seed_is_the_same_run() {
    let traces: Vec<u64> = (0..20).map(|seed| Sim::new(seed).run()).collect();
    let again: Vec<u64> = (0..20).map(|seed| Sim::new(seed).run()).collect();
    assert_eq!(traces, again);
    assert_ne!(traces[0], traces[1], "another seed is another run");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|n| n.parse().unwrap_or_else(|_| panic!("{name} is no number: {n}")))
}
