//! What reaches the servers, and what they send back.

use super::{Asked, Dial, Ev, LaneId, Local, Message, Process, Question, Sim, instant};
use crate::model::{ADDRESSES, BLOCKS, STRANGERS, Said, Time, Up, number_of};
use crate::plan::{Denied, Misbehaviour};
use failsoft_policy::Reason;
use failsoft_policy::connection::Failure;
use failsoft_policy::view::{NodeReport, Probe, View};

/// Where the numbers of connections and of questions begin, those of commands being lower.
const DIALS: u64 = 1 << 39;
/// How long a lost packet is missed before it is sent again.
const RETRANSMISSION: Time = 200 * crate::model::MS;
const QUESTIONS: u64 = 1 << 40;

/// Whether this is the number of a connection.
pub(crate) fn is_dial(id: u64) -> bool {
    (DIALS..QUESTIONS).contains(&id)
}

impl Sim<'_> {
    /// Sends a command; whether it arrives is the network's matter.
    pub(crate) fn send(&mut self, message: Message) {
        let (router, address) = (usize::from(message.router), usize::from(message.address));
        let id = u64::from(message.tag);
        self.close_right_now(router, address, message.id);
        self.check.asked_at(router, address, id, self.now);
        if self.is_shut(router, message.id) && !self.rested(router, message.id) {
            // It crosses the end of its connection, and is lost with it.
            self.check.explained(router, address, self.now);
        }
        let open = self.net.router_to_node(router, address);
        let Some(time) = self.carry(router, address, message.id, open) else { return };
        let at = self.order.next(router, message.id.serial, false, self.now + time);
        self.at(at, Ev::Arrive(message));
    }

    /// Opens a connection: the way there and back, and the greetings, are one and a half round trips.
    pub(crate) fn dial(&mut self, dial: Dial) {
        let (router, address) = (usize::from(dial.router), usize::from(dial.address));
        self.check.asked_at(router, address, DIALS + u64::from(dial.id.serial), self.now);
        if !self.net.router_to_node(router, address) {
            return;
        }
        if let Some(time) = self.net.travel(&mut self.rng, router, address) {
            self.after(3 * time, Ev::Dialled(dial));
        }
    }

    pub(super) fn dialled(&mut self, dial: Dial) {
        let Dial { id, sent, .. } = dial;
        let (router, address) = (usize::from(dial.router), usize::from(dial.address));
        let listening = self.model.listening(address);
        if listening.is_some_and(|n| self.model.nodes[n].up == Up::Hung) || !self.net.node_to_router(address, router) {
            // The kernel takes the connection; nobody greets. Or nobody hears the greeting.
            return;
        }
        let Some(time) = self.net.travel(&mut self.rng, router, address) else { return };
        let number = DIALS + u64::from(id.serial);
        let event = match listening {
            None => Local::Broken { id, why: Box::new(Failure::Connect("refused".into())) },
            Some(_) if self.misbehaving[address] == Some(Misbehaviour::TooManyClients) => {
                Local::Broken { id, why: Box::new(Failure::Refused("ERR max number of clients reached".into())) }
            }
            Some(n) if dial.expects.is_some_and(|expected| usize::from(expected) != n) => {
                Local::Broken { id, why: Box::new(Failure::Stranger("another".into())) }
            }
            Some(n) => {
                self.check.answered_at(router, address, number, self.now + time);
                Local::Opened { id, process: Process { node: n as u8, life: self.model.nodes[n].life }, sent }
            }
        };
        if !matches!(event, Local::Opened { .. }) {
            self.check.explained(router, address, self.now + time);
        }
        self.local(router, time, event);
    }

    pub(super) fn arrive(&mut self, message: Message) {
        let Message { call, tag, address, ask, .. } = message;
        let address = usize::from(address);
        let broken = |m: Message| Local::Broken { id: m.id, why: Box::new(Failure::Lost("reset".into())) };
        let Some(n) = self.model.listening(address) else { return self.reply(message, broken) };
        if self.is_shut(usize::from(message.router), message.id) {
            return self.reply(message, broken);
        }
        if message.to != (Process { node: n as u8, life: self.model.nodes[n].life }) {
            // The process that the connection led to is gone.
            return self.reply(message, broken);
        }
        if self.model.nodes[n].up == Up::Hung {
            return self.inbox[address].push(message);
        }
        let said = match (self.misbehaving[address], ask) {
            (Some(Misbehaviour::Garbage), _) => Said::Garbage,
            (Some(Misbehaviour::OutOfMemory), _) if ask.key().is_some_and(|k| k.1) => Said::OutOfMemory,
            (Some(what), _) => match (what, ask.key()) {
                (Misbehaviour::TryAgain, Some(_)) => Said::TryAgain,
                (Misbehaviour::Denied, Some(_)) => Said::Denied,
                (Misbehaviour::Lies, Some((key, _))) => Said::Moved(key % BLOCKS as u8, ADDRESSES as u8 - 1),
                _ => self.model.command(&self.net, n, ask, self.now),
            },
            _ => self.model.command(&self.net, n, ask, self.now),
        };
        self.check.applied(&message, said, n, &self.model);
        self.tell_changes(n);
        self.bells_of(&message, said, n);
        if let (STRANGERS, Some((key, true))) = (self.model.nodes[n].group, ask.key()) {
            self.check
                .that(false, || format!("router {} writes key {key} to another cluster at {address}", message.router));
        }
        self.trace.mix(said.code());
        let plain = matches!(said, Said::Value(_) | Said::Marked(..) | Said::Nil | Said::Done | Said::Leased(_));
        let plain = plain || matches!(said, Said::LeaseGone | Said::Exists | Said::Moved(..) | Said::Asked(..));
        if !plain {
            self.check.explained(usize::from(message.router), address, self.now);
        }
        self.trace.say(self.now, || {
            format!("node {n} says {said:?} to {ask:?} of router {} (call {call}.{tag})", message.router)
        });
        self.reply(message, |m| Local::Reply { id: m.id, tag, said, asking: ask.is_asking() });
    }

    /// How long something takes on a connection. What is lost is sent again, while all behind it waits; what
    /// meets a cut stops the connection for good, for nobody waits as long as the next attempt would take.
    pub(super) fn carry(&mut self, router: usize, address: usize, id: LaneId, open: bool) -> Option<Time> {
        if !open {
            self.stopped.insert((router, id.serial));
        }
        if self.stopped.contains(&(router, id.serial)) {
            return None;
        }
        let mut again = 0;
        loop {
            match self.net.travel(&mut self.rng, router, address) {
                Some(time) => return Some(again + time),
                None => again += RETRANSMISSION,
            }
        }
    }

    fn reply(&mut self, message: Message, event: impl FnOnce(Message) -> Local) {
        let (router, address) = (usize::from(message.router), usize::from(message.address));
        let open = self.net.node_to_router(address, router);
        if let Some(time) = self.carry(router, address, message.id, open) {
            let event = event(message);
            let at = self.order.next(router, message.id.serial, true, self.now + time);
            let time = at - self.now;
            if matches!(event, Local::Reply { .. }) {
                self.check.answered_at(router, address, u64::from(message.tag), self.now + time);
            } else if !self.rested(router, message.id) {
                self.check.explained(router, address, self.now + time);
            }
            self.local(router, time, event);
        }
    }

    /// A process that was stopped reads what has come meanwhile.
    pub(super) fn thaw(&mut self, address: usize) {
        let waiting = std::mem::take(&mut self.inbox[address]);
        for message in waiting {
            self.after(0, Ev::Arrive(message));
        }
    }

    pub(super) fn drop_inbox(&mut self, address: usize) {
        self.inbox[address].clear();
    }

    /// Asks a question of the control plane, on the connection that is kept for this, or on a new one. It ends with an
    /// answer, a refusal, or the time for it.
    pub(crate) fn ask(&mut self, r: usize, address: usize, question: Question) {
        let kept = self.lines.get(&(r, address)).copied();
        self.put(Asked { router: r, address, asked: self.now, sent: self.now, id: 0, kept, question });
    }

    fn put(&mut self, mut asked: Asked) {
        let (r, address) = (asked.router, asked.address);
        self.questions += 1;
        (asked.id, asked.sent) = (self.questions, self.now);
        self.check.asked_at(r, address, QUESTIONS + asked.id, self.now);
        let there = if self.net.router_to_node(r, address) { self.net.travel(&mut self.rng, r, address) } else { None };
        // A new connection takes a round trip more.
        let there = there.map(|time| if asked.kept.is_some() { time } else { 3 * time });
        match there.filter(|&time| time <= self.routers[r].response_limit()) {
            Some(time) => self.after(time, Ev::Asked(Box::new(asked))),
            None => self.unanswered(asked),
        }
    }

    pub(super) fn asked(&mut self, asked: Asked) {
        let (r, address) = (asked.router, asked.address);
        let Some(n) = self.model.listening(address) else {
            self.lines.remove(&(r, address));
            self.check.explained(r, address, self.now);
            let pause = self.rng.u64(1..crate::model::MS);
            return self.no_answer(r, pause, asked.question, asked.asked);
        };
        let process = Process { node: n as u8, life: self.model.nodes[n].life };
        let back = self.net.travel(&mut self.rng, r, address).filter(|_| self.net.node_to_router(address, r));
        let ended = asked.kept.is_some_and(|kept| kept != process);
        let (Some(back), true) = (back, ended || self.model.nodes[n].up == Up::Running) else {
            return self.unanswered(asked);
        };
        // Later than the limit is as good as never.
        if self.now + back > asked.sent + self.routers[r].response_limit() {
            return self.unanswered(asked);
        }
        let id = asked.id;
        if ended {
            // The connection was closed while nobody used it: once more, on a new one.
            self.lines.remove(&(r, address));
            self.check.answered_at(r, address, QUESTIONS + id, self.now + back);
            return self.local(r, back, Local::AskAnew(Box::new(Asked { kept: None, ..asked })));
        }
        self.lines.insert((r, address), process);
        let (sent, question) = (asked.asked, asked.question);
        self.check.answered_at(r, address, QUESTIONS + id, self.now + back);
        let loading = self.now < self.model.nodes[n].loading_until;
        if loading || self.model.nodes[n].group != self.model.ours {
            self.check.explained(r, address, self.now);
        }
        match question {
            Question::View { round, epochs } => {
                let view = if loading { None } else { self.view_of(n, sent, epochs).map(Box::new) };
                self.local(r, back, Local::View { round, view, loading });
            }
            Question::Witness { mut probe } => {
                probe.witness = if loading { None } else { self.view_of(n, sent, true) };
                self.local(r, back, Local::Probed(probe));
            }
            Question::Report { node, witness } => {
                let known = self.routers[r].cluster.id(node).map(number_of);
                if known.is_some_and(|known| known != n) {
                    // Another node than the one that is meant.
                    self.check.explained(r, address, self.now + back);
                }
                let report = if loading && self.rng.bool() { Err(Reason::Loading) } else { Ok(self.report_of(n)) };
                let ready = report.as_ref().is_ok_and(|r| r.unready().is_none());
                if !ready {
                    self.check.explained(r, address, self.now);
                }
                let probe = Box::new(Probe { node, sent_at: instant(sent), report, witness: None });
                match witness.filter(|_| ready) {
                    Some(witness) => self.local(r, back, Local::AskWitness { address: witness, probe }),
                    None => self.local(r, back, Local::Probed(probe)),
                }
            }
        }
    }

    /// What a node says of the cluster, as far as it may be asked.
    fn view_of(&self, n: usize, sent: Time, epochs: bool) -> Option<View> {
        let Denied { nodes, shards, cluster_info, .. } = self.denied;
        let epochs = epochs && !nodes;
        if shards && !epochs {
            return None;
        }
        let mut view = self.model.view(n, instant(sent), epochs);
        view.info = view.info.filter(|_| !cluster_info);
        Some(view)
    }

    /// What a node says of itself, as far as it may be asked.
    fn report_of(&mut self, n: usize) -> NodeReport {
        let mut report = self.model.report(&self.net, n, self.now);
        if self.denied.info {
            (report.offset, report.link_up, report.link_down_for, report.clients) = (None, None, None, None);
            report.denied.push("INFO");
        }
        if self.denied.cluster_info {
            report.cluster_ok = true;
            (report.my_epoch, report.current_epoch, report.slots_pfail, report.slots_fail) = (None, None, None, None);
            report.denied.push("CLUSTER INFO");
        }
        if self.denied.nodes {
            report.my_epoch = None;
            report.denied.push("CLUSTER NODES");
        }
        report
    }

    /// It is asked once more.
    pub(crate) fn ask_anew(&mut self, asked: Asked) {
        self.put(asked);
    }

    /// Nobody answers before the time for it is up.
    fn unanswered(&mut self, asked: Asked) {
        let Asked { router: r, address, sent, question, asked, .. } = asked;
        self.lines.remove(&(r, address));
        let limit = self.routers[r].response_limit();
        let pause = (sent + limit).saturating_sub(self.now);
        self.no_answer(r, pause, question, asked);
    }

    fn no_answer(&mut self, r: usize, pause: Time, question: Question, asked: Time) {
        match question {
            Question::View { round, .. } => self.local(r, pause, Local::View { round, view: None, loading: false }),
            Question::Report { node, .. } => {
                let probe = Probe { node, sent_at: instant(asked), report: Err(Reason::Timeout), witness: None };
                self.local(r, pause, Local::Probed(Box::new(probe)));
            }
            Question::Witness { probe } => self.local(r, pause, Local::Probed(probe)),
        }
    }
}
