//! Keeps copies of hot keys and of loaded values in this process, and serves them where nothing else can answer.
//!
//! The policy decides what is worth a copy, and when one may be served. Here are the bytes, in a cache that is bounded by
//! them and keeps what is asked for often.

use crate::account::ReadEnd;
use crate::driver::Served;
use crate::near::Tracked;
use crate::shared::Shared;
use bytes::Bytes;
use failsoft_policy::config::Config;
use failsoft_policy::copies::{Held, bridged, is_worth, largest};
use failsoft_policy::slot::slot_of;
use failsoft_policy::{Instant, Reason, Status};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::sync::Arc;
use std::time::Duration;

/// What an entry costs beside the bytes of its key and its value: two allocations for each of them, its place in the
/// cache's tables, and what those leave empty.
const OVERHEAD: u64 = 320;
/// This part of a value is counted once more: what an allocator leaves empty between long ones, each of which was there
/// twice while it was loaded, with others at the same time (measured by `examples/copies.rs`).
const HOLES: u64 = 3;
/// The cache's parts, each with a lock and a share of the room of its own.
const PARTS: usize = 8;
/// What an entry may take at the least where there are copies at all.
const SMALLEST: u64 = 4096;

/// A value, and what is known of it.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) value: Bytes,
    pub(crate) held: Held,
    /// Of a near copy.
    pub(crate) tracked: Option<Tracked>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<[u8]>, Arc<Copy>> for Weight {
    fn weight(&self, key: &Box<[u8]>, copy: &Arc<Copy>) -> u64 {
        let (key, value) = (key.len() as u64, copy.value.len() as u64);
        key + value + value / HOLES + OVERHEAD
    }
}

type Entries = Cache<Box<[u8]>, Arc<Copy>, Weight>;

/// The copies of a router; none if it may have none.
pub(crate) struct Copies {
    entries: Option<Entries>,
    largest: u64,
}

impl Copies {
    pub(crate) fn new(config: &Config) -> Self {
        let room =
            u64::from(if config.near_cache_bytes() > 0 { config.near_cache_bytes() } else { config.standin_bytes() });
        let largest = largest(room).max(SMALLEST.min(room));
        let options = OptionsBuilder::new()
            .shards(PARTS)
            .weight_capacity(room)
            .estimated_items_capacity((room / (2 * OVERHEAD)) as usize)
            .build()
            .ok()
            .filter(|_| room > 0);
        let entries = options.map(|options| {
            Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
        });
        Self { entries, largest }
    }

    /// The copy of a key, whether or not it may serve.
    pub(crate) fn find(&self, key: &[u8]) -> Option<Arc<Copy>> {
        self.entries.as_ref()?.get(key)
    }

    /// How many there are, and how many bytes they take.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.entries.as_ref().map_or((0, 0), |entries| (entries.len() as u64, entries.weight()))
    }

    /// The primary says that there is no such key, or its callback does.
    pub(crate) fn forget(&self, key: &[u8]) {
        if let Some(entries) = &self.entries {
            entries.remove(key);
        }
    }

    /// Copies what a primary has served, asked for it at this time, if that is worth it.
    pub(crate) fn consider(&self, key: &[u8], served: &Served, asked_at: Instant) {
        let copy = self.entries.as_ref().and_then(|entries| entries.peek(key));
        // A near copy is made anew by a read that is tracked.
        if is_worth(asked_at, copy.as_ref().map(|copy| copy.held)) && copy.is_none_or(|copy| copy.tracked.is_none()) {
            self.keep(key, &served.value, Held { current_at: asked_at, node: Some(served.node) });
        }
    }

    /// Copies a value, unless there is a copy of a later one.
    pub(crate) fn keep(&self, key: &[u8], value: &Bytes, held: Held) {
        self.insert(key, value, held, None);
    }

    /// The same with what makes it a near copy.
    pub(crate) fn keep_tracked(&self, key: &[u8], value: &Bytes, held: Held, tracked: Tracked) {
        self.insert(key, value, held, Some(tracked));
    }

    fn insert(&self, key: &[u8], value: &Bytes, held: Held, tracked: Option<Tracked>) {
        let Some(entries) = &self.entries else { return };
        if (key.len() + value.len()) as u64 > self.largest {
            // It is out of date by now.
            entries.remove(key);
            return;
        }
        if entries.peek(key).is_none_or(|copy| copy.held.current_at <= held.current_at) {
            // A value may be a part of a larger buffer.
            entries.insert(key.into(), Arc::new(Copy { value: Bytes::copy_from_slice(value), held, tracked }));
        }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        if let Some(entries) = &self.entries {
            entries.clear();
        }
    }
}

