//! What must hold in every run.

use crate::faults::GOSSIP;
use crate::model::{BLOCKS, Model, NODES, PRIMARIES};
use bytes::Bytes;
use failsoft_policy::route::Route;
use failsoft_policy::{Instant, NodeKey};
use std::collections::BTreeSet;
use std::time::Duration;

/// The most attempts of one read: the first, three retries, five redirects, and each replica once.
const ATTEMPTS: u32 = 1 + 3 + 5 + (NODES - PRIMARIES) as u32;
/// How long the others may not yet have heard of a new owner when they are asked as witnesses.
const LAG: Duration = Duration::from_millis(2 * GOSSIP);

#[derive(Default)]
pub(crate) struct Check {
    pub(crate) problems: Vec<String>,
    pub(crate) reads: u64,
    /// The newest acknowledged version of each block that no failover has lost.
    pub(crate) newest: [u64; BLOCKS],
    /// When the router last had each node in trouble.
    pub(crate) trouble: [Option<Instant>; NODES],
    loading: BTreeSet<Bytes>,
    refreshed: Option<Instant>,
}

impl Check {
    pub(crate) fn that(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds && self.problems.len() < 5 {
            self.problems.push(problem());
        }
    }

    pub(crate) fn ended(&mut self, began: Instant, now: Instant, deadline: Duration, attempts: u32) {
        self.reads += 1;
        self.that(now.since(began) <= deadline, || format!("a read took {:?}", now.since(began)));
        self.that(attempts <= ATTEMPTS, || format!("a read made {attempts} attempts"));
    }

    /// A failover lost what its heir does not have.
    pub(crate) fn lost(&mut self, block: usize, kept: u64) {
        self.newest[block] = self.newest[block].min(kept);
    }

    /// A node answered a read that took it for the primary.
    pub(crate) fn served(&mut self, model: &Model, n: usize, block: usize, value: u64, newest: u64, now: Instant) {
        let required = newest.min(self.newest[block]);
        let known = self.was_known(model, n, now);
        self.that(value >= required || !known, || {
            format!("at {now:?} n{n}, replaced and known to be in trouble, served {value} of block {block}; {required} was acknowledged")
        });
        let replaced = model.superseded[n].is_some();
        self.that(value >= required || replaced, || {
            format!("at {now:?} n{n} served {value} of block {block}; {required} was acknowledged")
        });
    }

    pub(crate) fn written_astray(&mut self, model: &Model, n: usize, now: Instant) {
        let known = self.was_known(model, n, now);
        self.that(!known, || format!("at {now:?} n{n} was written to, replaced and known to be in trouble"));
    }

    /// Whether this node was replaced long enough ago for a witness to know, and the router had it in
    /// trouble since it failed: then it must not be believed. (A router that saw no trouble can't know.)
    fn was_known(&self, model: &Model, n: usize, now: Instant) -> bool {
        let replaced = model.superseded[n].is_some_and(|at| now.since(at) > LAG);
        replaced && self.trouble[n].is_some_and(|at| at >= model.nodes[n].failed_at)
    }

    pub(crate) fn led(&mut self, keys: &[Bytes]) {
        for key in keys {
            let alone = self.loading.insert(key.clone());
            self.that(alone, || format!("two loads for {key:?} at a time"));
        }
    }

    pub(crate) fn loaded(&mut self, keys: &[Bytes]) {
        keys.iter().for_each(|key| {
            self.loading.remove(key);
        });
    }

    pub(crate) fn refresh(&mut self, now: Instant, targets: usize) {
        let soon = self.refreshed.is_some_and(|at| now.since(at) < Duration::from_secs(1));
        self.refreshed = Some(now);
        self.that(!soon, || format!("at {now:?} a refresh within a second of the last"));
        self.that(targets <= 5, || format!("a refresh asks {targets} nodes"));
    }

    /// In the end the reads of every block go to its primary again.
    pub(crate) fn healed(&mut self, block: usize, route: Route, owner: Option<NodeKey>) {
        let right = matches!(route, Route::Primary { node, .. } if Some(node) == owner);
        self.that(right, || format!("the cluster is whole, but block {block} goes to {route:?}, not {owner:?}"));
    }
}
