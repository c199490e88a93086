//! What the invalidations of this process mean to its reads and writes, and what a change of owners means to them.

use super::Cluster;
use crate::invalidations::{Invalidations, Reign, Standing};
use crate::time::Instant;
use crate::words::Slot;

impl Cluster {
    /// The invalidations that this process made.
    pub fn invalidations(&mut self) -> &mut Invalidations {
        &mut self.invalidations
    }

    /// What they mean for a read of this key.
    pub fn standing(&self, slot: Slot, key: &[u8], now: Instant) -> Standing {
        if self.invalidations.is_empty() { Standing::Clear } else { self.invalidations.standing(slot, key, now) }
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
