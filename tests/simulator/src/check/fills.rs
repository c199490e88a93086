//! What must hold of fills: none brings back what is older than a `set` that was over before it.

use super::Check;
use crate::model::{Ask, BLOCKS, KEYS, Model, Said};
use crate::router::Call;
use crate::sim::Message;
use std::collections::BTreeSet;

/// How new the value of each key has to be.
#[derive(Debug, Default)]
pub(super) struct Floor {
    /// The newest value of each key that was set, by a call that has ended.
    set: [u32; KEYS],
    /// The attempts of `set` that the slot's true owner has carried out: of which router, and which one. What another
    /// node acknowledged, that only believes to be the owner, is lost.
    kept: BTreeSet<(u8, u32)>,
}

impl Check {
    /// A node has carried out a command, and says this.
    pub(crate) fn applied(&mut self, message: &Message, said: Said, n: usize, model: &Model) {
        let Some((key, true)) = message.ask.key() else { return };
        let block = usize::from(key) % BLOCKS;
        if said != Said::Done || model.true_owner(block) != Some(n) {
            return;
        }
        match message.ask {
            Ask::Set { .. } => drop(self.floor.kept.insert((message.router, message.tag))),
            Ask::Fill { value, .. } => {
                let (floor, router) = (self.floor.set[usize::from(key)], message.router);
                self.that(value >= floor, || {
                    format!("router {router} fills key {key} with {value}, though it was set to {floor} before")
                });
            }
            Ask::Ping | Ask::Get { .. } | Ask::Lease { .. } => {}
        }
    }

    /// A `set` is over, and its caller told so.
    pub(super) fn set_done(&mut self, r: usize, call: &Call, value: u32) {
        if self.floor.kept.remove(&(r as u8, call.tag)) {
            let floor = &mut self.floor.set[usize::from(call.key)];
            *floor = value.max(*floor);
        }
    }
}
