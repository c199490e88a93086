//! The breaker of one node: when it may be read from, and when it is probed.
//!
//! One failure opens it: the connection is gone with it anyway, and no second read should have to
//! wait for the same hung node. What grows with consecutive failures is the cool-down before the
//! next probe. Probes are never user reads (semantics of half-open after
//! Nygard, "Release It!"), and after a good one reads come back step by step.

use crate::time::Instant;
use core::time::Duration;

/// The cool-down after a second consecutive failure; after the first one the probe is due at once.
pub const FIRST_COOLDOWN: Duration = Duration::from_millis(100);
/// The cap of the cool-down while the trouble is young: a promoted replica must serve soon.
pub const YOUNG_CAP: Duration = Duration::from_millis(250);
/// The cap of the cool-down once the trouble is older than [`YOUNG`].
pub const OLD_CAP: Duration = Duration::from_secs(2);
/// How long trouble counts as young.
pub const YOUNG: Duration = Duration::from_secs(30);
/// The steps of readmission: permille of the reads, and for how long.
pub const STEPS: [(u16, Duration); 2] = [(100, Duration::from_millis(100)), (500, Duration::from_millis(200))];

/// How many of the reads a node may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// All of them.
    All,
    /// This many of a thousand, if another source can take the rest; else all.
    Permille(u16),
    /// None.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// No reads; a probe is due at `probe_at`.
    Open {
        probe_at: Instant,
    },
    /// No reads; a probe is under way.
    HalfOpen,
    /// A part of the reads, until the step ends.
    Readmitting {
        step: usize,
        until: Instant,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    failures: u32,
    since: Instant,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed, failures: 0, since: Instant::ZERO }
    }
}

impl Breaker {
    /// A read failed (redirects and cancelled reads are no failures). Several reads that fail with
    /// one connection are one failure: those that find the breaker open change nothing.
    pub fn on_failure(&mut self, now: Instant) {
        match self.state {
            State::Closed => {
                self.since = now;
                self.failures = 1;
                self.state = State::Open { probe_at: now };
            }
            State::Readmitting { .. } => self.open_again(now),
            State::Open { .. } | State::HalfOpen => {}
        }
    }

    /// Whether a probe has to be sent now; from then on it is under way.
    pub fn take_probe(&mut self, now: Instant) -> bool {
        match self.state {
            State::Open { probe_at } if probe_at <= now => {
                self.state = State::HalfOpen;
                true
            }
            _ => false,
        }
    }

    /// The probe under way ended: `passed` if the node answered and may be believed.
    pub fn on_probe(&mut self, passed: bool, now: Instant) {
        if self.state != State::HalfOpen {
            return;
        }
        if passed {
            self.state = State::Readmitting { step: 0, until: now + STEPS[0].1 };
        } else {
            self.open_again(now);
        }
    }

    /// Moves readmission on; true if that changed what is admitted.
    pub fn tick(&mut self, now: Instant) -> bool {
        let State::Readmitting { step, until } = self.state else { return false };
        if now < until {
            return false;
        }
        self.state = match STEPS.get(step + 1) {
            Some(&(_, length)) => State::Readmitting { step: step + 1, until: now + length },
            None => {
                self.failures = 0;
                State::Closed
            }
        };
        true
    }

    /// How many of the reads the node may get.
    pub fn admission(&self) -> Admission {
        match self.state {
            State::Closed => Admission::All,
            State::Readmitting { step, .. } => Admission::Permille(STEPS[step].0),
            State::Open { .. } | State::HalfOpen => Admission::Closed,
        }
    }

    /// When [`Self::take_probe`] or [`Self::tick`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Open { probe_at } => Some(probe_at),
            State::Readmitting { until, .. } => Some(until),
            State::Closed | State::HalfOpen => None,
        }
    }

    /// Consecutive failures so far, failed probes included.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The state in a word, for reports: `closed`, `open`, `half_open` or `readmitting`.
    pub fn as_str(&self) -> &'static str {
        match self.state {
            State::Closed => "closed",
            State::Open { .. } => "open",
            State::HalfOpen => "half_open",
            State::Readmitting { .. } => "readmitting",
        }
    }

    fn open_again(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let cap = if now.since(self.since) < YOUNG { YOUNG_CAP } else { OLD_CAP };
        let doublings = self.failures.saturating_sub(2).min(8);
        self.state = State::Open { probe_at: now + (FIRST_COOLDOWN * (1 << doublings)).min(cap) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Instant {
        Instant::from_millis(n)
    }

    #[test]
    fn one_failure_opens_and_the_first_probe_is_due_at_once() {
        let mut b = Breaker::default();
        assert_eq!(b.admission(), Admission::All);
        b.on_failure(ms(5));
        assert_eq!(b.admission(), Admission::Closed);
        assert_eq!(b.next_timeout(), Some(ms(5)));
        assert!(b.take_probe(ms(5)));
        assert!(!b.take_probe(ms(5)), "one probe at a time");
    }

    #[test]
    fn failed_probes_double_the_cool_down_to_its_cap() {
        let mut b = Breaker::default();
        b.on_failure(ms(0));
        let mut now = ms(0);
        let mut waits = alloc::vec::Vec::new();
        for _ in 0..5 {
            assert!(b.take_probe(now));
            b.on_probe(false, now);
            let next = b.next_timeout().expect("a further probe");
            waits.push(next.since(now).as_millis());
            now = next;
        }
        assert_eq!(waits, [100, 200, 250, 250, 250]);
        now = ms(60_000);
        assert!(b.take_probe(now));
        b.on_probe(false, now);
        assert_eq!(b.next_timeout(), Some(now + OLD_CAP));
    }

    #[test]
    fn reads_come_back_step_by_step_and_a_failure_closes_the_door_again() {
        let mut b = Breaker::default();
        b.on_failure(ms(0));
        assert!(b.take_probe(ms(0)));
        b.on_probe(true, ms(1));
        assert_eq!(b.admission(), Admission::Permille(100));
        assert!(!b.tick(ms(50)));
        assert!(b.tick(ms(101)));
        assert_eq!(b.admission(), Admission::Permille(500));
        b.on_failure(ms(102));
        assert_eq!((b.admission(), b.failures()), (Admission::Closed, 2));
        assert!(b.take_probe(ms(202)));
        b.on_probe(true, ms(202));
        assert!(b.tick(ms(302)) && b.tick(ms(502)));
        assert_eq!((b.admission(), b.failures()), (Admission::All, 0));
    }

    #[test]
    fn reads_that_fail_with_the_same_connection_are_one_failure() {
        let mut b = Breaker::default();
        for _ in 0..100 {
            b.on_failure(ms(0));
        }
        assert_eq!(b.failures(), 1);
    }
}
