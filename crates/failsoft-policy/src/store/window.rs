//! What the calls of the last minute came to, second by second: how many, how many of them failed or were slow, and how
//! long they took.
//!
//! The newest seconds are what counts. A store that is called rarely is judged over more of them, up to a minute, since
//! a few calls tell nothing.

use crate::time::Instant;
use alloc::collections::VecDeque;
use core::ops::AddAssign;
use core::time::Duration;

/// The most seconds that are kept.
const SLICES: u64 = 60;
/// What is judged if there are enough calls in it: between five and six seconds.
const JUDGED: u64 = 6;
/// Latencies are told apart in eighths of an octave, from 64 µs to over a minute: an error of an eighth at the most.
const STEPS: u32 = 8;
const SHORTEST: u32 = 6;
const OCTAVES: u32 = 20;
const BUCKETS: usize = (1 + OCTAVES * STEPS) as usize;

/// How many calls ended in some time, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// All of them.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that took longer than the objective.
    pub slow: u64,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.failures += other.failures;
        self.slow += other.slow;
    }
}

/// How many calls took how long.
#[derive(Debug)]
pub(super) struct Latencies([u32; BUCKETS]);

impl Latencies {
    const NONE: Self = Self([0; BUCKETS]);

    pub(super) fn note(&mut self, latency: Duration) {
        let count = &mut self.0[bucket(latency)];
        *count = count.saturating_add(1);
    }

    /// What 95 of 100 calls did not exceed, rounded up by an eighth at the most.
    pub(super) fn p95(&self) -> Option<Duration> {
        let all: u64 = self.0.iter().copied().map(u64::from).sum();
        let mut beyond = all - (all * 95).div_ceil(100) + 1;
        let at = self.0.iter().rposition(|&count| {
            let reached = beyond <= u64::from(count);
            beyond = beyond.saturating_sub(count.into());
            reached
        });
        at.filter(|_| all > 0).map(most)
    }
}

/// Where a latency is counted.
fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    let Some(octave) = micros.checked_ilog2().and_then(|log| log.checked_sub(SHORTEST)) else { return 0 };
    let step = (micros >> (octave + SHORTEST - STEPS.ilog2())) as u32 % STEPS;
    BUCKETS.min((2 + octave * STEPS + step) as usize) - 1
}

/// The longest that is counted there.
fn most(bucket: usize) -> Duration {
    let Some(place) = (bucket as u32).checked_sub(1) else { return Duration::from_micros(1 << SHORTEST) };
    Duration::from_micros(u64::from(STEPS + place % STEPS + 1) << (place / STEPS + SHORTEST - STEPS.ilog2()))
}

#[derive(Debug)]
struct Slice {
    second: u64,
    seen: Seen,
    latencies: Latencies,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Those with calls, the oldest first.
    slices: VecDeque<Slice>,
}

impl Window {
    /// A call has ended.
    pub(super) fn note(&mut self, latency: Duration, seen: Seen, now: Instant) {
        let second = second(now);
        while self.slices.front().is_some_and(|slice| slice.second + SLICES <= second) {
            self.slices.pop_front();
        }
        if self.slices.back().is_none_or(|slice| slice.second < second) {
            self.slices.push_back(Slice { second, seen: Seen::default(), latencies: Latencies::NONE });
        }
        if let Some(slice) = self.slices.back_mut() {
            slice.seen += seen;
            slice.latencies.note(latency);
        }
    }

    /// The newest seconds, or as many more as it takes for so many calls.
    pub(super) fn seen(&self, enough: u64, now: Instant) -> Seen {
        self.judged(enough, now).fold(Seen::default(), |mut all, slice| {
            all += slice.seen;
            all
        })
    }

    /// How long the calls of the same seconds took.
    pub(super) fn latencies(&self, enough: u64, now: Instant) -> Latencies {
        let mut all = Latencies::NONE;
        for slice in self.judged(enough, now) {
            for (sum, count) in all.0.iter_mut().zip(slice.latencies.0) {
                *sum = sum.saturating_add(count);
            }
        }
        all
    }

    pub(super) fn clear(&mut self) {
        self.slices.clear();
    }

    fn judged(&self, enough: u64, now: Instant) -> impl Iterator<Item = &Slice> {
        let (second, mut calls) = (second(now), 0);
        self.slices.iter().rev().take_while(move |slice| {
            let judged = slice.second + JUDGED > second || (calls < enough && slice.second + SLICES > second);
            calls += slice.seen.calls;
            judged
        })
    }
}

fn second(now: Instant) -> u64 {
    now.since(Instant::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Seen = Seen { calls: 1, failures: 0, slow: 0 };
    const BAD: Seen = Seen { calls: 1, failures: 1, slow: 0 };

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_latency_is_told_to_an_eighth() {
        for micros in (0..=27).flat_map(|log| [1_u64 << log, (1 << log) + (1 << log) / 3, (2 << log) - 1]) {
            let latency = Duration::from_micros(micros);
            let told = most(bucket(latency));
            let last = bucket(latency) == BUCKETS - 1;
            assert!(told >= latency || last, "{latency:?} {told:?}");
            assert!(told <= latency + (latency / 8).max(Duration::from_micros(64)), "{latency:?} {told:?}");
        }
    }

    #[test]
    fn five_of_a_hundred_may_be_slower() {
        let mut latencies = Latencies::NONE;
        assert_eq!(latencies.p95(), None);
        (0..95).for_each(|_| latencies.note(Duration::from_millis(10)));
        (0..5).for_each(|_| latencies.note(Duration::from_secs(9)));
        let p95 = latencies.p95().expect("calls");
        assert!(p95 >= Duration::from_millis(10) && p95 < Duration::from_millis(12), "{p95:?}");
        latencies.note(Duration::from_secs(9));
        assert!(latencies.p95().expect("calls") >= Duration::from_secs(9), "six of 101");
    }

    #[test]
    fn the_newest_seconds_are_judged_and_more_if_there_are_few_calls() {
        let mut window = Window::default();
        (0..30).for_each(|_| window.note(Duration::ZERO, BAD, at(0)));
        assert_eq!(window.seen(20, at(5)).failures, 30);
        (0..20).for_each(|_| window.note(Duration::ZERO, GOOD, at(6)));
        assert_eq!(window.seen(20, at(6)), Seen { calls: 20, ..GOOD }, "what is older does not count");
        assert_eq!(window.seen(21, at(6)), Seen { calls: 50, failures: 30, slow: 0 });
        assert_eq!(window.seen(20, at(59)).calls, 20);
        assert_eq!(window.seen(50, at(60)).calls, 20, "a minute is over");
        window.note(Duration::ZERO, GOOD, at(70));
        assert_eq!((window.slices.len(), window.seen(20, at(70)).calls), (1, 1), "what is over is dropped");
    }
}
