//! The demo's keys and their values: what a read has to return can be told from the key alone.

use failsoft::Bytes;

/// How many keys the readers ask for.
pub(super) const KEYS: usize = 10_000;
/// How many of them share the slot that is moved: a slot has less than one of the others.
pub(super) const IN_MOVED_SLOT: usize = 100;
/// How many of them are in the cluster when the load begins; the rest are misses at first.
pub(super) const FILLED: usize = 8_000;
/// The tag that puts keys into the slot that is moved.
const TAG: &str = "basket";

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) value: Bytes,
}

/// All keys, those of the moved slot first.
pub(super) fn all() -> Vec<Key> {
    let tagged = (0..IN_MOVED_SLOT).map(|number| format!("{{{TAG}}}:{number}"));
    let others = (IN_MOVED_SLOT..KEYS).map(|number| format!("user:{number}"));
    tagged.chain(others).map(|name| Key { value: value_of(name.as_bytes()), name }).collect()
}

/// The slot that is moved.
pub(super) fn moved_slot() -> u16 {
    failsoft_testkit::slot_of(format!("{{{TAG}}}"))
}

/// The one right value of a key.
pub(super) fn value_of(key: &[u8]) -> Bytes {
    [b"the value of ", key].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_keys_are_those_of_the_moved_slot() {
        let keys = all();
        assert_eq!(keys.len(), KEYS);
        let in_slot = |key: &Key| failsoft_testkit::slot_of(&key.name) == moved_slot();
        assert!(keys[..IN_MOVED_SLOT].iter().all(in_slot));
        assert!(keys[IN_MOVED_SLOT..].iter().filter(|key| in_slot(key)).count() < 10);
    }
}
