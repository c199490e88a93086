//! How far a replica has come, by the offsets of both: what was measured, and what never was.

use crate::time::Instant;
use alloc::vec::Vec;

/// How many samples of a primary's offset are kept to date its replicas by.
const SAMPLES: usize = 8;

/// How far a replica had come when it was last compared with its primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// It never was: there is nothing to compare, or `INFO` is denied.
    #[default]
    Unmeasured,
    /// It held all that was known of its primary at this moment.
    Level(Instant),
    /// It was behind, and held what its primary had up to this moment.
    UpTo(Instant),
    /// It was behind by more than can be dated.
    Lost,
}

impl Step {
    /// The moment up to which it held everything, as far as that was measured.
    fn held(self) -> Option<Instant> {
        match self {
            Self::Level(at) | Self::UpTo(at) => Some(at),
            Self::Unmeasured | Self::Lost => None,
        }
    }
}

/// The last offsets of a primary, newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets(Vec<(Instant, u64)>);

impl Offsets {
    /// An offset that was read at `at`. One that is lower than the last belongs to another history.
    pub(super) fn sample(&mut self, at: Instant, offset: u64) {
        if self.0.last().is_some_and(|&(_, last)| offset < last) {
            self.0.clear();
        }
        if self.0.len() == SAMPLES {
            self.0.remove(0);
        }
        self.0.push((at, offset));
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets them: they are of another history.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// How far a replica at `offset` has come. What it held `before`, at an offset no higher, it still holds.
    pub(super) fn step_of(&self, offset: u64, before: Step, offset_before: Option<u64>) -> Step {
        let kept = || before.held().filter(|_| offset_before.is_some_and(|o| o <= offset));
        let (Some(newest), Some(oldest)) = (self.0.last(), self.0.first()) else {
            return kept().map_or(Step::Unmeasured, Step::UpTo);
        };
        match self.0.iter().rev().find(|&&(_, o)| o <= offset) {
            Some(covered) if covered == newest => Step::Level(covered.0),
            Some(covered) => Step::UpTo(covered.0),
            None => kept().map_or(Step::Lost, |at| Step::UpTo(at.min(oldest.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Instant {
        Instant::from_millis(n)
    }

    fn offsets() -> Offsets {
        let mut offsets = Offsets::default();
        for (at, offset) in [(10, 100), (20, 200), (30, 300)] {
            offsets.sample(ms(at), offset);
        }
        offsets
    }

    #[test]
    fn a_replica_holds_what_its_offset_covers() {
        let step = |offset| offsets().step_of(offset, Step::Unmeasured, None);
        assert_eq!(step(300), Step::Level(ms(30)));
        assert_eq!(step(299), Step::UpTo(ms(20)));
        assert_eq!(step(99), Step::Lost, "behind since nobody knows when");
        assert_eq!(Offsets::default().step_of(99, Step::Unmeasured, None), Step::Unmeasured);
    }

    #[test]
    fn what_a_replica_held_it_still_holds_unless_it_went_back() {
        let before = Step::Level(ms(5));
        assert_eq!(offsets().step_of(99, before, Some(80)), Step::UpTo(ms(5)));
        assert_eq!(offsets().step_of(99, Step::UpTo(ms(15)), Some(99)), Step::UpTo(ms(10)));
        assert_eq!(offsets().step_of(70, before, Some(80)), Step::Lost, "it started again from an older copy");
    }

    #[test]
    fn a_primary_whose_offset_falls_has_another_history() {
        let mut offsets = offsets();
        offsets.sample(ms(40), 50);
        assert_eq!(offsets.step_of(60, Step::Unmeasured, None), Step::Level(ms(40)));
        assert_eq!(offsets.step_of(40, Step::Unmeasured, None), Step::Lost);
    }
}
