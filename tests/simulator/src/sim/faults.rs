//! How each fault begins and ends.

use super::{Ev, Sim};
use crate::model::{BLOCKS, MS, Model, NOBODY, OTHER_TYPE, Set, Up};
use crate::plan::{Denied, Fault};

impl Sim<'_> {
    pub(super) fn fault(&mut self, f: usize) {
        let mut fault = self.plan.faults[f].fault;
        // Owners are found when it happens.
        let owner =
            |sim: &Self, block: u8| sim.model.true_owner(usize::from(block)).map(|n| sim.model.nodes[n].address);
        match fault {
            Fault::CrashOwner(b) => fault = owner(self, b).map_or(fault, |a| Fault::Crash(a as u8)),
            Fault::HangOwner(b) => fault = owner(self, b).map_or(fault, |a| Fault::Hang(a as u8)),
            _ => {}
        }
        self.model.note_values(self.now);
        self.trace.say(self.now, || format!("FAULT {f}: {fault:?}"));
        self.active[f] = Some(fault);
        self.check.faulted(&fault);
        match fault {
            Fault::Crash(a) => self.crash(usize::from(a)),
            Fault::Hang(a) => self.hang(usize::from(a)),
            Fault::CrashAll => (0..self.plan.addresses()).for_each(|a| self.crash(a)),
            Fault::HangAll => (0..self.plan.addresses()).for_each(|a| self.hang(a)),
            Fault::Cut { .. }
            | Fault::CutRouter { .. }
            | Fault::SlowRouter { .. }
            | Fault::SlowNode { .. }
            | Fault::Loss { .. } => self.rewire(),
            Fault::Suspend { router } => {
                self.check.paused(usize::from(router), self.now, self.plan.faults[f].until);
                let until = self.plan.faults[f].until;
                let router = &mut self.routers[usize::from(router)];
                router.suspend(self.now, until);
            }
            Fault::SlowStore { by } => self.store.slow_by = by,
            Fault::Migrate { block, to, .. } => self.active[f] = self.begin_migration(block, to, f),
            Fault::Failover(a) => self.fail_over(usize::from(a)),
            Fault::TakeOver(a) => {
                if let Some(n) = self.at_work(usize::from(a)) {
                    self.model.take_over(&self.net, n, self.now);
                }
            }
            Fault::Replace(a) => self.replace(usize::from(a)),
            Fault::AnotherCluster => {
                // Whoever was displaced does not come back.
                self.displaced.clear();
                self.recreate();
            }
            Fault::OtherType(key) => {
                if let Some(n) = self.model.true_owner(usize::from(key) % BLOCKS) {
                    self.model.put(n, usize::from(key), OTHER_TYPE, self.now);
                }
            }
            Fault::Misbehave { address, what } => self.misbehaving[usize::from(address)] = Some(what),
            Fault::Throttle { .. } => self.throttled(f),
            Fault::Stranger { address, alone } => self.let_stranger_in(usize::from(address), alone),
            Fault::Move(a) => self.move_away(usize::from(a)),
            Fault::Swap(a, b) => self.swap(usize::from(a), usize::from(b)),
            Fault::Lost(a) => self.lose(usize::from(a)),
            Fault::ScaleOut(block) => self.active[f] = self.scale_out(usize::from(block)),
            Fault::NoLink(a) => self.unlink(usize::from(a), true),
            Fault::Deny(denied) => self.denied = denied,
            Fault::IdleClose => self.sweep(f),
            Fault::CrashOwner(_) | Fault::HangOwner(_) => {}
        }
    }

    pub(super) fn fault_over(&mut self, f: usize) {
        self.model.note_values(self.now);
        if f >= self.active.len() {
            return self.late_owner(usize::from(u16::MAX) - f);
        }
        let Some(fault) = self.active[f].take() else { return };
        self.trace.say(self.now, || format!("over {f}: {fault:?}"));
        match fault {
            Fault::Crash(a) => self.restart(usize::from(a)),
            Fault::Hang(a) => self.resume(usize::from(a)),
            Fault::CrashAll => (0..self.plan.addresses()).for_each(|a| self.restart(a)),
            Fault::HangAll => (0..self.plan.addresses()).for_each(|a| self.resume(a)),
            Fault::Cut { .. }
            | Fault::CutRouter { .. }
            | Fault::SlowRouter { .. }
            | Fault::SlowNode { .. }
            | Fault::Loss { .. } => self.rewire(),
            Fault::SlowStore { .. } => self.store.slow_by = 0,
            Fault::Migrate { block, to, early } => self.end_migration(usize::from(block), usize::from(to), early),
            Fault::OtherType(key) => {
                for n in 0..self.model.nodes.len() {
                    if self.model.nodes[n].data[usize::from(key)] == OTHER_TYPE && self.model.nodes[n].is_primary(n) {
                        self.model.put(n, usize::from(key), 0, self.now);
                    }
                }
            }
            Fault::Misbehave { address, .. } => self.misbehaving[usize::from(address)] = None,
            Fault::Stranger { address, .. } => self.see_stranger_off(usize::from(address)),
            Fault::ScaleOut(address) => self.scale_in(usize::from(address)),
            Fault::NoLink(a) => self.unlink(usize::from(a), false),
            Fault::Deny(_) => self.denied = Denied::default(),
            Fault::CrashOwner(_)
            | Fault::HangOwner(_)
            | Fault::Suspend { .. }
            | Fault::Throttle { .. }
            | Fault::IdleClose
            | Fault::Move(_)
            | Fault::Swap(..)
            | Fault::Lost(_)
            | Fault::Failover(_)
            | Fault::TakeOver(_)
            | Fault::Replace(_)
            | Fault::AnotherCluster => {}
        }
    }

    /// The network as the faults in force leave it.
    fn rewire(&mut self) {
        self.net.heal();
        for fault in self.active.iter().flatten() {
            match *fault {
                Fault::Cut { side, routers, outward, inward } => self.net.cut(side, routers, outward, inward),
                Fault::CutRouter { router, from, out, back } => {
                    self.net.cut_router(usize::from(router), from, out, back);
                }
                Fault::SlowRouter { router, by } => self.net.router_delay[usize::from(router)] = by,
                Fault::SlowNode { address, by } => self.net.node_delay[usize::from(address)] = by,
                Fault::Loss { router, permille } => self.net.loss[usize::from(router)] = permille,
                _ => {}
            }
        }
    }

    /// The node at an address, if its process runs.
    fn at_work(&self, address: usize) -> Option<usize> {
        self.model.listening(address).filter(|&n| self.model.running(n))
    }

    pub(super) fn crash(&mut self, address: usize) {
        if let Some(n) = self.model.listening(address) {
            self.model.nodes[n].up = Up::Down;
            self.drop_inbox(address);
            self.reset_connections(address);
        }
    }

    pub(super) fn restart(&mut self, address: usize) {
        let n = usize::from(self.model.at[address]);
        if self.model.nodes.get(n).is_some_and(|n| n.up == Up::Down) {
            let loading = if self.rng.bool() { self.rng.u64(0..200) * MS } else { 0 };
            self.model.restart(n, loading, self.now);
        }
    }

    /// The link of whoever lives there to its primary; it does not come up by itself.
    fn unlink(&mut self, address: usize, down: bool) {
        let n = usize::from(self.model.at[address]);
        if let Some(node) = self.model.nodes.get_mut(n) {
            node.unlinked = down;
        }
    }

    fn hang(&mut self, address: usize) {
        if let Some(n) = self.at_work(address) {
            self.model.nodes[n].up = Up::Hung;
        }
    }

    fn resume(&mut self, address: usize) {
        let n = usize::from(self.model.at[address]);
        if self.model.nodes.get(n).is_some_and(|n| n.up == Up::Hung) {
            self.model.nodes[n].up = Up::Running;
            self.thaw(address);
        }
    }

    /// `CLUSTER FAILOVER`: the replica has everything, and asks for votes while its primary works.
    fn fail_over(&mut self, address: usize) {
        let Some(n) = self.at_work(address) else { return };
        if self.model.nodes[n].is_primary(n) || !self.model.nodes[n].link.up {
            return;
        }
        let primary = usize::from(self.model.nodes[n].follows[n]);
        if self.model.running(primary) {
            self.model.catch_up(n);
            self.model.elect(&self.net, n, primary, true, self.now);
        }
    }

    /// An operator puts an empty node with a new id where this one was.
    fn replace(&mut self, address: usize) {
        let old = usize::from(self.model.at[address]);
        let there = self.model.nodes.get(old).is_some_and(|n| n.up != Up::Gone);
        if self.model.nodes.len() >= crate::model::MAX || !there {
            return;
        }
        let group = self.model.nodes[old].group;
        self.crash(address);
        self.model.nodes[old].up = Up::Gone;
        let n = self.model.add(address, group, self.now);
        // It meets one that is there; the others hear of it. The old one is forgotten everywhere.
        let there = (0..self.model.nodes.len()).filter(|&k| k != n && self.model.nodes[k].group == group);
        let there: Set = there.filter(|&k| self.model.nodes[k].up != Up::Gone).fold(0, |set, k| set | 1 << k);
        self.model.introduce(n, old, there, self.now);
        let pause = self.rng.u64(10..80) * MS;
        self.after(pause, Ev::Tick(n as u8));
    }

    /// All nodes are gone; others, who know nothing of them, live at the same addresses.
    fn recreate(&mut self) {
        let addresses = self.plan.addresses();
        let primaries = self.plan.primaries.min(3);
        self.model.ours = 1;
        if self.model.nodes.len() + primaries > crate::model::MAX {
            return;
        }
        for address in 0..addresses {
            self.crash(address);
            if let Some(node) = self.model.nodes.get_mut(usize::from(self.model.at[address])) {
                node.up = Up::Gone;
            }
        }
        self.model.at = [NOBODY; crate::model::ADDRESSES];
        let first = self.model.nodes.len();
        let replicas = usize::from(first + 2 * primaries <= crate::model::MAX && addresses >= 2 * primaries);
        self.model.lay_out(1, primaries, replicas, 0, self.now);
        for n in first..self.model.nodes.len() {
            self.after(n as u64 * MS, Ev::Tick(n as u8));
        }
    }

    fn begin_migration(&mut self, block: u8, to: u8, f: usize) -> Option<Fault> {
        let from = self.model.true_owner(usize::from(block))?;
        let group = self.model.nodes[from].group;
        let others: Vec<usize> = (0..self.model.nodes.len())
            .filter(|&n| {
                n != from
                    && self.model.nodes[n].group == group
                    && self.model.running(n)
                    && self.model.nodes[n].is_primary(n)
            })
            .collect();
        let target = *others.get(usize::from(to) % others.len().max(1))?;
        let known =
            self.model.nodes[from].known & (1 << target) != 0 && self.model.nodes[target].known & (1 << from) != 0;
        if !known || !self.model.running(from) {
            return None;
        }
        self.model.nodes[from].migrating[usize::from(block)] = target as u8;
        self.model.nodes[target].importing[usize::from(block)] = from as u8;
        let keys = Model::keys_of(usize::from(block));
        let some = self.rng.u8(0..4);
        let moved = keys.iter().enumerate().filter(|(i, _)| some & (1 << i) != 0).fold(0, |set, (_, k)| set | 1 << k);
        self.model.move_keys(from, target, moved, self.now);
        let Fault::Migrate { early, .. } = self.plan.faults[f].fault else { return None };
        Some(Fault::Migrate { block, to: target as u8, early })
    }

    /// `SETSLOT NODE` at the target and the source. Told in the wrong order, and with a pause, they send
    /// readers back and forth between them.
    fn end_migration(&mut self, block: usize, target: usize, early: bool) {
        let from = usize::from(self.model.nodes[target].importing[block]);
        if from == usize::from(NOBODY) {
            return;
        }
        let (source_there, target_there) = (self.model.running(from), self.model.running(target));
        let still = usize::from(self.model.nodes[from].migrating[block]) == target
            && usize::from(self.model.nodes[from].owner[block]) == from
            && self.model.nodes[target].is_primary(target);
        if !still || !source_there || !target_there {
            self.model.nodes[target].importing[block] = NOBODY;
            self.model.nodes[from].migrating[block] = NOBODY;
            return;
        }
        let keys = Model::keys_of(block).iter().fold(0, |set, k| set | 1 << k);
        self.model.move_keys(from, target, keys, self.now);
        self.model.hand_over(from, target, block);
        if early {
            // The target hears of it a little later.
            let pause = self.rng.u64(50..300) * MS;
            self.after(pause, Ev::FaultOver(u16::MAX - (target * BLOCKS + block) as u16));
        } else {
            self.model.own(target, block);
            self.model.broadcast(&self.net, target, self.now);
        }
    }

    /// The target of a migration that ended early hears of it.
    fn late_owner(&mut self, code: usize) {
        let (target, block) = (code / BLOCKS, code % BLOCKS);
        let node = &self.model.nodes[target];
        if node.importing[block] != NOBODY && node.is_primary(target) && self.model.running(target) {
            self.model.own(target, block);
            self.model.broadcast(&self.net, target, self.now);
        }
    }
}
