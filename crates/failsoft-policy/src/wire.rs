//! What is written beside the users' keys: its names and its scripts. `docs/wire.md` lists all of it.
//!
//! Everything about a key lives in the key's own slot, so that one node sees both, and one script may touch both. Names
//! have the form `failsoft:l:{tag}KEY`, where the tag is hashed in place of the name (cluster specification, "Hash
//! tags") and the key follows as it is.

use crate::slot::slot_of;
use crate::words::Slot;
use alloc::vec::Vec;

mod log;
mod mark;
mod scripts;

pub use log::{LOG_LENGTH, LOG_READ, Stream};
pub use mark::Mark;
pub use scripts::{
    FILL_SCRIPT, HOLD_SCRIPT, INVALIDATE_SCRIPT, LEASE_SCRIPT, MARK_SCRIPT, PROLONG_SCRIPT, PUT_SCRIPT, RELEASE_SCRIPT,
    Script,
};

/// What all names begin with.
pub const NAMESPACE: &str = "failsoft:";
/// A lease: its presence proves that nothing was written to its key since it was taken.
const LEASE: u8 = b'l';
/// A hold: the writers that are changing what their key stands for, each with the end of its time.
const HOLD: u8 = b'h';
/// A mark: when its key was last invalidated, and by whom.
const MARK: u8 = b'i';
/// A bell: set and deleted at once, so that whoever listens hears its name.
const BELL: u8 = b'b';
/// A stream of the log.
const LOG: u8 = b's';

/// Whether a key is one of the names that are written beside the users' keys.
pub fn is_own(key: &[u8]) -> bool {
    key.starts_with(NAMESPACE.as_bytes())
}

/// What the names of all bells begin with: what a listener asks to be told of.
pub const BELLS: &str = "failsoft:b:";

/// The bytes of the id of an invalidation.
const ID: usize = 16;
/// Those of them that name the router which made it.
const MAKER: usize = 8;
/// The bytes of a tag.
const TAG: usize = 4;
/// Every letter of a tag is one of the sixteen from here on: `@`, `A` to `O`.
const FIRST_LETTER: u8 = b'@';
/// The slot of the tag of four first letters.
const FIRST_SLOT: u16 = 0x3639;
/// What changes the slot of a tag in one bit: for each bit of the slot, from the lowest, the bits of the letters' numbers
/// that have to change, four for each letter. CRC16 is linear, so changes add up by exclusive or.
const CHANGES: [u16; 14] =
    [0x88d4, 0x808a, 0x9007, 0x9efb, 0x19a2, 0x0c93, 0x1184, 0x8eed, 0x1efb, 0x8022, 0x89c4, 0x82aa, 0x9447, 0x967b];

/// The longest key that is leased, and so filled: its lease has a name that is a few bytes longer, and servers take
/// names of 512 MiB at the most.
pub const LONGEST_KEY: usize = 512 * 1024 * 1024 - NAMESPACE.len() - TAG - 4;

/// What [`FILL_SCRIPT`] returned, as an answer that a fill may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// The value was written.
    Written = 1,
    /// The lease is gone, or another one.
    LeaseGone = 0,
    /// The key has a value.
    Exists = -1,
}

impl Filled {
    /// By the number that the script returned; none for any other. Those of the other scripts return 1, too.
    pub fn of(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Written),
            0 => Some(Self::LeaseGone),
            -1 => Some(Self::Exists),
            _ => None,
        }
    }
}

/// What a lease says of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// It stands for as long as a load may take, whatever becomes of its load.
    Fixed,
    /// Its owner prolongs it while the load runs, and releases it when nothing comes of that: one may wait for it.
    Kept,
}

impl Tenure {
    /// What a token begins with: the version of its form.
    fn version(self) -> u8 {
        match self {
            Self::Fixed => b'1',
            Self::Kept => b'2',
        }
    }

    /// Whether this token is of such a lease.
    pub fn is_of(self, token: &[u8]) -> bool {
        token.first() == Some(&self.version())
    }
}

/// A token of a lease, made of a random number: it begins with the version of its form.
pub fn token(tenure: Tenure, dice: u64) -> [u8; 17] {
    core::array::from_fn(|place| place.checked_sub(1).map_or(tenure.version(), |place| digit(dice, place)))
}

/// The id of an invalidation or of a writer, made of a number: its lowest 32 bits are the first eight digits, those of the
/// router that made it.
pub fn id(dice: u64) -> [u8; ID] {
    core::array::from_fn(|place| digit(dice, place))
}

/// The name of a router, with which all of its ids begin.
pub fn maker(id: &[u8; ID]) -> &[u8] {
    &id[..MAKER]
}

fn digit(dice: u64, place: usize) -> u8 {
    b"0123456789abcdef"[(dice >> (4 * place) & 0xF) as usize]
}

/// The name of a key's lease; `slot` is the key's.
pub fn lease_name(slot: Slot, key: &[u8]) -> Vec<u8> {
    name(LEASE, slot, key)
}

/// The name of a key's hold; `slot` is the key's.
pub fn hold_name(slot: Slot, key: &[u8]) -> Vec<u8> {
    name(HOLD, slot, key)
}

