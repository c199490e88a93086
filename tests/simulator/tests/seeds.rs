//! A few thousand seeds, and that a seed is always the same run.

use failsoft_simulator::{run, shrink};

/// Enough for every kind of fault to happen a hundred times.
const SEEDS: u64 = 3_000;

#[test]
fn no_invariant_is_broken() {
    let failed = (0..SEEDS).find(|&seed| run(seed).problem.is_some());
    if let Some(shrunk) = failed.and_then(shrink) {
        panic!("seed {}: {}\n{}\n{}", shrunk.seed, shrunk.problem, shrunk.plan.join("\n"), shrunk.trace.join("\n"));
    }
}

#[test]
fn the_runs_are_eventful() {
    let mut sum = failsoft_simulator::Ran::default();
    (0..500).for_each(|seed| sum.add(&run(seed)));
    assert!(sum.reads > 500 * 200, "{} reads", sum.reads);
    assert!(sum.promotions > 100, "{} promotions", sum.promotions);
    assert!(sum.whole > 450, "{} clusters were whole in the end, so that routers could be judged", sum.whole);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let hashes: Vec<u64> = (0..50).map(|seed| run(seed).hash).collect();
    let again: Vec<u64> = (0..50).map(|seed| run(seed).hash).collect();
    assert_eq!(hashes, again);
    let mut different = hashes.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), hashes.len(), "other seeds are other runs");
}
