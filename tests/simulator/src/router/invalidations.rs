//! Carries out invalidations: the callers' own, those of writers around what they do, and those that are sent again.

use super::call::{Invalidating, Job, Part, Writer};
use super::listening::id_of;
use super::{key_of, name_of, slot_of};
use crate::model::{BLOCKS, Time};
use crate::sim::{Local, Sim, instant};
use failsoft_policy::Turn;
use failsoft_policy::invalidate::Invalidation;
use failsoft_policy::write::{Cause, Write};

/// A key in the slot of the echo.
fn echo_of(key: u8) -> u8 {
    (key + BLOCKS as u8 / 2) % BLOCKS as u8
}

impl Sim<'_> {
    /// The store has a new version of a key, and then its readers are told; by a writer that held it, if there is one.
    pub(super) fn begin_invalidation(&mut self, r: usize, key: u8, writer: Option<Writer>) {
        let floor = self.new_version(key);
        if let Some(writer) = writer {
            self.check.committed(key, floor, writer.id, &self.model, self.now);
            if writer.dies {
                return self.trace.say(self.now, || format!("the writer {} of key {key} is gone", writer.id));
            }
        }
        self.invalidate(r, key, floor, writer);
    }

    /// A writer holds a key, to change it in the store.
    pub(super) fn begin_writing(&mut self, r: usize, key: u8, takes: Time, dies: bool) {
        let floor = self.store.versions[usize::from(key)];
        let id = self.routers[r].next_tag() << 2 | r as u32;
        self.invalidate(r, key, floor, Some(Writer { id, takes, dies, done: false }));
    }

    /// It has done what it held the key for.
    pub(super) fn commit(&mut self, r: usize, key: u8, writer: Writer) {
        self.begin_invalidation(r, key, Some(Writer { done: true, ..writer }));
    }

    fn invalidate(&mut self, r: usize, key: u8, floor: u32, writer: Option<Writer>) {
        self.detach(r, key);
        let (router, name) = (&mut self.routers[r], name_of(key));
        let mut turn = Turn { cluster: &mut router.cluster, now: instant(self.now), dice: 0 };
        let call = Invalidation::call(&router.config, slot_of(key), name, &mut turn);
        self.trace.say(self.now, || format!("router {r} invalidates key {key}, which is {floor} by now, {writer:?}"));
        self.check.invalidated(r, key, floor, self.now);
        let first = if writer.is_some_and(|writer| !writer.done) { Part::Hold } else { Part::Key };
        let (number, epoch) = self.set_out(r, &call, floor);
        self.take_step(r, first, Box::new(Invalidating { call, floor, writer, number, epoch }));
        self.settle(r, true);
    }

    /// What is due is sent again.
    pub(super) fn send_again(&mut self, r: usize) {
        let router = &mut self.routers[r];
        let now = instant(self.now);
        for due in router.cluster.invalidations().take_due(usize::MAX, now) {
            let call = Invalidation::again(&self.routers[r].config, due);
            let floor = self.check.floor_of(r, key_of(call.key()));
            self.trace.say(self.now, || format!("router {r} sends the invalidation of {:?} again", call.key()));
            let first = if call.is_told() { Part::Echo } else { Part::Key };
            let (number, epoch) = self.set_out(r, &call, floor);
            self.take_step(r, first, Box::new(Invalidating { call, floor, writer: None, number, epoch }));
        }
    }

    /// An attempt begins, under a number of its own. Gives that, and the config epoch that its marks name.
    fn set_out(&mut self, r: usize, call: &Invalidation, floor: u32) -> (u32, u32) {
        let number = self.next_bell();
        let (cluster, now) = (&mut self.routers[r].cluster, instant(self.now));
        let epoch = call.begin(id_of(number), &mut Turn { cluster, now, dice: 0 });
        self.check.sets_out(number, r, key_of(call.key()), floor);
        (number, epoch as u32)
    }

    /// What is being loaded of a key serves nobody who asks from now on.
    pub(super) fn detach(&mut self, r: usize, key: u8) {
        self.changed(r, key);
        let router = &mut self.routers[r];
        router.loads.detach(&name_of(key));
        router.running.values_mut().for_each(|running| running.detach(key));
    }

    fn take_step(&mut self, r: usize, part: Part, mut of: Box<Invalidating>) {
        let (config, now) = (&self.routers[r].config, instant(self.now));
        let (key, deadline) = (key_of(of.call.key()), of.call.by(config, now));
        let (key, write) = match part {
            Part::Hold => (key, of.call.hold(config, now)),
            Part::Key => (key, of.call.key_step(config, now)),
            Part::Lift => (key, of.call.lift(config, now)),
            Part::Echo => (echo_of(key), of.call.echo(config, now)),
        };
        self.write(r, key, Job::Step(part, of), write, deadline);
    }

    /// A write is over: the next step follows.
    pub(super) fn follow_up(&mut self, r: usize, key: u8, write: &Write, job: Job, refused: Option<Cause>) {
        let now = instant(self.now);
        let router = &mut self.routers[r];
        let (part, mut of) = match job {
            Job::Fill { .. } => return,
            Job::Set { .. } => {
                self.changed(r, key);
                if refused.is_none() {
                    self.detach(r, key);
                    self.check.load_let_go(r, key);
                }
                return;
            }
            Job::Step(part, of) => (part, of),
        };
        let mut turn = Turn { cluster: &mut router.cluster, now, dice: 0 };
        match part {
            Part::Hold => of.call.hold_ended(refused),
            Part::Key => of.call.key_step_ended(write, refused, &mut turn),
            Part::Lift => {}
            Part::Echo => {
                of.call.echo_ended(write, refused);
                let pending = of.call.ended(&mut turn);
                let key = key_of(of.call.key());
                if pending.is_empty() {
                    self.check.completed(of.number, self.now);
                }
                self.trace
                    .say(self.now, || format!("router {r}: of the invalidation of key {key} is left {pending:?}"));
                match of.writer {
                    Some(writer) if !writer.done && pending.lets_write() => {
                        self.local(r, writer.takes, Local::Commit { key, writer });
                    }
                    Some(writer) if !writer.done => {
                        self.invalidate(r, key, of.floor, Some(Writer { done: true, ..writer }));
                    }
                    _ => {}
                }
                return self.settle(r, true);
            }
        }
        let next = match part {
            Part::Hold => Part::Key,
            Part::Key if of.writer.is_some_and(|writer| writer.done) => Part::Lift,
            Part::Key | Part::Lift | Part::Echo => Part::Echo,
        };
        self.take_step(r, next, of);
    }
}
