//! What a worker writes down, one record a line: read by the program that checks, written by workers in each language.
//!
//! | line | |
//! |---|---|
//! | `R key start end version read_at served_by reason age budget joined node` | a read: times and ages in microseconds, `-1` and `-` for none; `read_at` is when the store was read for this value |
//! | `E key start end code` | a read that failed |
//! | `C id key version called held` | an invalidation was called for, after the store had this version; `held` is 1 inside `writing` |
//! | `D id end complete` | it came back; `complete` is 0 for `InvalidationIncomplete` |
//! | `H time heard` | whether all nodes are heard, which is asked some twenty times a second |
//!
//! A worker writes its records in the order of the times at which they end, so each says that nothing earlier follows.

use crate::clock::now;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A worker; one that was killed and started again is another one.
pub(crate) type Process = usize;

/// The number of a key.
pub(crate) type Key = usize;

/// Who answered a read, as the outcome says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    Near,
    Primary,
    Replica,
    Secondary,
    Stale,
    None,
}

impl Source {
    pub(crate) const ALL: [Self; 6] =
        [Self::Near, Self::Primary, Self::Replica, Self::Secondary, Self::Stale, Self::None];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Secondary => "secondary",
            Self::Stale => "stale",
            Self::None => "none",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == word)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) process: Process,
    pub(crate) key: Key,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) version: u64,
    /// When the store was read for this value.
    pub(crate) read_at: u64,
    pub(crate) source: Source,
    pub(crate) reason: Box<str>,
    /// What the outcome says; none if it is unknown.
    pub(crate) age: Option<u64>,
    /// The call's own `staleness_budget`.
    pub(crate) budget: Option<u64>,
    /// Another caller's work served it.
    pub(crate) joined: bool,
    pub(crate) node: Box<str>,
}

/// One line of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Read(Read),
    Failed { start: u64, end: u64, code: Box<str> },
    Called { id: u64, key: Key, version: u64, at: u64, held: bool },
    Done { id: u64, at: u64, complete: bool },
    Heard { at: u64, heard: bool },
}

impl Record {
    /// What a worker's line says.
    pub(crate) fn parse(process: Process, line: &str) -> Result<Self, String> {
        parse(process, line).ok_or_else(|| format!("a worker says: {line:?}"))
    }

    /// When it was written down: nothing earlier of this worker follows.
    pub(crate) fn at(&self) -> u64 {
        match *self {
            Self::Read(Read { end, .. }) | Self::Failed { end, .. } => end,
            Self::Called { at, .. } | Self::Done { at, .. } | Self::Heard { at, .. } => at,
        }
    }
}

fn parse(process: Process, line: &str) -> Option<Record> {
    let mut words = line.split(' ');
    let kind = words.next()?;
    let mut word = || words.next();
    fn number<T: std::str::FromStr>(word: Option<&str>) -> Option<T> {
        word?.parse().ok()
    }
    /// Minus one is none.
    fn some(word: Option<&str>) -> Option<Option<u64>> {
        number::<i64>(word).map(|number| u64::try_from(number).ok())
    }
    Some(match kind {
        "R" => Record::Read(Read {
            process,
            key: number(word())?,
            start: number(word())?,
            end: number(word())?,
            version: number(word())?,
            read_at: number(word())?,
            source: Source::parse(word()?)?,
            reason: word()?.into(),
            age: some(word())?,
            budget: some(word())?,
            joined: word()? == "1",
            node: word()?.into(),
        }),
        "E" => {
            let (_key, start, end) = (word()?, number(word())?, number(word())?);
            Record::Failed { start, end, code: word()?.into() }
        }
        "C" => Record::Called {
            id: number(word())?,
            key: number(word())?,
            version: number(word())?,
            at: number(word())?,
            held: word()? == "1",
        },
        "D" => Record::Done { id: number(word())?, at: number(word())?, complete: word()? == "1" },
        "H" => Record::Heard { at: number(word())?, heard: word()? == "1" },
        _ => return None,
    })
}

/// The lines of a worker that are still to be written.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<String>);

impl Lines {
    /// More than this is not kept: who writes waits.
    const FULL: usize = 1 << 20;

    /// A line that ends now; the time is taken in the order of the lines.
    pub(crate) fn put(&self, line: impl FnOnce(&mut String, u64)) {
        let mut lines = self.lock();
        line(&mut lines, now());
        lines.push('\n');
    }

    pub(crate) fn heard(&self, heard: bool) {
        self.put(|line, now| {
            // Writing to a text cannot fail.
            let _ = write!(line, "H {now} {}", u8::from(heard));
        });
    }

    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut self.lock())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lock().len() > Self::FULL
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
