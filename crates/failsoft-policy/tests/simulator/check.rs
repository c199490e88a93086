//! What must hold in every run.

use crate::model::{BLOCKS, Model, NODES, PRIMARIES, index};
use bytes::Bytes;
use failsoft_policy::route::Route;
use failsoft_policy::view::{Probe, Role};
use failsoft_policy::{Instant, NodeKey};
use std::collections::BTreeSet;
use std::time::Duration;

/// The most attempts of one read: the first, three retries, five redirects, and each replica once.
const ATTEMPTS: u32 = 1 + 3 + 5 + (NODES - PRIMARIES) as u32;

/// What the router was told of a node, whatever it made of it.
#[derive(Clone, Copy, Default)]
struct Told {
    /// When a call failed on it, if no probe of it with a witness has passed since.
    failed: Option<Instant>,
    /// Whether it last said that it is a primary.
    primary: bool,
    /// When it last answered anything.
    heard: Option<Instant>,
    /// When the router last had it in trouble.
    trouble: Option<Instant>,
    /// Whether its last witness had not heard yet that it was replaced.
    misled: bool,
}

#[derive(Default)]
pub(crate) struct Check {
    pub(crate) problems: Vec<String>,
    pub(crate) reads: u64,
    /// The newest acknowledged version of each block that no failover has lost.
    pub(crate) newest: [u64; BLOCKS],
    told: [Told; NODES],
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

    /// The router probes a node; `witness` says that it has the node in trouble.
    pub(crate) fn probe(&mut self, n: usize, witness: bool, now: Instant) {
        if witness {
            self.told[n].trouble = Some(now);
        }
    }

    /// A probe came back.
    pub(crate) fn probed(&mut self, model: &Model, n: usize, probe: &Probe, now: Instant) {
        let Ok(report) = &probe.report else { return };
        let told = &mut self.told[n];
        (told.heard, told.primary) = (Some(now), report.primary);
        let Some(view) = &probe.witness else { return };
        told.failed = None;
        let named = view.nodes.iter().flatten().find(|v| v.endpoint.as_ref().is_some_and(|e| index(e) == n));
        told.misled = model.superseded[n].is_some() && named.is_some_and(|v| v.role == Role::Primary);
    }

    /// A call ended on a node: whether it answered at all, and whether the router has to hold it against it.
    pub(crate) fn answered(&mut self, n: usize, heard: bool, failed: bool, now: Instant) {
        if heard {
            self.told[n].heard = Some(now);
        }
        if failed {
            self.told[n].failed = Some(now);
        }
    }

    /// A call is sent: nobody pays for a node that is known to fail, until it was probed and witnessed.
    pub(crate) fn sent(&mut self, n: usize, now: Instant) {
        let failed = self.told[n].failed;
        self.that(failed.is_none(), || format!("at {now:?} n{n} was asked, which failed at {failed:?}"));
    }

    /// A write is sent, not by an `ASK`.
    pub(crate) fn write_sent(&mut self, n: usize, now: Instant) {
        let Told { primary, heard, .. } = self.told[n];
        self.that(primary, || format!("at {now:?} n{n} was written to, which never said it is a primary"));
        let fresh = heard.is_some_and(|at| now.since(at) < Duration::from_secs(1));
        self.that(fresh, || format!("at {now:?} n{n} was written to, last heard of at {heard:?}"));
    }

    /// A failover lost what its heir does not have.
    pub(crate) fn lost(&mut self, block: usize, kept: u64) {
        self.newest[block] = self.newest[block].min(kept);
    }

    /// A node answered a read that took it for the primary, and that began at `began` when `newest` was
    /// acknowledged.
    pub(crate) fn served(&mut self, model: &Model, n: usize, block: usize, value: u64, newest: u64, began: Instant) {
        let required = newest.min(self.newest[block]);
        let known = self.was_known(model, n, began);
        self.that(value >= required || !known, || {
            format!("n{n}, replaced and known to be in trouble, served {value} of block {block} to a read of {began:?}; {required} was acknowledged")
        });
        let replaced = model.superseded[n].is_some();
        self.that(value >= required || replaced, || {
            format!("n{n} served {value} of block {block} to a read of {began:?}; {required} was acknowledged")
        });
    }

    pub(crate) fn written_astray(&mut self, model: &Model, n: usize, began: Instant) {
        let known = self.was_known(model, n, began);
        self.that(!known, || format!("n{n} took a write of {began:?}, replaced and known to be in trouble"));
    }

    /// Whether this node was replaced before a call began, the router had it in trouble since it failed,
    /// and its last witness knew: then it must not be believed. (A router that saw no trouble can't know.)
    fn was_known(&self, model: &Model, n: usize, began: Instant) -> bool {
        let told = self.told[n];
        let replaced = model.superseded[n].is_some_and(|at| at <= began);
        replaced && !told.misled && told.trouble.is_some_and(|at| at >= model.nodes[n].failed_at)
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
