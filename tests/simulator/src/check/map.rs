//! Who owns what by all that one router was told: views with their epochs, and redirects.

use crate::model::{BLOCKS, Time, address, slot_number};
use failsoft_policy::Instant;
use failsoft_policy::view::{Role, View};

/// A set of addresses.
type Addresses = u32;

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// The highest epoch at which it was claimed, and who claimed it so.
    epoch: u64,
    claimed_by: Addresses,
    /// Whoever a view or a redirect ever named as its owner.
    named: Addresses,
    patch: Option<Patch>,
}

/// The last `MOVED` for a block.
#[derive(Clone, Copy, Debug)]
struct Patch {
    address: usize,
    at: Time,
    /// Later views with epochs, asked for at different times, that named somebody else.
    unconfirmed: u32,
    unconfirmed_at: Instant,
    /// Whether any later view has come at all.
    answered: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Map {
    blocks: [Block; BLOCKS],
    /// Whether a view with epochs has come.
    pub(super) epochs: bool,
}

impl Map {
    pub(super) fn heard(&mut self, view: &View) {
        let epochs = view.has_epochs();
        self.epochs |= epochs;
        for (b, block) in self.blocks.iter_mut().enumerate() {
            let slot = slot_number(b as u8);
            let owns = |n: &&failsoft_policy::view::ViewNode| {
                n.role == Role::Primary && n.slots.iter().any(|&(a, z)| a <= slot && slot <= z)
            };
            let owner = view.nodes.iter().flatten().find(owns);
            let named = owner.and_then(|n| n.endpoint.as_ref()).map(address);
            if let Some(at) = named {
                block.named |= 1 << at;
            }
            if let (Some(at), Some(epoch)) = (named, owner.and_then(|n| n.epoch)) {
                if epoch > block.epoch {
                    (block.epoch, block.claimed_by) = (epoch, 0);
                }
                if epoch == block.epoch {
                    block.claimed_by |= 1 << at;
                }
            }
            let Some(patch) = block.patch.as_mut().filter(|p| p.at < view.asked_at.as_nanos()) else { continue };
            patch.answered = true;
            if epochs && patch.unconfirmed_at < view.asked_at {
                (patch.unconfirmed, patch.unconfirmed_at) = (patch.unconfirmed + 1, view.asked_at);
            }
        }
    }

    pub(super) fn moved(&mut self, block: usize, address: usize, at: Time) {
        let block = &mut self.blocks[block];
        block.named |= 1 << address;
        block.patch =
            Some(Patch { address, at, unconfirmed: 0, unconfirmed_at: Instant::from_nanos(at), answered: false });
    }

    /// Whether a node was ever named as the owner of a block.
    pub(super) fn named(&self, block: usize, address: usize) -> bool {
        self.blocks[block].named & (1 << address) != 0
    }

    /// Whether another node claims the block with a higher epoch than any claim of this one, and no
    /// redirect says otherwise.
    pub(super) fn superseded(&self, block: usize, address: usize) -> bool {
        let block = &self.blocks[block];
        let redirected = block.patch.is_some_and(|p| p.address == address && p.unconfirmed <= 3);
        block.epoch > 0 && block.claimed_by & (1 << address) == 0 && !redirected
    }

    /// Where a redirect sent the reads of a block, if no later view has come; and when it did.
    pub(super) fn patched(&self, block: usize) -> Option<(usize, Time)> {
        self.blocks[block].patch.filter(|p| !p.answered).map(|p| (p.address, p.at))
    }
}
