//! What is true, whatever the nodes believe: who owns a block in the end, and whether all agree.

use super::{BLOCKS, KEYS, Model, NOBODY, OTHER_TYPE, Set, Time, Up, members};
use crate::net::Net;

impl Model {
    /// Who owns a block: of those who believe they do, the one with the highest epoch.
    pub(crate) fn true_owner(&self, block: usize) -> Option<usize> {
        let claims = |&n: &usize| {
            let node = &self.nodes[n];
            node.up != Up::Gone && node.group == self.ours && node.is_primary(n) && usize::from(node.owner[block]) == n
        };
        (0..self.nodes.len()).filter(claims).max_by_key(|&n| (self.nodes[n].config_epoch[n], n))
    }

    /// Whether a key is absent at its true owner, and this writer holds it.
    pub(crate) fn is_held_by(&self, key: usize, writer: u32, now: Time) -> bool {
        let holds = |n: usize| self.nodes[n].data[key] == 0 && self.nodes[n].is_held(key, Some(writer), now);
        self.true_owner(key % BLOCKS).is_some_and(holds)
    }

    /// Whether a node takes itself for the owner of a block that another one claims with a higher epoch.
    pub(crate) fn superseded(&self, n: usize) -> bool {
        (0..BLOCKS).any(|b| usize::from(self.nodes[n].owner[b]) == n && self.true_owner(b) != Some(n))
    }

    /// Whether all nodes that run take this one for what it takes itself for, miss nobody who runs, and are not
    /// missed by it.
    pub(crate) fn is_agreed_on(&self, n: usize) -> bool {
        let me = &self.nodes[n];
        let others = || {
            let running =
                |&(k, other): &(usize, &super::Node)| k != n && other.up == Up::Running && other.group == me.group;
            self.nodes.iter().enumerate().filter(running)
        };
        me.importing == [NOBODY; BLOCKS]
            && me.migrating == [NOBODY; BLOCKS]
            && others().all(|(k, other)| {
                (other.pfail | other.fail) & (1 << n) == 0
                    && (me.pfail | me.fail) & (1 << k) == 0
                    && other.known & (1 << n) != 0
                    && other.follows[n] == me.follows[n]
                    && other.owner == me.owner
                    && (!me.is_primary(n) || other.config_epoch[n] == me.config_epoch[n])
            })
    }

    /// Whether every node works, all agree on every owner, and nothing is under way.
    pub(crate) fn whole(&self, now: Time) -> bool {
        let owners: [u8; BLOCKS] = std::array::from_fn(|b| self.true_owner(b).map_or(NOBODY, |n| n as u8));
        let living = || self.nodes.iter().enumerate().filter(|(_, n)| n.up != Up::Gone);
        let gone = (0..self.nodes.len()).filter(|&n| self.nodes[n].up == Up::Gone).fold(0, |set: Set, n| set | 1 << n);
        !owners.contains(&NOBODY)
            && living().all(|(n, node)| {
                let epochs_agree = members(node.known)
                    .filter(|&k| self.nodes[k].up != Up::Gone)
                    .all(|k| node.config_epoch[k] == self.nodes[k].config_epoch[k] || !self.nodes[k].is_primary(k));
                let roles_agree = members(node.known)
                    .filter(|&k| self.nodes[k].up != Up::Gone)
                    .all(|k| node.follows[k] == self.nodes[k].follows[k]);
                node.up == Up::Running
                    && now >= node.loading_until
                    && node.cluster_ok
                    && node.owner == owners
                    && (node.pfail | node.fail) & !gone == 0
                    && epochs_agree
                    && roles_agree
                    && (node.is_primary(n) || (node.link.up && self.lacks_since(n).is_none()))
                    && node.importing == [NOBODY; BLOCKS]
                    && node.migrating == [NOBODY; BLOCKS]
            })
    }

    /// Somebody deletes the keys of another type.
    pub(crate) fn clean(&mut self, now: Time) {
        for n in 0..self.nodes.len() {
            for key in 0..KEYS {
                if self.nodes[n].data[key] == OTHER_TYPE && self.nodes[n].is_primary(n) {
                    self.put(n, key, 0, now);
                }
            }
        }
    }

    /// An operator ends what is left of the migrations: they are undone, or, where the source has given
    /// the block away already, done.
    pub(crate) fn repair(&mut self, net: &Net, now: Time) {
        for n in 0..self.nodes.len() {
            for block in 0..BLOCKS {
                let (from, to) = (self.nodes[n].importing[block], self.nodes[n].migrating[block]);
                if from != NOBODY {
                    self.nodes[n].importing[block] = NOBODY;
                    let given = usize::from(self.nodes[usize::from(from)].owner[block]) == n;
                    if given && self.nodes[n].is_primary(n) && self.running(n) {
                        self.own(n, block);
                        self.broadcast(net, n, now);
                    }
                }
                if to != NOBODY {
                    self.nodes[n].migrating[block] = NOBODY;
                }
            }
        }
    }

    /// A replica copies all at once, its primary holding still.
    pub(crate) fn catch_up(&mut self, n: usize) {
        let of = usize::from(self.nodes[n].follows[n]);
        let (data, leases, position) = (self.nodes[of].data, self.nodes[of].leases, self.nodes[of].offset());
        let (holds, marks) = (self.nodes[of].holds, self.nodes[of].marks);
        let node = &mut self.nodes[n];
        (node.data, node.leases, node.holds, node.marks) = (data, leases, holds, marks);
        node.link.position = position;
    }

    /// The source of a migration is told that the block is the target's.
    pub(crate) fn hand_over(&mut self, from: usize, target: usize, block: usize) {
        let node = &mut self.nodes[from];
        node.migrating[block] = NOBODY;
        node.owner[block] = target as u8;
        node.unclaimed &= !(1 << block);
        node.changed();
    }
}
