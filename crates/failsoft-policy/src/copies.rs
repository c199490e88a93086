//! Copies of values in this process, which stand in where no node and no callback can answer: what is known of one, when a
//! value that was just read is worth copying, and which failures of a read a copy bridges.
//!
//! When a copy may be served is the rule of all that stands in ([`crate::cluster::Cluster::copy_serves`]).

use crate::lease::Lease;
use crate::time::Instant;
use crate::words::{NodeKey, Reason};
use crate::write::Cause;
use core::time::Duration;

/// One of so many values that a primary served is looked at: hot keys are met soon, and the others do not pay for it.
const ONE_IN: u32 = 16;
/// A copy is not made anew of a value that is younger by less than this.
const YOUNG: Duration = Duration::from_millis(500);
/// The largest share of the room that one entry may take.
const SHARE: u64 = 64;
/// The largest entry in any case, bytes.
const LARGEST: u64 = 1024 * 1024;

/// What is known of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The last moment at which it was known to be current: when the node was asked for it, or when its load began.
    pub current_at: Instant,
    /// The primary that it is of; none for what was loaded while no primary could be asked.
    pub node: Option<NodeKey>,
}

/// What is known of a copy of a loaded value. `began` is when its callback was started, and `lease` what came of its lease,
/// if one was to be taken. None if it may be kept nowhere: a writer holds its key.
pub fn of_load(began: Instant, lease: Option<&Result<Lease, Cause>>) -> Option<Held> {
    match lease {
        Some(Err(Cause::Held)) => None,
        Some(Ok(lease)) => Some(Held { current_at: began, node: Some(lease.lessor.node) }),
        Some(Err(_)) | None => Some(Held { current_at: began, node: None }),
    }
}

/// Whether a value that a primary has just served is looked at. `dice` is any number.
#[inline]
pub fn looks_at(dice: u32) -> bool {
    dice.is_multiple_of(ONE_IN)
}

/// Whether a copy is made of such a value, asked for at this time, beside the one that is held.
pub fn is_worth(asked_at: Instant, held: Option<Held>) -> bool {
    held.is_none_or(|held| asked_at > held.current_at + YOUNG)
}

/// The most bytes that the key and the value of an entry may have together where all entries have `room` bytes.
pub fn largest(room: u64) -> u64 {
    (room / SHARE).min(LARGEST)
}

/// How a read failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFailure {
    /// No source could say whether the key exists.
    Unavailable(Reason),
    /// The deadline of the call passed, or its callback took too long.
    DeadlineExceeded,
    /// The callback was not asked, to spare the store.
    Shed,
    /// The callback failed.
    Callback,
    /// The callback gave something that is no answer.
    BadResult,
    /// Anything else: a mistake of the program, a closed router, a defect.
    Other,
}

/// Why a copy stands in for a read that failed like this, if one may; none if its caller has to hear of the failure.
/// `reason` is why the primary did not serve, as far as that is known, and `callback` says whether the caller gave one.
pub fn bridged(failure: ReadFailure, reason: Option<Reason>, callback: bool) -> Option<Reason> {
    match failure {
        ReadFailure::Unavailable(reason) => Some(reason),
        ReadFailure::DeadlineExceeded if callback => Some(Reason::SlowSource),
        ReadFailure::DeadlineExceeded => Some(reason.unwrap_or(Reason::Deadline)),
        ReadFailure::Shed => Some(Reason::Shed),
        ReadFailure::Callback => Some(Reason::FailedSource),
        // The program has to be mended, and nobody would if a copy hid it.
        ReadFailure::BadResult | ReadFailure::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_bridges_what_says_no_more_than_that_nobody_could_answer() {
        let timeout = Some(Reason::Timeout);
        for callback in [false, true] {
            let bridged = |failure| bridged(failure, timeout, callback);
            assert_eq!(bridged(ReadFailure::Unavailable(Reason::ClusterDown)), Some(Reason::ClusterDown));
            assert_eq!(bridged(ReadFailure::Shed), Some(Reason::Shed));
            assert_eq!(bridged(ReadFailure::Callback), Some(Reason::FailedSource));
            assert_eq!(bridged(ReadFailure::BadResult), None);
            assert_eq!(bridged(ReadFailure::Other), None);
        }
    }

    #[test]
    fn time_that_ran_out_is_the_callback_s_where_there_is_one() {
        assert_eq!(bridged(ReadFailure::DeadlineExceeded, Some(Reason::Timeout), true), Some(Reason::SlowSource));
        assert_eq!(bridged(ReadFailure::DeadlineExceeded, Some(Reason::Timeout), false), Some(Reason::Timeout));
        assert_eq!(bridged(ReadFailure::DeadlineExceeded, None, false), Some(Reason::Deadline));
    }
}
