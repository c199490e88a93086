//! Times of reads, kept as a histogram of three digits.

use hdrhistogram::Histogram;
use std::time::Duration;

/// The longest time told apart; a longer one counts as this.
const LONGEST: Duration = Duration::from_secs(600);
const DIGITS: u8 = 3;

/// Times between 1 µs and ten minutes.
#[derive(Clone)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    pub(crate) fn new() -> Self {
        let longest = micros(LONGEST);
        Self(Histogram::new_with_bounds(1, longest, DIGITS).expect("bounds and digits are in hdrhistogram's range"))
    }

    pub(crate) fn add(&mut self, took: Duration) {
        self.0.saturating_record(micros(took));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// The time, in milliseconds, that this share of the reads (0 to 1) did not exceed; 0 without reads.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        millis(self.0.value_at_quantile(share))
    }

    /// The longest time in milliseconds, to within the histogram's three digits; 0 without reads.
    pub(crate) fn max_ms(&self) -> f64 {
        millis(self.0.max())
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(micros: u64) -> f64 {
    // Exact: far below 2^53.
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_the_maximum() {
        let (mut latency, mut other) = (Latency::new(), Latency::new());
        assert_eq!((latency.quantile_ms(0.99), latency.max_ms()), (0.0, 0.0));
        (1..=99).for_each(|_| latency.add(Duration::from_millis(2)));
        other.add(Duration::from_secs(3600));
        latency.merge(&other);
        assert!((latency.quantile_ms(0.5) - 2.0).abs() < 0.01);
        assert!(latency.max_ms() >= 600_000.0, "a time beyond the bounds is kept as the longest");
    }
}
