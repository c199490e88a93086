//! How fast loaded values are written back: a few at a time to each node, the rest in a queue, in order.
//!
//! A batch that missed thousands of keys comes with thousands of fills at once. They must neither crowd out the
//! reads of their nodes nor pile up: a fill that finds no room in the queue, or waits there for too long, is
//! dropped, since it only copies what the store already has.

use crate::time::Instant;
use crate::words::NodeKey;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// The most fills under way to one node.
pub const WINDOW: usize = 64;
/// The most fills in the queue.
pub const MAX_WAITING: usize = 65_536;
/// The most bytes of keys and values, queued and under way.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// One value to write back; the driver chooses its type.
#[derive(Debug)]
pub struct Fill<T> {
    /// Where to: the node that confirmed the miss.
    pub node: NodeKey,
    /// When it is too late.
    pub deadline: Instant,
    /// Its key's and value's length.
    pub bytes: usize,
    /// The value.
    pub what: T,
}

/// What the driver does with a fill that it offered.
#[derive(Debug)]
pub enum Offer<T> {
    /// Write it now; then [`Fills::written`] gives the next one.
    Write(Fill<T>),
    /// It waits in the queue.
    Waits,
    /// There is no room for it.
    Dropped(Fill<T>),
}

#[derive(Debug)]
struct Line<T> {
    under_way: usize,
    waiting: VecDeque<Fill<T>>,
}

/// See the module.
#[derive(Debug)]
pub struct Fills<T> {
    lines: BTreeMap<NodeKey, Line<T>>,
    waiting: usize,
    bytes: usize,
}

impl<T> Default for Fills<T> {
    fn default() -> Self {
        Self { lines: BTreeMap::new(), waiting: 0, bytes: 0 }
    }
}

impl<T> Fills<T> {
    /// Offers a value to write back. A single value may be longer than the limit for all together.
    pub fn offer(&mut self, fill: Fill<T>) -> Offer<T> {
        let idle = self.bytes == 0;
        if !idle && self.bytes + fill.bytes > MAX_BYTES {
            return Offer::Dropped(fill);
        }
        let line = self.lines.entry(fill.node).or_insert_with(|| Line { under_way: 0, waiting: VecDeque::new() });
        if line.under_way < WINDOW {
            line.under_way += 1;
            self.bytes += fill.bytes;
            return Offer::Write(fill);
        }
        if self.waiting >= MAX_WAITING {
            return Offer::Dropped(fill);
        }
        self.waiting += 1;
        self.bytes += fill.bytes;
        line.waiting.push_back(fill);
        Offer::Waits
    }

    /// A fill of so many bytes to this node has ended, however it did. Gives the next one to be written in its
    /// place; those that waited for too long are added to `late`.
    pub fn written(&mut self, node: NodeKey, bytes: usize, now: Instant, late: &mut Vec<Fill<T>>) -> Option<Fill<T>> {
        self.bytes = self.bytes.saturating_sub(bytes);
        let line = self.lines.get_mut(&node)?;
        while let Some(fill) = line.waiting.pop_front() {
            self.waiting -= 1;
            if now < fill.deadline {
                return Some(fill);
            }
            self.bytes = self.bytes.saturating_sub(fill.bytes);
            late.push(fill);
        }
        line.under_way -= 1;
        if line.under_way == 0 {
            self.lines.remove(&node);
        }
        None
    }

    /// Whether none is queued or under way.
    pub fn is_idle(&self) -> bool {
        self.lines.is_empty()
    }
}

/// The time to live of a value that is written back: up to `jitter` of it is taken off, so that values loaded
/// together do not expire together. `dice` is any number.
pub fn time_to_live(ttl: Duration, jitter: f64, dice: u32) -> Duration {
    ttl.mul_f64(1.0 - jitter * (f64::from(dice) / f64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Instant = Instant::from_millis(1_000);

    fn node(index: u32) -> NodeKey {
        NodeKey { index, generation: 0 }
    }

    fn fill(index: u32, bytes: usize, what: usize) -> Fill<usize> {
        Fill { node: node(index), deadline: DEADLINE, bytes, what }
    }

    #[test]
    fn each_node_has_a_window_and_a_line_in_order() {
        let (mut fills, mut late) = (Fills::default(), Vec::new());
        for what in 0..WINDOW {
            assert!(matches!(fills.offer(fill(0, 1, what)), Offer::Write(f) if f.what == what));
        }
        for what in 0..2 {
            assert!(matches!(fills.offer(fill(0, 1, what)), Offer::Waits));
        }
        assert!(matches!(fills.offer(fill(1, 1, 7)), Offer::Write(_)), "another node has room");
        for what in 0..2 {
            let next = fills.written(node(0), 1, Instant::ZERO, &mut late);
            assert_eq!(next.map(|f| f.what), Some(what));
        }
        for _ in 0..WINDOW {
            assert!(!fills.is_idle());
            assert!(fills.written(node(0), 1, Instant::ZERO, &mut late).is_none());
        }
        assert!(fills.written(node(1), 1, Instant::ZERO, &mut late).is_none());
        assert!(fills.is_idle() && fills.bytes == 0 && fills.waiting == 0 && late.is_empty());
    }

    #[test]
    fn what_waited_for_too_long_is_dropped() {
        let (mut fills, mut late) = (Fills::default(), Vec::new());
        for what in 0..WINDOW + 3 {
            fills.offer(fill(0, 10, what));
        }
        assert!(fills.written(node(0), 10, DEADLINE, &mut late).is_none());
        assert_eq!(late.iter().map(|f| f.what).collect::<Vec<_>>(), [WINDOW, WINDOW + 1, WINDOW + 2]);
        assert_eq!((fills.waiting, fills.bytes), (0, 10 * (WINDOW - 1)));
    }

    #[test]
    fn the_line_is_bounded_in_fills_and_in_bytes() {
        let mut fills = Fills::default();
        for what in 0..WINDOW + MAX_WAITING {
            assert!(!matches!(fills.offer(fill(0, 1, what)), Offer::Dropped(_)));
        }
        assert!(matches!(fills.offer(fill(0, 1, 0)), Offer::Dropped(_)));
        assert!(matches!(fills.offer(fill(1, 1, 0)), Offer::Write(_)));

        let mut fills = Fills::default();
        assert!(matches!(fills.offer(fill(0, MAX_BYTES + 1, 0)), Offer::Write(_)), "one alone may be longer");
        assert!(matches!(fills.offer(fill(1, 1, 0)), Offer::Dropped(_)));
        assert!(fills.written(node(0), MAX_BYTES + 1, Instant::ZERO, &mut Vec::new()).is_none());
        assert!(matches!(fills.offer(fill(1, MAX_BYTES - 1, 0)), Offer::Write(_)));
        assert!(matches!(fills.offer(fill(1, 1, 0)), Offer::Write(_)));
        assert!(matches!(fills.offer(fill(1, 1, 0)), Offer::Dropped(_)));
    }

    #[test]
    fn jitter_takes_off_no_more_than_its_share() {
        let ttl = Duration::from_secs(100);
        assert_eq!(time_to_live(ttl, 0.1, 0), ttl);
        assert_eq!(time_to_live(ttl, 0.1, u32::MAX), Duration::from_secs(90));
        assert_eq!(time_to_live(ttl, 0.0, u32::MAX), ttl);
    }
}
