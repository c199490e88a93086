//! A router in virtual time: the real policy, and a driver that carries out what it decides.
//!
//! It does what the asynchronous driver does (`crates/failsoft`: `driver`, `loads`, `writes`,
//! `conductor`, `control`), step by step.

mod behind;
mod call;
mod conduct;
mod copies;
mod invalidations;
mod lanes;
mod leases;
mod limits;
mod listening;
mod loads;
mod near;
mod reads;
mod running;
mod shedding;
mod state;
mod tending;
mod writes;

pub(crate) use call::{Call, Job, Part, Work, Writer};
pub(crate) use listening::Asked as AskedToListen;
pub(crate) use running::{Place, Running};
pub(crate) use state::{Caller, Failure, Member, Router};

use crate::model::{BLOCKS, KEYS, Time, slot_number};
use crate::plan::{CallPlan, What};
use crate::sim::{Local, Sim, Tells};
use bytes::Bytes;
use failsoft_policy::Slot;
use failsoft_policy::read::Answer;
use listening::LISTENING;

/// The slot of a key.
pub(crate) fn slot_of(key: u8) -> Slot {
    Slot::new(slot_number(key % BLOCKS as u8)).expect("blocks are inside the slots")
}

/// The name of a key: one that is in its slot, as whoever is told it by a node finds that out by itself.
pub(crate) fn name_of(key: u8) -> Bytes {
    const NAMES: [&str; KEYS] = [
        "a8226", "b10848", "c7808", "d7859", "e5662", "f18286", "g27875", "h38397", "i21718", "j14897", "k100384",
        "l21918", "m3655", "n5529", "o10869", "p27816",
    ];
    Bytes::from_static(NAMES[usize::from(key)].as_bytes())
}

/// Of the tokens of leases that their owners keep.
pub(crate) const KEPT: u32 = 1 << 31;

/// A token as the policy has it: it begins with the version of its form.
pub(crate) fn token_of(token: u32) -> Bytes {
    let version = if token & KEPT == 0 { b'1' } else { b'2' };
    [&[version][..], &token.to_be_bytes()].concat().into()
}

