//! What is told of a run, and what is counted of it.

use crate::promise::{Edge, Promise};
use crate::record::{Key, Process, Record, Source};
use std::collections::BTreeMap;

/// What is told of a run.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Started {
        process: Process,
        promise: Promise,
        at: u64,
    },
    Record {
        process: Process,
        record: Record,
    },
    /// The store has a new version; inside `writing` since when the key may be held, and since when it is.
    Commit {
        process: Process,
        key: Key,
        version: u64,
        at: u64,
        held: Option<(u64, u64)>,
    },
    /// No record of this process follows.
    Ended {
        process: Process,
        at: u64,
    },
    Edge(Edge),
    Fault {
        what: String,
        at: u64,
    },
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) reads: BTreeMap<Source, u64>,
    pub(crate) failed: BTreeMap<Box<str>, u64>,
    pub(crate) checked: u64,
    pub(crate) complete: u64,
    pub(crate) incomplete: u64,
    pub(crate) commits: u64,
    /// Transactions whose writer died.
    pub(crate) orphans: u64,
    /// Reads of nodes that got just what such a transaction had committed, after its hold was over.
    pub(crate) survived: u64,
    /// Reads that broke no rule and got less than the store had then.
    pub(crate) older: u64,
}

impl Counts {
    /// Reads and invalidations.
    pub(crate) fn operations(&self) -> u64 {
        self.reads.values().sum::<u64>() + self.failed.values().sum::<u64>() + self.complete + self.incomplete
    }
}
