//! What must hold in every run. The checks know what each router was told, and what is true.

mod bells;
mod blame;
mod calls;
mod copies;
mod fills;
mod heard;
mod loads;
mod map;
mod replicas;
mod sends;
mod values;
mod votes;

use crate::model::{BLOCKS, MS, Set, Time};
use crate::plan::{Fault, Plan};
use crate::router::Router;
use heard::Heard;
pub(crate) use heard::Heed;

/// The most nodes a router may know in a run: all that ever lived, and those that redirects named.
const NODES: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) problem: Option<String>,
    pub(crate) reads: u64,
    /// The cluster is whole and the routers had time: from now on all reads are served by primaries.
    pub(crate) judging: bool,
    routers: Vec<Heard>,
    /// The nodes were replaced by another cluster: until a router has taken that up, what it heard of owners, and of
    /// who is out, counts for nothing.
    another_cluster: bool,
    /// Whether nodes are cut off from each other in this run.
    cuts: bool,
    /// Blocks whose owners contradict each other in this run: a migration ended in the wrong order.
    contradicted: Set,
    /// Whether replication offsets may begin anew in this run, so that they can't be compared.
    rewritten: bool,
    /// Whether another node comes to live at an address: what is said beside its first word is not heeded.
    replaced: bool,
    /// What fills are measured by.
    floor: fills::Floor,
    /// What is true of invalidations of which others are told.
    bells: bells::Bells,
    /// Whether nodes move to other addresses in this run, so that an address does not tell who is there.
    moves: bool,
}

impl Check {
    pub(crate) fn new(plan: &Plan) -> Self {
        let routers = plan.routers.iter().map(Heard::new).collect();
        let contradicted = plan.faults.iter().fold(0, |set, f| match f.fault {
            Fault::Migrate { block, early: true, .. } => set | 1 << block,
            _ => set,
        });
        Self {
            problem: None,
            reads: 0,
            judging: false,
            routers,
            another_cluster: false,
            cuts: votes::cuts(plan),
            contradicted,
            rewritten: votes::rewrites(plan),
            floor: fills::Floor::default(),
            bells: bells::Bells::default(),
            moves: plan.faults.iter().any(|f| matches!(f.fault, Fault::Swap(..) | Fault::Move(_))),
            replaced: plan.faults.iter().any(|f| matches!(f.fault, Fault::Replace(_))),
        }
    }

    pub(crate) fn that(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds && self.problem.is_none() {
            self.problem = Some(problem());
        }
    }

    pub(crate) fn faulted(&mut self, fault: &Fault) {
        if let Fault::AnotherCluster = fault {
            self.another_cluster = true;
        }
    }

    /// A router has taken up the cluster that is in the place of the first one: it knows nothing but the views of its
    /// round that name that.
    pub(crate) fn took_up(&mut self, r: usize, now: Time) {
        self.routers[r].move_on(now);
    }

    /// Whether a router has done so.
    pub(crate) fn moved_on(&self, r: usize) -> bool {
        self.routers[r].moved_on.is_some()
    }

    /// Whether a router still holds on to a cluster that is no more.
    fn clings(&self, r: usize) -> bool {
        self.another_cluster && !self.moved_on(r)
    }

    /// A router's process stops, until then.
    pub(crate) fn paused(&mut self, r: usize, now: Time, until: Time) {
        let heard = &mut self.routers[r];
        heard.wire.paused(heard.suspended_until.max(now), until);
        heard.suspended_until = heard.suspended_until.max(until);
        heard.owed = None;
    }

    /// What a router keeps in mind is bounded, and what it owes is done.
    pub(crate) fn bounds(&mut self, r: usize, router: &Router, now: Time) {
        let nodes = router.members.iter().flatten().count();
        self.that(nodes <= NODES, || format!("router {r} knows {nodes} nodes"));
        let calls = router.calls.iter().flatten().count();
        self.that(router.echoes_kept() <= 1_024, || format!("router {r} keeps too many results"));
        self.that(calls <= 4_096, || format!("router {r} has {calls} calls under way"));
        for member in router.members.iter().flatten() {
            let most = router.config.max_in_flight();
            let waiting = member.waiting();
            let fits = waiting.iter().all(|&n| n <= most as usize);
            self.that(fits, || format!("router {r} has {waiting:?} in flight to one node, not {most}"));
        }
        let heard = &mut self.routers[r];
        if let Some((by, why)) = heard.owed.filter(|o| now > o.0) {
            heard.owed = None;
            let late = (now - by) / MS;
            self.that(false, || format!("router {r} asked nobody for views {late} ms after it should have: {why}"));
        }
        self.loads_in_bounds(r, router, now);
    }

    pub(crate) fn refreshed(&mut self, r: usize, round: u64, targets: usize, epochs: bool, now: Time) {
        let heard = &mut self.routers[r];
        let soon = heard.refreshed_at.is_some_and(|at| now - at < 1_000 * MS);
        heard.refreshed_at = Some(now);
        if epochs {
            heard.owed = None;
            heard.votes.open(round, targets);
        }
        self.that(!soon, || format!("router {r} refreshes within a second of its last refresh"));
        self.that(targets <= 5, || format!("router {r} asks {targets} nodes for views"));
    }

    /// In the end, what the router's account of the cluster shows is inside its bounds.
    pub(crate) fn account(&mut self, r: usize, router: &Router, now: Time) {
        let report = router.cluster.report(crate::sim::instant(now));
        let (patches, nodes, ballots) = (report.patches, report.nodes.len(), report.ballots.len());
        let fits = patches <= BLOCKS && nodes <= NODES && ballots <= 5 && report.retry_tokens <= 100;
        self.that(fits, || format!("router {r} keeps {patches} patches, {nodes} nodes, {ballots} ballots"));
        let detached = router.loads.counts().detached;
        self.that(detached <= 1_024, || format!("router {r} lets {detached} loads run on"));
    }

    /// Something failed: views are asked for at once, or a second after the last time, when the round under way is over.
    fn owes_views(&mut self, r: usize, why: &'static str, now: Time) {
        let heard = &self.routers[r];
        let soonest = heard.refreshed_at.map_or(now, |at| now.max(at + 1_000 * MS));
        let by = soonest + 3 * heard.limit;
        self.owes(r, by, why);
    }

    /// The router is to ask for views, by then.
    fn owes(&mut self, r: usize, by: Time, why: &'static str) {
        let heard = &mut self.routers[r];
        if heard.owed.is_none_or(|o| by < o.0) {
            heard.owed = Some((by, why));
        }
    }
}
