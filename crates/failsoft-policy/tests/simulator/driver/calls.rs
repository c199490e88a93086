//! The reads and writes under way: each of their actions becomes an event, each event goes back in.

use super::judge::blames;
use super::{Ev, Sim, slot};
use crate::model::{BLOCKS, NODES, Said, Up, index};
use bytes::Bytes;
use failsoft_policy::action::{Action, Answer, Event, Finish};
use failsoft_policy::read::Read;
use failsoft_policy::reply::classify;
use failsoft_policy::route::{Bounds, Source, first_step};
use failsoft_policy::write::{Write, WriteAction, WriteEvent};
use failsoft_policy::{Instant, NodeKey, Reason, ServedBy};
use std::time::Duration;

pub(super) enum Work {
    Read { read: Box<Read>, callback: bool },
    Set { write: Box<Write>, version: u64 },
}

pub(super) struct Call {
    work: Work,
    block: usize,
    began: Instant,
    /// The newest acknowledged version when it began.
    newest: u64,
    /// How many attempts were sent, and to which nodes as replicas.
    pub(super) sent: u32,
    pub(super) replicas: Vec<usize>,
    /// Who answered last, and what.
    pub(super) last: Option<(NodeKey, Source, Answer)>,
    /// When the attempt under way began, and when it is given up.
    started: Instant,
    until: Instant,
    /// Counts what is under way, so that what comes too late is known.
    pub(super) attempt: u64,
    pub(super) target: Option<(NodeKey, usize, Source, bool)>,
    pub(super) waiting: bool,
}

impl Sim {
    pub(super) fn begin(&mut self) {
        let pause = Duration::from_micros(self.rng.u64(2_000..40_000));
        self.after(pause, Ev::Begin);
        let block = self.rng.usize(0..BLOCKS);
        let deadline = self.now + self.config.deadline();
        self.number += 1;
        let id = self.number;
        let newest = self.check.newest[block];
        let began = self.now;
        let call = |work| Call {
            work,
            block,
            began,
            newest,
            sent: 0,
            replicas: Vec::new(),
            last: None,
            started: began,
            until: began,
            attempt: 0,
            target: None,
            waiting: false,
        };
        if self.rng.u8(0..5) == 0 && !self.setting[block] {
            self.setting[block] = true;
            self.next_version += 1;
            let mut write = Box::new(Write::set(&self.config, slot(block), deadline));
            let action = write.start(&mut self.cluster, self.now);
            self.calls.insert(id, call(Work::Set { write, version: self.next_version }));
            return self.act_set(id, action);
        }
        let callback = self.rng.bool();
        let mut read = Box::new(Read::new(&self.config, slot(block), deadline, callback));
        let dice = self.rng.u32(..);
        let bounds = Bounds { attempt: self.config.attempt_timeout(), deadline };
        let step = first_step(&self.snapshot, slot(block), self.now, bounds, dice);
        let action = read.resume(step, self.now);
        self.calls.insert(id, call(Work::Read { read, callback }));
        self.act_read(id, action);
    }

    fn act_read(&mut self, id: u64, action: Action) {
        match action {
            Action::Send { node, source, asking, until } => {
                let Some(target) = self.cluster.endpoint(node).map(index) else {
                    return self.lose(id, node);
                };
                self.judge_send(id, target, source, asking);
                self.send(id, (node, target, source, asking), until);
            }
            Action::Wait { until } => self.wait(id, until),
            Action::Load { reason, confirmed } => self.load(id, reason, confirmed),
            Action::Finish(finish) => {
                let Some(call) = self.calls.remove(&id) else { return };
                if let Work::Read { callback, .. } = &call.work {
                    self.check.ended(call.began, self.now, self.config.deadline(), call.sent);
                    self.judge_end(&call, &finish);
                    let failed = matches!(finish, Finish::Unavailable { .. } | Finish::Missing { .. });
                    self.check.that(!(failed && *callback), || format!("a read with a callback ended as {finish:?}"));
                }
                if matches!(finish, Finish::Value { served_by: ServedBy::Primary, .. }) {
                    self.cluster.credit(1);
                }
            }
        }
    }

