//! The results of loads that have just ended, for callers who set out before they did.
//!
//! Of a thousand callers that miss one key, some learn of the miss only after the load that the first
//! one led has ended, and before its value is written back. A load of their own would give them
//! nothing new: a moment earlier they would have waited for that one.

use crate::flight::LoadId;
use crate::time::Instant;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// The most loads whose results are kept.
pub const MAX_LOADS: usize = 1_024;
/// The most bytes of keys and results that are kept.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// What a key costs beside its own bytes: its places in the maps and lists.
pub const KEY_OVERHEAD: usize = 160;

#[derive(Debug)]
struct Kept {
    load: LoadId,
    at: Instant,
    keys: Vec<Bytes>,
    bytes: usize,
}

/// The last load of a key.
#[derive(Clone, Copy, Debug)]
struct Entry {
    load: LoadId,
    /// When its callback began.
    begun: Instant,
    at: Instant,
    /// Until when its failure answers later callers, too.
    until: Option<Instant>,
}

/// See the module. Holds names; the driver holds the results.
#[derive(Debug, Default)]
pub struct Echoes {
    by_key: BTreeMap<Bytes, Entry>,
    /// The oldest first.
    order: VecDeque<Kept>,
    bytes: usize,
}

impl Echoes {
    /// A load of these keys, whose callback began at `begun`, ended at `now`, with values of `bytes` bytes; keys that do not exist cost their
    /// names. Until `until` it answers also those who set out later. Whether it is kept; the results that had to make
    /// room are added to `dropped`.
    pub fn keep(
        &mut self,
        load: LoadId,
        keys: Vec<Bytes>,
        bytes: usize,
        (begun, now, until): (Instant, Instant, Option<Instant>),
        dropped: &mut Vec<LoadId>,
    ) -> bool {
        let bytes = bytes + keys.iter().map(|key| key.len() + KEY_OVERHEAD).sum::<usize>();
        if bytes > MAX_BYTES {
            return false;
        }
        while self.order.len() >= MAX_LOADS || self.bytes + bytes > MAX_BYTES {
            dropped.extend(self.drop_oldest());
        }
        for key in &keys {
            self.by_key.insert(key.clone(), Entry { load, begun, at: now, until });
        }
        self.bytes += bytes;
        self.order.push_back(Kept { load, at: now, keys, bytes });
        true
    }

    /// The load of this key that had not ended yet when the caller set out, at `began`, and whose callback began no earlier
    /// than `since`; or that has failed so recently
    /// that it is not to be repeated.
    pub fn find(&self, key: &Bytes, began: Instant, since: Instant) -> Option<LoadId> {
        let joins = |entry: &&Entry| entry.at >= began && entry.begun >= since;
        let answers = |entry: &&Entry| joins(entry) || entry.until.is_some_and(|until| began < until);
        self.by_key.get(key).filter(answers).map(|entry| entry.load)
    }

    /// The last result of a key answers nobody any more.
    pub fn forget(&mut self, key: &Bytes) {
        self.by_key.remove(key);
    }

    /// Drops what is older than `keep`: no caller that set out before it is still on the way.
    pub fn expire(&mut self, now: Instant, keep: Duration, dropped: &mut Vec<LoadId>) {
        while self.order.front().is_some_and(|e| now.since(e.at) > keep) {
            dropped.extend(self.drop_oldest());
        }
    }

    /// When the last of these results has to go.
    pub fn last(&self) -> Option<Instant> {
        self.order.back().map(|e| e.at)
    }

