//! A table of keys with a fixed number of places: a new key takes the place of the one in its row that was seen longest ago.

use super::Known;
use alloc::boxed::Box;
use alloc::vec;

/// Rows, a power of two. One is allocated when the first of its keys comes.
const ROWS: usize = 8_192;
/// Places in a row.
const PLACES: usize = 4;

type Row = [Option<(u64, Known)>; PLACES];

#[derive(Debug)]
pub(super) struct Presence {
    rows: Box<[Option<Box<Row>>]>,
}

impl Presence {
    pub(super) fn new() -> Self {
        Self { rows: vec![None; ROWS].into_boxed_slice() }
    }

    fn row(key: u64) -> usize {
        // The low bits are those of the sketch.
        (key >> 40) as usize % ROWS
    }

    pub(super) fn find(&self, key: u64) -> Option<Known> {
        let row = self.rows[Self::row(key)].as_deref()?;
        row.iter().flatten().find(|(held, _)| *held == key).map(|&(_, known)| known)
    }

    pub(super) fn put(&mut self, key: u64, known: Known) {
        let row = self.rows[Self::row(key)].get_or_insert_default();
        let own = row.iter().position(|place| place.is_some_and(|(held, _)| held == key));
        let oldest = || (0..PLACES).min_by_key(|&at| row[at].map(|(_, known)| known.present_at));
        if let Some(at) = own.or_else(oldest) {
            row[at] = Some((key, known));
        }
    }

    pub(super) fn remove(&mut self, key: u64) {
        if let Some(row) = self.rows[Self::row(key)].as_deref_mut() {
            row.iter_mut().filter(|place| place.is_some_and(|(held, _)| held == key)).for_each(|place| *place = None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;
    use crate::words::NodeKey;

    fn known(seconds: u64) -> Known {
        let node = NodeKey { index: 0, generation: 0 };
        Known { present_at: Instant::from_millis(seconds * 1_000), node, expires_at: None, took: None, gone: None }
    }

    #[test]
    fn a_full_row_lets_go_of_the_key_that_was_seen_longest_ago() {
        let mut table = Presence::new();
        // Of one row, as they differ in the low bits only.
        for key in 1..=4 {
            table.put(key, known(10 + key));
        }
        table.put(1, known(20));
        table.put(5, known(21));
        assert_eq!([1, 2, 3, 4, 5].map(|key| table.find(key).is_some()), [true, false, true, true, true]);
        assert_eq!(table.find(1), Some(known(20)));
        table.remove(3);
        assert_eq!(table.find(3), None);
    }

    #[test]
    fn its_room_is_bounded() {
        assert!(size_of::<Row>() <= 80 * PLACES, "{}", size_of::<Row>());
    }
}
