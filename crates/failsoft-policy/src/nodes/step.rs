//! How far a replica has come, by the offsets of both: what was measured, and what never was.
//!
//! What two samples prove: who has come at least as far as its primary had, in the same history, holds all that the
//! primary held when it was asked for its offset. So the age of a replica is that of the newest sample of its primary that
//! it covers. When the replica was asked for its own offset makes no difference, and that a primary answered something
//! else meanwhile proves nothing: it may have changed since its offset was read, and its replicas may have lost it.

use crate::time::Instant;
use alloc::vec::Vec;

/// How many samples of a primary's offset are kept to date its replicas by.
const SAMPLES: usize = 8;

/// A place in a stream of replicated writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// How far.
    pub offset: u64,
    /// In which stream; none where servers don't tell.
    pub history: Option<u128>,
}

impl Mark {
    /// Whether who is here still holds what it held there: it is no other history, as far as can be told, and has not
    /// gone back.
    fn follows(self, before: Self) -> bool {
        may_be_one(self.history, before.history) && self.offset >= before.offset
    }
}

fn may_be_one(one: Option<u128>, other: Option<u128>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// How far a replica had come when it was last compared with its primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// It never was: there is nothing to compare, or `INFO` is denied.
    #[default]
    Unmeasured,
    /// It holds all that its primary held at this moment.
    Held(Instant),
    /// It was behind by more than can be dated.
    Lost,
}

impl Step {
    /// The moment up to which it holds everything, as far as that was measured.
    pub fn held(self) -> Option<Instant> {
        match self {
            Self::Held(at) => Some(at),
            Self::Unmeasured | Self::Lost => None,
        }
    }
}

/// The last offsets of a primary, newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets {
    history: Option<u128>,
    samples: Vec<(Instant, u64)>,
}

impl Offsets {
    /// An offset that was asked for at `at`. One of another history, or lower than the last, ends what was sampled before.
    /// Whether those who were looked at before may be compared with it: a history without a name may have begun since.
    pub(super) fn sample(&mut self, at: Instant, mark: Mark) -> bool {
        let goes_on =
            may_be_one(self.history, mark.history) && self.samples.last().is_some_and(|&(_, last)| mark.offset >= last);
        if !goes_on {
            self.clear();
        }
        self.history = mark.history;
        if self.samples.len() == SAMPLES {
            self.samples.remove(0);
        }
        self.samples.push((at, mark.offset));
        goes_on || mark.history.is_some()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Forgets them: they are of another history.
    pub(super) fn clear(&mut self) {
        self.samples.clear();
    }

    /// How far a replica at this mark has come, which had come that far `before`, when it was at that mark.
    pub(super) fn step_of(&self, mark: Mark, before: Step, mark_before: Option<Mark>) -> Step {
        let kept = before.held().filter(|_| mark_before.is_some_and(|m| mark.follows(m)));
        let comparable = !self.is_empty() && may_be_one(self.history, mark.history);
        let covered =
            self.samples.iter().filter(|&&(_, offset)| comparable && offset <= mark.offset).map(|&(at, _)| at);
        match covered.chain(kept).max() {
            Some(at) => Step::Held(at),
            None if comparable => Step::Lost,
            None => Step::Unmeasured,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Instant {
        Instant::from_millis(n)
    }

    fn mark(offset: u64) -> Mark {
        Mark { offset, history: Some(1) }
    }

    fn offsets() -> Offsets {
        let mut offsets = Offsets::default();
        for (at, offset) in [(10, 100), (20, 200), (30, 300)] {
            assert!(offsets.sample(ms(at), mark(offset)));
        }
        offsets
    }

    #[test]
    fn a_replica_holds_what_its_offset_covers() {
        let step = |offset| offsets().step_of(mark(offset), Step::Unmeasured, None);
        assert_eq!(step(1_000), Step::Held(ms(30)));
        assert_eq!(step(300), Step::Held(ms(30)));
        assert_eq!(step(299), Step::Held(ms(20)));
        assert_eq!(step(99), Step::Lost, "behind since nobody knows when");
        assert_eq!(Offsets::default().step_of(mark(99), Step::Unmeasured, None), Step::Unmeasured);
    }

    #[test]
    fn what_a_replica_held_it_still_holds_unless_it_went_back() {
        let before = Step::Held(ms(5));
        let step = |offset, mark_before| offsets().step_of(mark(offset), before, Some(mark_before));
        assert_eq!(step(99, mark(80)), Step::Held(ms(5)));
        assert_eq!(step(100, mark(80)), Step::Held(ms(10)));
        assert_eq!(step(70, mark(80)), Step::Lost, "it started again from an older copy");
        assert_eq!(step(99, Mark { offset: 80, history: Some(2) }), Step::Lost, "it copied another history");
        assert_eq!(step(99, Mark { offset: 80, history: None }), Step::Held(ms(5)), "nobody says so");
    }

    #[test]
    fn other_histories_are_not_compared() {
        let other = Mark { offset: 1_000, history: Some(2) };
        assert_eq!(offsets().step_of(other, Step::Unmeasured, None), Step::Unmeasured);
        assert_eq!(offsets().step_of(other, Step::Held(ms(5)), Some(other)), Step::Held(ms(5)));
        let mut offsets = offsets();
        assert!(offsets.sample(ms(40), other));
        assert_eq!(
            offsets.step_of(mark(1_000), Step::Unmeasured, None),
            Step::Unmeasured,
            "it has yet to copy the new one"
        );
        assert_eq!(offsets.step_of(other, Step::Unmeasured, None), Step::Held(ms(40)));
    }

    #[test]
    fn a_primary_whose_offset_falls_has_another_history() {
        let nameless = |offset| Mark { offset, history: None };
        let mut offsets = Offsets::default();
        assert!(
            !offsets.sample(ms(30), nameless(300)),
            "perhaps its history is younger than what was heard of replicas"
        );
        assert!(offsets.sample(ms(35), nameless(300)));
        assert!(!offsets.sample(ms(40), nameless(50)));
        assert_eq!(offsets.step_of(nameless(60), Step::Unmeasured, None), Step::Held(ms(40)));
        assert_eq!(offsets.step_of(nameless(40), Step::Unmeasured, None), Step::Lost);
    }
}
