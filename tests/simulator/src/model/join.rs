//! How nodes come and go by an operator's hand: new ones, moved ones, forgotten ones, and those of another cluster.

use super::{BLOCKS, FOREIGN, KEYS, Model, NOBODY, Set, Time, members};

/// The group of nodes that were never ours.
pub(crate) const STRANGERS: u8 = 9;

impl Model {
    /// `CLUSTER MEET` and `CLUSTER FORGET`: a new node is known to those who are there, and knows them;
    /// an old one is forgotten.
    pub(crate) fn introduce(&mut self, n: usize, old: usize, there: Set, now: Time) {
        for k in members(there) {
            let node = &mut self.nodes[k];
            node.known = (node.known | 1 << n) & !(1 << old);
            node.pfail &= !(1 << old);
            node.fail &= !(1 << old);
            node.heard[n] = now;
            node.follows[n] = NOBODY;
            node.owner.iter_mut().filter(|o| usize::from(**o) == old).for_each(|o| *o = NOBODY);
            node.changed();
        }
        // What the old one owned is given to who is there, as an operator would repair it.
        let heir = members(there).find(|&k| self.nodes[k].is_primary(k) && self.nodes[k].owned_by(k) != 0);
        let Some(heir) = heir else { return };
        for block in 0..BLOCKS {
            let claimed = members(there).any(|k| usize::from(self.nodes[k].owner[block]) == k);
            if !claimed {
                self.own(heir, block);
            }
        }
        let (known, epochs, follows, owner, epoch) = {
            let node = &self.nodes[heir];
            (node.known, node.config_epoch, node.follows, node.owner, node.current_epoch)
        };
        let node = &mut self.nodes[n];
        node.known |= known;
        node.config_epoch = epochs;
        node.config_epoch[n] = 0;
        node.follows = follows;
        // It is a replica of the heir from now on.
        node.follows[n] = heir as u8;
        node.owner = owner;
        node.current_epoch = epoch;
        node.changed();
        // Replicas of the forgotten one follow the heir.
        for k in members(there) {
            if usize::from(self.nodes[k].follows[k]) == old {
                self.nodes[k].follows[k] = heir as u8;
                self.nodes[k].changed();
            }
        }
    }

    /// An empty primary joins those who are there.
    pub(crate) fn join(&mut self, n: usize, there: Set, now: Time) {
        for k in members(there) {
            let node = &mut self.nodes[k];
            node.known |= 1 << n;
            node.heard[n] = now;
            node.follows[n] = NOBODY;
            node.changed();
        }
        let Some(first) = members(there).next() else { return };
        let (known, epochs, follows, owner, epoch) = {
            let node = &self.nodes[first];
            (node.known, node.config_epoch, node.follows, node.owner, node.current_epoch)
        };
        let node = &mut self.nodes[n];
        (node.known, node.config_epoch, node.follows, node.owner, node.current_epoch) =
            (known, epochs, follows, owner, epoch);
        node.changed();
    }

    /// `CLUSTER FORGET` at all who are there.
    pub(crate) fn forget(&mut self, n: usize, there: Set) {
        for k in members(there) {
            let node = &mut self.nodes[k];
            node.known &= !(1 << n);
            node.pfail &= !(1 << n);
            node.fail &= !(1 << n);
            node.changed();
        }
    }

    /// The nodes of a group that are not gone for good.
    pub(crate) fn group(&self, group: u8) -> Set {
        let there = self.nodes.iter().enumerate().filter(|(_, n)| n.group == group && n.up != super::Up::Gone);
        there.fold(0, |set, (n, _)| set | 1 << n)
    }

    /// A cluster of one node that is not ours, at an address where one of ours was: it owns and holds everything.
    pub(crate) fn add_stranger(&mut self, address: usize, now: Time) -> usize {
        let n = self.add(address, STRANGERS, now);
        let node = &mut self.nodes[n];
        node.owner = [n as u8; BLOCKS];
        node.current_epoch = 9;
        node.config_epoch[n] = 9;
        node.data = std::array::from_fn(|key| FOREIGN + key as u32);
        debug_assert_eq!(node.data.len(), KEYS);
        n
    }
}
