//! The counters: atomics that the hot path can afford, and the account made of them.

use failsoft_policy::behind::Verified;
use failsoft_policy::write::Cause;
use failsoft_policy::{Reason, ServedBy, Status};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One row for each reason, and one for none.
type Row = [AtomicU64; Reason::ALL.len() + 1];

/// See the module. A read that its primary serves at once touches one number only.
#[derive(Debug)]
pub(crate) struct Tally {
    attempts: [Row; Status::ALL.len()],
    /// One row for each source, and one for errors.
    reads: [Row; ServedBy::ALL.len() + 1],
    primary_at_once: AtomicU64,
    loads: AtomicU64,
    shed: AtomicU64,
    verified: [AtomicU64; Verified::ALL.len()],
    fills: AtomicU64,
    skipped: [AtomicU64; Cause::ALL.len()],
    sets: AtomicU64,
    sets_in_doubt: AtomicU64,
    sets_held: AtomicU64,
    refused: [AtomicU64; Cause::ALL.len()],
    invalidations: AtomicU64,
    invalidations_incomplete: AtomicU64,
    invalidations_unlogged: AtomicU64,
    panics: AtomicU64,
}

/// A counter with its labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// `status` of an attempt, or `served_by` of a read (`error` for an error to the caller).
    pub what: &'static str,
    /// Why the primary did not serve; empty if it did.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
}

/// What a router counted since it was built. Only rows above zero are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Attempts by status and reason: one read can add several.
    pub attempts: Vec<Count>,
    /// Reads by source and reason: every read that ended, exactly once.
    pub reads: Vec<Count>,
    /// Runs of callbacks.
    pub loads: u64,
    /// Loads whose callback was not run, to spare the store: its breaker was open, or the line too long.
    pub shed: u64,
    /// Served values that were compared with what the store has (`verify_sample`), by what that came to (in `what`): `fresh`,
    /// `stale` or `raced`.
    pub verified: Vec<Count>,
    /// Loaded values written back.
    pub fills: u64,
    /// Loaded values not written back, by cause (in `what`).
    pub fills_skipped: Vec<Count>,
    /// Values set.
    pub sets: u64,
    /// Those of them that went to a node of which it was not known whether it is in the majority.
    pub sets_in_doubt: u64,
    /// Those of them that found that a writer holds the key: it was deleted instead.
    pub sets_held: u64,
    /// `set` calls that were refused, by cause (in `what`).
    pub sets_refused: Vec<Count>,
    /// Keys invalidated, those included that were sent again.
    pub invalidations: u64,
    /// Attempts at it of which a step was not acknowledged in time; it is sent again.
    pub invalidations_incomplete: u64,
    /// Entries of the log of invalidations that were not written. Nothing that is read depends on it.
    pub invalidations_unlogged: u64,
    /// Panics in the background: defects of ours, after which it went on.
    pub panics: u64,
}

impl Counters {
    /// How many reads ended with this source (`error` for errors), whatever the reason.
    pub fn reads_served_by(&self, what: &str) -> u64 {
        total(&self.reads, what)
    }

    /// How many attempts ended with this status, whatever the reason.
    pub fn attempts_with(&self, status: Status) -> u64 {
        total(&self.attempts, status.as_str())
    }
}

fn total(rows: &[Count], what: &str) -> u64 {
    rows.iter().filter(|c| c.what == what).map(|c| c.count).sum()
}

impl Tally {
    pub(crate) fn new() -> Self {
        let row = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            attempts: std::array::from_fn(|_| row()),
            reads: std::array::from_fn(|_| row()),
            primary_at_once: AtomicU64::new(0),
            loads: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            verified: std::array::from_fn(|_| AtomicU64::new(0)),
            fills: AtomicU64::new(0),
            skipped: std::array::from_fn(|_| AtomicU64::new(0)),
            sets: AtomicU64::new(0),
            sets_in_doubt: AtomicU64::new(0),
            sets_held: AtomicU64::new(0),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            invalidations: AtomicU64::new(0),
            invalidations_incomplete: AtomicU64::new(0),
            invalidations_unlogged: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }

    /// A read that the primary served on the first attempt.
    #[inline]
    pub(crate) fn primary_at_once(&self) {
        self.primary_at_once.fetch_add(1, Relaxed);
    }

    pub(crate) fn attempt(&self, status: Status, reason: Option<Reason>) {
        self.attempts[status as usize][place(reason)].fetch_add(1, Relaxed);
    }

    /// A read that ended; without a source it ended with an error.
    pub(crate) fn read(&self, served_by: Option<ServedBy>, reason: Option<Reason>) {
        let row = served_by.map_or(ServedBy::ALL.len(), |s| s as usize);
        self.reads[row][place(reason)].fetch_add(1, Relaxed);
    }

