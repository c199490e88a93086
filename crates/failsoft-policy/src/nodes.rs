//! The table of known nodes.

mod agenda;
mod node;
mod schedule;
mod standing;
mod step;

pub use node::Node;
pub use standing::Trouble;
pub use step::{Mark, Step};

use crate::time::Instant;
use crate::view::Role;
use crate::words::{Endpoint, NodeKey};
use agenda::{Agenda, confirmed};
use alloc::string::String;
use alloc::vec::Vec;

/// The most nodes a router keeps in mind; redirects to further addresses are not followed.
pub const MAX_NODES: usize = 8192;

/// See the module. Positions are reused with a higher generation.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    places: Vec<(u32, Option<Node>)>,
    free: Vec<u32>,
    agenda: Agenda,
}

impl Nodes {
    /// The node of this name, if it is still known.
    pub fn get(&self, key: NodeKey) -> Option<&Node> {
        let (generation, node) = self.places.get(key.index as usize)?;
        node.as_ref().filter(|_| *generation == key.generation)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: NodeKey) -> Option<&mut Node> {
        let (generation, node) = self.places.get_mut(key.index as usize)?;
        let node = node.as_mut().filter(|_| *generation == key.generation)?;
        self.agenda.touch(key);
        Some(node)
    }

    /// All nodes, by position.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.places.iter().filter_map(|(_, n)| n.as_ref())
    }

    /// Changes all nodes that are `such`.
    pub fn change(&mut self, such: impl Fn(&Node) -> bool, mut change: impl FnMut(&mut Node)) {
        for node in self.places.iter_mut().filter_map(|(_, n)| n.as_mut()) {
            if such(node) {
                change(node);
                self.agenda.touch(node.key());
            }
        }
    }

    /// The replicas of a primary, by position.
    pub fn replicas_of(&self, primary: NodeKey) -> impl Iterator<Item = &Node> {
        let role = Role::Replica(Some(primary));
        let maybe = self.agenda.replicas_of(primary);
        let keys = confirmed(maybe, |key| self.get(key).is_some_and(|n| n.role() == role));
        keys.into_iter().filter_map(|key| self.get(key))
    }

    /// The nodes in trouble, by position.
    pub fn troubled(&self) -> impl Iterator<Item = &Node> {
        let keys = confirmed(self.agenda.troubled(), |key| self.get(key).is_some_and(|n| n.is_in_trouble()));
        keys.into_iter().filter_map(|key| self.get(key))
    }

    /// The first one who is due by now.
    pub fn first_due(&mut self, now: Instant) -> Option<NodeKey> {
        let places = &self.places;
        self.agenda.follow(|key| {
            let (generation, node) = places.get(key.index as usize)?;
            node.as_ref().filter(|_| *generation == key.generation)
        });
        self.agenda.first_due(now)
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Instant> {
        let touched = self.agenda.touched().filter_map(|key| self.get(key)?.due()).min();
        [self.agenda.next_due(), touched].into_iter().flatten().min()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The node at this endpoint: one that a view named before one from a redirect, the newest first.
    pub fn at(&self, endpoint: &Endpoint) -> Option<NodeKey> {
        let here = self.iter().filter(|n| n.endpoint() == endpoint);
        here.max_by_key(|n| (n.id().is_some(), n.seen_at())).map(|n| n.key())
    }

    /// Adds a node; none if there is no room.
    pub fn insert(
        &mut self,
        id: Option<String>,
        endpoint: Endpoint,
        role: Role<NodeKey>,
        now: Instant,
    ) -> Option<NodeKey> {
        if self.len() >= MAX_NODES {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        let key = NodeKey { index, generation: place.0 };
        place.1 = Some(Node::new(key, id, endpoint, role, now));
        self.agenda.touch(key);
        Some(key)
    }

    /// Forgets a node; its name will not be used again.
    pub fn remove(&mut self, key: NodeKey) {
        if self.get(key).is_some() {
            let place = &mut self.places[key.index as usize];
            place.0 = place.0.wrapping_add(1);
            place.1 = None;
            self.free.push(key.index);
            self.agenda.touch(key);
        }
    }

    /// Forgets all nodes.
    pub fn clear(&mut self) {
        let keys: Vec<_> = self.iter().map(|n| n.key()).collect();
        for key in keys {
            self.remove(key);
        }
    }
}
