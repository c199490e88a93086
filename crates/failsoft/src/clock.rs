//! The driver's clock: monotonic time as the policy's instants, and back for timers.

use failsoft_policy::Instant;
use std::time::{Duration, Instant as StdInstant};

/// Counts nanoseconds from its making. Copies of one clock agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: StdInstant,
}

impl Clock {
    /// A clock whose origin is now.
    pub(crate) fn new() -> Self {
        Self { origin: StdInstant::now() }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Instant {
        // A u64 of nanoseconds lasts 584 years.
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The same point in time for a timer of the runtime; a point too far away to name becomes a year.
    pub(crate) fn std(&self, at: Instant) -> tokio::time::Instant {
        const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let after = Duration::from_nanos(at.as_nanos());
        self.origin.checked_add(after.min(self.origin.elapsed() + A_YEAR)).unwrap_or_else(StdInstant::now).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward_and_back_again() {
        let clock = Clock::new();
        let a = clock.now();
        let b = clock.now();
        assert!(b >= a);
        let later = a + Duration::from_secs(3);
        assert_eq!(clock.std(later).duration_since(clock.std(a)), Duration::from_secs(3));
        assert!(clock.std(Instant::MAX) > clock.std(later), "no limit is still a time a timer can take");
    }
}
