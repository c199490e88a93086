//! Slot to owner, with config epochs and MOVED patches: a map that never goes back.
//!
//! Source: cluster specification, "Cluster configuration, propagation and failure detection" (a
//! claim with a higher config epoch wins) and "MOVED Redirection".

mod bind;
mod endings;

use crate::nodes::Nodes;
use crate::runs::Runs;
use crate::time::Instant;
use crate::view::{Role, View};
use crate::words::{Endpoint, NodeKey, Slot};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use bind::{Bound, bind};
use core::time::Duration;

/// Redirects may name at most this many nodes that no view has named yet.
const MAX_UNSEEN: usize = 64;
/// So many views, asked for at different times, may fail to confirm a redirect, or to name an owner,
/// before it is forgotten: a view may lag, but a redirect that lies must not hold for ever, nor the
/// claim of a node that the cluster was told to forget.
const MAX_UNCONFIRMED: u32 = 3;

/// When no view with epochs came for so long, though they were asked for, none can be had.
const BLIND: Duration = Duration::from_secs(5);

/// What kind of server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No view has come yet.
    Unknown,
    /// A cluster.
    Cluster,
    /// A single server without cluster mode: one shard with all slots.
    Standalone,
}

/// What a view changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Nothing, or it said nothing usable.
    Nothing,
    /// Nodes, roles or owners.
    Changed,
    /// It contradicts the map but carries no epochs to decide by: a view with epochs is needed.
    Doubt,
    /// It shares no node with ours: perhaps another cluster lives at these addresses.
    Foreign,
}

/// What a view is worth when it contradicts the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// Its config epochs decide.
    Epochs,
    /// It has none: a view with epochs is asked for.
    Hint,
    /// It has none, though they were asked for, as all the last ones: there is nothing better.
    Best,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    owner: NodeKey,
    epoch: u64,
}

#[derive(Clone, Copy, Debug)]
struct Patch {
    owner: NodeKey,
    at: Instant,
    /// The epoch of the claim it overrode, if there was one.
    over: Option<u64>,
    /// How many later views did not confirm it, and when the last of them was asked for.
    unconfirmed: u32,
    unconfirmed_at: Instant,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Topology {
    kind: Kind,
    claims: Runs<Option<Claim>>,
    patches: BTreeMap<Slot, Patch>,
    /// Owners that the last views with epochs did not name: how many, and when the last was asked for.
    unnamed: BTreeMap<NodeKey, (u32, Instant)>,
    /// When the last view with epochs was asked for.
    compared_at: Option<Instant>,
    /// When the last one was asked for that has none though none can be had, and how many of them contradicted the
    /// map in turn.
    blind_at: Option<Instant>,
    contradictions: u32,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            kind: Kind::Unknown,
            claims: Runs::all(None),
            patches: BTreeMap::new(),
            unnamed: BTreeMap::new(),
            compared_at: None,
            blind_at: None,
            contradictions: 0,
        }
    }
}

impl Topology {
    /// What kind of server answers.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The slot's owner: a MOVED patch first, then the claim with the highest epoch.
    pub fn owner(&self, slot: Slot) -> Option<NodeKey> {
        let patched = self.patches.get(&slot).map(|p| p.owner);
        patched.or_else(|| self.claims.get(slot).map(|c| c.owner))
    }

    /// The owners of all slots in order: first slot, last slot, owner.
    pub(crate) fn ranges(&self) -> Vec<(u16, u16, Option<NodeKey>)> {
        let mut ranges = Vec::new();
        for (mut first, last, claim) in self.claims.iter() {
            let owner = claim.map(|c| c.owner);
            for (slot, patch) in self.patches.range(Slot(first)..=Slot(last)) {
                if slot.number() > first {
                    ranges.push((first, slot.number() - 1, owner));
                }
                ranges.push((slot.number(), slot.number(), Some(patch.owner)));
                first = slot.number() + 1;
            }
            if first <= last {
                ranges.push((first, last, owner));
            }
        }
        ranges
    }

