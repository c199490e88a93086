//! After the faults: waits for the cluster to become whole, then for the routers, and asks them.

use super::{Ev, Sim};
use crate::model::{ADDRESSES, BLOCKS, KEYS, MS, Time, Up, endpoint};
use crate::plan::{Behaviour, CallPlan, Denied, End, Fault, FaultPlan, Misbehaviour, What};
use crate::router::slot_of;
use failsoft_policy::route::Route;

/// How long the model has to become whole; a run in which it does not is not judged by it.
const CLUSTER_HEALS: Time = 6_000 * MS;
/// How often the routers are asked for every key while they find back.
const STEP: Time = 150 * MS;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Healing {
    pub(super) whole_at: Option<Time>,
    /// The last round, whose reads are judged, is under way.
    judging: bool,
    pub(super) over: bool,
    rounds: u32,
}

impl Sim<'_> {
    /// What is true of every address, for one router: whether all is well there and on the way.
    pub(crate) fn look(&mut self, r: usize) {
        let running = self.routers[r].suspended_until <= self.now && self.net.loss[r] == 0;
        for at in 0..ADDRESSES {
            let well = running && self.denied == Denied::default() && self.is_well(r, at);
            self.check.well(r, at, well, self.now);
        }
        self.check.returns(r, &self.routers[r], self.now);
    }

    /// Whether the node at an address answers, serves, reaches all, and is what all others take it for.
    fn is_well(&self, r: usize, at: usize) -> bool {
        let Some(n) = self.model.listening(at) else { return false };
        let node = &self.model.nodes[n];
        let there = self.net.router_to_node(r, at)
            && self.net.node_to_router(at, r)
            && self.net.router_delay[r] == 0
            && self.net.node_delay[at] == 0
            && self.misbehaving[at].is_none();
        there
            && node.group == self.model.ours
            && node.up == Up::Running
            && self.now >= node.loading_until
            && node.cluster_ok
            && self.model.is_agreed_on(n)
    }

    pub(super) fn watch(&mut self) {
        if self.healing.judging {
            return self.judge();
        }
        self.model.note_values(self.now);
        self.model.clean(self.now);
        if self.now >= self.plan.heals + 500 * MS {
            self.model.repair(&self.net, self.now);
        }
        let whole = self.model.whole(self.now);
        if !whole && self.healing.whole_at.is_some() {
            self.trace.say(self.now, || "the cluster is not whole any more".into());
            self.healing.whole_at = None;
        }
        if whole && self.healing.whole_at.is_none() {
            self.trace.say(self.now, || "the cluster is whole".into());
            self.healing.whole_at = Some(self.now);
        }
        let Some(whole_at) = self.healing.whole_at else {
            if self.now > self.plan.heals + CLUSTER_HEALS {
                self.healing.over = true;
                return;
            }
            return self.next_watch(STEP);
        };
        let limit = self.routers.iter().map(crate::router::Router::heals_within).max().unwrap_or(0);
        if self.now >= whole_at + limit {
            self.healing.judging = true;
            self.check.judging = true;
            self.healing.rounds = 0;
            return self.judge();
        }
        self.next_watch(STEP);
    }

    fn next_watch(&mut self, pause: Time) {
        // A few reads keep the routers busy: every block of every router within four rounds.
        let turn = self.healing.rounds % 4;
        self.healing.rounds += 1;
        for key in [turn as u8, turn as u8 + 4] {
            self.ask_for(key);
        }
        self.after(pause, Ev::Watch);
    }

    /// One key after the other, then the routes of all blocks.
    fn judge(&mut self) {
        let key = self.healing.rounds;
        self.healing.rounds += 1;
        if key < KEYS as u32 {
            self.ask_for(key as u8);
            return self.after(5 * MS, Ev::Watch);
        }
        if key < KEYS as u32 + 4 {
            // The last answers may take a while.
            return self.after(100 * MS, Ev::Watch);
        }
        self.judge_healed();
        self.healing.over = true;
    }

    fn ask_for(&mut self, key: u8) {
        for r in 0..self.routers.len() {
            let callback = Some(Behaviour { end: End::Value, takes: MS, asks: [None, None] });
            let what = What::Read { keys: [key; 3], count: 1, callback };
            let call = CallPlan { at: self.now, router: r as u8, what, cancelled_after: None, deadline: None };
            self.begin(&call);
        }
    }

    /// Routers know the true owners, trust them, and have nothing open.
    fn judge_healed(&mut self) {
        for r in 0..self.routers.len() {
            self.check.quarantines_over(r, &self.routers[r], &self.model);
            self.check.account(r, &self.routers[r], self.now);
            // Who was not let in does not try again soon, nor does anybody where nodes have many clients.
            let denies = |f: &FaultPlan| matches!(f.fault, Fault::Misbehave { what: Misbehaviour::Denied, .. });
            if self.plan.setup.clients.is_none() && !self.plan.faults.iter().any(denies) {
                self.check.hears_all(r, &self.routers[r], &self.model, self.now);
            }
            for block in 0..BLOCKS {
                let route = self.routers[r].cluster.route(slot_of(block as u8));
                let owner = self.model.true_owner(block).map(|n| endpoint(self.model.nodes[n].address));
                let right = match route {
                    Route::Primary { node, .. } => self.routers[r].cluster.endpoint(node) == owner.as_ref(),
                    _ => false,
                };
                self.check.that(right, || {
                    format!("router {r}: all is whole, but block {block} of {owner:?} has the route {route:?}")
                });
            }
        }
    }
}