    fn load(&mut self, id: u64, reason: Reason, confirmed: Option<NodeKey>) {
        let Some(call) = self.calls.remove(&id) else { return };
        if let Work::Read { callback, .. } = &call.work {
            self.check.ended(call.began, self.now, self.config.deadline(), call.sent);
            self.judge_reason(reason);
            if let Some(by) = confirmed {
                self.judge_last(&call, by, Source::Primary, &Answer::Nil);
            }
            self.check.that(*callback, || "a callback was asked that nobody gave".into());
        }
        let key = Bytes::from(vec![call.block as u8]);
        let joined = self.flights.join(&[key], None, self.now, self.config.load_timeout());
        if let Some(lead) = joined.expect("no load runs inside another").lead {
            self.check.led(&lead.keys);
            let takes = Duration::from_millis(self.rng.u64(5..30));
            self.after(takes, Ev::Loaded(lead.load));
        }
    }

    fn act_set(&mut self, id: u64, action: WriteAction) {
        match action {
            WriteAction::Ping { node, until } | WriteAction::Send { node, until, .. } => {
                let Some(target) = self.cluster.endpoint(node).map(index) else { return self.lose(id, node) };
                let asking = matches!(action, WriteAction::Send { asking: true, .. });
                if let WriteAction::Send { asking: false, .. } = action {
                    self.check.sent(target, self.now);
                    self.check.write_sent(target, self.now);
                }
                self.send(id, (node, target, Source::Primary, asking), until);
                if let (WriteAction::Ping { .. }, Some(call)) = (action, self.calls.get_mut(&id)) {
                    // A `PING` is a command that any node answers.
                    call.target = Some((node, target, Source::Replica, asking));
                }
            }
            WriteAction::Wait { until } => self.wait(id, until),
            WriteAction::Written | WriteAction::Refused(_) => {
                let Some(call) = self.calls.remove(&id) else { return };
                self.setting[call.block] = false;
            }
        }
    }

    fn send(&mut self, id: u64, target: (NodeKey, usize, Source, bool), until: Instant) {
        let there = self.latency();
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.attempt += 1;
        (call.started, call.until) = (self.now, until);
        (call.target, call.waiting) = (Some(target), false);
        let attempt = call.attempt;
        self.after(there, Ev::Arrive { call: id, attempt });
        let late = Ev::Answer { call: id, attempt, said: None, end: Answer::Timeout };
        self.after(until.since(self.now), late);
    }

