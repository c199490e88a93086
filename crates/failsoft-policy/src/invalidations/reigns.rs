//! What a change of the owner means to what is known: the new one may lack what the last one had acknowledged.
//!
//! What this process made it sends again by itself. What others made they do, but they may have ended, and their bells may
//! have been rung before this process listened to the new owner. So such a key is in doubt: whoever reads it asks for its
//! mark first, in the same write. A mark that was left under this very reign proves that the key was deleted in it, and
//! nothing older can have come back since. Otherwise the value does not count, and this process sends the key step again,
//! once in a reign: its mark then tells all others. Were it sent again by all who heard of it, a fleet would delete a key
//! as often as it has routers.

use super::entry::Entry;
use super::{Invalidations, Reign};
use crate::time::Instant;
use crate::words::Slot;
use alloc::vec::Vec;
use bytes::Bytes;

impl Invalidations {
    /// Slots may have other owners: keys that were told to another one are owed again. `reign_of` is who owns a slot now.
    pub fn compare(&mut self, reign_of: impl Fn(Slot) -> Option<Reign>, now: Instant) {
        let ttl = self.ttl;
        let mut again = Vec::new();
        for (&slot, of) in &mut self.slots {
            let Some(reign) = reign_of(slot).filter(|reign| of.reign != Some(*reign)) else { continue };
            if of.reign.replace(reign).is_some()
                && let Some((_, until)) = of.folded
            {
                of.all_owed_until = of.all_owed_until.max(Some(until));
                self.changed.insert(slot);
            }
            let lost = |entry: &Entry| !entry.is_closed() && entry.told.is_some_and(|(_, by)| by != Some(reign));
            again.extend(of.keys.iter().filter(|(_, e)| lost(e)).map(|(key, _)| (slot, key.clone())));
        }
        for (slot, key) in again {
            self.change(slot, &key, |entry| {
                if now < entry.kept_from + ttl {
                    (entry.owed, entry.in_doubt) = (entry.own, !entry.own);
                    if entry.own {
                        entry.unannounced = true;
                        entry.failed = 0;
                        entry.due = (entry.under_way == 0).then_some(now);
                    }
                }
            });
        }
    }

    /// The mark of a key was read together with the key, under the reign of now: it was left under an owner of that config
    /// epoch, if there is one. Whether what was read counts. If not, and the key is in doubt, it is owed from now on, and
    /// sent again.
    pub fn marked(
        &mut self,
        (slot, key): (Slot, &Bytes),
        epoch: Option<u64>,
        reign: Option<Reign>,
        now: Instant,
    ) -> bool {
        // Where no epochs are known, none of them says under whom a mark was left.
        let fresh = reign.is_some_and(|(_, of_owner)| of_owner > 0 && epoch == Some(of_owner));
        self.change(slot, key, |entry| {
            if !core::mem::take(&mut entry.in_doubt) {
                return;
            }
            if fresh {
                entry.told = Some((now, reign));
            } else {
                (entry.owed, entry.unannounced, entry.failed) = (true, true, 0);
                entry.due = (entry.under_way == 0).then_some(now);
            }
        });
        fresh
    }
}