    /// The epoch of the claim in force for a slot; none if nobody claims it.
    pub fn epoch(&self, slot: Slot) -> Option<u64> {
        self.claims.get(slot).map(|c| c.epoch)
    }

    /// How many slots have an owner.
    pub fn assigned(&self) -> usize {
        let claimed = self.claims.iter().filter(|(_, _, claim)| claim.is_some());
        claimed.map(|(first, last, _)| usize::from(last - first) + 1).sum()
    }

    /// How many MOVED patches wait for a view to confirm them.
    pub fn patched(&self) -> usize {
        self.patches.len()
    }

    /// Follows a MOVED: from now on the slot is at `endpoint`, until a view that was asked for later
    /// names that owner, or another one at a higher epoch than the claim that the MOVED overrode. None if too many unknown nodes were named already.
    pub fn patch(&mut self, nodes: &mut Nodes, slot: Slot, endpoint: &Endpoint, now: Instant) -> Option<NodeKey> {
        let owner = self.node_at(nodes, endpoint, now)?;
        if self.claims.get(slot).is_some_and(|c| c.owner == owner) {
            self.patches.remove(&slot);
        } else {
            let over = self.epoch(slot);
            self.patches.insert(slot, Patch { owner, at: now, over, unconfirmed: 0, unconfirmed_at: now });
        }
        Some(owner)
    }

    /// The node at an endpoint that a redirect named; one that no view has named yet is added.
    pub fn node_at(&mut self, nodes: &mut Nodes, endpoint: &Endpoint, now: Instant) -> Option<NodeKey> {
        if let Some(known) = nodes.at(endpoint) {
            return Some(known);
        }
        let unseen = nodes.iter().filter(|n| n.id().is_none()).count();
        if unseen >= MAX_UNSEEN {
            return None;
        }
        nodes.insert(None, endpoint.clone(), Role::Primary, now)
    }

    /// Forgets everything: it was about another cluster.
    pub fn forget(&mut self, nodes: &mut Nodes) {
        nodes.clear();
        *self = Self::default();
    }

    /// Whether a view comes from this cluster, as far as the node ids tell; none if it says nothing.
    pub fn is_ours(&self, nodes: &Nodes, view: &View) -> Option<bool> {
        let Some(seen) = &view.nodes else { return Some(self.kind != Kind::Cluster) };
        let ids: BTreeSet<&str> = nodes.iter().filter_map(|n| n.id()).collect();
        let known = || seen.iter().any(|n| ids.contains(n.id.as_str()));
        view.covers_anything().then(|| match self.kind {
            Kind::Unknown => true,
            Kind::Cluster => known(),
            Kind::Standalone => false,
        })
    }

    /// Whether no view with epochs can be had.
    pub fn is_blind(&self) -> bool {
        self.blind_at > self.compared_at
    }

    /// Takes in a view.
    pub fn apply(&mut self, nodes: &mut Nodes, view: &View) -> Applied {
        self.take_in(nodes, view, false)
    }

