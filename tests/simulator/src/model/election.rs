//! How replicas are promoted: elections with votes, and what an administrator forces.

use super::{BLOCKS, Model, NOBODY, Set, Time, members};
use crate::net::Net;

impl Model {
    /// A replica whose primary failed asks for votes after a delay that grows with its rank.
    pub(super) fn stand(&mut self, net: &Net, n: usize, now: Time) {
        let timeout = self.setup.node_timeout;
        let node = &self.nodes[n];
        let primary = usize::from(node.follows[n]);
        let stands = !node.is_primary(n) && node.fail & (1 << primary) != 0 && node.owned_by(primary) != 0;
        if !stands {
            self.nodes[n].election.at = 0;
            return;
        }
        if node.election.at == 0 {
            if now >= node.election.again_at {
                let better = members(node.known)
                    .filter(|&k| usize::from(node.follows[k]) == primary && self.nodes[k].offset() > node.offset());
                let rank = better.count() as u64;
                let delay = timeout / 4 + self.rng.u64(0..timeout / 4) + rank * timeout / 2;
                self.nodes[n].election.at = now + delay;
            }
            return;
        }
        if now < node.election.at {
            return;
        }
        self.nodes[n].election = super::Election { at: 0, again_at: now + timeout };
        self.elect(net, n, primary, false, now);
    }

    /// One election; `forced` by an administrator while the primary works. Whether it was won.
    pub(crate) fn elect(&mut self, net: &Net, n: usize, primary: usize, forced: bool, now: Time) -> bool {
        let node = &mut self.nodes[n];
        node.current_epoch += 1;
        node.changed();
        let epoch = node.current_epoch;
        let claims = node.owned_by(primary);
        let claimed_epoch = node.config_epoch[primary];
        let needed = node.owners().count_ones() / 2 + 1;
        let group = node.group;
        let mut votes = 0;
        for k in members(node.known & !(1 << n)) {
            if self.nodes[k].group == group
                && self.reaches(net, n, k)
                && now >= self.nodes[k].loading_until
                && self.votes(k, n, primary, epoch, (claims, claimed_epoch), forced, now)
                && self.reaches(net, k, n)
            {
                votes += 1;
            }
        }
        let won = votes >= needed;
        if won {
            self.promote(net, n, primary, epoch, now);
        }
        won
    }

    #[allow(clippy::too_many_arguments)] // the request, taken apart
    fn votes(
        &mut self,
        voter: usize,
        replica: usize,
        primary: usize,
        epoch: u32,
        (claims, claimed_epoch): (Set, u32),
        forced: bool,
        now: Time,
    ) -> bool {
        let timeout = self.setup.node_timeout;
        let node = &mut self.nodes[voter];
        if !node.is_primary(voter) || node.owned_by(voter) == 0 {
            return false;
        }
        if epoch < node.current_epoch {
            return false;
        }
        node.current_epoch = epoch;
        node.changed();
        let failed = forced || node.fail & (1 << primary) != 0;
        let superseded = members(claims)
            .any(|b| node.owner[b] != NOBODY && node.config_epoch[usize::from(node.owner[b])] > claimed_epoch);
        let recent = node.voted_at[primary] != 0 && now - node.voted_at[primary] < 2 * timeout && !forced;
        let follows = usize::from(node.follows[replica]) == primary;
        if node.last_vote >= epoch || !failed || superseded || recent || !follows {
            return false;
        }
        node.last_vote = epoch;
        node.voted_at[primary] = now;
        true
    }

    /// The replica takes over its primary's slots with a new epoch, and tells everyone in reach. What it
    /// had not copied is lost.
    pub(crate) fn promote(&mut self, net: &Net, n: usize, primary: usize, epoch: u32, now: Time) {
        self.copy(net, n, now);
        self.promotions += 1;
        let history = self.new_history();
        let node = &mut self.nodes[n];
        node.follows[n] = NOBODY;
        for b in 0..BLOCKS {
            if usize::from(node.owner[b]) == primary {
                node.owner[b] = n as u8;
                node.unclaimed &= !(1 << b);
            }
        }
        node.config_epoch[n] = epoch;
        node.current_epoch = node.current_epoch.max(epoch);
        node.begin_history(history);
        node.changed();
        self.broadcast(net, n, now);
    }

    /// `CLUSTER FAILOVER TAKEOVER`: without votes, with an epoch that nobody agreed on.
    pub(crate) fn take_over(&mut self, net: &Net, n: usize, now: Time) {
        let node = &mut self.nodes[n];
        if node.is_primary(n) {
            return;
        }
        let primary = usize::from(node.follows[n]);
        let epoch = node.current_epoch + 1;
        self.promote(net, n, primary, epoch, now);
    }

    /// The end of a migration: the target takes the block with a new epoch of its own, unless its own is
    /// the highest already.
    pub(crate) fn own(&mut self, n: usize, block: usize) {
        let node = &mut self.nodes[n];
        node.importing[block] = NOBODY;
        node.owner[block] = n as u8;
        node.unclaimed &= !(1 << block);
        let highest = node.config_epoch.iter().copied().max().unwrap_or(0).max(node.current_epoch);
        if node.config_epoch[n] == 0 || node.config_epoch[n] != highest {
            node.current_epoch = highest + 1;
            node.config_epoch[n] = node.current_epoch;
        }
        node.changed();
    }
}