/// The copy of a key, if it may stand in now for a caller who asks for no more than this age.
pub(crate) fn serving(shared: &Shared, key: &[u8], asked: Option<Duration>) -> Option<Arc<Copy>> {
    let copy = shared.copies.find(key)?;
    let now = shared.now();
    let serves = shared.look_at_cluster(|cluster| cluster.copy_serves((slot_of(key), key), copy.held, asked, now));
    serves.then_some(copy)
}

/// Serves a copy instead of an error, if the policy lets one. `callback` says whether the caller gave one.
pub(crate) fn or_stale(shared: &Shared, key: &[u8], end: ReadEnd, callback: bool, asked: Option<Duration>) -> ReadEnd {
    let ReadEnd::Failed { error, reason, attempts } = &end else { return end };
    let Some(reason) = bridged(error.read_failure(), *reason, callback) else { return end };
    match serving(shared, key, asked) {
        Some(copy) => stale(shared, copy, reason, *attempts),
        None => end,
    }
}

/// The end of a read for which a copy stands in.
pub(crate) fn stale(shared: &Shared, copy: Arc<Copy>, reason: Reason, attempts: u32) -> ReadEnd {
    shared.tally.attempt(Status::StaleHit, Some(reason));
    ReadEnd::Stale { copy, reason: Some(reason), attempts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(bytes: &str) -> Copies {
        let mut config = Config::default();
        config.set_text("standin_bytes", bytes).expect("a setting");
        Copies::new(&config)
    }

    fn held(millis: u64) -> Held {
        Held { current_at: Instant::from_millis(millis), node: None }
    }

    #[test]
    fn they_stay_within_their_bytes_and_no_entry_takes_it_all() {
        let copies = copies("1000000");
        for i in 0..10_000_u32 {
            copies.keep(&i.to_le_bytes(), &Bytes::from(vec![0; 700]), held(1));
        }
        let (entries, bytes) = copies.size();
        assert!(bytes <= 1_000_000 && entries > 500, "{entries} entries, {bytes} bytes");
        copies.keep(b"long", &Bytes::from(vec![0; 20_000]), held(1));
        assert!(copies.find(b"long").is_none());
    }

    #[test]
    fn a_value_that_is_too_long_takes_the_place_of_the_older_one() {
        let copies = copies("1000000");
        copies.keep(b"k", &Bytes::from_static(b"short"), held(1));
        copies.keep(b"k", &Bytes::from(vec![0; 20_000]), held(2));
        assert!(copies.find(b"k").is_none());
    }

    #[test]
    fn no_copy_pins_the_buffer_that_its_value_came_in_or_takes_the_place_of_a_later_one() {
        let copies = copies("1000000");
        let buffer = Bytes::from(vec![7; 1_000]);
        copies.keep(b"k", &buffer.slice(..10), held(5_000));
        let copy = copies.find(b"k").expect("a copy");
        assert!(!buffer.as_ptr_range().contains(&copy.value.as_ptr()));
        copies.keep(b"k", &Bytes::from_static(b"older"), held(4_000));
        assert_eq!(copies.find(b"k").expect("a copy").value, copy.value);
        copies.keep(b"k", &Bytes::from_static(b"newer"), held(6_000));
        assert_eq!(copies.find(b"k").expect("a copy").value, "newer");
    }

    #[test]
    fn none_are_kept_where_there_is_no_room() {
        let copies = copies("0");
        copies.keep(b"k", &Bytes::from_static(b"v"), held(1));
        assert!(copies.find(b"k").is_none());
        assert_eq!(copies.size(), (0, 0));
    }
}