    fn lose(&mut self, id: u64, node: NodeKey) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.attempt += 1;
        (call.target, call.waiting) = (Some((node, 0, Source::Primary, false)), false);
        let attempt = call.attempt;
        self.after(Duration::ZERO, Ev::Answer { call: id, attempt, said: None, end: Answer::Connection });
    }

    fn wait(&mut self, id: u64, until: Instant) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.attempt += 1;
        (call.target, call.waiting) = (None, true);
        let attempt = call.attempt;
        self.after(until.since(self.now), Ev::Wake { call: id, attempt });
    }

    pub(super) fn wake(&mut self, id: u64) {
        let dice = self.rng.u32(..);
        let Some(call) = self.calls.get_mut(&id) else { return };
        match &mut call.work {
            Work::Read { read, .. } => {
                let action = read.on(Event::Woken, &mut self.cluster, self.now, dice);
                self.act_read(id, action);
            }
            Work::Set { write, .. } => {
                let action = write.on(WriteEvent::Woken, &mut self.cluster, self.now);
                self.act_set(id, action);
            }
        }
    }

    pub(super) fn arrive(&mut self, id: u64, attempt: u64) {
        // A command that was given up is carried out all the same, unless its attempt is forgotten.
        let Some(call) = self.calls.get(&id).filter(|c| c.attempt == attempt) else { return };
        let Some((_, n, source, asking)) = call.target else { return };
        let (block, began, now) = (call.block, call.began, self.now);
        match self.model.nodes[n].up {
            Up::Hung => return self.after(Duration::from_millis(7), Ev::Arrive { call: id, attempt }),
            Up::Down => {
                let end = Answer::Connection;
                return self.after(Duration::from_micros(50), Ev::Answer { call: id, attempt, said: None, end });
            }
            Up::Running => {}
        }
        let said = match &call.work {
            Work::Read { .. } => {
                let said = self.model.command(n, block, source == Source::Replica, asking, None, now);
                let value = if let Said::Value(v) = said { v } else { 0 };
                let final_answer = matches!(said, Said::Value(_) | Said::Nil);
                if final_answer && source == Source::Primary {
                    self.check.served(&self.model, n, block, value, call.newest, began);
                }
                said
            }
            Work::Set { .. } if source == Source::Replica => Said::Value(0),
            Work::Set { version, .. } => {
                let said = self.model.command(n, block, false, asking, Some(*version), now);
                if matches!(said, Said::Value(_)) {
                    self.written(n, block, *version, began);
                }
                said
            }
        };
        let end = match &said {
            Said::Value(_) => Answer::Value,
            Said::Nil => Answer::Nil,
            Said::Line(line) => Answer::Error(classify(line)),
        };
        let back = self.latency();
        self.after(back, Ev::Answer { call: id, attempt, said: Some(said), end });
    }

    fn written(&mut self, n: usize, block: usize, version: u64, began: Instant) {
        let holder = self.model.migration.filter(|m| m.block == block && m.moved).map(|m| m.to);
        if n == holder.unwrap_or(self.model.truth.owners[block]) {
            self.check.newest[block] = version;
        } else {
            self.check.written_astray(&self.model, n, began);
        }
        // A node that has not heard that it is a replica copies nothing.
        let follows = |to: &usize| self.model.nodes[*to].belief.follows[*to] == Some(n);
        for to in (0..NODES).filter(follows).collect::<Vec<_>>() {
            let lag = Duration::from_millis(self.rng.u64(1..5));
            self.after(lag, Ev::Replicate { to, block, version });
        }
    }

    /// A client that knows the owner writes there, whatever the router believes.
    pub(super) fn stranger(&mut self) {
        let pause = Duration::from_millis(self.rng.u64(5..60));
        self.after(pause, Ev::Stranger);
        let block = self.rng.usize(0..BLOCKS);
        let owner = self.model.truth.owners[block];
        if self.setting[block] || !self.model.running(owner) {
            return;
        }
        self.next_version += 1;
        let said = self.model.command(owner, block, false, false, Some(self.next_version), self.now);
        if matches!(said, Said::Value(_)) {
            self.written(owner, block, self.next_version, self.now);
        }
    }

    pub(super) fn answer(&mut self, id: u64, attempt: u64, said: Option<Said>, end: Answer) {
        let dice = self.rng.u32(..);
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id).filter(|c| c.attempt == attempt && c.target.is_some()) else { return };
        let Some((node, n, source, _)) = call.target.take() else { return };
        call.last = Some((node, source, end.clone()));
        let read = matches!(call.work, Work::Read { .. });
        // A read in a hurry says nothing of the node when it runs out of time.
        let full = !read || call.until.since(call.started) >= self.config.attempt_timeout();
        if self.cluster.endpoint(node).is_some() {
            self.check.answered(n, said.is_some(), blames(&end, full), now);
        }
        if said.is_some() {
            self.contact[n] = Some(now);
        }
        let contact = self.contact[n];
        match &mut call.work {
            Work::Read { read, .. } => {
                let action = read.on(Event::Answered { answer: end, contact }, &mut self.cluster, now, dice);
                self.act_read(id, action);
            }
            Work::Set { write, .. } => {
                let ping = source == Source::Replica;
                let event = if ping {
                    WriteEvent::Pinged(end == Answer::Value)
                } else {
                    WriteEvent::Answered { answer: end, contact }
                };
                let action = write.on(event, &mut self.cluster, now);
                self.act_set(id, action);
            }
        }
    }
}
