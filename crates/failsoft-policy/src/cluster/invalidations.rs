//! What the invalidations of this process mean to its reads and writes, and what a change of owners means to them.

use super::Cluster;
use crate::invalidations::{Invalidations, Reign, Standing};
use crate::nodes::Node;
use crate::replication::{Behind, Durability};
use crate::time::Instant;
use crate::words::{NodeKey, Slot};
use bytes::Bytes;

impl Cluster {
    /// The invalidations that this process made.
    pub fn invalidations(&mut self) -> &mut Invalidations {
        &mut self.invalidations
    }

    /// The nodes whose replicas lack some of them.
    pub fn behind(&mut self) -> &mut Behind {
        &mut self.behind
    }

    /// When any of them has to be sent again, or is forgotten.
    pub fn next_again(&self) -> Option<Instant> {
        self.invalidations.next_timeout().into_iter().chain(self.behind.next_timeout()).min()
    }

    /// How many replicas of a node have to have what was written to it. One that the cluster counts as failed, or whose
    /// link to it is down by its own word, is none that could be promoted before it has caught up.
    pub fn replicas_to_wait_for(&self, node: NodeKey, durability: Durability, now: Instant) -> u32 {
        let refuses = self.nodes.get(node).is_none_or(|n| n.waits_denied().is_some_and(|until| now < until));
        if refuses || durability == Durability::Primary {
            return 0;
        }
        let linked = |replica: &&Node| !replica.has_failed() && replica.report().link_up != Some(false);
        durability.of(u32::try_from(self.nodes.replicas_of(node).filter(linked).count()).unwrap_or(u32::MAX))
    }

    /// What they mean for a read of this key.
    pub fn standing(&self, slot: Slot, key: &[u8], now: Instant) -> Standing {
        if self.invalidations.is_empty() { Standing::Clear } else { self.invalidations.standing(slot, key, now) }
    }

    /// A key in doubt was read from this node, together with its mark, which was left under that config epoch. Whether what
    /// was read counts.
    pub(crate) fn handle_mark(&mut self, key: (Slot, &Bytes), node: NodeKey, epoch: Option<u64>, now: Instant) -> bool {
        let reign = self.reign(key.0).filter(|(owner, _)| *owner == node);
        self.invalidations.marked(key, epoch, reign, now)
    }

    /// Who owns a slot, and with which epoch.
    pub fn reign(&self, slot: Slot) -> Option<Reign> {
        let owner = self.topology.owner(slot)?;
        self.epoch(owner).map(|epoch| (owner, epoch))
    }

    /// A view may have named other owners, or other epochs.
    pub(super) fn compare_reigns(&mut self, now: Instant) {
        if !self.invalidations.is_empty() {
            let (topology, nodes) = (&self.topology, &self.nodes);
            let reign_of = |slot| topology.owner(slot).and_then(|owner| Some((owner, nodes.get(owner)?.epoch())));
            self.invalidations.compare(reign_of, now);
        }
    }
}
