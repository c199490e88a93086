//! Listens to nodes: opens the connections on which they tell what is invalidated, asks on them, and hands over what is
//! told.

use super::lanes::{KEYS, TELLS};
use super::{key_of, name_of, slot_of};
use crate::model::{Ask, BLOCKS, Said, answer};
use crate::sim::{LaneId, Local, Rung, Sim, instant};
use bytes::Bytes;
use failsoft_policy::connection::{Attempt, Failure, Phase};
use failsoft_policy::hearing::{Answer, Command, Ear};
use failsoft_policy::invalidations::Id;
use failsoft_policy::wire::{bell_name, id};
use failsoft_policy::{Instant, NodeKey, action};

/// Stands for a call where what is asked on a connection for listening is named.
pub(super) const LISTENING: u32 = u32::MAX;

/// The id of an attempt to invalidate a key.
pub(super) fn id_of(number: u32) -> Id {
    id(u64::from(number))
}

/// What is under way on a connection for listening.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    ToTell { ear: Ear, node: NodeKey, line: u64 },
    Probe { ear: Ear, node: NodeKey, line: u64, at: Instant },
}

/// The connection that is for this.
fn lane_of(ear: Ear) -> usize {
    match ear {
        Ear::Bells => TELLS,
        Ear::Keys => KEYS,
        Ear::Events => unreachable!("no router here asks for events"),
    }
}

impl Sim<'_> {
    /// Carries out what is to be done for listening.
    pub(super) fn listen(&mut self, r: usize) {
        let now = instant(self.now);
        let mut commands = Vec::new();
        loop {
            let dice = self.rng.u32(..);
            let Some(command) = self.routers[r].cluster.listen(now, dice) else { break };
            commands.push(command);
            if commands.len() > 200 {
                return self.check.that(false, || format!("router {r}: listen does not end: {command:?}"));
            }
        }
        for (ear, command) in commands {
            self.trace.say(self.now, || format!("router {r}: {ear:?} {command:?}"));
            match command {
                Command::Open { node } => self.begin_to_listen(r, ear, node),
                Command::Probe { node, line, slot, at } => {
                    let key = (usize::from(slot.number()) * BLOCKS / usize::from(failsoft_policy::Slot::COUNT)) as u8;
                    let asked = Asked::Probe { ear, node, line, at };
                    self.ask_on(r, (ear, node, line), Ask::Exists { key }, asked);
                }
                Command::Close { node, line } => self.stop_listening(r, ear, node, line),
            }
        }
    }

    /// Opens a connection in place of the one that there may be.
    fn begin_to_listen(&mut self, r: usize, ear: Ear, node: NodeKey) {
        let lane = lane_of(ear);
        if let Some(line) = self.tells(r, node, lane) {
            self.stop_listening(r, ear, node, line);
        }
        let Some(id) = self.lane(r, node, lane) else {
            let dice = self.rng.u32(..);
            return self.routers[r].cluster.handle_listening(ear, node, Err(Answer::Lost), instant(self.now), dice);
        };
        let line = u64::from(id.serial);
        let ask = if ear == Ear::Keys { Ask::Track } else { Ask::Listen };
        self.ask_on(r, (ear, node, line), ask, Asked::ToTell { ear, node, line });
    }

    /// Asks something on this connection, and on no other one.
    fn ask_on(&mut self, r: usize, (ear, node, line): (Ear, NodeKey, u64), ask: Ask, asked: Asked) {
        let lane = lane_of(ear);
        let config = &self.routers[r].config;
        let until = instant(self.now) + config.connect_timeout() + config.attempt_timeout();
        let tag = self.routers[r].next_tag();
        self.routers[r].asked_to_listen.insert(tag, asked);
        let there = self.tells(r, node, lane) == Some(line);
        let sent = there.then(|| self.submit(r, node, lane, (LISTENING, tag), ask, Attempt::until(until))).flatten();
        if sent.is_none() {
            self.local(r, 0, Local::Failed { call: LISTENING, tag, answer: action::Answer::Closed });
        }
    }

    /// The connection on which a node tells, while it is open or being opened.
    pub(super) fn tells(&mut self, r: usize, node: NodeKey, lane: usize) -> Option<u64> {
        let lane = self.routers[r].member(node)?.lanes[lane].as_ref()?;
        (!matches!(lane.machine.phase(), Phase::Ended(_))).then_some(u64::from(lane.serial))
    }

    fn stop_listening(&mut self, r: usize, ear: Ear, node: NodeKey, line: u64) {
        let id = LaneId { node, lane: lane_of(ear) as u8, serial: line as u32 };
        self.on_broken(r, id, Failure::Closed);
    }

    /// What was asked has an answer, or will have none.
    pub(super) fn listening_ended(&mut self, r: usize, tag: u32, said: Option<Said>) {
        let Some(asked) = self.routers[r].asked_to_listen.remove(&tag) else { return };
        let answer = said.map_or(Answer::Lost, |said| match answer(said, self.model.setup.short_redirects) {
            action::Answer::Error(reply) => Answer::Refused(reply),
            _ => Answer::Owner,
        });
        self.trace.say(self.now, || format!("router {r}: {asked:?} has come to {answer:?}"));
        let (now, dice) = (instant(self.now), self.rng.u32(..));
        let cluster = &mut self.routers[r].cluster;
        match asked {
            Asked::ToTell { ear, node, line } => {
                let opened = if answer == Answer::Owner { Ok(line) } else { Err(answer) };
                if opened.is_err() {
                    self.stop_listening(r, ear, node, line);
                }
                self.routers[r].cluster.handle_listening(ear, node, opened, now, dice);
            }
            Asked::Probe { ear, node, line, at } => {
                cluster.handle_listening_probe(ear, (node, line), at, &answer, now, dice);
            }
        }
        self.settle(r, true);
    }

    /// A node told a bell.
    pub(super) fn on_told(&mut self, r: usize, id: LaneId, bell: Rung) {
        if self.tells(r, id.node, TELLS) != Some(u64::from(id.serial)) {
            return;
        }
        let name = bell_name(slot_of(bell.at), &id_of(bell.number), &name_of(bell.key));
        let (now, dice) = (instant(self.now), self.rng.u32(..));
        let news = self.routers[r].cluster.handle_bells(id.node, [&name[..]], now, dice);
        let news: Vec<u8> = news.into_iter().map(|key| key_of(&Bytes::copy_from_slice(key))).collect();
        self.trace.say(self.now, || format!("router {r} is told {bell:?} by {:?}, news of {news:?}", id.node));
        for &key in &news {
            self.detach(r, key);
            self.check.load_let_go(r, key);
            self.check.knows(r, key);
        }
        self.check.told(r, bell, &self.routers[r], self.now);
        self.settle(r, true);
    }
}
