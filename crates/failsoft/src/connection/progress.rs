//! How a long reply keeps its request waiting: by arriving.

use failsoft_policy::Instant;
use std::time::Duration;

/// A longer string moves its deadline while it arrives ...
const LONG_REPLY: usize = 1024 * 1024;
/// ... with this much within each attempt timeout.
const STEP: usize = 64 * 1024;

/// Follows the one string that is on its way.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How much of it had arrived when its deadline was last moved.
    counted: Option<usize>,
}

impl Progress {
    /// `here` bytes of `total` have arrived: its new deadline, if it has earned one.
    pub(super) fn on(&mut self, here: usize, total: usize, now: Instant, attempt_timeout: Duration) -> Option<Instant> {
        let earned = total > LONG_REPLY && self.counted.is_none_or(|counted| here >= counted + STEP);
        earned.then(|| {
            self.counted = Some(here);
            now + attempt_timeout
        })
    }

    /// No string is on its way.
    #[inline]
    pub(super) fn reset(&mut self) {
        self.counted = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::core::Core;
    use super::super::error::LaneError;
    use super::super::inflight::Caller;
    use super::super::notices::Notices;
    use super::*;
    use std::task::{Context, Poll, Waker};

    const TIMEOUT: Duration = Duration::from_millis(250);
    const TOTAL: usize = 2 * LONG_REPLY;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    /// Whether a request with a deadline of 250 ms still waits after this much had come at these times.
    fn waits(total: usize, arrivals: &[(u64, usize)], until: u64) -> bool {
        let (core, mut progress, mut notices) = (Core::new(1), Progress::default(), Notices::default());
        let slot = core.submit(false, at(250), Caller::Waiting(None), |_| {}).expect("room for one");
        for &(ms, here) in arrivals {
            core.expire(at(ms), &mut notices);
            let earned = progress.on(here, total, at(ms), TIMEOUT);
            core.extend_first(earned.unwrap_or(Instant::ZERO));
        }
        core.expire(at(until), &mut notices);
        match core.poll(slot, &Context::from_waker(Waker::noop())) {
            Poll::Pending => true,
            Poll::Ready(outcome) => {
                assert_eq!(outcome, Err(LaneError::Timeout));
                false
            }
        }
    }

    #[test]
    fn a_long_string_that_keeps_arriving_outlives_its_deadline() {
        let arrivals: Vec<_> = (0..10).map(|i| (i * 200, i as usize * STEP)).collect();
        assert!(waits(TOTAL, &arrivals, 2049), "the last piece came at 1800 ms");
        assert!(!waits(TOTAL, &arrivals, 2050), "and nothing for a whole attempt timeout after it");
    }

    #[test]
    fn less_than_64_kib_in_an_attempt_timeout_is_not_arriving() {
        assert!(waits(TOTAL, &[(200, 0), (400, STEP)], 600));
        assert!(!waits(TOTAL, &[(200, 0), (400, STEP - 1)], 600));
    }

    #[test]
    fn a_shorter_string_has_its_deadline_and_no_other() {
        assert!(!waits(LONG_REPLY, &[(100, 0), (200, 10 * STEP)], 250));
    }
}
