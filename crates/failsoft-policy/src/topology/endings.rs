//! What a view ends: redirects that it answers, claims that were given up, nodes that are named no more.

use super::{Claim, MAX_UNCONFIRMED, Topology};
use crate::nodes::Nodes;
use crate::runs::Runs;
use crate::time::Instant;
use crate::view::ViewNode;
use crate::words::{Endpoint, NodeKey};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

impl Topology {
    /// Ends the claims of nodes whose addresses others have taken.
    pub(super) fn drop_claims_of(&mut self, displaced: &BTreeSet<NodeKey>) -> bool {
        if displaced.is_empty() {
            return false;
        }
        let patches = self.patches.len();
        self.patches.retain(|_, p| !displaced.contains(&p.owner));
        let mut changed = patches != self.patches.len();
        self.claims.change(&Runs::all(()), |held, ()| {
            let ends = held.is_some_and(|c| displaced.contains(&c.owner));
            changed |= ends;
            held.filter(|_| !ends)
        });
        changed
    }

    /// A redirect names an address: when the node moves that was taken to be there, it means who is there now, if anybody
    /// is known.
    pub(super) fn keep_patches_in_place(&mut self, nodes: &Nodes, moved: &BTreeMap<NodeKey, Endpoint>) {
        self.patches.retain(|_, patch| match moved.get(&patch.owner).map(|place| nodes.at(place)) {
            Some(Some(there)) => {
                patch.owner = there;
                true
            }
            Some(None) => false,
            None => true,
        });
    }

    /// Ends the patches that this later view answers, and the claims it shows to be given up: the
    /// owner is named, at an epoch no lower than its claim, and nobody owns the slot.
    pub(super) fn settle(
        &mut self,
        keys: &BTreeMap<&str, NodeKey>,
        seen: &[ViewNode],
        named: &Runs<Option<Claim>>,
        asked_at: Instant,
        best: bool,
    ) -> bool {
        let before = self.patches.len();
        let there: BTreeSet<NodeKey> = keys.values().copied().collect();
        let epochs: BTreeMap<NodeKey, u64> =
            seen.iter().filter_map(|n| Some((*keys.get(n.id.as_str())?, n.epoch?))).collect();
        let without = |c: Claim| match best {
            true => there.contains(&c.owner),
            false => epochs.get(&c.owner).is_some_and(|&e| e >= c.epoch),
        };
        // Whoever gave a slot away may keep the higher epoch: where a redirect and a later view, which
        // shows it without the slot, agree on the new owner, it is that one's.
        for (&slot, patch) in self.patches.iter().filter(|(_, p)| p.at < asked_at) {
            let new = named.get(slot).filter(|new| new.owner == patch.owner);
            let held = self.claims.get(slot).filter(|&held| held.owner != patch.owner && without(held));
            if let (Some(new), Some(_)) = (new, held) {
                self.claims.set(slot, Some(new));
            }
        }
        let claims = &self.claims;
        self.patches.retain(|slot, patch| {
            let agreed = claims.get(*slot).is_some_and(|c| c.owner == patch.owner);
            let overruled = named.get(*slot).is_some_and(|c| patch.over.is_none_or(|over| c.epoch > over));
            if patch.at >= asked_at {
                return true;
            }
            // Views of one round were asked for together, and lag together.
            if patch.unconfirmed_at < asked_at {
                patch.unconfirmed_at = asked_at;
                patch.unconfirmed += 1;
            }
            !agreed && !overruled && patch.unconfirmed < MAX_UNCONFIRMED
        });
        let mut changed = self.patches.len() != before;
        self.claims.change(named, |held, named| {
            let ended = named.is_none() && held.is_some_and(without);
            changed |= ended;
            held.filter(|_| !ended)
        });
        changed
    }

    /// Ends the claims of owners that several views in turn no longer name, whatever their epochs.
    pub(super) fn drop_forgotten(
        &mut self,
        keys: &BTreeMap<&str, NodeKey>,
        named: &Runs<Option<Claim>>,
        asked_at: Instant,
    ) -> bool {
        let there: BTreeSet<NodeKey> = keys.values().copied().collect();
        let gone = self.owners().into_iter().filter(|o| !there.contains(o));
        let before = core::mem::take(&mut self.unnamed);
        for owner in gone {
            let (views, last) = before.get(&owner).copied().unwrap_or((0, Instant::ZERO));
            let again = u32::from(last < asked_at);
            self.unnamed.insert(owner, (views + again, last.max(asked_at)));
        }
        let forgotten: BTreeSet<NodeKey> =
            self.unnamed.iter().filter(|(_, (views, _))| *views >= MAX_UNCONFIRMED).map(|(&owner, _)| owner).collect();
        if forgotten.is_empty() {
            return false;
        }
        self.unnamed.retain(|owner, _| !forgotten.contains(owner));
        self.claims
            .change(named, |held, named| if held.is_some_and(|c| forgotten.contains(&c.owner)) { named } else { held });
        true
    }

    /// Forgets nodes that an epoch-carrying view no longer names and that own nothing.
    pub(super) fn forget_unnamed(
        &mut self,
        nodes: &mut Nodes,
        keys: &BTreeMap<&str, NodeKey>,
        asked_at: Instant,
    ) -> bool {
        let named: BTreeSet<NodeKey> = keys.values().copied().collect();
        let owners = self.owners();
        let gone: Vec<NodeKey> = nodes
            .iter()
            .filter(|n| n.seen_at() < asked_at && !named.contains(&n.key()) && !owners.contains(&n.key()))
            .map(|n| n.key())
            .collect();
        for &key in &gone {
            nodes.remove(key);
        }
        !gone.is_empty()
    }
}
