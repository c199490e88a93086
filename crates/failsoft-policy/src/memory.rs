//! What a router remembers of its keys, in a fixed room: which were last known to be in the cluster and until when, what
//! became of them since by the word of their nodes, and which are read often.
//!
//! Keys come as 64-bit hashes, so nothing is allocated for one. Two keys with the same hash would be taken for one
//! another: what follows from that is a wrong class of a miss, never a wrong value.

use crate::time::Instant;
use crate::words::NodeKey;
use core::time::Duration;

mod presence;
mod sketch;

use presence::Presence;
use sketch::Sketch;

/// A key that is read about once a second is hot: as often as this among the reads that are looked at
/// ([`crate::copies::looks_at`], one in 16), which count half after a minute.
const HOT: u8 = 4;

/// What ended a key, by the word of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// For want of memory.
    Evicted,
    /// Its time to live had passed.
    Expired,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// When it was last known to be there; of one that was only heard to be gone, when that was heard.
    pub present_at: Instant,
    /// On which node.
    pub node: NodeKey,
    /// When its time to live has passed: [`Instant::MAX`] for one that does not expire; none if nobody knows.
    pub expires_at: Option<Instant>,
    /// How long its load took, if it was loaded here.
    pub took: Option<Duration>,
    /// What its node has told of it since.
    pub gone: Option<Gone>,
}

/// See the module: 32,768 keys of at most 80 bytes, allocated as they come, and 32 KiB of counters.
#[derive(Debug)]
pub struct Memory {
    presence: Presence,
    sketch: Sketch,
}

impl Default for Memory {
    fn default() -> Self {
        Self { presence: Presence::new(), sketch: Sketch::new() }
    }
}

impl Memory {
    /// A read of this key is looked at.
    pub fn asked(&mut self, key: u64, now: Instant) {
        self.sketch.add(key, now);
    }

    /// The key is in the cluster: this node served it, or took it. Its time to live is known, or was known before and
    /// has not passed.
    pub fn seen(&mut self, key: u64, node: NodeKey, expires_at: Option<Instant>, now: Instant) {
        let before = self.presence.find(key);
        let took = before.and_then(|known| known.took);
        let before = before.filter(|known| known.gone.is_none());
        let lasts = before.and_then(|known| known.expires_at).filter(|&until| now < until);
        let known = Known { present_at: now, node, expires_at: expires_at.or(lasts), took, gone: None };
        self.presence.put(key, known);
    }

    /// What a callback gave after so long was written back to this node, where it expires then.
    pub fn filled(&mut self, key: u64, node: NodeKey, took: Duration, expires_at: Instant, now: Instant) {
        let known = Known { present_at: now, node, expires_at: Some(expires_at), took: Some(took), gone: None };
        self.presence.put(key, known);
    }

    /// Its node says that it is gone. What was known of it otherwise stays.
    pub fn told(&mut self, key: u64, node: NodeKey, gone: Gone, now: Instant) {
        let known = Known { present_at: now, node, expires_at: None, took: None, gone: Some(gone) };
        self.presence.put(key, known);
    }

    /// Somebody has invalidated it: what was known of it is of no more use.
    pub fn invalidated(&mut self, key: u64) {
        self.presence.remove(key);
    }

    /// What is known of it.
    pub fn known(&self, key: u64) -> Option<Known> {
        self.presence.find(key)
    }

    /// Whether it is read often.
    pub fn is_hot(&mut self, key: u64, now: Instant) -> bool {
        self.sketch.estimate(key, now) >= HOT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeKey = NodeKey { index: 3, generation: 1 };

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_time_to_live_that_is_known_stays_known_until_it_has_passed() {
        let mut memory = Memory::default();
        memory.seen(7, NODE, Some(at(100)), at(10));
        memory.seen(7, NODE, None, at(20));
        let known = Known { present_at: at(20), node: NODE, expires_at: Some(at(100)), took: None, gone: None };
        assert_eq!(memory.known(7), Some(known));
        // It is there after that: somebody has set it anew.
        memory.seen(7, NODE, None, at(101));
        assert_eq!(memory.known(7).and_then(|known| known.expires_at), None);
    }

    #[test]
    fn what_a_node_tells_counts_until_the_key_is_there_again() {
        let mut memory = Memory::default();
        memory.seen(7, NODE, Some(at(100)), at(10));
        memory.told(7, NODE, Gone::Evicted, at(20));
        assert_eq!(memory.known(7).and_then(|known| known.gone), Some(Gone::Evicted));
        memory.seen(7, NODE, None, at(30));
        let known = Known { present_at: at(30), node: NODE, expires_at: None, took: None, gone: None };
        assert_eq!(memory.known(7), Some(known), "the time to live was that of the one which is gone");
        memory.invalidated(7);
        assert_eq!(memory.known(7), None);
    }

    #[test]
    fn keys_are_hot_while_they_are_read_often() {
        let mut memory = Memory::default();
        (0..3).for_each(|_| memory.asked(7, at(1)));
        assert!(!memory.is_hot(7, at(1)));
        memory.asked(7, at(2));
        assert!(memory.is_hot(7, at(2)) && !memory.is_hot(8, at(2)));
        assert!(!memory.is_hot(7, at(200)), "it was a while ago");
    }
}
