//! The last things that happened to a key, kept to be shown with a read that is wrong.

use crate::record::{Process, Read};
use std::collections::VecDeque;
use std::fmt::Write as _;

const KEPT: usize = 32;

#[derive(Debug)]
pub(crate) enum Told {
    Read(Read),
    Commit { process: Process, version: u64 },
    Called { process: Process, version: u64 },
    Done { process: Process, version: u64, complete: bool },
    Killed { process: Process, version: u64 },
    Fault(String),
}

#[derive(Debug, Default)]
pub(crate) struct Trace(VecDeque<(u64, Told)>);

impl Trace {
    pub(crate) fn put(&mut self, at: u64, told: Told) {
        // Reads of the same value by the same source in a row say no more than the first and the last one.
        let same = |told: &Told, other: &Told| match (told, other) {
            (Told::Read(a), Told::Read(b)) => {
                (a.process, a.version, a.source, a.read_at) == (b.process, b.version, b.source, b.read_at)
            }
            _ => false,
        };
        let mut last = self.0.iter().rev();
        if let (Some((_, one)), Some((_, two))) = (last.next(), last.next())
            && same(one, &told)
            && same(two, &told)
        {
            self.0.pop_back();
        }
        self.0.push_back((at, told));
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    pub(crate) fn fault(&mut self, at: u64, what: &str) {
        self.put(at, Told::Fault(what.to_owned()));
    }

    pub(crate) fn text(&self) -> String {
        // Of several processes what is known of a time may come in any order.
        let mut lines: Vec<_> = self.0.iter().collect();
        lines.sort_by_key(|(at, _)| *at);
        lines.iter().fold(String::new(), |mut text, (at, told)| {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "    {:>12.3} ms  {}", *at as f64 / 1e3, told.text());
            text
        })
    }
}

impl Told {
    pub(crate) fn line(read: &Read) -> String {
        let Read { process, key, start, end, version, read_at, source, reason, age, budget, joined, node } = read;
        let ms = |time: u64| time as f64 / 1e3;
        let some = |time: &Option<u64>| time.map_or("-".to_owned(), |time| format!("{:.3}", ms(time)));
        format!(
            "process {process} read key {key} from {:.3} to {:.3} ms: version {version} (of the store at {:.3}), {} {reason}, \
             age {}, budget {}, joined {joined}, {node}",
            ms(*start),
            ms(*end),
            ms(*read_at),
            source.as_str(),
            some(age),
            some(budget)
        )
    }

    fn text(&self) -> String {
        match self {
            Self::Read(read) => Self::line(read),
            Self::Commit { process, version } => format!("process {process} committed {version}"),
            Self::Called { process, version } => format!("process {process} called for an invalidation at {version}"),
            Self::Done { process, version, complete: true } => {
                format!("process {process}: that of {version} is complete")
            }
            Self::Done { process, version, .. } => format!("process {process}: that of {version} is incomplete"),
            Self::Killed { process, version } => format!("process {process} died in the transaction of {version}"),
            Self::Fault(what) => what.clone(),
        }
    }
}
