//! Carries out invalidations: the callers' own, and those that are sent again.

use super::call::Job;
use super::{key_of, name_of, slot_of};
use crate::model::BLOCKS;
use crate::sim::{Sim, instant};
use failsoft_policy::Turn;
use failsoft_policy::invalidate::Invalidation;
use failsoft_policy::write::{Cause, Write};

/// A key in the slot of the echo.
fn echo_of(key: u8) -> u8 {
    (key + BLOCKS as u8 / 2) % BLOCKS as u8
}

impl Sim<'_> {
    /// The store has a new version of a key, and then its readers are told.
    pub(super) fn begin_invalidation(&mut self, r: usize, key: u8) {
        let floor = self.new_version(key);
        let router = &mut self.routers[r];
        let name = name_of(key);
        router.loads.detach(&name);
        for running in router.running.values_mut() {
            running.detach(key);
        }
        let mut turn = Turn { cluster: &mut router.cluster, now: instant(self.now), dice: 0 };
        let call = Box::new(Invalidation::call(&router.config, slot_of(key), name, &mut turn));
        self.trace.say(self.now, || format!("router {r} invalidates key {key}, which is {floor} by now"));
        self.check.invalidated(r, key, floor, self.now);
        self.tell_node(r, call, floor);
        self.settle(r, true);
    }

    /// What is due is sent again.
    pub(super) fn send_again(&mut self, r: usize) {
        let router = &mut self.routers[r];
        let now = instant(self.now);
        for due in router.cluster.invalidations().take_due(usize::MAX, now) {
            let call = Box::new(Invalidation::again(&self.routers[r].config, due, now));
            let floor = self.check.floor_of(r, key_of(call.key()));
            self.trace.say(self.now, || format!("router {r} sends the invalidation of {:?} again", call.key()));
            self.tell_node(r, call, floor);
        }
    }

    fn tell_node(&mut self, r: usize, call: Box<Invalidation>, floor: u32) {
        let write = call.key_step(&self.routers[r].config);
        let (key, deadline) = (key_of(call.key()), call.deadline());
        self.write(r, key, Job::Key { call, floor }, write, deadline);
    }

    /// A step is over: the next one follows.
    pub(super) fn follow_up(&mut self, r: usize, key: u8, write: &Write, job: Job, refused: Option<Cause>) {
        let now = instant(self.now);
        let router = &mut self.routers[r];
        match job {
            Job::Set { .. } => {
                if let Some(at) = write.written_at().filter(|_| refused.is_none()) {
                    let name = name_of(key);
                    router.loads.detach(&name);
                    router.running.values_mut().for_each(|running| running.detach(key));
                    self.check.load_let_go(r, key);
                    let router = &mut self.routers[r];
                    let reign = router.cluster.reign(slot_of(key));
                    router.cluster.invalidations().set(slot_of(key), &name, (at.node, at.epoch), reign, now);
                }
            }
            Job::Fill { .. } => {}
            Job::Key { mut call, .. } => {
                let mut turn = Turn { cluster: &mut router.cluster, now, dice: 0 };
                call.key_step_ended(write, refused, &mut turn);
                let (echo, deadline) = call.echo(&router.config, now);
                self.write(r, echo_of(key), Job::Echo { call }, echo, deadline);
            }
            Job::Echo { mut call } => {
                let mut turn = Turn { cluster: &mut router.cluster, now, dice: 0 };
                let pending = call.echo_ended(refused, &mut turn);
                let key = key_of(call.key());
                self.trace
                    .say(self.now, || format!("router {r}: of the invalidation of key {key} is left {pending:?}"));
                self.settle(r, true);
            }
        }
    }
}
