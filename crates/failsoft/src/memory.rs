//! What a router remembers of its keys, behind a lock that only a few reads take: see the policy's
//! [`memory`](failsoft_policy::memory).

use failsoft_policy::memory::{Gone, Known};
use failsoft_policy::{Instant, NodeKey};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// See the module.
#[derive(Default)]
pub(crate) struct Memory {
    keys: Mutex<failsoft_policy::memory::Memory>,
    /// Of a seed of its own, so that nobody can choose keys that are taken for one another.
    hasher: RandomState,
}

impl Memory {
    fn of(&self, key: &[u8]) -> (MutexGuard<'_, failsoft_policy::memory::Memory>, u64) {
        let hash = self.hasher.hash_one(key);
        (self.keys.lock().unwrap_or_else(PoisonError::into_inner), hash)
    }

    /// A read that is looked at found the key on this node.
    pub(crate) fn looked(&self, key: &[u8], node: NodeKey, now: Instant) {
        let (mut keys, hash) = self.of(key);
        keys.asked(hash, now);
        keys.seen(hash, node, None, now);
    }

    /// One that is looked at did not find it.
    pub(crate) fn missed(&self, key: &[u8], now: Instant) {
        let (mut keys, hash) = self.of(key);
        keys.asked(hash, now);
    }

    /// The key is on this node until then.
    pub(crate) fn seen(&self, key: &[u8], node: NodeKey, expires_at: Instant, now: Instant) {
        let (mut keys, hash) = self.of(key);
        keys.seen(hash, node, Some(expires_at), now);
    }

    /// What was loaded in that time was written back to this node, until then.
    pub(crate) fn filled(&self, key: &[u8], node: NodeKey, took: Duration, expires_at: Instant, now: Instant) {
        let (mut keys, hash) = self.of(key);
        keys.filled(hash, node, took, expires_at, now);
    }

    /// Its node says that it is gone.
    pub(crate) fn told(&self, key: &[u8], node: NodeKey, gone: Gone, now: Instant) {
        let (mut keys, hash) = self.of(key);
        keys.told(hash, node, gone, now);
    }

    /// It was invalidated.
    pub(crate) fn invalidated(&self, key: &[u8]) {
        let (mut keys, hash) = self.of(key);
        keys.invalidated(hash);
    }

    /// What is known of its presence.
    pub(crate) fn known(&self, key: &[u8]) -> Option<Known> {
        let (keys, hash) = self.of(key);
        keys.known(hash)
    }

    /// Whether it is read often.
    pub(crate) fn is_hot(&self, key: &[u8], now: Instant) -> bool {
        let (mut keys, hash) = self.of(key);
        keys.is_hot(hash, now)
    }
}
