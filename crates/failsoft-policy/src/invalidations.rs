//! The invalidations of a moment ago, those that this process made and those of others that it heard of: which keys may
//! not be read from a node now, of which age a replica has to be for the others, and which have to be sent again.
//!
//! From the call of `invalidate` until a node has acknowledged that the key is gone, the key is *owed*: nothing that a
//! node or an older load has of it is served, for a read on another connection may overtake the deletion. Afterwards it
//! is *known* for `invalidation_ttl`: a replica that may lack the deletion does not stand in for it. When the slot goes
//! over to another owner, or the owner to another epoch, what was acknowledged may be lost; then the key is owed once
//! more, and the router sends the deletion again by itself.
//!
//! One that another process made is known from when it was heard of. After a change of the owner its key is *in doubt*
//! until the bell of the new owner is heard: whoever reads it asks for its mark, too ([`reigns`]).
//!
//! Beyond [`MAX_KEYS`] or [`MAX_BYTES`] the oldest are known of their slot only: no replica stands in for any of its
//! keys unless it is younger, and after a change of the owner all of them go to the callback until the time is over.

mod entry;
pub mod reigns;

use crate::time::Instant;
use crate::wire::Bell;
use crate::words::{NodeKey, Slot};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use entry::Entry;

/// The most keys that are known one by one.
pub const MAX_KEYS: usize = 1_000_000;
/// The most bytes of their names.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// How long after a failed attempt the next one follows.
const PAUSE: Duration = Duration::from_millis(500);
/// How often that doubles where only the announcement is missing: the key is gone, and is read again.
const DOUBLINGS: u32 = 4;

/// Who owned a slot, and with which config epoch: what was acknowledged under one reign may be lost under the next.
pub type Reign = (NodeKey, u64);

/// The id of an attempt to invalidate a key, which stands in its marks and in the names of its bells.
pub type Id = [u8; 16];

/// What an invalidation means for a read of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// None is known.
    Clear,
    /// A node's answer counts if it is from this time or later.
    Since(Instant),
    /// The owner may have lost what was known at this time, and may be asked for it only together with its mark; a copy
    /// counts as before.
    InDoubt(Instant),
    /// No node may be asked, nothing may be written back, and no load that began before may serve it.
    Owed,
}

/// A key that is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its slot.
    pub slot: Slot,
    /// The key.
    pub key: Bytes,
    /// When it was called for.
    pub called_at: Instant,
    /// Its node has to be told; otherwise it is only to be announced, and what was filled since then stays.
    pub owed: bool,
}

/// What is known of a slot as a whole.
#[derive(Clone, Debug, Default)]
struct InSlot {
    keys: BTreeMap<Bytes, Entry>,
    /// Under whom the keys were last looked at.
    reign: Option<Reign>,
    /// How many keys are owed or in doubt.
    owed: usize,
    /// The latest of those that had to make room, and until when it counts.
    folded: Option<(Instant, Instant)>,
    /// One of those was owed, or the owner has changed since: until then all keys of the slot are.
    all_owed_until: Option<Instant>,
}

