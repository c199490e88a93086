//! How often keys were asked for lately, about: a count-min sketch with conservative update, whose counters are halved from
//! time to time (Cormode and Muthukrishnan, "An Improved Data Stream Summary"; the halving as in TinyLFU).

use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

/// Counters in a row, a power of two.
const WIDTH: usize = 8_192;
/// Rows, each with an index of its own for a key.
const DEPTH: usize = 4;
/// All counters are halved after so long ...
const HALVED: Duration = Duration::from_secs(60);
/// ... or after so many keys, so that what is asked for once does not fill them.
const MOST: u32 = WIDTH as u32;

#[derive(Debug)]
pub(super) struct Sketch {
    counters: Box<[u8]>,
    added: u32,
    halved_at: Instant,
}

impl Sketch {
    pub(super) fn new() -> Self {
        Self { counters: vec![0; WIDTH * DEPTH].into_boxed_slice(), added: 0, halved_at: Instant::ZERO }
    }

    /// Where a key's counters are.
    fn places(key: u64) -> [usize; DEPTH] {
        core::array::from_fn(|row| row * WIDTH + (key >> (13 * row)) as usize % WIDTH)
    }

    fn smallest(&self, key: u64) -> u8 {
        Self::places(key).into_iter().map(|at| self.counters[at]).min().unwrap_or(0)
    }

    pub(super) fn add(&mut self, key: u64, now: Instant) {
        self.age(now);
        let count = self.smallest(key).saturating_add(1);
        for at in Self::places(key) {
            self.counters[at] = self.counters[at].max(count);
        }
        self.added += 1;
    }

    /// No fewer than it was asked for since the counters were last halved.
    pub(super) fn estimate(&mut self, key: u64, now: Instant) -> u8 {
        self.age(now);
        self.smallest(key)
    }

    fn age(&mut self, now: Instant) {
        let since = now.since(self.halved_at);
        if since < HALVED && self.added < MOST {
            return;
        }
        // After eight times nothing is left.
        let times = (since.as_secs() / HALVED.as_secs()).clamp(1, 8);
        self.counters.iter_mut().for_each(|counter| *counter = counter.checked_shr(times as u32).unwrap_or(0));
        (self.added, self.halved_at) = (self.added / 2, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spread over all bits.
    fn hash(n: u64) -> u64 {
        let mixed = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    #[test]
    fn what_is_asked_for_once_hides_nothing() {
        let mut sketch = Sketch::new();
        let now = Instant::from_millis(1_000);
        for n in 0..40_000 {
            sketch.add(hash(n), now);
            if n % 100 == 0 {
                sketch.add(hash(1_000_000), now);
            }
        }
        assert!(sketch.estimate(hash(1_000_000), now) >= 20);
        let cold = (0..40_000).filter(|&n| sketch.estimate(hash(n), now) >= 4).count();
        assert!(cold < 400, "{cold} of 40,000 keys that were asked for once seem hot");
    }

    #[test]
    fn counters_are_halved_with_time() {
        let mut sketch = Sketch::new();
        (0..8).for_each(|_| sketch.add(5, Instant::from_millis(1_000)));
        assert_eq!(sketch.estimate(5, Instant::from_millis(59_000)), 8);
        assert_eq!(sketch.estimate(5, Instant::from_millis(61_000)), 4);
        assert_eq!(sketch.estimate(5, Instant::from_millis(190_000)), 1);
    }
}
