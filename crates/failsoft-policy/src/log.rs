//! What is written into the log of invalidations: history for people, and for who asks when a key was last invalidated.
//!
//! One call leaves one entry in each stream that has to do with its keys, and so sixteen at the most: a call for many
//! keys says how many they are, and names a few, instead of driving all others out of the log. What is read never depends
//! on it: an entry that does not come through within `deadline` is counted, and lost.

use crate::slot::slot_of;
use crate::wire::Stream;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;

/// The most keys that an entry names.
const NAMED: usize = 16;
/// The most bytes of their names together.
const BYTES: usize = 512;

/// An entry that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub stream: Stream,
    /// How many keys it is about.
    pub count: usize,
    /// Those that it names.
    pub keys: Vec<Bytes>,
}

/// The entries of a call for these keys.
pub fn notes(keys: &[Bytes]) -> Vec<Note> {
    let mut notes: BTreeMap<Stream, Note> = BTreeMap::new();
    for key in keys {
        let stream = Stream::of(slot_of(key));
        let note = notes.entry(stream).or_insert_with(|| Note { stream, count: 0, keys: Vec::new() });
        note.count += 1;
        let named: usize = note.keys.iter().map(Bytes::len).sum();
        if note.keys.len() < NAMED && named + key.len() <= BYTES {
            note.keys.push(key.clone());
        }
    }
    notes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_call_for_many_keys_leaves_one_entry_in_each_stream() {
        let keys: Vec<_> = (0..10_000).map(|n| Bytes::from(format!("key:{n}"))).collect();
        let notes = notes(&keys);
        assert_eq!(notes.len(), 16);
        assert_eq!(notes.iter().map(|note| note.count).sum::<usize>(), 10_000);
        for note in notes {
            assert_eq!(note.keys.len(), NAMED);
            assert!(note.keys.iter().all(|key| Stream::of(slot_of(key)) == note.stream));
        }
    }

    #[test]
    fn an_entry_stays_small_whatever_its_keys_are() {
        let long = Bytes::from(alloc::vec![b'x'; BYTES + 1]);
        let tagged = |n: usize| Bytes::from(format!("{{t}}{}{n:03}", "x".repeat(94)));
        let one = notes(core::slice::from_ref(&long));
        assert_eq!((one.len(), one[0].count, one[0].keys.len()), (1, 1, 0));
        let keys: Vec<_> = (0..20).map(tagged).collect();
        let few = notes(&keys);
        assert_eq!((few.len(), few[0].count, &few[0].keys[..]), (1, 20, &keys[..5]));
    }
}
