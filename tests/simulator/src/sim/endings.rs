//! How servers end connections: those that nobody uses, and those of a process that died.

use super::{Ev, LaneId, Local, Sim};
use crate::model::{ADDRESSES, MS, NOBODY, endpoint};
use crate::plan::Fault;
use failsoft_policy::connection::Failure;

impl Sim<'_> {
    /// The servers close the connections that nothing was asked on for a while. That says nothing of them.
    pub(super) fn sweep(&mut self, f: usize) {
        if self.active[f].is_none() {
            return;
        }
        for r in 0..self.routers.len() {
            for address in 0..ADDRESSES {
                let lanes: Vec<LaneId> = self.routers[r].lanes_to(&endpoint(address)).collect();
                for id in lanes {
                    if self.order.is_quiet(r, id.serial, self.now) {
                        self.close_idle(r, address, id);
                    }
                }
                let heard = self.listens(address).is_some() && self.net.node_to_router(address, r);
                if let Some(line) = self.lines.get_mut(&(r, address)).filter(|_| heard) {
                    line.node = NOBODY;
                }
            }
        }
        let pause = self.rng.u64(60..400) * MS;
        self.after(pause, Ev::Sweep(f as u16));
    }

    /// Some close one right when it is used again.
    pub(super) fn close_right_now(&mut self, r: usize, address: usize, id: LaneId) {
        let closing = self.active.contains(&Some(Fault::IdleClose));
        if closing && self.order.has_served(r, id.serial, self.now) && self.rng.u8(0..4) == 0 {
            self.close_idle(r, address, id);
        }
    }

    fn close_idle(&mut self, r: usize, address: usize, id: LaneId) {
        let Some(n) = self.listens(address).filter(|_| self.net.node_to_router(address, r)) else { return };
        let process = self.routers[r].lane_mut(id).and_then(|l| l.process);
        let leads_here = process.is_some_and(|p| usize::from(p.node) == n);
        if !leads_here || self.stopped.contains(&(r, id.serial)) || self.is_shut(r, id) {
            return;
        }
        let had_served = self.order.has_served(r, id.serial, self.now);
        self.shut.insert((r, id.serial), had_served);
        self.trace.say(self.now, || format!("node {n} closes the idle {id:?} of router {r}"));
        let Some(time) = self.net.travel(&mut self.rng, r, address) else { return };
        let at = self.order.next(r, id.serial, true, self.now + time);
        self.local(r, at - self.now, Local::Broken { id, why: Box::new(Failure::Lost("idle".into())) });
    }

    /// Whether a server has closed a connection because nobody used it.
    pub(super) fn is_shut(&self, r: usize, id: LaneId) -> bool {
        self.shut.contains_key(&(r, id.serial))
    }

    /// Whether it had served before, with nothing on its way: then what is lost at its end says nothing of its server, as
    /// far as a router can know.
    pub(super) fn rested(&self, r: usize, id: LaneId) -> bool {
        self.shut.get(&(r, id.serial)).is_some_and(|&had_served| had_served)
    }

    fn listens(&self, address: usize) -> Option<usize> {
        self.model.listening(address).filter(|&n| self.model.running(n))
    }

    /// The connections of a process that died are reset, as far as the network carries that.
    pub(super) fn reset_connections(&mut self, address: usize) {
        for r in 0..self.routers.len() {
            if !self.net.node_to_router(address, r) {
                continue;
            }
            self.check.explained(r, address, self.now);
            let lanes: Vec<LaneId> = self.routers[r].lanes_to(&endpoint(address)).collect();
            for id in lanes {
                let pause = self.rng.u64(0..MS);
                self.local(r, pause, Local::Broken { id, why: Box::new(Failure::Lost("reset".into())) });
            }
        }
    }
}
