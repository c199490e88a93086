//! What must hold of writes: none brings back what is older than a `set` or an invalidation that was over before it,
//! and in the process that invalidates a key nobody who sets out afterwards gets anything older.

use super::Check;
use crate::model::{Ask, BLOCKS, KEYS, Model, Said, Time};
use crate::router::{Call, Job, Part};
use crate::sim::Message;
use std::collections::BTreeSet;

/// How new the value of each key has to be.
#[derive(Debug, Default)]
pub(super) struct Floor {
    /// The newest value of each key that was set, or that the store had when it was invalidated, by a call that has ended.
    over: [u32; KEYS],
    /// The attempts that the slot's true owner has carried out: of which router, and which one. What another
    /// node acknowledged, that only believes to be the owner, is lost.
    kept: BTreeSet<(u8, u32)>,
}

/// What a router's own readers get of each key at the least, and since when.
pub(super) type Own = [Option<(u32, Time)>; KEYS];

impl Check {
    /// A node has carried out a command, and says this.
    pub(crate) fn applied(&mut self, message: &Message, said: Said, n: usize, model: &Model) {
        let Some((key, true)) = message.ask.key() else { return };
        if let Ask::Set { value, .. } = message.ask
            && said == Said::Done
        {
            // A `set` is ordered by its arrival: what it brings back is its own.
            for heard in &mut self.routers {
                for known in [&mut heard.own, &mut heard.told] {
                    known[usize::from(key)].take_if(|(floor, _)| value < *floor);
                }
            }
            self.bells.overruled(key, value);
        }
        let block = usize::from(key) % BLOCKS;
        if said != Said::Done || model.true_owner(block) != Some(n) {
            return;
        }
        match message.ask {
            Ask::Set { .. } | Ask::Invalidate { .. } => drop(self.floor.kept.insert((message.router, message.tag))),
            Ask::Fill { value, .. } => {
                let (floor, router) = (self.floor.over[usize::from(key)], message.router);
                self.that(value >= floor, || {
                    format!("router {router} fills key {key} with {value}, though it was {floor} before")
                });
            }
            Ask::Ping
            | Ask::Listen
            | Ask::Track
            | Ask::Exists { .. }
            | Ask::Get { .. }
            | Ask::Lease { .. }
            | Ask::Prolong { .. }
            | Ask::Release { .. }
            | Ask::Delete { .. }
            | Ask::Mark { .. }
            | Ask::Hold { .. }
            | Ask::Lift { .. } => {}
        }
    }

    /// A write is over, and its caller told so.
    pub(super) fn write_done(&mut self, r: usize, call: &Call, job: &Job) {
        let value = match job {
            Job::Set { value } => *value,
            Job::Step(Part::Key, of) => of.floor,
            Job::Step(..) | Job::Fill { .. } => return,
        };
        if self.floor.kept.remove(&(r as u8, call.tag)) {
            self.raise(call.key, value);
        }
    }

    fn raise(&mut self, key: u8, value: u32) {
        let floor = &mut self.floor.over[usize::from(key)];
        *floor = value.max(*floor);
    }

    /// A writer has changed a key in the store. If it holds the key, nothing older is written back from now on, whatever
    /// becomes of the writer.
    pub(crate) fn committed(&mut self, key: u8, version: u32, writer: u32, model: &Model, now: Time) {
        if model.is_held_by(usize::from(key), writer, now) {
            self.raise(key, version);
        }
    }

    /// A router begins to invalidate a key, which the store has in this version.
    pub(crate) fn invalidated(&mut self, r: usize, key: u8, floor: u32, now: Time) {
        self.load_let_go(r, key);
        self.routers[r].own[usize::from(key)] = Some((floor, now));
        self.knows(r, key);
    }

    /// A router has invalidated a key, or heard that another one did.
    pub(crate) fn knows(&mut self, r: usize, key: u8) {
        self.routers[r].known[usize::from(key)] = true;
    }

    /// Whether it has, so that not every replica stands in for the key.
    pub(crate) fn has_known(&self, r: usize, key: u8) -> bool {
        self.routers[r].known[usize::from(key)]
    }

    /// What the router's own readers get of a key at the least.
    pub(crate) fn floor_of(&self, r: usize, key: u8) -> u32 {
        let (own, told) = (self.routers[r].own[usize::from(key)], self.routers[r].told[usize::from(key)]);
        own.max(told).map_or(0, |(floor, _)| floor)
    }

    /// A caller that set out at `began` gets this value of a key.
    pub(crate) fn fresh(&mut self, r: usize, (key, value): (u8, u32), began: Time, now: Time) {
        let heard = &self.routers[r];
        // After that it is forgotten.
        let (key_at, until) = (usize::from(key), heard.remembers);
        for (known, how) in
            [(heard.own[key_at], "invalidated it"), (heard.told[key_at], "was told that it was invalid")]
        {
            let Some((floor, since)) = known.filter(|(_, since)| now < since + until) else { continue };
            self.that(value == 0 || value >= floor || began <= since, || {
                format!("router {r} gives {value} of key {key}, though it {how} when that was {floor}")
            });
        }
    }
}
