//! Who owns what by all that one router was told: views with their epochs, and redirects.

use crate::model::{BLOCKS, MAX, Time, address, number_of, slot_number};
use failsoft_policy::Instant;
use failsoft_policy::view::{Role, View, ViewNode};

/// A set of addresses, and one of nodes.
type Addresses = u32;
type Nodes = u32;

/// After so many views that do not bear it out, a redirect may be forgotten, and so may the claim of a
/// node that they do not name.
const PATIENCE: u32 = 3;

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// The highest epoch at which it was claimed, and who claimed it so.
    epoch: u64,
    claimed_by: Nodes,
    /// Views in turn that named none of those.
    unnamed: u32,
    unnamed_at: Instant,
    /// Wherever a view or a redirect ever said its owner to be, and whom a view said it to be.
    named: Addresses,
    owners: Nodes,
    patch: Option<Patch>,
}

/// The last `MOVED` for a block.
#[derive(Clone, Copy, Debug)]
struct Patch {
    address: usize,
    at: Time,
    /// The epoch that it said something else than.
    over: u64,
    /// Later views with epochs, asked for at different times.
    unconfirmed: u32,
    unconfirmed_at: Instant,
    /// Whether any later view has come at all, or a higher epoch.
    answered: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Map {
    blocks: [Block; BLOCKS],
    /// Wherever views ever said each node to be.
    addresses: [Addresses; MAX],
}

impl Map {
    pub(super) fn heard(&mut self, view: &View) {
        let nodes = || view.nodes.iter().flatten();
        let number = |n: &ViewNode| number_of(&n.id);
        for node in nodes() {
            if let Some(endpoint) = &node.endpoint {
                self.addresses[number(node)] |= 1 << address(endpoint);
            }
        }
        let epochs = view.has_epochs();
        let there = nodes().fold(0, |set: Nodes, n| set | 1 << number(n));
        // The claims of a node end, whatever their epochs, when a view does not name it and has another one at its address.
        let taken = nodes().filter_map(|n| n.endpoint.as_ref()).fold(0, |set: Addresses, e| set | 1 << address(e));
        let displaced = (0..MAX).filter(|n| there & (1 << n) == 0 && self.addresses[*n] & taken != 0);
        let displaced = displaced.fold(0, |set: Nodes, n| set | 1 << n);
        for (b, block) in self.blocks.iter_mut().enumerate() {
            let slot = slot_number(b as u8);
            let owns = |n: &&ViewNode| n.role == Role::Primary && n.slots.iter().any(|&(a, z)| a <= slot && slot <= z);
            let owner = nodes().find(owns);
            if let Some(at) = owner.and_then(|n| n.endpoint.as_ref()).map(address) {
                block.named |= 1 << at;
            }
            block.owners |= owner.map_or(0, |n| 1 << number(n));
            if block.claimed_by & displaced != 0 {
                block.claimed_by &= !displaced;
                block.epoch = if block.claimed_by == 0 { 0 } else { block.epoch };
            }
            if let Some((who, epoch)) = owner.and_then(|n| Some((number(n), n.epoch?))) {
                block.claim(who, epoch);
            }
            if epochs {
                // Nobody owns it, and whoever claimed it is there without it: the claim is given up.
                let (claimants, claimed) = (block.claimed_by, block.epoch);
                let without = |n: &ViewNode| claimants & (1 << number(n)) != 0 && n.epoch.is_some_and(|e| e >= claimed);
                if block.claimed_by & there != 0 {
                    block.unnamed = 0;
                } else if block.unnamed_at < view.asked_at {
                    (block.unnamed, block.unnamed_at) = (block.unnamed + 1, view.asked_at);
                }
                if (owner.is_none() && nodes().any(without)) || block.unnamed >= PATIENCE {
                    (block.epoch, block.claimed_by) = (0, 0);
                }
                // A redirect and a later view agree on another owner, and the claimant is there without it.
                let redirected = |n: &ViewNode| {
                    let at = n.endpoint.as_ref().map(address);
                    block.patch.is_some_and(|p| {
                        Some(p.address) == at && p.at < view.asked_at.as_nanos() && p.unconfirmed < PATIENCE
                    })
                };
                if let Some(new) = owner.filter(|n| redirected(n) && nodes().any(without)) {
                    (block.epoch, block.claimed_by) = (new.epoch.unwrap_or(0), 1 << number(new));
                    block.patch = None;
                }
            }
            // Only then a redirect is overruled: the view that overrules it may have borne it out.
            let later = block.patch.filter(|p| p.at < view.asked_at.as_nanos());
            if later.is_some_and(|p| owner.and_then(|n| n.epoch).is_some_and(|epoch| epoch > p.over)) {
                block.patch = None;
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
        let unconfirmed_at = Instant::from_nanos(at);
        block.patch = Some(Patch { address, at, over: block.epoch, unconfirmed: 0, unconfirmed_at, answered: false });
    }

    /// Whether a node was ever named as the owner of a block.
    pub(super) fn named(&self, block: usize, address: usize) -> bool {
        let Block { named, owners, .. } = self.blocks[block];
        // An owner that has moved is followed.
        named & (1 << address) != 0
            || (0..MAX).any(|n| owners & (1 << n) != 0 && self.addresses[n] & (1 << address) != 0)
    }

    /// Whether another node claims the block with a higher epoch than any claim of this one, and no
    /// redirect says otherwise.
    pub(super) fn superseded(&self, block: usize, address: usize) -> bool {
        let block = &self.blocks[block];
        let redirected = block.patch.is_some_and(|p| p.address == address && p.unconfirmed <= PATIENCE);
        let here = |n: &usize| block.claimed_by & (1 << n) != 0 && self.addresses[*n] & (1 << address) != 0;
        block.epoch > 0 && !(0..MAX).any(|n| here(&n)) && !redirected
    }

    /// Where a redirect sent the reads of a block, if no later view has come; and when it did.
    pub(super) fn patched(&self, block: usize) -> Option<(usize, Time)> {
        self.blocks[block].patch.filter(|p| !p.answered).map(|p| (p.address, p.at))
    }
}

impl Block {
    fn claim(&mut self, who: usize, epoch: u64) {
        if epoch > self.epoch {
            (self.epoch, self.claimed_by) = (epoch, 0);
            // Whatever a redirect said, a higher epoch says more.
            self.patch.iter_mut().for_each(|p| p.answered = true);
        }
        if epoch == self.epoch {
            self.claimed_by |= 1 << who;
        }
    }
}
