//! The figures of one fault, out of the record of every read.

use super::faults::Account;
use super::load::Seen;
use failsoft::ServedBy;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Latencies of some reads, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) reads: u64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) worst: f64,
}

/// The same window of time, for the slots that the fault is about and for the others.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Window {
    pub(super) name: &'static str,
    pub(super) struck: Latency,
    pub(super) healthy: Latency,
}

/// What one fault came to. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) reads: usize,
    pub(super) failed: usize,
    /// The slowest read that ended after the fault began.
    pub(super) worst: f64,
    /// The longest time between two good reads that ended, from the fault on: of any slot ...
    pub(super) longest_gap: f64,
    /// ... and of the slots that the fault is about.
    pub(super) longest_gap_struck: f64,
    pub(super) windows: Vec<Window>,
    /// Good reads that began while the fault went on, by source.
    pub(super) served_by: BTreeMap<&'static str, u64>,
    /// The same for the slots that the fault is about.
    pub(super) served_by_struck: BTreeMap<&'static str, u64>,
    /// How long the fault lasted.
    pub(super) lasted: f64,
    /// From the fault until the replica said that it is a primary.
    pub(super) promoted_after: Option<f64>,
    /// From that until the first read that it served as a primary ended.
    pub(super) promoted_serves_after: Option<f64>,
    /// Whether that was before the fault was over.
    pub(super) promoted_serves_in_time: Option<bool>,
    /// From the end of the fault until the router trusts the broken node again.
    pub(super) readmitted_after: Option<f64>,
    /// Reads that the broken node served between the two, and reads it served as a primary at any time after.
    pub(super) unchecked: Option<(usize, usize)>,
    /// Reads of the slots that took two attempts or more while the fault went on (for a slot that moves: followed ASK).
    pub(super) second_attempts: usize,
}

impl Figures {
    pub(super) fn of(account: &Account) -> Self {
        let (began, over) = account.fault;
        let reads = || account.seen.iter().filter(move |read| read.ended >= began);
        let during = || reads().filter(move |read| read.began >= began && read.began < over);
        let struck = |read: &&Seen| account.slots.hold(read.slot);
        let (old, new) = account.nodes.unzip();
        let serves = new.and_then(|new| reads().find(|r| by(r, new, Some(ServedBy::Primary)))).map(|read| read.ended);
        let after_end = || reads().filter(move |read| read.ended >= over);
        Self {
            reads: account.seen.len(),
            failed: account.seen.iter().filter(|read| read.good.is_none()).count(),
            worst: millis(reads().map(Seen::latency).max().unwrap_or_default()),
            longest_gap: longest_gap(began, reads()),
            longest_gap_struck: longest_gap(began, reads().filter(struck)),
            windows: windows(account),
            served_by: sources(during()),
            served_by_struck: sources(during().filter(struck)),
            lasted: millis(over - began),
            promoted_after: account.promoted.map(|at| millis(at - began)),
            promoted_serves_after: account.promoted.zip(serves).map(|(promoted, served)| signed(promoted, served)),
            promoted_serves_in_time: serves.map(|served| served < over),
            readmitted_after: account.readmitted.map(|at| millis(at - over)),
            unchecked: old.zip(account.readmitted).map(|(old, checked)| {
                let unchecked = after_end().filter(|read| read.ended < checked && by(read, old, None)).count();
                (unchecked, after_end().filter(|read| by(read, old, Some(ServedBy::Primary))).count())
            }),
            second_attempts: during().filter(struck).filter(|r| r.good.is_some_and(|good| good.attempts > 1)).count(),
        }
    }

    pub(super) fn window(&self, name: &str) -> Option<&Window> {
        self.windows.iter().find(|window| window.name == name)
    }
}

/// Names of windows: reads belong to the one in which they began, but those that were under way when the fault struck
/// belong to its first second.
const FIRST_SECOND: &str = "first second";
pub(super) const FROM_1_S: &str = "from 1 s";
pub(super) const FROM_2_S: &str = "from 2 s";

