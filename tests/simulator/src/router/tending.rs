//! Prolongs the leases of loads whose callbacks run, and releases those of which nothing came.

use super::call::{Call, Work};
use super::{key_of, name_of, slot_of, token_in};
use crate::model::Said;
use crate::sim::{Local, Sim, instant};
use failsoft_policy::flight::LoadId;
use failsoft_policy::lease::Lease;
use failsoft_policy::read::Answer;
use failsoft_policy::route::{Bounds, Source};
use failsoft_policy::tend::{Tend, Tended, Tending};
use failsoft_policy::{Instant, Turn};

impl Sim<'_> {
    /// A load waits until its leases are to be prolonged.
    pub(super) fn next_prolonging(&mut self, r: usize, load: LoadId) {
        let keeping = self.routers[r].running.get(&load).and_then(|running| running.keeping.as_ref());
        if let Some(at) = keeping.and_then(failsoft_policy::fleet::Keeping::next) {
            self.local(r, at.as_nanos().saturating_sub(self.now), Local::Prolong { load });
        }
    }

    pub(super) fn prolong_leases(&mut self, r: usize, load: LoadId) {
        let keeping = self.routers[r].running.get_mut(&load).and_then(|running| running.keeping.as_mut());
        let Some(due) = keeping.map(|keeping| keeping.due(instant(self.now))) else { return };
        for (key, lease) in due {
            self.tend(r, Some(load), key_of(&key), &lease);
        }
        self.next_prolonging(r, load);
        self.settle(r, false);
    }

    /// Those of loads that have ended.
    pub(super) fn release_leases(&mut self, r: usize) {
        for (key, lease) in self.routers[r].loads.released() {
            self.release_lease(r, key_of(&key), &lease);
        }
    }

    /// If it is one to be released.
    pub(super) fn release_lease(&mut self, r: usize, key: u8, lease: &Lease) {
        if lease.kept {
            self.tend(r, None, key, lease);
        }
    }

    fn tend(&mut self, r: usize, load: Option<LoadId>, key: u8, lease: &Lease) {
        let now = instant(self.now);
        let router = &mut self.routers[r];
        let what = if load.is_some() { Tend::Prolong } else { Tend::Release };
        let mut turn = Turn { cluster: &mut router.cluster, now, dice: 0 };
        let Some((tending, attempt)) = Tending::begin(what, lease, slot_of(key), &router.config, &mut turn) else {
            return self.tended(r, load, key, Tended::Gone);
        };
        let (tag, bounds) = (router.next_tag(), Bounds::new(&router.config, now));
        let work = Work::Tend { load, tending, token: token_in(&lease.token) };
        let call = router.new_call(Call::new(u32::MAX, key, work, self.now, bounds, tag));
        if router.line(lease.lessor.node) == Some(lease.lessor.line) {
            return self.attempt(r, call, lease.lessor.node, Source::Primary, false, attempt);
        }
        self.not_sent(r, call, lease.lessor.node, Answer::Closed);
    }

    /// The script ended.
    pub(super) fn tending_ended(&mut self, r: usize, id: u32, answer: &Answer, contact: Option<Instant>) {
        let Some(call) = self.routers[r].calls[id as usize].take() else { return };
        let Work::Tend { load, mut tending, .. } = call.work else { return };
        let came = match (answer, call.said) {
            (Answer::Value, Some(Said::Done)) => Ok(1),
            (Answer::Nil, Some(Said::LeaseGone)) => Ok(0),
            (answer, _) => Err(answer.clone()),
        };
        let mut turn = Turn { cluster: &mut self.routers[r].cluster, now: instant(self.now), dice: 0 };
        let tended = tending.on(came, contact, &mut turn);
        self.publish(r);
        self.tended(r, load, call.key, tended);
    }

    fn tended(&mut self, r: usize, load: Option<LoadId>, key: u8, tended: Tended) {
        let running = load.and_then(|load| self.routers[r].running.get_mut(&load));
        if let (Some(keeping), Tended::Gone) = (running.and_then(|running| running.keeping.as_mut()), tended) {
            keeping.lost(&name_of(key));
        }
    }
}
