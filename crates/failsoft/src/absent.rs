//! Remembers for a while which keys do not exist, by the word of their callbacks (`negative_ttl`).

use crate::shared::Shared;
use failsoft_policy::config::Config;
use failsoft_policy::copies::Held;
use failsoft_policy::slot::slot_of;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// The most bytes that they take.
const ROOM: u64 = 4 * 1024 * 1024;
/// What one costs beside the bytes of its key.
const OVERHEAD: u64 = 160;
/// The longest key that is remembered.
const LONGEST: usize = 64 * 1024;
const PARTS: usize = 8;

#[derive(Clone)]
struct Weight;

impl Weighter<Box<[u8]>, Held> for Weight {
    fn weight(&self, key: &Box<[u8]>, _: &Held) -> u64 {
        key.len() as u64 + OVERHEAD
    }
}

/// The absent keys of a router.
pub(crate) struct Absent {
    entries: Cache<Box<[u8]>, Held, Weight>,
}

impl Absent {
    /// None if nothing is to be remembered.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        config.negative_ttl()?;
        let options = OptionsBuilder::new()
            .shards(PARTS)
            .weight_capacity(ROOM)
            .estimated_items_capacity((ROOM / (2 * OVERHEAD)) as usize)
            .build()
            .ok()?;
        let hasher = DefaultHashBuilder::default();
        Some(Self { entries: Cache::with_options(options, Weight, hasher, DefaultLifecycle::default()) })
    }

    /// A callback says that there is no such key.
    pub(crate) fn remember(&self, key: &[u8], held: Held) {
        if key.len() <= LONGEST {
            self.entries.insert(key.into(), held);
        }
    }

    /// Something is known to have happened to this key.
    pub(crate) fn forget(&self, key: &[u8]) {
        self.entries.remove(key);
    }
}

/// Whether a key is known not to exist, so that its callback need not be asked.
pub(crate) fn is_absent(shared: &Shared, key: &[u8]) -> bool {
    let held = shared.absent.as_ref().and_then(|absent| absent.entries.get(key));
    let (Some(held), config) = (held, shared.config()) else { return false };
    let ttl = config.negative_ttl().map(|ttl| ttl.min(config.invalidation_ttl()));
    let now = shared.now();
    shared.look_at_cluster(|cluster| cluster.copy_serves((slot_of(key), key), held, ttl, now))
}