impl InSlot {
    fn is_owed(&self) -> bool {
        self.owed > 0 || self.all_owed_until.is_some()
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Invalidations {
    ttl: Duration,
    slots: BTreeMap<Slot, InSlot>,
    /// All keys, by when they were last called for.
    order: BTreeSet<(Instant, Slot, Bytes)>,
    /// Those that are sent again, by when.
    due: BTreeSet<(Instant, Slot, Bytes)>,
    bytes: usize,
    /// When what is known of a whole slot is over.
    folds: BTreeSet<(Instant, Slot)>,
    /// Slots that may have begun or ceased to have owed keys.
    changed: BTreeSet<Slot>,
}

impl Invalidations {
    /// None yet. Each is known for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        let (slots, order, due) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let (folds, changed) = (BTreeSet::new(), BTreeSet::new());
        Self { ttl, slots, order, due, bytes: 0, folds, changed }
    }

    /// For how long each is known.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// When a key was last invalidated, as far as this process knows by itself, and under which id.
    pub fn last(&self, slot: Slot, key: &[u8]) -> Option<(Instant, Option<Id>)> {
        let entry = self.slots.get(&slot)?.keys.get(key)?;
        Some((entry.kept_from, entry.last))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many keys are known, and how many of them are owed or in doubt.
    pub fn counts(&self) -> (usize, usize) {
        (self.order.len(), self.slots.values().map(|slot| slot.owed).sum())
    }

    /// A key is invalidated: from now on it is owed. Its attempt is under way until [`Self::ended`]; before that comes
    /// [`Self::told`].
    pub fn call(&mut self, slot: Slot, key: &Bytes, now: Instant) {
        self.expire(now);
        self.remember(slot, key, now);
        self.change(slot, key, |entry| {
            (entry.called_at, entry.kept_from) = (now, now);
            entry.own = true;
            (entry.owed, entry.in_doubt) = (true, false);
            entry.unannounced = true;
            entry.under_way += 1;
            entry.failed = 0;
        });
        self.make_room();
    }

    /// An attempt begins, under this id.
    pub fn begun(&mut self, slot: Slot, key: &Bytes, id: Id) {
        self.change(slot, key, |entry| (entry.sent, entry.last) = (Some(id), Some(id)));
    }

    /// A bell of it was heard. `reign` is who owns the key's slot, and `of_owner` says whether it was that node who told.
    /// Returns whether it is news: what was read or loaded before may be out of date.
    pub fn heard(&mut self, bell: &Bell<'_>, of_owner: bool, reign: Option<Reign>, now: Instant) -> bool {
        let known = self.slots.get(&bell.slot).and_then(|of| of.keys.get(bell.key));
        // A process that made it has detached everything by itself, and knows better when it was acknowledged. An echo that
        // comes first is news, and so is what follows it: the key was there until then.
        if known.is_some_and(|e| e.sent == Some(bell.id) || (!bell.own && e.heard == Some(bell.id))) {
            return false;
        }
        self.expire(now);
        let key = Bytes::copy_from_slice(bell.key);
        self.remember(bell.slot, &key, now);
        self.change(bell.slot, &key, |entry| {
            entry.kept_from = now;
            (entry.told, entry.last) = (Some((now, reign)), Some(bell.id));
            if bell.own {
                entry.heard = Some(bell.id);
            }
            entry.owed &= entry.own || !(bell.own && of_owner);
            entry.in_doubt &= !(bell.own && of_owner);
        });
        self.make_room();
        true
    }

    /// In an attempt for the call at `called_at`, the key's node has acknowledged that it is gone, asked under the reign
    /// `by`; `reign` is that of now. The key may be read again, unless the slot has gone over to another owner meanwhile,
    /// or the key was called for anew.
    pub fn told(
        &mut self,
        (slot, key, called_at): (Slot, &Bytes, Instant),
        by: Reign,
        reign: Option<Reign>,
        now: Instant,
    ) {
        self.change(slot, key, |entry| {
            entry.told = Some((now, Some(by)));
            if entry.called_at <= called_at && reign == Some(by) {
                entry.owed = false;
            }
        });
    }

    /// An attempt for the call at `called_at` is over; what it left open is sent again after a pause.
    pub fn ended(&mut self, (slot, key, called_at): (Slot, &Bytes, Instant), announced: bool, now: Instant) {
        self.change(slot, key, |entry| {
            entry.under_way = entry.under_way.saturating_sub(1);
            entry.unannounced &= !(announced && entry.called_at <= called_at);
            let pause = if entry.owed { PAUSE } else { PAUSE * (1 << entry.failed.min(DOUBLINGS)) };
            let open = entry.owed || entry.unannounced;
            entry.due = (open && entry.under_way == 0).then(|| now + pause);
            entry.failed = if open { entry.failed + 1 } else { 0 };
        });
    }

    /// What is known of a key.
    pub fn standing(&self, slot: Slot, key: &[u8], now: Instant) -> Standing {
        let Some(of) = self.slots.get(&slot) else { return Standing::Clear };
        if of.all_owed_until.is_some_and(|until| now < until) {
            return Standing::Owed;
        }
        let entry = of.keys.get(key).filter(|entry| now < entry.kept_from + self.ttl);
        if entry.is_some_and(|entry| entry.owed) {
            return Standing::Owed;
        }
        let own = entry.and_then(|entry| entry.told).map(|(at, _)| at);
        if entry.is_some_and(|entry| entry.in_doubt) {
            return Standing::InDoubt(own.unwrap_or(now));
        }
        let folded = of.folded.filter(|(_, until)| now < *until).map(|(at, _)| at);
        own.into_iter().chain(folded).max().map_or(Standing::Clear, Standing::Since)
    }

    /// The keys to be sent again now, at most so many: each is under way until [`Self::ended`].
    pub fn take_due(&mut self, most: usize, now: Instant) -> Vec<Due> {
        self.expire(now);
        let due: Vec<_> = self.due.iter().take_while(|(at, ..)| *at <= now).take(most).cloned().collect();
        let take = |(_, slot, key): (Instant, Slot, Bytes)| {
            let mut of = None;
            self.change(slot, &key, |entry| {
                entry.due = None;
                entry.under_way += 1;
                of = Some((entry.called_at, entry.owed));
            });
            of.map(|(called_at, owed)| Due { slot, key, called_at, owed })
        };
        due.into_iter().filter_map(take).collect()
    }

    /// When the first is sent again, or forgotten.
    pub fn next_timeout(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, ..)| *at);
        let over = self.order.first().map(|(at, ..)| *at + self.ttl);
        let folds = self.folds.first().map(|(until, _)| *until);
        due.into_iter().chain(over).chain(folds).min()
    }

