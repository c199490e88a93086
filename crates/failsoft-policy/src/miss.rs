//! Why a key is missing that its primary does not have, and who is asked for it: the caller's `fallback`, or its
//! `recompute`.
//!
//! A class is claimed only where there is evidence for it. It decides over no value that is served.

use crate::invalidations::Standing;
use crate::memory::{Gone, Known};
use crate::time::Instant;
use crate::words::Reason;

/// The class of a miss. `evicting_at` is when the node that the key was known on was last seen to have evicted keys.
pub fn class(standing: Standing, known: Option<Known>, evicting_at: Option<Instant>, now: Instant) -> Reason {
    // What was there after an invalidation is not missing because of that one.
    let there_since = |at| known.is_some_and(|known| known.present_at > at);
    if matches!(standing, Standing::Since(at) if !there_since(at)) {
        return Reason::Invalidated;
    }
    let Some(known) = known else { return Reason::Absent };
    match (known.gone, known.expires_at) {
        (Some(Gone::Evicted), _) => Reason::Evicted,
        (Some(Gone::Expired), _) => Reason::Expired,
        (None, Some(until)) if until <= now => Reason::Expired,
        (None, Some(_)) if evicting_at.is_some_and(|at| at > known.present_at) => Reason::Evicted,
        (None, _) => Reason::Unknown,
    }
}

/// Whether a mark beside the key tells of an invalidation that this process does not know. Of one that it knows, it knows
/// better than the mark whether the key was there since.
pub fn mark_is_news(standing: Standing) -> bool {
    standing == Standing::Clear
}

/// The class of a miss for which there is such a mark.
pub fn with_mark(class: Reason) -> Reason {
    if matches!(class, Reason::Absent | Reason::Unknown) { Reason::Invalidated } else { class }
}

/// Whether copies of a key in this process are out of date by a miss of this class. What has expired or was evicted was
/// right until then, and may still stand in within its budget.
pub fn ends_copies(class: Reason) -> bool {
    !matches!(class, Reason::Expired | Reason::Evicted)
}

/// Whether `recompute` is asked instead of `fallback`, where the caller gave one: what nobody is known to have changed may
/// be computed from elsewhere. Not for a hot key that was evicted: many are waiting for it, and the store has it.
pub fn recomputes(reason: Reason, hot: bool) -> bool {
    match reason {
        Reason::Absent | Reason::Expired | Reason::Unknown => true,
        Reason::Evicted => !hot,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::NodeKey;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    fn known(present: u64, expires_at: Option<Instant>, gone: Option<Gone>) -> Option<Known> {
        Some(Known { present_at: at(present), node: NodeKey { index: 0, generation: 0 }, expires_at, took: None, gone })
    }

    #[test]
    fn nothing_is_claimed_without_evidence() {
        let class = |known, evicting| class(Standing::Clear, known, evicting, at(50));
        assert_eq!(class(None, Some(at(49))), Reason::Absent);
        assert_eq!(class(known(10, None, None), None), Reason::Unknown);
        assert_eq!(class(known(10, None, None), Some(at(20))), Reason::Unknown, "its time to live may have passed");
        assert_eq!(class(known(10, Some(at(60)), None), None), Reason::Unknown, "its node evicts nothing");
        assert_eq!(class(known(10, Some(at(60)), None), Some(at(10))), Reason::Unknown, "it was there afterwards");
        assert_eq!(class(known(10, Some(at(60)), None), Some(at(20))), Reason::Evicted);
        assert_eq!(class(known(10, Some(Instant::MAX), None), Some(at(20))), Reason::Evicted);
        assert_eq!(class(known(10, Some(at(50)), None), Some(at(20))), Reason::Expired);
        assert_eq!(class(known(10, None, Some(Gone::Expired)), None), Reason::Expired);
        assert_eq!(class(known(10, Some(at(20)), Some(Gone::Evicted)), None), Reason::Evicted);
    }

    #[test]
    fn an_invalidation_counts_until_the_key_was_there_again() {
        let class = |known| class(Standing::Since(at(30)), known, None, at(50));
        assert_eq!(class(None), Reason::Invalidated);
        assert_eq!(class(known(30, Some(at(40)), None)), Reason::Invalidated);
        assert_eq!(class(known(31, Some(at(40)), None)), Reason::Expired);
        assert_eq!(class(known(31, None, None)), Reason::Unknown);
    }

    #[test]
    fn a_mark_says_more_than_nothing_and_less_than_evidence() {
        let all = [Reason::Absent, Reason::Unknown, Reason::Expired, Reason::Evicted, Reason::Invalidated];
        let with = [Reason::Invalidated, Reason::Invalidated, Reason::Expired, Reason::Evicted, Reason::Invalidated];
        assert_eq!(all.map(with_mark), with);
        assert!(mark_is_news(Standing::Clear) && !mark_is_news(Standing::Since(at(1))));
    }

    #[test]
    fn only_what_nobody_changed_is_computed_anew() {
        for &reason in Reason::ALL {
            let fits = matches!(reason, Reason::Absent | Reason::Expired | Reason::Unknown);
            assert_eq!(recomputes(reason, true), fits, "{reason}");
            assert_eq!(recomputes(reason, false), fits || reason == Reason::Evicted, "{reason}");
        }
    }
}
