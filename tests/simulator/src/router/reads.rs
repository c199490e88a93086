//! Carries out reads: the first step from the snapshot, and the machine for everything else.

use super::call::{Call, Job, Part, Work};
use super::lanes::{INVALIDATIONS, KEYS};
use super::state::{Caller, Failure};
use super::{key_of, name_of, slot_of, token_in};
use crate::model::{Ask, Said, Time, address};
use crate::plan::Behaviour;
use crate::sim::{Local, Sim, instant};
use failsoft_policy::action::Finish;
use failsoft_policy::connection::{self, Attempt};
use failsoft_policy::flight::LoadId;
use failsoft_policy::invalidations::Standing;
use failsoft_policy::read::{Action, Answer, Event, Read};
use failsoft_policy::route::{Bounds, Source, Step, first_step};
use failsoft_policy::write::Batch;
use failsoft_policy::{NodeKey, Reason, Turn};
use std::time::Duration;

impl Sim<'_> {
    /// A caller begins: one key or several, with one callback for all.
    pub(crate) fn begin_read(
        &mut self,
        r: usize,
        keys: &[u8],
        callback: Option<Behaviour>,
        inside: Option<LoadId>,
        deadline: Option<Time>,
        cancelled_after: Option<Time>,
    ) -> (u32, u32) {
        let router = &mut self.routers[r];
        let serial = router.next_tag();
        let id = router.new_caller(Caller {
            deadline: deadline.map(|d| self.now + d),
            routing: keys.len() as u32,
            inside,
            ..Caller::new(serial, self.now, router.suspended, callback)
        });
        if let Some(deadline) = deadline {
            self.local(r, deadline, Local::Deadline { caller: id, serial });
        }
        if let Some(pause) = cancelled_after {
            self.local(r, pause, Local::Cancel { caller: id, serial });
        }
        for &key in keys {
            self.first(r, id, key, deadline);
        }
        self.settle(r, false);
        (id, serial)
    }

    fn first(&mut self, r: usize, caller: u32, key: u8, limit: Option<Time>) {
        if let Some((value, held)) = self.near(r, key) {
            self.trace.say(self.now, || format!("router {r}: {value} of key {key} is near, {held:?}"));
            self.check.near(r, (key, value), held, &mut self.model, self.now);
            return self.routed(r, caller, None, None);
        }
        let dice = self.rng.u32(..);
        let now = instant(self.now);
        let router = &mut self.routers[r];
        let has_callback = router.callers[caller as usize].as_ref().is_some_and(|c| c.callback.is_some());
        let bounds = match limit {
            Some(limit) => Bounds::of_call(&router.config, now, Duration::from_nanos(limit), has_callback),
            None => Bounds::new(&router.config, now),
        };
        if let (Some(_), Some(caller)) = (limit, router.callers[caller as usize].as_mut()) {
            caller.lease_by = Some(bounds.deadline);
        }
        let step = first_step(&router.snapshot, slot_of(key), now, bounds, dice);
        let tag = router.next_tag();
        let call =
            router.new_call(Call::new(caller, key, Work::Read { first: None, read: None }, self.now, bounds, tag));
        // The machine has to look at what was invalidated.
        let standing = router.cluster.standing(slot_of(key), &name_of(key), now);
        let copy = router.copies.get(&key).copied();
        if let Step::Send { node, source, current_at, until, limit, .. } = step
            && router.member(node).is_some()
            && !matches!(standing, Standing::Owed | Standing::InDoubt(_))
            && (source == Source::Primary || (standing == Standing::Clear && copy.is_none()))
        {
            if let Some(Call { work: Work::Read { first, .. }, current_at: dated, .. }) =
                &mut router.calls[call as usize]
            {
                (*first, *dated) = (Some(step), current_at);
            }
            if source == Source::Primary
                && let Some(generation) = self.tracks(r, key, node, dice)
                && let Some(call) = &mut self.routers[r].calls[call as usize]
            {
                call.tracked = Some(generation);
            }
            return self.attempt(r, call, node, source, false, Attempt { until, limit });
        }
        let router = &mut self.routers[r];
        let read = Read::new(&router.config, (slot_of(key), name_of(key)), bounds, has_callback)
            .with_max_retries(router.loads.max_retries())
            .holding(copy.map(|(_, held)| held));
        let mut read = Box::new(read);
        let action = read.start(Turn { cluster: &mut router.cluster, now, dice });
        if let Some(Call { work: Work::Read { read: place, .. }, copy: held, .. }) = &mut router.calls[call as usize] {
            (*place, *held) = (Some(read), copy);
        }
        self.act(r, call, action);
    }

    /// What came of an attempt, or of a wait, goes into the machine; what it says is done.
    pub(super) fn feed_read(&mut self, r: usize, id: u32, event: Event) {
        let dice = self.rng.u32(..);
        let now = instant(self.now);
        let router = &mut self.routers[r];
        let Some(call) = router.calls[id as usize].as_mut() else { return };
        let (key, bounds, begun) = (call.key, call.bounds, call.begun);
        let caller = call.caller;
        let Work::Read { first, read } = &mut call.work else { return };
        if let Some(step) = first.take() {
            // Only now a machine is needed.
            let callback = router.callers[caller as usize].as_ref().is_some_and(|c| c.callback.is_some());
            let machine = Read::new(&router.config, (slot_of(key), name_of(key)), bounds, callback);
            call.copy = router.copies.get(&key).copied();
            let machine = machine.with_max_retries(router.loads.max_retries());
            let mut machine = Box::new(machine.holding(call.copy.map(|(_, held)| held)));
            machine.resume(step, instant(begun));
            *read = Some(machine);
        }
        let Some(machine) = read.as_mut() else { return };
        let action = machine.on(event, Turn { cluster: &mut router.cluster, now, dice });
        self.publish(r);
        let Some(Call { work: Work::Read { read: Some(machine), .. }, .. }) = &mut self.routers[r].calls[id as usize]
        else {
            return;
        };
        let notes = machine.take_notes();
        let bound = machine.attempts() <= 64 && notes.len() <= 4;
        self.check.that(bound, || format!("a read counts {} notes in one step", notes.len()));
        self.act(r, id, action);
    }

    fn act(&mut self, r: usize, id: u32, action: Action) {
        match action {
            Action::Send { node, source, asking, marked, renew, until, limit } => {
                if let Some(call) = self.routers[r].calls[id as usize].as_mut() {
                    call.marked = marked;
                }
                if renew {
                    self.close(r, node, Some(source), &connection::Failure::Closed);
                }
                self.attempt(r, id, node, source, asking, Attempt { until, limit });
            }
            Action::Wait { until } => self.pause(r, id, until.as_nanos()),
            Action::Load { reason, confirmed } => {
                let Some(call) = self.routers[r].calls[id as usize].take() else { return };
                self.check.routed(r, &call, &self.routers[r].config, self.now);
                self.check.load_asked(r, &call, reason, confirmed, self.now);
                if confirmed.is_some() {
                    self.routers[r].copies.remove(&call.key);
                }
                self.trace.say(self.now, || format!("router {r} call {id}: load ({reason}), confirmed {confirmed:?}"));
                self.routed(r, call.caller, Some((call.key, confirmed)), None);
            }
            Action::Finish(finish) => {
                let Some(mut call) = self.routers[r].calls[id as usize].take() else { return };
                self.check.routed(r, &call, &self.routers[r].config, self.now);
                self.trace.say(self.now, || format!("router {r} call {id}: {finish:?}"));
                match finish {
                    Finish::Value { current_at, .. } => {
                        self.routers[r].successes += 1;
                        call.current_at = current_at;
                        self.check.served(r, &call, &mut self.model, self.now);
                        self.go_behind(r, &call);
                        self.routed(r, call.caller, None, None);
                    }
                    Finish::Stale { .. } => {
                        self.serve_copy(r, call.key, call.copy, call.begun);
                        self.routed(r, call.caller, None, None);
                    }
                    Finish::Missing { reason } => {
                        self.routers[r].copies.remove(&call.key);
                        self.check.missing(r, &call, reason);
                        self.routed(r, call.caller, None, None);
                    }
                    Finish::Unavailable { .. } | Finish::DeadlineExceeded => {
                        let reason =
                            if let Finish::Unavailable { reason } = finish { reason } else { Reason::Deadline };
                        let failure = Failure::Unavailable(reason);
                        let copied = self.serves_copy(r, call.key, call.begun);
                        self.routed(r, call.caller, None, (!copied).then_some(failure));
                    }
                }
            }
        }
    }

    /// Sends an attempt: on a connection that is there, with room, or not at all.
    pub(super) fn attempt(&mut self, r: usize, id: u32, node: NodeKey, source: Source, asking: bool, attempt: Attempt) {
        let router = &mut self.routers[r];
        let tag = router.next_tag();
        let until = attempt.until.as_nanos();
        let place = router.member(node).map(|m| address(&m.endpoint));
        let Some(call) = router.calls[id as usize].as_mut() else { return };
        call.tag = tag;
        (call.sent, call.until, call.waiting) = (self.now, until, false);
        let ask = match &call.work {
            Work::Read { .. } => {
                let (readonly, tracked) = (source == Source::Replica, call.tracked.is_some());
                Ask::Get { key: call.key, readonly, asking, tracked, marked: call.marked }
            }
            Work::Write { pinging: true, .. } => Ask::Ping,
            Work::Write { job: Job::Fill { value, lease }, .. } => {
                let over = lease.over.as_ref().map_or(0, token_in);
                Ask::Fill { key: call.key, value: *value, token: token_in(&lease.token), over }
            }
            Work::Write { job: Job::Set { value }, batch, .. } => {
                Ask::Set { key: call.key, value: *value, script: batch.is_none(), asking }
            }
            Work::Write { job: Job::Step(part, of), batch, .. } => {
                let (key, writer) = (call.key, of.writer.map_or(0, |writer| writer.id));
                match (part, batch) {
                    (Part::Hold, _) => {
                        Ask::Hold { key, writer, lasts: router.config.hold().as_nanos() as Time, asking }
                    }
                    (Part::Lift, _) => Ask::Lift { key, writer, asking },
                    (Part::Echo, _) | (Part::Key, Some(Batch::Mark)) => {
                        Ask::Mark { key, of: key_of(of.call.key()), number: of.number, epoch: of.epoch, asking }
                    }
                    (Part::Key, None) => Ask::Invalidate { key, number: of.number, epoch: of.epoch },
                    (Part::Key, Some(_)) => Ask::Delete { key, number: of.number, epoch: of.epoch, asking },
                }
            }
            Work::Tend { load, token, .. } => {
                let (key, token) = (call.key, *token);
                let lasts = failsoft_policy::lease::lasts(&router.config).as_nanos() as Time;
                if load.is_some() { Ask::Prolong { key, token, lasts } } else { Ask::Release { key, token } }
            }
            Work::Lease { token, missing, .. } => {
                let lasts = failsoft_policy::lease::lasts(&router.config).as_nanos() as Time;
                Ask::Lease { key: call.key, token: *token, lasts, over: missing.over.is_some() }
            }
        };
        let Some(address) = place else {
            // The node was forgotten between the decision and now.
            call.target = Some((node, crate::model::ADDRESSES, source));
            return self.local(r, 0, Local::Failed { call: id, tag, answer: Answer::Closed });
        };
        call.target = Some((node, address, source));
        let invalidates = matches!(&call.work, Work::Write { job: Job::Step(..), pinging: false, .. });
        let lane = match call.tracked {
            Some(_) => KEYS,
            None if invalidates => INVALIDATIONS,
            None => source as usize,
        };
        let submitted = self.submit(r, node, lane, (id, tag), ask, attempt);
        let router = &mut self.routers[r];
        let primary = if source == Source::Replica { router.primary_of(node) } else { None };
        let Some(call) = router.calls[id as usize].as_mut() else { return };
        let Some(place) = submitted else {
            return self.local(r, 0, Local::Saturated { call: id, tag });
        };
        call.place = Some(place);
        if let Work::Lease { line, .. } = &mut call.work {
            *line = u64::from(place.0.serial);
        }
        let verdict = router.cluster.verdict(node);
        self.check.sent(r, call, node, address, source, asking, ask, verdict, self.now);
        if source == Source::Replica {
            call.comparable = self.check.comparable(r, node, primary);
            let recent = self.check.has_known(r, call.key) || router.copies.contains_key(&call.key);
            let first = call.attempts[source as usize] == 1 && !call.crowded && !recent;
            call.counts_from = router.cluster.dated(node).map(|dated| dated.counts_from);
            let asked = call.asked;
            self.check.stands_in(r, node, first.then_some(asked), &self.routers[r], self.now);
        }
        if let Some(call) = self.routers[r].calls[id as usize].as_mut() {
            call.asked |= 1_u64.checked_shl(node.index).unwrap_or(0);
        }
        self.trace.say(self.now, || {
            let millis = until.saturating_sub(self.now) / crate::model::MS;
            format!("router {r} call {id}.{tag}: {ask:?} to address {address} as {source:?}, for {millis} ms")
        });
    }

    /// The attempt under way is over; gives whom it was sent to.
    pub(super) fn take_attempt(&mut self, r: usize, id: u32, tag: u32) -> Option<(NodeKey, usize, Source)> {
        let router = &mut self.routers[r];
        let call = router.calls.get_mut(id as usize)?.as_mut().filter(|c| c.tag == tag && !c.waiting)?;
        let target = call.target.take()?;
        call.place = None;
        Some(target)
    }

    /// Nobody waits for these calls any more.
    pub(super) fn drop_calls(&mut self, r: usize, of: impl Fn(&Call) -> bool) {
        let all = (0..).zip(&self.routers[r].calls).filter_map(|(id, call)| Some((id, call.as_ref()?)));
        let calls: Vec<(u32, u32)> = all.filter(|(_, call)| of(call)).map(|(id, call)| (id, call.tag)).collect();
        for (id, tag) in calls {
            let place = self.routers[r].calls[id as usize].as_mut().and_then(|c| c.place.take());
            place.into_iter().for_each(|place| self.let_go(r, place));
            self.take_attempt(r, id, tag);
            self.routers[r].calls[id as usize] = None;
        }
    }

    pub(super) fn on_answer(&mut self, r: usize, id: u32, tag: u32, answer: Answer, said: Said) {
        let Some(target) = self.take_attempt(r, id, tag) else { return };
        if let Some(call) = self.routers[r].calls[id as usize].as_mut() {
            call.hear(said);
        }
        self.ended(r, id, target, answer);
    }

    pub(super) fn on_failed(&mut self, r: usize, id: u32, tag: u32, answer: Answer) {
        if let Some(target) = self.take_attempt(r, id, tag) {
            self.ended(r, id, target, answer);
        }
    }

    pub(super) fn on_saturated(&mut self, r: usize, id: u32, tag: u32) {
        let router = &mut self.routers[r];
        let call = router.calls.get_mut(id as usize).and_then(Option::as_mut).filter(|c| c.tag == tag);
        if let Some(target) = call.and_then(|c| {
            c.crowded = true;
            c.target.take()
        }) {
            self.ended(r, id, target, Answer::Saturated);
        }
    }

    pub(super) fn on_woken(&mut self, r: usize, id: u32, tag: u32) {
        let router = &mut self.routers[r];
        let call = router.calls.get_mut(id as usize).and_then(Option::as_mut);
        let Some(call) = call.filter(|c| c.tag == tag && c.waiting) else { return };
        call.waiting = false;
        call.woken = true;
        match call.work {
            Work::Read { .. } => self.feed_read(r, id, Event::Woken),
            Work::Write { .. } => self.feed_write(r, id, failsoft_policy::write::WriteEvent::Woken),
            Work::Lease { .. } | Work::Tend { .. } => {}
        }
        self.settle(r, false);
    }

    pub(super) fn pause(&mut self, r: usize, id: u32, until: Time) {
        let router = &mut self.routers[r];
        let tag = router.next_tag();
        let Some(call) = router.calls[id as usize].as_mut() else { return };
        (call.tag, call.waiting, call.target) = (tag, true, None);
        self.at(until.max(self.now), crate::sim::Ev::Local(r as u8, Local::Woken { call: id, tag }));
    }

    /// An attempt ended.
    fn ended(&mut self, r: usize, id: u32, (node, at, source): (NodeKey, usize, Source), answer: Answer) {
        let contact = self.routers[r].contact(node);
        let router = &mut self.routers[r];
        let admitted = router.cluster.admits(node);
        let Some(call) = router.calls[id as usize].as_mut() else { return };
        call.last = Some((node, at, source, answer.clone()));
        let tracked = call.tracked.take();
        call.woken = false;
        call.closed += u32::from(answer == Answer::Closed);
        self.check.answered(r, call, node, at, &answer, admitted, self.now);
        if let Work::Lease { .. } = call.work {
            self.lease_ended(r, id, &answer, contact);
        } else if let Work::Tend { .. } = call.work {
            self.tending_ended(r, id, &answer, contact);
        } else if let Work::Write { .. } = call.work {
            self.write_ended(r, id, answer.clone(), contact);
        } else if answer == Answer::Value
            && let Work::Read { first: Some(_), read: None } = &call.work
        {
            // The hot path: that was all.
            let Some(call) = router.calls[id as usize].take() else { return };
            router.successes += 1;
            match (tracked, call.value) {
                (Some(generation), Some(value)) => self.keep_near(r, (call.key, value), node, call.begun, generation),
                _ if source == Source::Primary => router.see(call.key, call.value, node, call.begun),
                _ => {}
            }
            self.check.routed(r, &call, &self.routers[r].config, self.now);
            self.check.served(r, &call, &mut self.model, self.now);
            self.go_behind(r, &call);
            return self.routed(r, call.caller, None, None);
        } else {
            self.feed_read(r, id, Event::Answered { answer: answer.clone(), contact });
        }
        let router = &self.routers[r];
        self.check.judged(r, &answer, admitted, router.cluster.admits(node));
        self.settle(r, false);
    }
}
