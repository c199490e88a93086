//! Fewer retries while the caller's own store is slow: reads that go on trying the cluster would only come to it later, and
//! hold more of its callers up at a time. For the same reason equal reads share their requests then.
//!
//! So while more than one in twenty of its calls takes longer than the objective; as many as usual once 95 of 100 have
//! stayed below four fifths of it for a minute.

use super::window::Seen;
use crate::time::Instant;
use core::time::Duration;

/// As many retries as reads have at the most while the store is slow.
pub const FEWER: u32 = 2;
/// How long it has to be fast again.
const CALM: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Adapt {
    slo: Option<Duration>,
    usual: u32,
    fewer: bool,
    /// How often that has begun so far.
    times: u64,
    calm: Option<Instant>,
    next: Instant,
}

impl Adapt {
    pub(super) fn new(slo: Option<Duration>, usual: u32) -> Self {
        Self { slo, usual, fewer: false, times: 0, calm: None, next: Instant::ZERO }
    }

    /// How many retries a read may make now.
    pub(super) fn max_retries(&self) -> u32 {
        if self.fewer { self.usual.min(FEWER) } else { self.usual }
    }

    /// Whether the store is slow, and how often it has become so.
    pub(super) fn slow(&self) -> (bool, u64) {
        (self.fewer, self.times)
    }

    /// Looks at the newest calls, if it is time to; they are summed up only then.
    pub(super) fn look(&mut self, now: Instant, enough: u64, newest: impl FnOnce() -> (Seen, Option<Duration>)) {
        let Some(slo) = self.slo.filter(|_| self.next <= now) else { return };
        self.next = now + LOOK;
        let (seen, p95) = newest();
        if seen.calls >= enough && seen.slow * 20 > seen.calls {
            self.times += u64::from(!self.fewer);
            (self.fewer, self.calm) = (true, None);
        } else if p95.is_some_and(|p95| p95 * 5 >= slo * 4) {
            self.calm = None;
        } else if self.fewer && *self.calm.get_or_insert(now) + CALM <= now {
            (self.fewer, self.calm) = (false, None);
        }
    }

    /// When it has to be looked at although nothing ends: what is over must not last.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.fewer.then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Seen = Seen { calls: 100, failures: 0, slow: 6 };
    const FAST: Seen = Seen { calls: 100, failures: 0, slow: 5 };

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    fn millis(n: u64) -> Option<Duration> {
        Some(Duration::from_millis(n))
    }

    fn adapt(usual: u32) -> Adapt {
        Adapt::new(millis(50), usual)
    }

    #[test]
    fn there_are_fewer_retries_from_the_objective_on_until_a_minute_of_calm() {
        let mut adapt = adapt(3);
        let mut look = |second, seen, p95| {
            adapt.look(at(second), 20, || (seen, p95));
            adapt.max_retries()
        };
        assert_eq!((look(1, FAST, millis(50)), look(2, SLOW, millis(51))), (3, 2));
        assert_eq!((look(3, FAST, millis(39)), look(62, FAST, millis(39))), (2, 2));
        assert_eq!(look(63, FAST, millis(40)), 2, "not below four fifths: the minute begins anew");
        assert_eq!((look(64, FAST, millis(39)), look(123, FAST, None)), (2, 2));
        assert_eq!(look(124, FAST, None), 3);
        assert_eq!((adapt.slow(), adapt.next_timeout()), ((false, 1), None));
    }

    #[test]
    fn few_calls_tell_nothing_and_a_setting_is_only_lowered() {
        let mut few = adapt(3);
        few.look(at(1), 20, || (Seen { calls: 19, failures: 0, slow: 19 }, millis(900)));
        assert_eq!((few.max_retries(), few.next_timeout()), (3, None));
        let mut one = adapt(1);
        one.look(at(1), 20, || (SLOW, millis(51)));
        assert_eq!((one.max_retries(), one.next_timeout()), (1, Some(at(2))));
        let mut off = Adapt::new(None, 3);
        off.look(at(1), 20, || (SLOW, millis(51)));
        assert_eq!(off.max_retries(), 3);
    }

    #[test]
    fn it_is_looked_at_once_a_second() {
        let mut adapt = adapt(3);
        adapt.look(at(1), 20, || (FAST, millis(1)));
        adapt.look(at(1), 20, || panic!("too early"));
    }
}
