//! The near cache of a router: what it is made of. When it serves is the policy's to say.

use super::lanes::KEYS;
use super::slot_of;
use crate::model::Time;
use crate::sim::{LaneId, Sim, instant};
use failsoft_policy::copies::Held;
use failsoft_policy::near::{Known, Near, serves};
use failsoft_policy::{Instant, NodeKey};

impl Sim<'_> {
    /// The near copy of a key, if one may be served now.
    pub(super) fn near(&mut self, r: usize, key: u8) -> Option<(u32, Held)> {
        let now = instant(self.now);
        let router = &self.routers[r];
        let (value, held, near) = router.near.get(&key)?;
        let (value, held, node) = (*value, *held, held.node?);
        let known = Known {
            now,
            trust: router.cluster.trust(node),
            generation: router.generations[usize::from(key)],
            snapshot: &router.snapshot,
        };
        serves(&router.config, &held, near, &known)?;
        self.routers[r].cluster.handle_use(node, now, now);
        Some((value, held))
    }

    /// The generation of a key that is to be asked for so that a near copy comes of it.
    pub(super) fn tracks(&mut self, r: usize, key: u8, node: NodeKey, dice: u32) -> Option<u64> {
        let now = instant(self.now);
        let trust = self.routers[r].cluster.trust(node).filter(|trust| now < trust.until && dice.is_multiple_of(2))?;
        if self.tells(r, node, KEYS) != Some(trust.line) {
            return None;
        }
        // Otherwise it is asked for on the usual connection.
        let room = self.routers[r].member(node)?.lanes[KEYS].as_ref()?.machine.has_room();
        room.then(|| self.routers[r].generations[usize::from(key)])
    }

    /// A tracked read has an answer.
    pub(super) fn keep_near(&mut self, r: usize, (key, value): (u8, u32), node: NodeKey, asked_at: Time, of: u64) {
        let held = Held { current_at: instant(asked_at), node: Some(node) };
        let router = &mut self.routers[r];
        if router.generations[usize::from(key)] != of {
            // The key was changed while its answer was on the way.
            return;
        }
        // No key of the model expires.
        let near = Near { slot: slot_of(key), expires_at: Instant::MAX, generation: of };
        router.near.insert(key, (value, held, near));
        router.keep(key, value, held);
    }

    /// Something has happened to this key, or is about to.
    pub(super) fn changed(&mut self, r: usize, key: u8) {
        let router = &mut self.routers[r];
        router.generations[usize::from(key)] += 1;
        router.near.remove(&key);
        router.copies.remove(&key);
    }

    /// A node told that something happened to a key.
    pub(super) fn on_changed(&mut self, r: usize, id: LaneId, key: u8) {
        if self.tells(r, id.node, KEYS) == Some(u64::from(id.serial)) {
            self.trace.say(self.now, || format!("router {r} is told by {:?} that key {key} has changed", id.node));
            self.changed(r, key);
        }
    }
}
