//! What happened in a run: a hash of it always, and the words of it when somebody wants to read them.

use crate::model::{MS, Time};

/// See the module.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    pub(crate) events: u64,
    pub(crate) lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(wordy: bool) -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, events: 0, lines: wordy.then(Vec::new) }
    }

    /// Something happened (FNV-1a by words).
    pub(crate) fn add(&mut self, at: Time, what: u64) {
        self.events += 1;
        self.mix(at);
        self.mix(what);
    }

    pub(crate) fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// A line for the reader; made only if there is one.
    pub(crate) fn say(&mut self, now: Time, words: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>10.3} ms  {}", now as f64 / MS as f64, words()));
        }
    }
}
