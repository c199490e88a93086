//! Holds: which writers are in each, and until when.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;

/// Names of holds that a node remembers.
const MAX_HOLDS: usize = 10_000;

/// By the name of a hold: its writers, with the end of each one's time.
#[derive(Debug, Default)]
pub(super) struct Holds {
    writers: HashMap<Bytes, HashMap<Bytes, Instant>>,
}

impl Holds {
    /// Whether there was room.
    pub(super) fn enter(&mut self, hold: &Bytes, writer: &Bytes, ends: Instant) -> bool {
        if self.writers.len() >= MAX_HOLDS && !self.writers.contains_key(hold) {
            return false;
        }
        self.writers.entry(hold.clone()).or_default().insert(writer.clone(), ends);
        true
    }

    /// Whether that writer was in it.
    pub(super) fn leave(&mut self, hold: &[u8], writer: &[u8]) -> bool {
        let Some(writers) = self.writers.get_mut(hold) else { return false };
        let was = writers.remove(writer).is_some();
        if writers.is_empty() {
            self.writers.remove(hold);
        }
        was
    }

    /// Whether a writer is in it whose time is not over.
    pub(super) fn stands(&self, hold: &[u8]) -> bool {
        self.writers.get(hold).is_some_and(|writers| writers.values().any(|&ends| Instant::now() < ends))
    }
}