/// The name of a key's mark in a slot: the key's own, or that of its echo.
pub fn mark_name(slot: Slot, key: &[u8]) -> Vec<u8> {
    name(MARK, slot, key)
}

/// The name of the bell of one invalidation, whose id stands before the key: a process that hears it knows its own ones.
pub fn bell_name(slot: Slot, id: &[u8; ID], key: &[u8]) -> Vec<u8> {
    name(BELL, slot, &[&id[..], key].concat())
}

/// A bell, by the name that a listener is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bell<'n> {
    /// Of which invalidation.
    pub id: [u8; ID],
    /// The key that is invalidated.
    pub key: &'n [u8],
    /// The key's slot.
    pub slot: Slot,
    /// Whether it was rung there; otherwise in the slot of the echo.
    pub own: bool,
}

impl<'n> Bell<'n> {
    /// None if it is a name that no router of this version gives.
    pub fn of(name: &'n [u8]) -> Option<Self> {
        let (tag, rest) = name.strip_prefix(BELLS.as_bytes())?.strip_prefix(b"{")?.split_at_checked(TAG)?;
        let (id, key) = rest.strip_prefix(b"}")?.split_at_checked(ID)?;
        let (rung_in, slot) = (slot_of(tag), slot_of(key));
        let own = rung_in == slot;
        (own || rung_in == echo_slot(slot)).then_some(Self { id: id.try_into().ok()?, key, slot, own })
    }
}

/// A name in this slot that is never there: of a bell without an id and a key.
pub fn absent_name(slot: Slot) -> Vec<u8> {
    name(BELL, slot, b"")
}

/// The slot of the echo: another node owns it nearly always, so that whoever has lost the key's own one still hears.
pub fn echo_slot(slot: Slot) -> Slot {
    Slot((slot.number() + Slot::COUNT / 2) % Slot::COUNT)
}

fn name(kind: u8, slot: Slot, key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(NAMESPACE.len() + TAG + 4 + key.len());
    name.extend_from_slice(NAMESPACE.as_bytes());
    name.extend([kind, b':', b'{']);
    name.extend(tag_of(slot));
    name.push(b'}');
    name.extend_from_slice(key);
    name
}

/// Four letters whose slot is this one.
fn tag_of(slot: Slot) -> [u8; TAG] {
    let differs = slot.number() ^ FIRST_SLOT;
    let bits = CHANGES.iter().enumerate().filter(|(bit, _)| differs >> bit & 1 == 1);
    let changes = bits.fold(0, |changes, (_, change)| changes ^ change);
    core::array::from_fn(|letter| FIRST_LETTER | (changes >> (4 * letter) & 0xF) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_in_the_slot_of_its_key() {
        for number in 0..Slot::COUNT {
            let slot = Slot::new(number).expect("a slot");
            assert_eq!(slot_of(&tag_of(slot)), slot);
        }
        for key in [&b"user:42"[..], b"", b"{user}:42", b"a{}b", b"}{", b"\xff\x00", b"failsoft:l:{@@@@}k"] {
            let slot = slot_of(key);
            assert_eq!([lease_name(slot, key), hold_name(slot, key)].map(|name| slot_of(&name)), [slot; 2], "{key:?}");
            for slot in [slot, echo_slot(slot)] {
                let names = [mark_name(slot, key), bell_name(slot, &id(7), key), absent_name(slot)];
                assert_eq!(names.map(|name| slot_of(&name)), [slot; 3], "{key:?}");
            }
        }
    }

    #[test]
    fn a_bell_says_which_invalidation_of_which_key_it_is_and_where_it_was_rung() {
        let (key, id) = (&b"user:42"[..], id(7));
        let slot = slot_of(key);
        for (rung_in, own) in [(slot, true), (echo_slot(slot), false)] {
            let name = bell_name(rung_in, &id, key);
            assert!(name.starts_with(BELLS.as_bytes()));
            assert_eq!(Bell::of(&name), Some(Bell { id, key, slot, own }));
        }
        let elsewhere = Slot((slot.number() + 1) % Slot::COUNT);
        let mark = mark_name(slot, key);
        for name in
            [&bell_name(elsewhere, &id, key)[..], &absent_name(slot), &mark, b"failsoft:b:", b"failsoft:b:{@@@@", b""]
        {
            assert_eq!(Bell::of(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_token_is_its_version_and_its_number() {
        assert_eq!(&token(Tenure::Fixed, 0xfedc_ba98_7654_3210), b"10123456789abcdef");
        assert_eq!(&token(Tenure::Kept, 0xfedc_ba98_7654_3210), b"20123456789abcdef");
    }

    #[test]
    fn a_name_says_what_it_is_and_of_which_key() {
        let key = b"user:42";
        let name = lease_name(slot_of(key), key);
        assert!(name.starts_with(b"failsoft:l:{") && name.ends_with(b"}user:42"), "{name:?}");
        assert_eq!(name.len(), b"failsoft:l:{@@@@}".len() + key.len());
    }
}
