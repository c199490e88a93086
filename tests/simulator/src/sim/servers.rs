//! What reaches the servers, and what they send back.

use super::{Ev, Local, Message, Question, Sim, instant};
use crate::model::{Ask, Said, Time, Up, endpoint};
use crate::plan::Misbehaviour;
use failsoft_policy::Reason;
use failsoft_policy::view::Probe;

impl Sim<'_> {
    /// Sends a command; whether it arrives is the network's matter.
    pub(crate) fn send(&mut self, message: Message) {
        let (router, address) = (usize::from(message.router), usize::from(message.address));
        if !self.net.router_to_node(router, address) {
            return;
        }
        if let Some(time) = self.net.travel(&mut self.rng, router, address) {
            self.after(time, Ev::Arrive(message));
        }
    }

    pub(super) fn arrive(&mut self, message: Message) {
        let Message { call, tag, address, ask, .. } = message;
        let address = usize::from(address);
        let Some(n) = self.model.listening(address) else {
            return self.reply(message, |m| Local::Lost { call: m.call, tag: m.tag });
        };
        if self.model.nodes[n].up == Up::Hung {
            return self.inbox[address].push(message);
        }
        let said = match (self.misbehaving[address], ask) {
            (Some(Misbehaviour::TryAgain), Ask::Get { .. } | Ask::Set { .. }) => Said::TryAgain,
            (Some(Misbehaviour::OutOfMemory), Ask::Set { .. }) => Said::OutOfMemory,
            (Some(Misbehaviour::Garbage), _) => Said::Garbage,
            (Some(Misbehaviour::TooManyClients), _) => Said::TooManyClients,
            (Some(Misbehaviour::Denied), Ask::Get { .. } | Ask::Set { .. }) => Said::Denied,
            _ => self.model.command(&self.net, n, ask, self.now),
        };
        self.trace.mix(said.code());
        self.trace.say(self.now, || {
            format!("node {n} says {said:?} to {ask:?} of router {} (call {call}.{tag})", message.router)
        });
        self.reply(message, |m| Local::Answer { call: m.call, tag: m.tag, said });
    }

    fn reply(&mut self, message: Message, event: impl FnOnce(Message) -> Local) {
        let (router, address) = (usize::from(message.router), usize::from(message.address));
        if !self.net.node_to_router(address, router) {
            return;
        }
        if let Some(time) = self.net.travel(&mut self.rng, router, address) {
            self.local(router, time, event(message));
        }
    }

    /// A process that was stopped reads what has come meanwhile.
    pub(super) fn thaw(&mut self, address: usize) {
        let waiting = std::mem::take(&mut self.inbox[address]);
        for message in waiting {
            let pause = self.rng.u64(0..2 * crate::model::MS);
            self.after(pause, Ev::Arrive(message));
        }
    }

    pub(super) fn drop_inbox(&mut self, address: usize) {
        self.inbox[address].clear();
    }

    /// Asks a question of the control plane. It ends with an answer, a refusal, or the time for it.
    pub(crate) fn ask(&mut self, r: usize, address: usize, question: Question) {
        let there = if self.net.router_to_node(r, address) { self.net.travel(&mut self.rng, r, address) } else { None };
        let sent = self.now;
        match there {
            Some(time) => {
                let question = Box::new(question);
                self.after(time, Ev::Asked { router: r as u8, address: address as u8, sent, question });
            }
            None => self.unanswered(r, sent, question),
        }
    }

    pub(super) fn asked(&mut self, r: usize, address: usize, sent: Time, question: Question) {
        let Some(n) = self.model.listening(address) else {
            let pause = self.rng.u64(1..crate::model::MS);
            return self.no_answer(r, pause, question);
        };
        let back = self.net.travel(&mut self.rng, r, address).filter(|_| self.net.node_to_router(address, r));
        let (Some(back), Up::Running) = (back, self.model.nodes[n].up) else {
            return self.unanswered(r, sent, question);
        };
        // Later than the limit is as good as never.
        if self.now + back > sent + self.routers[r].response_limit() {
            return self.unanswered(r, sent, question);
        }
        let loading = self.now < self.model.nodes[n].loading_until;
        match question {
            Question::View { round, epochs } => {
                let view = (!loading).then(|| Box::new(self.model.view(n, instant(sent), epochs)));
                self.local(r, back, Local::View { round, view, loading });
            }
            Question::Witness { mut probe } => {
                probe.witness = (!loading).then(|| self.model.view(n, instant(sent), true));
                self.local(r, back, Local::Probed(probe));
            }
            Question::Report { node, witness } => {
                let report = if loading && self.rng.bool() {
                    Err(Reason::Loading)
                } else {
                    Ok(self.model.report(&self.net, n, self.now))
                };
                let ready = report.as_ref().is_ok_and(|r| r.unready().is_none());
                let probe = Box::new(Probe { node, sent_at: instant(sent), report, witness: None });
                match witness.filter(|_| ready) {
                    Some(witness) => self.local(r, back, Local::AskWitness { address: witness, probe }),
                    None => self.local(r, back, Local::Probed(probe)),
                }
            }
        }
    }

    /// Nobody answers before the time for it is up.
    fn unanswered(&mut self, r: usize, sent: Time, question: Question) {
        let limit = self.routers[r].response_limit();
        let pause = (sent + limit).saturating_sub(self.now);
        self.no_answer(r, pause, question);
    }

    fn no_answer(&mut self, r: usize, pause: Time, question: Question) {
        match question {
            Question::View { round, .. } => self.local(r, pause, Local::View { round, view: None, loading: false }),
            Question::Report { node, .. } => {
                let probe = Probe { node, sent_at: instant(self.now), report: Err(Reason::Timeout), witness: None };
                self.local(r, pause, Local::Probed(Box::new(probe)));
            }
            Question::Witness { probe } => self.local(r, pause, Local::Probed(probe)),
        }
    }

    /// The connections of a process that died are reset, as far as the network carries that.
    pub(super) fn reset_connections(&mut self, address: usize) {
        for r in 0..self.routers.len() {
            if !self.net.node_to_router(address, r) {
                continue;
            }
            let lost: Vec<(u32, u32)> = self.routers[r].in_flight_at(&endpoint(address)).collect();
            for (call, tag) in lost {
                let pause = self.rng.u64(0..crate::model::MS);
                self.local(r, pause, Local::Lost { call, tag });
            }
        }
    }
}
