//! Faults in which nodes come, go and change places, and those of a router's own machine.

use super::{Ev, Sim};
use crate::model::{ADDRESSES, MAX, MS, NOBODY, STRANGERS, Up};
use crate::plan::Fault;
use failsoft_policy::topology::Kind;
use std::collections::BTreeSet;

impl Sim<'_> {
    /// Ours goes down, and a cluster that is not ours takes its address.
    pub(super) fn let_stranger_in(&mut self, address: usize, alone: bool) {
        let taken = |a: usize| a == address || self.displaced.iter().any(|d| d.0 == a);
        // Where most of a router's seeds are another cluster, that is its cluster.
        let believed = self.plan.routers.iter().any(|router| {
            let seeds: BTreeSet<usize> = router.seeds.iter().copied().collect();
            2 * seeds.iter().filter(|&&seed| taken(seed)).count() > seeds.len()
        });
        // A router that knows no cluster yet takes most of those who answer for its own. Where one is there from the start,
        // the plan sees to it that those are ours.
        let unknown = |r: &crate::router::Router| r.cluster.kind() == Kind::Unknown;
        let believed = believed || (self.now > 0 && self.routers.iter().any(unknown));
        if believed || self.model.nodes.len() >= MAX || self.ours_at(address).is_none() {
            return;
        }
        if alone {
            (0..self.plan.addresses()).for_each(|a| self.crash(a));
        }
        self.crash(address);
        self.displaced.push((address, self.model.at[address], alone));
        self.model.add_stranger(address, self.now);
    }

    /// The stranger leaves, and ours comes back.
    pub(super) fn see_stranger_off(&mut self, address: usize) {
        let Some(place) = self.displaced.iter().position(|d| d.0 == address) else { return };
        let (_, ours, alone) = self.displaced.remove(place);
        let stranger = usize::from(self.model.at[address]);
        if self.model.nodes.get(stranger).is_none_or(|n| n.group != STRANGERS) {
            // All of ours were replaced meanwhile.
            return;
        }
        self.crash(address);
        self.model.nodes[stranger].up = Up::Gone;
        self.model.at[address] = ours;
        if alone {
            (0..self.plan.addresses()).for_each(|a| self.restart(a));
        }
        self.restart(address);
    }

    /// The node at an address, if it is one of ours.
    fn ours_at(&self, address: usize) -> Option<usize> {
        let n = usize::from(self.model.at[address]);
        let node = self.model.nodes.get(n)?;
        (node.group == self.model.ours && matches!(node.up, Up::Running | Up::Hung)).then_some(n)
    }

    /// A node starts anew where nobody is.
    pub(super) fn move_away(&mut self, address: usize) {
        let seeds = self.plan.routers.iter().any(|r| r.seeds.contains(&address));
        let free = (self.plan.addresses()..ADDRESSES - 1).find(|&a| self.model.at[a] == NOBODY);
        let (Some(n), Some(free), false) = (self.ours_at(address), free, seeds) else { return };
        self.crash(address);
        self.model.at[address] = NOBODY;
        self.settle_at(n, free);
    }

    /// Two nodes start anew, each where the other was.
    pub(super) fn swap(&mut self, one: usize, other: usize) {
        let (Some(a), Some(b)) = (self.ours_at(one), self.ours_at(other)) else { return };
        if a == b {
            return;
        }
        self.crash(one);
        self.crash(other);
        self.settle_at(a, other);
        self.settle_at(b, one);
    }

    fn settle_at(&mut self, n: usize, address: usize) {
        self.model.at[address] = n as u8;
        self.model.nodes[n].address = address;
        self.restart(address);
    }

    /// A replica dies for good; a primary is spared, for without it nothing would be whole again.
    pub(super) fn lose(&mut self, address: usize) {
        let Some(n) = self.ours_at(address).filter(|&n| !self.model.nodes[n].is_primary(n)) else { return };
        if self.model.ours != 0 {
            // One that took the place of another cluster needs most of its seeds to be found.
            return;
        }
        // A router that had no other seed might never find the cluster.
        let nobody = |&at: &usize| at == address || self.model.nodes[usize::from(self.model.at[at])].up == Up::Gone;
        if self.plan.routers.iter().any(|router| router.seeds.iter().all(nobody)) {
            return;
        }
        self.crash(address);
        self.model.nodes[n].up = Up::Gone;
    }

    /// Another primary joins at a free address, and takes a block.
    pub(super) fn scale_out(&mut self, block: usize) -> Option<Fault> {
        let address = (self.plan.addresses()..ADDRESSES - 1).find(|&a| self.model.at[a] == NOBODY)?;
        let from = self.model.true_owner(block).filter(|&n| self.model.running(n))?;
        if self.model.nodes.len() >= MAX {
            return None;
        }
        let group = self.model.ours;
        let there = self.model.group(group);
        let n = self.model.add(address, group, self.now);
        self.model.join(n, there, self.now);
        let pause = self.rng.u64(10..80) * MS;
        self.after(pause, Ev::Tick(n as u8));
        self.give(from, n, block);
        Some(Fault::ScaleOut(address as u8))
    }

    /// It gives everything back to another primary, leaves, and is forgotten.
    pub(super) fn scale_in(&mut self, address: usize) {
        let n = usize::from(self.model.at[address]);
        if n >= self.model.nodes.len() {
            return;
        }
        let group = self.model.ours;
        let others = self.model.group(group) & !(1 << n);
        let heir = crate::model::members(others).find(|&k| {
            self.model.running(k) && self.model.nodes[k].is_primary(k) && self.model.nodes[k].owned_by(k) != 0
        });
        let (Some(heir), true) = (heir, self.model.running(n) && self.model.nodes[n].group == group) else { return };
        for block in crate::model::members(self.model.nodes[n].owned_by(n)) {
            self.give(n, heir, block);
        }
        // Who became its replica keeps it from leaving.
        if crate::model::members(others).any(|k| usize::from(self.model.nodes[k].follows[k]) == n) {
            return;
        }
        self.crash(address);
        self.model.nodes[n].up = Up::Gone;
        self.model.at[address] = NOBODY;
        self.model.forget(n, others);
    }

    /// A block and its keys change hands at once.
    fn give(&mut self, from: usize, to: usize, block: usize) {
        let keys = crate::model::Model::keys_of(block).iter().fold(0, |set, k| set | 1 << k);
        self.model.move_keys(from, to, keys, self.now);
        self.model.hand_over(from, to, block);
        self.model.own(to, block);
        self.model.broadcast(&self.net, to, self.now);
        self.model.broadcast(&self.net, from, self.now);
    }

    /// A router that is throttled loses the processor, and will again.
    pub(super) fn throttled(&mut self, f: usize) {
        let Some(Fault::Throttle { router, run, stop }) = self.active[f] else { return };
        let until = self.now + stop;
        self.check.paused(usize::from(router), self.now, until);
        self.routers[usize::from(router)].suspend(self.now, until);
        self.after(stop + run, Ev::Throttled(f as u16));
    }
}