fn windows(account: &Account) -> Vec<Window> {
    let (began, over) = account.fault;
    let second = Duration::from_secs(1);
    let end = account.seen.last().map_or(over, |read| read.ended);
    let start = account.seen.iter().map(|read| read.began).min().unwrap_or(began);
    let parts = [
        ("before", start, began),
        (FIRST_SECOND, began, began + second),
        (FROM_1_S, began + second, over),
        (FROM_2_S, began + 2 * second, over),
        ("after the fault", over, end),
    ];
    let counts_from = |read: &Seen| if read.ended >= began { read.began.max(began) } else { read.began };
    let window = |(name, from, to)| {
        let of = |struck| {
            let in_it = move |read: &&Seen| (from..to).contains(&counts_from(read));
            latency(account.seen.iter().filter(in_it).filter(|read| account.slots.hold(read.slot) == struck))
        };
        Window { name, struck: of(true), healthy: of(false) }
    };
    parts.into_iter().map(window).collect()
}

/// Whether this node served the read, as this source if one is given.
fn by(read: &Seen, node: usize, source: Option<ServedBy>) -> bool {
    read.good.is_some_and(|good| good.node == Some(node) && source.is_none_or(|source| good.served_by == source))
}

fn sources<'a>(reads: impl Iterator<Item = &'a Seen>) -> BTreeMap<&'static str, u64> {
    let mut sources = BTreeMap::new();
    for good in reads.filter_map(|read| read.good) {
        *sources.entry(good.served_by.as_str()).or_default() += 1;
    }
    sources
}

fn longest_gap<'a>(began: Instant, reads: impl Iterator<Item = &'a Seen>) -> f64 {
    let mut last = began;
    let mut longest = Duration::ZERO;
    for read in reads.filter(|read| read.good.is_some()) {
        longest = longest.max(read.ended - last);
        last = read.ended;
    }
    millis(longest)
}

fn latency<'a>(reads: impl Iterator<Item = &'a Seen>) -> Latency {
    // A minute is more than a read can take.
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).expect("these bounds are allowed");
    for read in reads {
        histogram.saturating_record(u64::try_from(read.latency().as_micros()).unwrap_or(u64::MAX));
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    if histogram.is_empty() {
        return Latency::default();
    }
    Latency { reads: histogram.len(), p50: at(0.5), p99: at(0.99), worst: histogram.max() as f64 / 1000.0 }
}

fn signed(from: Instant, to: Instant) -> f64 {
    if to >= from { millis(to - from) } else { -millis(from - to) }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outages::faults::Slots;
    use crate::outages::load::Good;

    /// The fault is from 1000 to 6000 ms; a read of slot 0, which is struck, by the node that is broken.
    fn read(origin: Instant, began: u64, ended: u64, served_by: Option<ServedBy>) -> Seen {
        let at = |ms| origin + Duration::from_millis(ms);
        let good = served_by.map(|served_by| Good { served_by, node: Some(0), attempts: 1 });
        Seen { began: at(began), ended: at(ended), slot: 0, good }
    }

    fn figures(origin: Instant, seen: Vec<Seen>) -> Figures {
        let at = |ms| origin + Duration::from_millis(ms);
        Figures::of(&Account {
            seen,
            fault: (at(1000), at(6000)),
            slots: Slots::FirstShard,
            nodes: Some((0, 3)),
            promoted: Some(at(4000)),
            readmitted: Some(at(6500)),
        })
    }

    #[test]
    fn a_read_under_way_when_the_fault_strikes_belongs_to_its_first_second() {
        let now = Instant::now();
        let seen = vec![
            read(now, 10, 11, Some(ServedBy::Primary)),
            read(now, 990, 1240, Some(ServedBy::Replica)),
            read(now, 5000, 5002, None),
        ];
        let figures = figures(now, seen);
        let reads = |name| figures.window(name).map(|window| window.struck.reads);
        assert_eq!((reads("before"), reads(FIRST_SECOND), reads(FROM_1_S)), (Some(1), Some(1), Some(1)));
        assert_eq!((figures.reads, figures.failed), (3, 1));
        assert!((figures.worst - 250.0).abs() < 1.0 && (figures.longest_gap - 240.0).abs() < 1.0, "{figures:?}");
    }

    #[test]
    fn what_the_broken_node_serves_before_it_is_checked_is_counted() {
        let now = Instant::now();
        let seen = vec![
            read(now, 500, 501, Some(ServedBy::Primary)),
            read(now, 6001, 6010, Some(ServedBy::Primary)),
            read(now, 6700, 6710, Some(ServedBy::Replica)),
        ];
        assert_eq!(figures(now, seen).unchecked, Some((1, 1)));
    }
}
