//! Carries out writes: `set`, the fills of loaded values, and the steps of invalidations.

use super::call::{Call, Job, Work};
use super::slot_of;
use crate::model::{Said, Time};
use crate::sim::{Sim, instant};
use failsoft_policy::connection::Attempt;
use failsoft_policy::fills::{Fill, Offer};
use failsoft_policy::lease::Lease;
use failsoft_policy::read::Answer;
use failsoft_policy::route::{Bounds, Route, Source};
use failsoft_policy::wire::Filled;
use failsoft_policy::write::{Cause, Write, WriteAction, WriteEvent};
use failsoft_policy::{Instant, Turn};

/// The length of a key and its value.
const FILL: usize = 5;

impl Sim<'_> {
    pub(super) fn begin_set(&mut self, r: usize, key: u8) {
        self.changed(r, key);
        let value = self.new_version(key);
        let deadline = instant(self.now) + self.routers[r].config.deadline();
        let write = Write::set(&self.routers[r].config, slot_of(key), deadline);
        self.write(r, key, Job::Set { value }, write, deadline);
        self.settle(r, true);
    }

    /// Writes a loaded value back, if nothing stands in the way.
    pub(super) fn fill(&mut self, r: usize, key: u8, value: u32, lease: Lease) {
        let router = &mut self.routers[r];
        let deadline = instant(self.now) + router.config.deadline();
        let fill = Fill { node: lease.lessor.node, deadline, bytes: FILL, what: (key, value, lease) };
        match router.fills.offer(fill) {
            Offer::Write(fill) => self.begin_fill(r, fill),
            Offer::Waits => {}
            Offer::Dropped(Fill { what: (key, _, lease), .. }) => self.release_lease(r, key, &lease),
        }
    }

    fn begin_fill(&mut self, r: usize, Fill { deadline, what: (key, value, lease), .. }: Fill<(u8, u32, Lease)>) {
        let write = Write::fill(&self.routers[r].config, slot_of(key), lease.lessor, deadline);
        self.write(r, key, Job::Fill { value, lease }, write, deadline);
    }

    pub(super) fn write(&mut self, r: usize, key: u8, job: Job, mut write: Write, deadline: Instant) {
        let router = &mut self.routers[r];
        let now = instant(self.now);
        // The policy hears of contacts once a second only.
        let contact = match router.snapshot.route(slot_of(key)) {
            Route::Primary { node, .. } | Route::Readmitting { node, .. } => router.contact(node).map(|at| (node, at)),
            Route::Replica { .. } | Route::Secondary { .. } | Route::Await { .. } => None,
        };
        if let Some((node, at)) = contact {
            router.cluster.handle_contact(node, at);
        }
        let action = write.start(Turn { cluster: &mut router.cluster, now, dice: 0 });
        let bounds = Bounds { deadline, ..Bounds::new(&router.config, now) };
        let tag = router.next_tag();
        let call = router.new_call(Call::new(
            u32::MAX,
            key,
            Work::Write { write: Box::new(write), job, pinging: false, batch: None },
            self.now,
            bounds,
            tag,
        ));
        self.publish(r);
        self.act_write(r, call, action);
    }

    pub(super) fn feed_write(&mut self, r: usize, id: u32, event: WriteEvent) {
        let now = instant(self.now);
        let router = &mut self.routers[r];
        let Some(Call { work: Work::Write { write, .. }, .. }) = router.calls[id as usize].as_mut() else { return };
        let action = write.on(event, Turn { cluster: &mut router.cluster, now, dice: 0 });
        self.publish(r);
        self.act_write(r, id, action);
    }

    pub(super) fn write_ended(&mut self, r: usize, id: u32, answer: Answer, contact: Option<Instant>) {
        let Some(Call { work: Work::Write { pinging, job, batch, .. }, said, .. }) =
            self.routers[r].calls[id as usize].as_ref()
        else {
            return;
        };
        let lost = matches!(answer, Answer::Timeout | Answer::Hung | Answer::Closed | Answer::Connection);
        let event = match (job, &answer) {
            _ if *pinging && answer != Answer::Saturated => WriteEvent::Pinged(!lost),
            (_, Answer::Value | Answer::Nil) if batch.is_none() => {
                let returned = match said {
                    Some(Said::Exists) => Filled::Exists,
                    Some(Said::LeaseGone | Said::Held) => Filled::LeaseGone,
                    _ => Filled::Written,
                };
                WriteEvent::Returned { number: returned as i64, line: 0 }
            }
            _ => WriteEvent::Answered { answer, line: 0, contact },
        };
        self.feed_write(r, id, event);
    }

    fn act_write(&mut self, r: usize, id: u32, action: WriteAction) {
        if let Some(Call { work: Work::Write { pinging, batch, .. }, .. }) = self.routers[r].calls[id as usize].as_mut()
        {
            *pinging = matches!(action, WriteAction::Ping { .. });
            match action {
                WriteAction::Send { batch: sent, .. } => *batch = Some(sent),
                WriteAction::Run { .. } => *batch = None,
                // What was sent last counts until the end.
                _ => {}
            }
        }
        match action {
            WriteAction::Ping { node, until } => {
                self.attempt(r, id, node, Source::Primary, false, Attempt::until(until))
            }
            WriteAction::Send { node, asking, until, limit, .. } => {
                self.attempt(r, id, node, Source::Primary, asking, Attempt { until, limit });
            }
            WriteAction::Run { node, line, asking, until, limit, .. } => {
                if line.is_none_or(|line| self.routers[r].line(node) == Some(line)) {
                    return self.attempt(r, id, node, Source::Primary, asking, Attempt { until, limit });
                }
                self.not_sent(r, id, node, Answer::Closed);
            }
            WriteAction::Wait { until } => self.pause(r, id, until.as_nanos()),
            WriteAction::Written => self.written(r, id, None),
            WriteAction::Refused(cause) => self.written(r, id, Some(cause)),
        }
    }

    fn written(&mut self, r: usize, id: u32, refused: Option<Cause>) {
        let router = &mut self.routers[r];
        let Some(call) = router.calls[id as usize].take() else { return };
        let mut late = Vec::new();
        let next = match call.work {
            Work::Write { job: Job::Fill { ref lease, .. }, .. } => {
                let next = router.fills.written(lease.lessor.node, FILL, instant(self.now), &mut late);
                if refused.is_some() {
                    self.release_lease(r, call.key, lease);
                }
                next
            }
            Work::Write { .. } | Work::Read { .. } | Work::Lease { .. } | Work::Tend { .. } => None,
        };
        for Fill { what: (key, _, lease), .. } in late {
            self.release_lease(r, key, &lease);
        }
        self.trace.say(self.now, || format!("router {r} call {id}: write of key {} ended {refused:?}", call.key));
        let now: Time = self.now;
        self.check.write_ended(r, &call, refused, now);
        if let Some(fill) = next {
            self.begin_fill(r, fill);
        }
        if let Work::Write { write, job, .. } = call.work {
            self.follow_up(r, call.key, &write, job, refused);
        }
    }
}