    /// The slots that have begun or ceased to have owed keys since the last call.
    pub fn take_changes(&mut self) -> Vec<(Slot, bool)> {
        let changed = core::mem::take(&mut self.changed);
        changed.into_iter().map(|slot| (slot, self.slots.get(&slot).is_some_and(InSlot::is_owed))).collect()
    }

    /// Forgets what was called for longer than the time to live ago.
    pub fn expire(&mut self, now: Instant) {
        while let Some((at, slot, key)) = self.order.first().filter(|(at, ..)| now.since(*at) >= self.ttl).cloned() {
            self.forget(at, slot, &key);
        }
        while let Some((_, slot)) = self.folds.first().filter(|(until, _)| *until <= now).copied() {
            self.folds.pop_first();
            let Some(of) = self.slots.get_mut(&slot) else { continue };
            of.folded.take_if(|(_, until)| *until <= now);
            if of.all_owed_until.take_if(|until| *until <= now).is_some() {
                self.changed.insert(slot);
            }
            self.drop_if_empty(slot);
        }
    }

    fn drop_if_empty(&mut self, slot: Slot) {
        let empty = |of: &InSlot| of.keys.is_empty() && of.folded.is_none() && of.all_owed_until.is_none();
        if self.slots.get(&slot).is_some_and(empty) {
            self.slots.remove(&slot);
        }
    }

    fn remember(&mut self, slot: Slot, key: &Bytes, now: Instant) {
        let of = self.slots.entry(slot).or_default();
        match of.keys.get(key) {
            Some(entry) => {
                self.order.remove(&(entry.kept_from, slot, key.clone()));
            }
            None => {
                of.keys.insert(key.clone(), Entry::new(now));
                self.bytes += key.len();
            }
        }
        self.order.insert((now, slot, key.clone()));
    }

    /// Changes an entry, and all that follows from it.
    fn change(&mut self, slot: Slot, key: &Bytes, change: impl FnOnce(&mut Entry)) {
        let Some(of) = self.slots.get_mut(&slot) else { return };
        let Some(entry) = of.keys.get_mut(key) else { return };
        let (owed, due) = (entry.is_closed(), entry.due);
        change(entry);
        if owed != entry.is_closed() {
            of.owed = if entry.is_closed() { of.owed + 1 } else { of.owed - 1 };
            self.changed.insert(slot);
        }
        if due != entry.due {
            if let Some(at) = due {
                self.due.remove(&(at, slot, key.clone()));
            }
            self.due.extend(entry.due.map(|at| (at, slot, key.clone())));
        }
    }

    fn forget(&mut self, at: Instant, slot: Slot, key: &Bytes) -> Option<Entry> {
        self.order.remove(&(at, slot, key.clone()));
        let of = self.slots.get_mut(&slot)?;
        let entry = of.keys.remove(key)?;
        self.bytes -= key.len();
        if entry.is_closed() {
            of.owed -= 1;
            self.changed.insert(slot);
        }
        if let Some(at) = entry.due {
            self.due.remove(&(at, slot, key.clone()));
        }
        self.drop_if_empty(slot);
        Some(entry)
    }

    fn make_room(&mut self) {
        while self.order.len() > MAX_KEYS || self.bytes > MAX_BYTES {
            self.fold_oldest();
        }
    }

    /// The oldest key makes room: it is known of its slot from now on.
    fn fold_oldest(&mut self) {
        let Some((at, slot, key)) = self.order.first().cloned() else { return };
        let Some(entry) = self.forget(at, slot, &key) else { return };
        let of = self.slots.entry(slot).or_default();
        let until = at + self.ttl;
        self.folds.insert((until, slot));
        if entry.is_closed() {
            of.all_owed_until = of.all_owed_until.max(Some(until));
            self.changed.insert(slot);
        }
        if let Some((told, by)) = entry.told {
            of.reign = of.reign.or(by);
            let folded = of.folded.unwrap_or((told, until));
            of.folded = Some((folded.0.max(told), folded.1.max(until)));
        }
    }
}

#[cfg(test)]
mod tests;