    /// Bytes kept now.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn drop_oldest(&mut self) -> Option<LoadId> {
        let oldest = self.order.pop_front()?;
        self.bytes -= oldest.bytes;
        for key in &oldest.keys {
            // The key has a later load by now, which has an entry of its own.
            if self.by_key.get(key).is_some_and(|entry| entry.load == oldest.load) {
                self.by_key.remove(key);
            }
        }
        Some(oldest.load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flight::Flights;

    const SECOND: Duration = Duration::from_secs(1);

    fn key() -> Bytes {
        Bytes::from_static(b"k")
    }

    /// The name of a new load.
    fn load(flights: &mut Flights) -> LoadId {
        let joined = flights.join(&[key()], &[], Instant::ZERO, SECOND).expect("no circle");
        let load = joined.lead.expect("a lead").load;
        flights.complete(load).expect("it ran");
        load
    }

    #[test]
    fn only_those_who_set_out_before_the_end_hear_of_it() {
        let (mut echoes, mut dropped) = (Echoes::default(), Vec::new());
        let first = load(&mut Flights::default());
        assert!(echoes.keep(
            first,
            [key()].into(),
            1,
            (Instant::from_millis(1), Instant::from_millis(50), None),
            &mut dropped
        ));
        assert_eq!(echoes.find(&key(), Instant::from_millis(49), Instant::ZERO), Some(first));
        assert_eq!(echoes.find(&key(), Instant::from_millis(51), Instant::ZERO), None);
        assert_eq!(echoes.find(&Bytes::from_static(b"other"), Instant::ZERO, Instant::ZERO), None);
        // Its callback began at 1 ms: what it read may lack what happened since.
        assert_eq!(echoes.find(&key(), Instant::from_millis(49), Instant::from_millis(1)), Some(first));
        assert_eq!(echoes.find(&key(), Instant::from_millis(49), Instant::from_millis(2)), None);
        echoes.expire(Instant::from_millis(1_050), SECOND, &mut dropped);
        assert_eq!((echoes.find(&key(), Instant::ZERO, Instant::ZERO), dropped.len()), (Some(first), 0));
        echoes.expire(Instant::from_millis(1_051), SECOND, &mut dropped);
        assert_eq!((echoes.find(&key(), Instant::ZERO, Instant::ZERO), &dropped[..]), (None, &[first][..]));
    }

    #[test]
    fn a_failure_answers_those_who_set_out_before_its_pause_is_over() {
        let (mut echoes, mut dropped) = (Echoes::default(), Vec::new());
        let failed = load(&mut Flights::default());
        let until = Instant::from_millis(80);
        assert!(echoes.keep(
            failed,
            [key()].into(),
            0,
            (Instant::from_millis(1), Instant::from_millis(50), Some(until)),
            &mut dropped
        ));
        assert_eq!(echoes.find(&key(), Instant::from_millis(79), Instant::ZERO), Some(failed));
        assert_eq!(echoes.find(&key(), until, Instant::ZERO), None);
    }

    #[test]
    fn a_later_load_takes_the_place_of_an_earlier_one() {
        let (mut echoes, mut dropped, mut flights) = (Echoes::default(), Vec::new(), Flights::default());
        let (first, second) = (load(&mut flights), load(&mut flights));
        echoes.keep(first, [key()].into(), 1, (Instant::from_millis(1), Instant::from_millis(1), None), &mut dropped);
        echoes.keep(second, [key()].into(), 1, (Instant::from_millis(1), Instant::from_millis(2), None), &mut dropped);
        echoes.expire(Instant::from_millis(1_001) + Duration::from_nanos(1), SECOND, &mut dropped);
        assert_eq!((echoes.find(&key(), Instant::ZERO, Instant::ZERO), &dropped[..]), (Some(second), &[first][..]));
    }

    #[test]
    fn loads_and_bytes_are_bounded() {
        let (mut echoes, mut dropped, mut flights) = (Echoes::default(), Vec::new(), Flights::default());
        for _ in 0..MAX_LOADS + 1 {
            echoes.keep(
                load(&mut flights),
                [key()].into(),
                1,
                (Instant::from_millis(1), Instant::ZERO, None),
                &mut dropped,
            );
        }
        assert_eq!(dropped.len(), 1);
        let most = MAX_BYTES - KEY_OVERHEAD - key().len();
        assert!(!echoes.keep(
            load(&mut flights),
            [key()].into(),
            most + 1,
            (Instant::from_millis(1), Instant::ZERO, None),
            &mut dropped
        ));
        assert!(echoes.keep(
            load(&mut flights),
            [key()].into(),
            most,
            (Instant::from_millis(1), Instant::ZERO, None),
            &mut dropped
        ));
        assert_eq!((dropped.len(), echoes.order.len()), (MAX_LOADS + 1, 1));
    }

    #[test]
    fn keys_that_do_not_exist_count_by_their_names() {
        let (mut echoes, mut dropped, mut flights) = (Echoes::default(), Vec::new(), Flights::default());
        let keys = |n: usize| (0..n).map(|i| Bytes::from(i.to_be_bytes().to_vec())).collect::<Vec<_>>();
        let most = MAX_BYTES / (KEY_OVERHEAD + 8);
        assert!(!echoes.keep(
            load(&mut flights),
            keys(most + 1),
            0,
            (Instant::from_millis(1), Instant::ZERO, None),
            &mut dropped
        ));
        for _ in 0..3 {
            assert!(echoes.keep(
                load(&mut flights),
                keys(most),
                0,
                (Instant::from_millis(1), Instant::ZERO, None),
                &mut dropped
            ));
        }
        assert_eq!((dropped.len(), echoes.by_key.len()), (2, most), "one such load fills all the room");
        assert!(echoes.bytes() <= MAX_BYTES);
    }
}
