//! Holds a history of reads and invalidations against the promise, while it is being made: nothing here does I/O.
//!
//! A read is checked once every process has said all that it did until the read's end. What breaks a rule is a suspect until
//! the end of the run, when all edges are known (see `promise.rs`).

use crate::clock::millis;
use crate::event::{Counts, Event};
use crate::promise::{Edge, EdgeKind, Invalidation, Orphan, Promise, Rule, SLACK};
use crate::record::{Key, Process, Read, Record, Source};
use crate::trace::{Told, Trace};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Invalidations that are older are known by their highest version alone: longer ago than any budget counts from.
const KEPT: u64 = millis(130_000);
/// So many suspects are enough to look at.
const MAX_SUSPECTS: usize = 10_000;
/// Samples of hearing that are further apart than this prove nothing of the time between them.
const SAMPLES: u64 = millis(200);

#[derive(Debug)]
struct Held {
    key: Key,
    orphan: Orphan,
    /// The invalidation at the end of `writing`.
    id: Option<u64>,
}

#[derive(Debug)]
struct Worker {
    promise: Promise,
    /// All that it did until then is known.
    said: u64,
    /// Its calls that have not come back.
    calls: HashMap<u64, Key>,
    held: Vec<Held>,
    hearing: VecDeque<(u64, bool)>,
}

#[derive(Debug, Default)]
struct Known {
    invalidations: VecDeque<Invalidation>,
    orphans: Vec<Orphan>,
    /// The highest version of which an invalidation was complete so long ago that it is not kept.
    base: u64,
    trace: Trace,
}

#[derive(Debug)]
enum Broken {
    Invalidation { rule: Rule, by: Invalidation, heard: bool },
    Orphan { by: Orphan },
}

impl Broken {
    fn excuse(&self, read: &Read, edges: &[Edge]) -> Option<EdgeKind> {
        let excuses = |edge: &&Edge| match self {
            Self::Invalidation { by, heard, .. } => edge.excuses(read, by, *heard),
            Self::Orphan { by } => edge.excuses_orphan(read, by),
        };
        edges.iter().find(excuses).map(|edge| edge.kind)
    }
}

#[derive(Debug)]
struct Suspect {
    read: Read,
    /// How many operations there were by then.
    after: u64,
    broken: Vec<Broken>,
    trace: String,
}

/// A read that is older than is promised.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    /// How many operations there were by then.
    pub(crate) after: u64,
    pub(crate) text: String,
}

/// What is wrong, and what would be but for the edges.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<Violation>,
    pub(crate) excused: BTreeMap<(EdgeKind, Rule), u64>,
}

#[derive(Debug)]
pub(crate) struct Checker {
    keys: Vec<Known>,
    workers: BTreeMap<Process, Worker>,
    /// Reads that are still to be checked; bounded by how long a process may be suspended.
    reads: VecDeque<Read>,
    edges: Vec<Edge>,
    suspects: Vec<Suspect>,
    pub(crate) counts: Counts,
}

impl Checker {
    pub(crate) fn new(keys: usize) -> Self {
        let keys = (0..keys).map(|_| Known::default()).collect();
        let (workers, reads, edges) = (BTreeMap::new(), VecDeque::new(), Vec::new());
        Self { keys, workers, reads, edges, suspects: Vec::new(), counts: Counts::default() }
    }

    pub(crate) fn take(&mut self, event: Event) {
        match event {
            Event::Started { process, promise, at } => {
                let worker =
                    Worker { promise, said: at, calls: HashMap::new(), held: Vec::new(), hearing: VecDeque::new() };
                self.workers.insert(process, worker);
            }
            Event::Record { process, record } => self.record(process, record),
            Event::Commit { process, key, version, at, held } => self.commit(process, key, version, at, held),
            Event::Ended { process, at } => self.ended(process, at),
            Event::Edge(edge) => self.edges.push(edge),
            Event::Fault { what, at } => self.keys.iter_mut().for_each(|key| key.trace.fault(at, &what)),
        }
    }