    /// The same; `asked_for_epochs` says that it would carry them if its node would tell them.
    pub fn take_in(&mut self, nodes: &mut Nodes, view: &View, asked_for_epochs: bool) -> Applied {
        let Some(seen) = &view.nodes else { return self.apply_standalone(nodes, view) };
        if !view.covers_anything() {
            return Applied::Nothing;
        }
        // Views of one round were asked for together, and lag together.
        let again = self.blind_at.is_none_or(|at| at < view.asked_at);
        let weight = self.weigh(view, asked_for_epochs);
        let known: BTreeMap<String, NodeKey> = nodes.iter().filter_map(|n| Some((n.id()?.into(), n.key()))).collect();
        if self.kind == Kind::Standalone
            || (self.kind == Kind::Cluster && !seen.iter().any(|n| known.contains_key(&n.id)))
        {
            return Applied::Foreign;
        }
        self.kind = Kind::Cluster;
        let best = weight == Weight::Best;
        let Bound { keys, mut changed, displaced, moved } = bind(nodes, known, view, seen, &self.owners(), best);
        changed |= self.drop_claims_of(&displaced);
        self.keep_patches_in_place(nodes, &moved);
        let epochs = weight == Weight::Epochs;
        let mut doubt = false;
        let mut claimed = Vec::new();
        // Of two at the same epoch the first one has it: not the one that failed.
        let primaries = |failed| seen.iter().filter(move |n| n.role == Role::Primary && n.failed == failed);
        for vn in primaries(false).chain(primaries(true)) {
            let Some(&owner) = keys.get(vn.id.as_str()) else { continue };
            let claim = Claim { owner, epoch: vn.epoch.unwrap_or(0) };
            claimed.extend(vn.slots.iter().map(|&(first, last)| (first, last, claim)));
        }
        let named = Runs::of(claimed, |old, new| new.epoch > old.epoch);
        // What is left where epochs can't be compared: the owner is in trouble, or several views in turn say so.
        let gone = |owner| nodes.get(owner).is_none_or(|n| !n.admits());
        let outvoted = best && self.contradictions + 1 >= MAX_UNCONFIRMED;
        self.claims.change(&named, |held, new| {
            let Some(new) = new else { return held };
            let yields = |held: Claim| best && (outvoted || gone(held.owner));
            match claim(held, new, epochs, yields) {
                Some(next) => {
                    changed |= held.map(|c| c.owner) != Some(next.owner);
                    Some(next)
                }
                None => {
                    doubt = true;
                    held
                }
            }
        });
        if best {
            self.contradictions = if doubt { self.contradictions + u32::from(again) } else { 0 };
        }
        if epochs || best {
            changed |= self.settle(&keys, seen, &named, view.asked_at, best);
            changed |= self.drop_forgotten(&keys, &named, view.asked_at);
            changed |= self.forget_unnamed(nodes, &keys, view.asked_at);
        }
        match (doubt, changed) {
            (true, _) => Applied::Doubt,
            (_, true) => Applied::Changed,
            _ => Applied::Nothing,
        }
    }

    fn weigh(&mut self, view: &View, asked_for_epochs: bool) -> Weight {
        if view.can_be_compared() {
            self.compared_at = self.compared_at.max(Some(view.asked_at));
            self.contradictions = 0;
            return Weight::Epochs;
        }
        let blind = self.compared_at.is_none_or(|at| view.asked_at > at + BLIND);
        if !asked_for_epochs || !blind {
            return Weight::Hint;
        }
        self.blind_at = self.blind_at.max(Some(view.asked_at));
        Weight::Best
    }

    fn apply_standalone(&mut self, nodes: &mut Nodes, view: &View) -> Applied {
        match self.kind {
            Kind::Cluster => Applied::Foreign,
            Kind::Standalone => Applied::Nothing,
            Kind::Unknown => {
                nodes.clear();
                let Some(owner) = nodes.insert(None, view.via.clone(), Role::Primary, view.asked_at) else {
                    return Applied::Nothing;
                };
                self.kind = Kind::Standalone;
                self.claims = Runs::all(Some(Claim { owner, epoch: 0 }));
                Applied::Changed
            }
        }
    }

    /// All nodes that own a slot, by claim or by patch.
    pub(crate) fn owners(&self) -> BTreeSet<NodeKey> {
        let claimed = self.claims.iter().filter_map(|(_, _, claim)| Some(claim?.owner));
        claimed.chain(self.patches.values().map(|p| p.owner)).collect()
    }
}

/// What a view's claim makes of the one held; none if only an epoch could decide.
fn claim(held: Option<Claim>, new: Claim, epochs: bool, yields: impl Fn(Claim) -> bool) -> Option<Claim> {
    match held {
        None => Some(new),
        Some(held) if held.owner == new.owner => Some(Claim { epoch: held.epoch.max(new.epoch), ..held }),
        // With no epoch, so that the next view that has one decides.
        Some(held) if yields(held) => Some(Claim { epoch: 0, ..new }),
        Some(_) if !epochs => None,
        Some(held) if new.epoch > held.epoch => Some(new),
        held => held,
    }
}