/// A token as the model has it.
pub(crate) fn token_in(token: &Bytes) -> u32 {
    token.get(1..).and_then(|token| token.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// The key of a name.
pub(crate) fn key_of(name: &Bytes) -> u8 {
    name.first().map_or(0, |b| b - b'a')
}

impl Sim<'_> {
    pub(crate) fn router_event(&mut self, r: usize, event: Local) {
        match event {
            Local::Start => {
                self.routers[r].start(self.now);
                self.conduct(r);
            }
            Local::Conduct => {
                if self.routers[r].conduct_at <= self.now {
                    self.conduct(r);
                }
            }
            Local::Opened { id, process, sent } => self.on_opened(r, id, process, sent),
            Local::Broken { id, why } => self.on_broken(r, id, *why),
            Local::NotOpened { id } => self.on_not_opened(r, id),
            Local::LaneTimer { id } => self.on_lane_timer(r, id),
            Local::Reply { id, tag, said, asking } => self.on_reply(r, id, tag, said, asking),
            Local::Failed { call: LISTENING, tag, .. } => self.listening_ended(r, tag, None),
            Local::Failed { call, tag, answer } => self.on_failed(r, call, tag, answer),
            Local::Told { id, what: Tells::Bell(bell) } => self.on_told(r, id, bell),
            Local::Told { id, what: Tells::Key(key) } => self.on_changed(r, id, key),
            Local::Saturated { call, tag } => self.on_saturated(r, call, tag),
            Local::Woken { call, tag } => self.on_woken(r, call, tag),
            Local::Cancel { caller, serial } => self.on_cancelled(r, caller, serial),
            Local::Deadline { caller, serial } => self.on_deadline(r, caller, serial),
            Local::Begin { load } => self.start_load(r, load),
            Local::Prolong { load } => self.prolong_leases(r, load),
            Local::Loaded { load } => self.on_loaded(r, load),
            Local::Commit { key, writer } => self.commit(r, key, writer),
            Local::View { round, view, loading } => self.on_view(r, round, view, loading),
            Local::Probed(probe) => self.on_probed(r, *probe),
            Local::AskWitness { address, probe } => {
                self.ask(r, address, crate::sim::Question::Witness { probe });
            }
            Local::AskAnew(asked) => self.ask_anew(*asked),
        }
    }

    /// The next call of the plan.
    pub(crate) fn call(&mut self, c: usize) {
        let call = self.plan.calls[c];
        if let Some(next) = self.plan.calls.get(c + 1) {
            self.at(next.at, crate::sim::Ev::Call(c as u16 + 1));
        }
        self.begin(&call);
    }

    /// Begins a call, unless the process is not there.
    pub(crate) fn begin(&mut self, call: &CallPlan) {
        let r = usize::from(call.router);
        if let What::Stranger { key, delete } = call.what {
            return self.stranger(key, delete);
        }
        if !self.routers[r].started || self.routers[r].suspended_until > self.now {
            return;
        }
        match call.what {
            What::Read { keys, count, callback } => {
                self.begin_read(r, &keys[..usize::from(count)], callback, None, call.deadline, call.cancelled_after);
            }
            What::Set { key } => self.begin_set(r, key),
            What::Invalidate { key } => self.begin_invalidation(r, key, None),
            What::Write { key, takes, dies } => self.begin_writing(r, key, takes, dies),
            What::Stranger { .. } => {}
        }
    }

    /// Another client writes to, or deletes at, a node that takes itself for the owner.
    fn stranger(&mut self, key: u8, delete: bool) {
        let block = usize::from(key) % BLOCKS;
        let value = if delete { 0 } else { self.new_version(key) };
        let takes = |&n: &usize| {
            let node = &self.model.nodes[n];
            self.model.running(n)
                && node.group == self.model.ours
                && node.is_primary(n)
                && usize::from(node.owner[block]) == n
                && node.cluster_ok
                && self.now >= node.loading_until
        };
        let owners: Vec<usize> = (0..self.model.nodes.len()).filter(takes).collect();
        if !owners.is_empty() {
            let n = owners[self.rng.usize(0..owners.len())];
            self.model.put(n, usize::from(key), value, self.now);
            self.trace.say(self.now, || format!("a stranger sets key {key} to {value} at node {n}"));
        }
    }

    /// The store has a new version of a key.
    pub(crate) fn new_version(&mut self, key: u8) -> u32 {
        self.store.newest += 1;
        self.store.versions[usize::from(key)] = self.store.newest;
        self.store.newest
    }

    /// What the router's process did in an event is over: new routes are in force, errands are run.
    pub(crate) fn settle(&mut self, r: usize, told: bool) {
        self.release_leases(r);
        self.check.closings(r, &self.routers[r], self.now);
        let errands = self.routers[r].cluster.has_errands();
        let published = self.publish(r);
        if errands || published || told {
            self.conduct(r);
        }
    }

    /// Puts new routes in force and wakes who waits for them.
    pub(crate) fn publish(&mut self, r: usize) -> bool {
        let router = &mut self.routers[r];
        if !router.cluster.is_dirty() {
            return false;
        }
        let gone = router.publish();
        for mut lane in gone {
            // We closed it ourselves: that says nothing of anybody.
            for (call, tag) in lane.end() {
                self.local(r, 0, Local::Failed { call, tag, answer: Answer::Closed });
            }
        }
        let router = &mut self.routers[r];
        self.check.published(r, &router.snapshot, self.now);
        let now: Time = self.now;
        let waiting: Vec<(u32, u32)> = router.waiting().collect();
        for (call, tag) in waiting {
            self.at(now, crate::sim::Ev::Local(r as u8, Local::Woken { call, tag }));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_in_the_slot_of_its_key() {
        for key in 0..KEYS as u8 {
            assert_eq!(failsoft_policy::slot::slot_of(&name_of(key)), slot_of(key));
            assert_eq!(key_of(&name_of(key)), key);
        }
    }
}