    pub(crate) fn load(&self) {
        self.loads.fetch_add(1, Relaxed);
    }

    pub(crate) fn shed(&self) {
        self.shed.fetch_add(1, Relaxed);
    }

    pub(crate) fn verified(&self, what: Verified) {
        self.verified[what as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn fill(&self, skipped: Option<Cause>) {
        match skipped {
            None => self.fills.fetch_add(1, Relaxed),
            Some(cause) => self.skipped[cause as usize].fetch_add(1, Relaxed),
        };
    }

    /// A `set` that ended; `in_doubt` if it was sent without knowing on which side its node is, `held` if a writer held
    /// its key.
    pub(crate) fn set(&self, refused: Option<Cause>, in_doubt: bool, held: bool) {
        match refused {
            None => self.sets.fetch_add(1, Relaxed),
            Some(cause) => self.refused[cause as usize].fetch_add(1, Relaxed),
        };
        self.sets_in_doubt.fetch_add(u64::from(in_doubt && refused.is_none()), Relaxed);
        self.sets_held.fetch_add(u64::from(held), Relaxed);
    }

    /// An attempt to invalidate a key has ended.
    pub(crate) fn invalidation(&self, incomplete: bool) {
        let counter = if incomplete { &self.invalidations_incomplete } else { &self.invalidations };
        counter.fetch_add(1, Relaxed);
    }

    /// So many entries of the log were not written.
    pub(crate) fn unlogged(&self, entries: usize) {
        self.invalidations_unlogged.fetch_add(entries as u64, Relaxed);
    }

    /// Something in the background panicked, and goes on.
    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// How often that was so far.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    /// Fills that were not written so far, by cause.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.iter().map(|cause| (*cause, self.skipped[*cause as usize].load(Relaxed)))
    }

    /// Reads that nodes answered so far: what pays into the retry budget.
    pub(crate) fn successes(&self) -> u64 {
        let by = |s: ServedBy| -> u64 { self.reads[s as usize].iter().map(|n| n.load(Relaxed)).sum() };
        self.primary_at_once.load(Relaxed) + by(ServedBy::Primary) + by(ServedBy::Replica)
    }

    pub(crate) fn counters(&self) -> Counters {
        let at_once = self.primary_at_once.load(Relaxed);
        let mut attempts = rows(Status::ALL.iter().map(|s| s.as_str()).zip(&self.attempts));
        let words = ServedBy::ALL.iter().map(|s| s.as_str()).chain(["error"]);
        let mut reads = rows(words.zip(&self.reads));
        add(&mut attempts, Status::PrimaryHit.as_str(), at_once);
        add(&mut reads, ServedBy::Primary.as_str(), at_once);
        Counters {
            attempts,
            reads,
            loads: self.loads.load(Relaxed),
            shed: self.shed.load(Relaxed),
            verified: listed(Verified::WORDS, &self.verified),
            fills: self.fills.load(Relaxed),
            fills_skipped: listed(Cause::WORDS, &self.skipped),
            sets: self.sets.load(Relaxed),
            sets_in_doubt: self.sets_in_doubt.load(Relaxed),
            sets_held: self.sets_held.load(Relaxed),
            sets_refused: listed(Cause::WORDS, &self.refused),
            invalidations: self.invalidations.load(Relaxed),
            invalidations_incomplete: self.invalidations_incomplete.load(Relaxed),
            invalidations_unlogged: self.invalidations_unlogged.load(Relaxed),
            panics: self.panics(),
        }
    }
}

fn listed(words: &[&'static str], counts: &[AtomicU64]) -> Vec<Count> {
    let counts = words.iter().zip(counts);
    let counts = counts.map(|(what, n)| Count { what, reason: "", count: n.load(Relaxed) });
    counts.filter(|c| c.count > 0).collect()
}

fn place(reason: Option<Reason>) -> usize {
    reason.map_or(Reason::ALL.len(), |r| r as usize)
}

fn rows<'a>(table: impl Iterator<Item = (&'static str, &'a Row)>) -> Vec<Count> {
    let reasons = || Reason::ALL.iter().map(|r| r.as_str()).chain([""]);
    let counts = table.flat_map(|(what, row)| {
        reasons().zip(row).map(move |(reason, n)| Count { what, reason, count: n.load(Relaxed) })
    });
    counts.filter(|c| c.count > 0).collect()
}

fn add(rows: &mut Vec<Count>, what: &'static str, count: u64) {
    match rows.iter_mut().find(|c| c.what == what && c.reason.is_empty()) {
        Some(row) => row.count += count,
        None if count > 0 => rows.push(Count { what, reason: "", count }),
        None => {}
    }
}