    /// Whether looking on makes no sense.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.suspects.len() >= MAX_SUSPECTS
    }

    fn record(&mut self, process: Process, record: Record) {
        let Some(worker) = self.workers.get_mut(&process) else { return };
        worker.said = record.at();
        match record {
            Record::Read(read) => {
                *self.counts.reads.entry(read.source).or_default() += 1;
                self.reads.push_back(read);
            }
            Record::Failed { code, .. } => *self.counts.failed.entry(code).or_default() += 1,
            Record::Called { id, key, version, at, held } => {
                worker.calls.insert(id, key);
                let mine = worker.held.iter_mut().filter(|one| held && one.key == key && one.id.is_none());
                mine.for_each(|one| one.id = Some(id));
                let called = Invalidation { process, id, version, called: at, end: None, complete: false };
                self.keys[key].invalidations.push_back(called);
                self.keys[key].trace.put(at, Told::Called { process, version });
            }
            Record::Done { id, at, complete } => {
                let Some(key) = worker.calls.remove(&id) else { return };
                if complete {
                    worker.held.retain(|one| one.id != Some(id));
                }
                let known = &mut self.keys[key];
                let mut calls = known.invalidations.iter_mut().rev();
                if let Some(call) = calls.find(|call| call.process == process && call.id == id) {
                    (call.end, call.complete) = (Some(at), complete);
                    known.trace.put(at, Told::Done { process, version: call.version, complete });
                }
                *(if complete { &mut self.counts.complete } else { &mut self.counts.incomplete }) += 1;
            }
            Record::Heard { at, heard } => {
                worker.hearing.push_back((at, heard));
                while worker.hearing.front().is_some_and(|&(time, _)| time + KEPT < at) {
                    worker.hearing.pop_front();
                }
            }
        }
    }

    fn commit(&mut self, process: Process, key: Key, version: u64, at: u64, held: Option<(u64, u64)>) {
        self.counts.commits += 1;
        self.keys[key].trace.put(at, Told::Commit { process, version });
        let Some(worker) = self.workers.get_mut(&process) else { return };
        if let Some((from, since)) = held.filter(|(from, _)| at < from + worker.promise.hold) {
            let orphan = Orphan { process, version, from, over: since + worker.promise.hold + SLACK };
            worker.held.push(Held { key, orphan, id: None });
        }
        // It may have been killed before the store came to what it had asked for.
        if worker.said == u64::MAX {
            self.ended(process, at);
        }
    }

    fn ended(&mut self, process: Process, at: u64) {
        let Some(worker) = self.workers.get_mut(&process) else { return };
        worker.said = u64::MAX;
        for Held { key, orphan, .. } in worker.held.drain(..) {
            self.counts.orphans += 1;
            self.keys[key].orphans.push(orphan);
            self.keys[key].trace.put(at, Told::Killed { process, version: orphan.version });
        }
    }

    /// Checks what can be checked by now.
    pub(crate) fn advance(&mut self) {
        let said = self.workers.values().map(|worker| worker.said).min().unwrap_or(0);
        while self.reads.front().is_some_and(|read| read.end <= said)
            && let Some(read) = self.reads.pop_front()
        {
            self.check(read);
        }
    }

    fn check(&mut self, read: Read) {
        self.counts.checked += 1;
        let Some(worker) = self.workers.get(&read.process) else { return };
        let known = &mut self.keys[read.key];
        known.forget(read.start);
        let older = known.invalidations.iter().filter(|by| by.version > read.version);
        let mut broken: Vec<_> = older
            .filter_map(|&by| {
                let since = by.called.saturating_sub(millis(100));
                let rule = worker.promise.broken(&read, &by, worker.heard(since, read.start))?;
                let until = by.end.map_or(read.start, |end| read.start.min(end + worker.promise.trust_window));
                Some(Broken::Invalidation { rule, by, heard: worker.heard(since, until) })
            })
            .collect();
        let orphans = known.orphans.iter().filter(|by| worker.promise.orphaned(&read, by).is_some());
        broken.extend(orphans.map(|&by| Broken::Orphan { by }));
        let held_out = |by: &Orphan| by.version == read.version && by.over < read.start;
        let of_node = read.source == Source::Primary;
        self.counts.survived += u64::from(of_node && known.orphans.iter().any(held_out));
        if read.source == Source::Primary && read.version < known.base {
            let by = Invalidation {
                process: read.process,
                id: 0,
                version: known.base,
                called: 0,
                end: Some(0),
                complete: true,
            };
            broken.push(Broken::Invalidation { rule: Rule::Primary, by, heard: true });
        }
        if broken.is_empty() {
            let older = known.invalidations.iter().any(|by| by.version > read.version && by.called < read.start);
            self.counts.older += u64::from(older);
        }
        let suspect = (!broken.is_empty() && self.suspects.len() < MAX_SUSPECTS).then(|| read.clone());
        known.trace.put(read.end, Told::Read(read));
        if let Some(read) = suspect {
            let after = self.counts.operations();
            self.suspects.push(Suspect { read, after, broken, trace: known.trace.text() });
        }
    }

    /// The end of the run: what is still open is checked, and who is suspect judged.
    pub(crate) fn finish(mut self) -> (Counts, Verdict) {
        self.workers.values_mut().for_each(|worker| worker.said = u64::MAX);
        self.advance();
        let mut verdict = Verdict::default();
        for Suspect { read, after, broken, trace } in self.suspects {
            let mut excuse = None;
            let guilty = broken.iter().find(|one| {
                excuse = one.excuse(&read, &self.edges).or(excuse);
                one.excuse(&read, &self.edges).is_none()
            });
            let (rule, what) = match guilty.or(broken.first()) {
                Some(Broken::Invalidation { rule, by, heard }) => (*rule, format!("{by:?}, heard: {heard}")),
                Some(Broken::Orphan { by }) => (Rule::Killed, format!("{by:?}")),
                None => continue,
            };
            match excuse.filter(|_| guilty.is_none()) {
                Some(edge) => *verdict.excused.entry((edge, rule)).or_default() += 1,
                None => {
                    let text = format!("{}: {}\n  older than {what}\n{trace}", rule.as_str(), Told::line(&read));
                    verdict.violations.push(Violation { rule, after, text });
                }
            }
        }
        (self.counts, verdict)
    }
}

impl Worker {
    /// Whether it said of the whole time that it heard all nodes.
    fn heard(&self, from: u64, until: u64) -> bool {
        let first = self.hearing.partition_point(|&(at, _)| at <= from).saturating_sub(1);
        let mut last = None;
        for &(at, heard) in self.hearing.iter().skip(first) {
            // The first one was asked at its beginning or before.
            let proves = heard && at <= last.unwrap_or(from) + SAMPLES;
            if !proves {
                return false;
            }
            last = Some(at);
            if at >= until {
                return true;
            }
        }
        last.is_some_and(|last| until <= last + SAMPLES)
    }
}

impl Known {
    /// What is older than any budget counts from is known by its version.
    fn forget(&mut self, now: u64) {
        while let Some(first) = self.invalidations.front()
            && first.called + KEPT < now
        {
            if first.complete {
                self.base = self.base.max(first.version);
            }
            self.invalidations.pop_front();
        }
        self.orphans.retain(|orphan| now < orphan.over + KEPT);
    }
}

#[cfg(test)]
mod tests;
