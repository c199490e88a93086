//! The streams of the log: where they are, and what an entry looks like.

use super::{ID, LOG, echo_slot, name};
use crate::words::Slot;
use alloc::vec::Vec;

/// About how many entries a stream keeps.
pub const LOG_LENGTH: &str = "1024";
/// How many entries are looked at: servers cut a stream only now and then.
pub const LOG_READ: &str = "2048";
/// How many streams there are.
const STREAMS: u16 = 16;
/// A sixteenth of all slots writes to one of them.
const SLOTS: u16 = Slot::COUNT / STREAMS;

/// One of the sixteen streams. It is written to by the keys whose echoes are in the sixteenth of the slots that it is in
/// itself: nearly always on the node that has the echo, and not on that of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream(u16);

impl Stream {
    /// The one for a key in this slot.
    pub fn of(slot: Slot) -> Self {
        Self(echo_slot(slot).number() / SLOTS)
    }

    /// The slot that it is in.
    pub fn slot(self) -> Slot {
        Slot(self.0 * SLOTS)
    }

    /// Its name.
    pub fn name(self) -> Vec<u8> {
        name(LOG, self.slot(), alloc::format!("{}", self.0).as_bytes())
    }

    /// The invalidation that an entry is of, if it is one of this key; `fields` are its fields and values in turn.
    pub fn entry_of(fields: &[&[u8]], key: &[u8]) -> Option<[u8; ID]> {
        let pairs = || fields.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        let first = |field: &[u8]| pairs().find(|(name, _)| *name == field).map(|(_, value)| value);
        let is_of = first(b"v") == Some(b"1") && pairs().any(|pair| pair == (b"k", key));
        is_of.then(|| first(b"id")?.try_into().ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::slot_of;
    use alloc::collections::BTreeSet;

    #[test]
    fn sixteen_streams_each_in_the_sixteenth_that_its_keys_have_their_echoes_in() {
        let streams: BTreeSet<_> = (0..Slot::COUNT).filter_map(Slot::new).map(Stream::of).collect();
        assert_eq!(streams.len(), usize::from(STREAMS));
        for stream in streams {
            assert_eq!(slot_of(&stream.name()), stream.slot());
            let of = (0..Slot::COUNT).filter_map(Slot::new).filter(|slot| Stream::of(*slot) == stream);
            assert!(of.into_iter().all(|slot| echo_slot(slot).number() / SLOTS == stream.slot().number() / SLOTS));
        }
    }

    #[test]
    fn an_entry_says_of_which_keys_it_is() {
        let entry = [&b"v"[..], b"1", b"id", b"0123456789abcdef", b"n", b"2", b"k", b"one", b"k", b"two"];
        assert_eq!(Stream::entry_of(&entry, b"two"), Some(*b"0123456789abcdef"));
        assert_eq!(Stream::entry_of(&entry, b"three"), None);
        assert_eq!(Stream::entry_of(&entry, b"1"), None, "a value of another field is no key");
        let later = [&b"v"[..], b"2", b"id", b"0123456789abcdef", b"k", b"two"];
        assert_eq!(Stream::entry_of(&later, b"two"), None);
    }
}
