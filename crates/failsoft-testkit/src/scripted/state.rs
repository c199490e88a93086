//! All that a scripted node knows, behind one lock.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Topology, connection::Listeners, holds::Holds, rules::Rules, scripts::Scripts, streams::Streams};

/// Commands that are remembered.
const MAX_RECEIVED: usize = 100_000;
/// Bytes of each argument that are remembered.
const MAX_ARGUMENT: usize = 1024;
/// Keys in the map.
const MAX_KEYS: usize = 100_000;

/// What the node's handle and its connections share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Called after every command.
    pub(super) news: Notify,
    /// Called to close every connection.
    pub(super) kick: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) id: String,
    pub(super) port: u16,
    pub(super) rules: Rules,
    pub(super) store: Store,
    pub(super) holds: Holds,
    pub(super) streams: Streams,
    pub(super) scripts: Scripts,
    pub(super) listeners: Listeners,
    pub(super) topology: Option<Topology>,
    pub(super) standalone: bool,
    /// Fields of INFO and CLUSTER INFO that were given a value.
    pub(super) info: BTreeMap<String, String>,
    received: VecDeque<Vec<Bytes>>,
}

impl Shared {
    pub(super) fn new(port: u16, id: String) -> Shared {
        Shared { state: Mutex::new(State { id, port, ..State::default() }), news: Notify::new(), kick: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn record(&mut self, words: &[Bytes]) {
        if self.received.len() == MAX_RECEIVED {
            self.received.pop_front();
        }
        // Copied, so that the rest of a large argument is not kept alive.
        let copy = |word: &Bytes| Bytes::copy_from_slice(&word[..word.len().min(MAX_ARGUMENT)]);
        self.received.push_back(words.iter().map(copy).collect());
    }

    pub(super) fn received(&self) -> &VecDeque<Vec<Bytes>> {
        &self.received
    }

    pub(super) fn clear_received(&mut self) {
        self.received.clear();
    }
}

/// Keys with their values; a value past its time is not there.
#[derive(Debug, Default)]
pub(super) struct Store {
    entries: HashMap<Bytes, (Bytes, Option<Instant>)>,
}

impl Store {
    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        let (value, expires) = self.entries.get(key)?;
        expires.is_none_or(|at| Instant::now() < at).then(|| value.clone())
    }

    /// When the key's value ends, if it has one.
    pub(super) fn expiry(&self, key: &[u8]) -> Option<Instant> {
        self.entries.get(key)?.1
    }

    /// Whether there was room.
    pub(super) fn insert(&mut self, key: Bytes, value: Bytes, expires: Option<Instant>) -> bool {
        if self.entries.len() >= MAX_KEYS && !self.entries.contains_key(&key) {
            return false;
        }
        self.entries.insert(key, (value, expires));
        true
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let there = self.get(key).is_some();
        self.entries.remove(key);
        there
    }
}
