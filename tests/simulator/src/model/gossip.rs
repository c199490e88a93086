//! How beliefs spread: headers with epochs and slots, updates, collisions, failure reports.

use super::data::Change;
use super::{BLOCKS, Model, NOBODY, Node, Set, Time, members, two};
use crate::net::Net;

impl Model {
    /// One round of pings: to every node that it knows, with their pongs.
    pub(super) fn gossip(&mut self, net: &Net, n: usize, now: Time) {
        let others = self.nodes[n].known & !(1 << n);
        for k in members(others) {
            if self.nodes[k].group != self.nodes[n].group || !self.reaches(net, n, k) {
                continue;
            }
            if now < self.nodes[k].loading_until {
                continue;
            }
            let back = self.reaches(net, k, n);
            if back {
                self.nodes[n].heard[k] = now;
            }
            let revisions = (self.nodes[n].revision, self.nodes[k].revision);
            if self.nodes[n].exchanged[k] != revisions {
                self.tell(n, k, back, now);
                if back {
                    self.tell(k, n, true, now);
                }
                self.nodes[n].exchanged[k] = (self.nodes[n].revision, self.nodes[k].revision);
            }
        }
    }

    /// Tells everyone in reach at once: after a promotion, or when a slot moved.
    pub(crate) fn broadcast(&mut self, net: &Net, n: usize, now: Time) {
        for k in members(self.nodes[n].known & !(1 << n)) {
            if self.nodes[k].group == self.nodes[n].group
                && self.reaches(net, n, k)
                && now >= self.nodes[k].loading_until
            {
                let back = self.reaches(net, k, n);
                self.tell(n, k, back, now);
            }
        }
    }

    /// A header of `from` arrives at `to`; what `to` knows better goes back, if it can.
    fn tell(&mut self, from: usize, to: usize, back: bool, now: Time) {
        let (sender, me) = two(&mut self.nodes, from, to);
        let demoted = receive(me, to, sender, from, now);
        // UPDATE: a slot that the sender claims has an owner with a higher epoch.
        let claims = members(sender.owned_by(from));
        let better = claims
            .filter(|_| sender.is_primary(from))
            .map(|b| usize::from(me.owner[b]))
            .find(|&o| o != usize::from(NOBODY) && o != from && me.config_epoch[o] > sender.config_epoch[from]);
        if demoted {
            self.attach(to, now);
        }
        if let (true, Some(owner)) = (back, better) {
            let (me, sender) = two(&mut self.nodes, to, from);
            if update(sender, from, owner, me, now) {
                self.attach(from, now);
            }
        }
    }
}

/// A node takes in another one's header; whether that made it a replica, or another one's.
fn receive(me: &mut Node, my: usize, sender: &Node, from: usize, now: Time) -> bool {
    let before = (me.current_epoch, me.config_epoch[from], me.follows[from], me.known, me.owner);
    if me.known & (1 << from) == 0 {
        me.known |= 1 << from;
        me.heard[from] = now;
    }
    for k in members(sender.known & !me.known) {
        me.known |= 1 << k;
        me.config_epoch[k] = sender.config_epoch[k];
        me.follows[k] = sender.follows[k];
        me.heard[k] = now;
    }
    me.current_epoch = me.current_epoch.max(sender.current_epoch);
    me.config_epoch[from] = me.config_epoch[from].max(sender.config_epoch[from]);
    me.reports[from] = sender.pfail | sender.fail;
    let mut moved = false;
    if sender.is_primary(from) {
        me.follows[from] = NOBODY;
        let claims = sender.owned_by(from);
        // Slots that their owner does not claim any more are free for anybody's claim.
        me.unclaimed |= me.owned_by(from) & !claims;
        me.unclaimed &= !(me.owned_by(from) & claims);
        moved = take_slots(me, my, from, sender.config_epoch[from], claims, now);
        // Two primaries of one epoch: the one with the lower id takes a new one.
        if me.is_primary(my) && sender.config_epoch[from] == me.config_epoch[my] && my < from {
            me.current_epoch += 1;
            me.config_epoch[my] = me.current_epoch;
        }
    } else {
        if me.is_primary(from) {
            me.owner.iter_mut().filter(|o| usize::from(**o) == from).for_each(|o| *o = NOBODY);
        }
        me.follows[from] = sender.follows[from];
    }
    if before != (me.current_epoch, me.config_epoch[from], me.follows[from], me.known, me.owner) {
        me.changed();
    }
    moved
}

/// What another node knows of `owner` with a higher epoch; whether that made `me` a replica.
fn update(me: &mut Node, my: usize, owner: usize, teller: &Node, now: Time) -> bool {
    let epoch = teller.config_epoch[owner];
    if owner == my || me.known & (1 << owner) == 0 || me.config_epoch[owner] >= epoch {
        return false;
    }
    me.follows[owner] = NOBODY;
    me.config_epoch[owner] = epoch;
    me.current_epoch = me.current_epoch.max(epoch);
    me.changed();
    take_slots(me, my, owner, epoch, teller.owned_by(owner), now)
}

/// A node claims slots with an epoch: it gets those whose owners have lower ones. Whoever loses its last
/// slot to it so becomes its replica; whether `me` did.
fn take_slots(me: &mut Node, my: usize, sender: usize, epoch: u32, claims: Set, now: Time) -> bool {
    let mine = if me.is_primary(my) { my } else { usize::from(me.follows[my]) };
    let mut lost = 0;
    for b in members(claims) {
        let current = usize::from(me.owner[b]);
        if current == sender || me.importing[b] != NOBODY {
            continue;
        }
        if me.owner[b] == NOBODY || me.unclaimed & (1 << b) != 0 || me.config_epoch[current] < epoch {
            me.owner[b] = sender as u8;
            me.unclaimed &= !(1 << b);
            me.migrating[b] = NOBODY;
            if current == mine {
                lost |= 1 << b;
            }
        }
    }
    if lost == 0 {
        return false;
    }
    if me.owned_by(mine) == 0 && sender != my {
        me.follows[my] = sender as u8;
        me.migrating = [NOBODY; BLOCKS];
        me.importing = [NOBODY; BLOCKS];
        return true;
    }
    if me.is_primary(my) {
        // The keys of lost slots are deleted, by its replicas, too.
        for key in (0..super::KEYS).filter(|k| lost & (1 << (k % BLOCKS)) != 0) {
            if me.data[key] != 0 {
                me.replicate(key, Change::Value(0), now);
                me.delete_lease(key, now);
            }
        }
    }
    false
}
