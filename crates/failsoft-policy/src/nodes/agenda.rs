//! What is found without looking at all nodes: when each is due, which are in trouble, and the replicas of a primary.
//!
//! Whoever changes a node leaves its name here; the lists follow when they are next needed. Until then a node that
//! may have changed is looked at itself.

use super::Node;
use crate::time::Instant;
use crate::view::Role;
use crate::words::NodeKey;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// What the lists say of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    due: Option<Instant>,
    of: Option<NodeKey>,
    troubled: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeMap<NodeKey, Entry>,
    due: BTreeSet<(Instant, NodeKey)>,
    replicas: BTreeSet<(NodeKey, NodeKey)>,
    troubled: BTreeSet<NodeKey>,
    touched: BTreeSet<NodeKey>,
}

impl Agenda {
    /// A node is there, or may have changed, or is gone.
    pub(super) fn touch(&mut self, key: NodeKey) {
        self.touched.insert(key);
    }

    /// Those who may have changed since the lists were last brought up to date.
    pub(super) fn touched(&self) -> impl Iterator<Item = NodeKey> {
        self.touched.iter().copied()
    }

    /// Brings the lists up to date.
    pub(super) fn follow<'n>(&mut self, node: impl Fn(NodeKey) -> Option<&'n Node>) {
        for key in core::mem::take(&mut self.touched) {
            let new = node(key).map(|n| Entry { due: n.due(), of: primary_of(n), troubled: n.is_in_trouble() });
            let old = match new {
                Some(new) => self.entries.insert(key, new),
                None => self.entries.remove(&key),
            };
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            replace(&mut self.due, old.due.map(|at| (at, key)), new.due.map(|at| (at, key)));
            replace(&mut self.replicas, old.of.map(|of| (of, key)), new.of.map(|of| (of, key)));
            replace(&mut self.troubled, old.troubled.then_some(key), new.troubled.then_some(key));
        }
    }

    /// The first of those who are due by then.
    pub(super) fn first_due(&self, now: Instant) -> Option<NodeKey> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|&(_, key)| key).min()
    }

    /// When the next node that has not been touched is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.iter().find(|(_, key)| !self.touched.contains(key)).map(|&(at, _)| at)
    }

    /// Who may be a replica of this primary, by name.
    pub(super) fn replicas_of(&self, primary: NodeKey) -> BTreeSet<NodeKey> {
        let (first, last) = (NodeKey { index: 0, generation: 0 }, NodeKey { index: u32::MAX, generation: u32::MAX });
        let listed = self.replicas.range((primary, first)..=(primary, last)).map(|&(_, key)| key);
        listed.chain(self.touched()).collect()
    }

    /// Who may be in trouble, by name.
    pub(super) fn troubled(&self) -> BTreeSet<NodeKey> {
        self.troubled.iter().copied().chain(self.touched()).collect()
    }
}

fn primary_of(node: &Node) -> Option<NodeKey> {
    match node.role() {
        Role::Replica(of) => of,
        Role::Primary => None,
    }
}

fn replace<T: Ord>(set: &mut BTreeSet<T>, old: Option<T>, new: Option<T>) {
    if old != new {
        old.map(|old| set.remove(&old));
        new.map(|new| set.insert(new));
    }
}

/// All who are worth a second look, whatever the lists say.
pub(super) fn confirmed(keys: BTreeSet<NodeKey>, holds: impl Fn(NodeKey) -> bool) -> Vec<NodeKey> {
    keys.into_iter().filter(|&key| holds(key)).collect()
}
