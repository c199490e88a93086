//! What stands at a mark, in the key's own slot and as its echo.

use super::ID;
use alloc::format;
use alloc::vec::Vec;

/// A mark: `1 ID TIME EPOCH`, where `1` is the version of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of which invalidation.
    pub id: [u8; ID],
    /// The server's time in microseconds since 1970; 0 where no script could ask for it.
    pub at: u64,
    /// The config epoch of the key's owner, as whoever left the mark knew it.
    pub epoch: u64,
}

impl Mark {
    /// What is written where no script does it.
    pub fn text(&self) -> Vec<u8> {
        [b"1 ", &self.id[..], format!(" {} {}", self.at, self.epoch).as_bytes()].concat()
    }

    /// None if it is of another version.
    pub fn of(text: &[u8]) -> Option<Self> {
        let mut words = core::str::from_utf8(text).ok()?.split(' ');
        let (version, id) = (words.next()?, words.next()?);
        let (at, epoch) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (version == "1" && words.next().is_none()).then_some(Self { id: id.as_bytes().try_into().ok()?, at, epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::super::id;
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_one_of_another_version_is_none() {
        let mark = Mark { id: id(7), at: 1_700_000_000_123_456, epoch: 12 };
        assert_eq!(mark.text(), b"1 7000000000000000 1700000000123456 12");
        assert_eq!(Mark::of(&mark.text()), Some(mark));
        for other in ["2 7000000000000000 1 12", "1 700 1 12", "1 7000000000000000 1", "1 7000000000000000 1 12 3", ""]
        {
            assert_eq!(Mark::of(other.as_bytes()), None, "{other}");
        }
    }
}
