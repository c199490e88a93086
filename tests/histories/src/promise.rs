//! The promise of freshness, as something that one read can break with regard to one invalidation.
//!
//! | rule | what is promised |
//! |---|---|
//! | `own` | in the process that invalidates, no read that begins after the call gets anything older, for `invalidation_ttl`, complete or not |
//! | `primary` | a primary that is asked after an invalidation was complete has nothing older: it was deleted, and no fill that was read before it is applied after it |
//! | `age` | a copy or a replica is not older than it says: what had been complete before the time since which its age counts is in it |
//! | `near` | no near copy lacks what was complete more than `trust_window` before the read began, whoever hears |
//! | `stand-in` | nor does a copy that stands in, or a replica, in a process that heard all nodes from the call of the invalidation until the read; in one that is cut off, none lacks what was complete before the longer of `trust_window` and `staleness_budget` (of the call, or the setting) |
//! | `joined` | who waits for a request to a node that had been sent before gets nothing that lacks what was complete more than `trust_window` before; who waits for a load that had begun before, the same where all nodes were heard, and otherwise within the longer of `trust_window` and `staleness_budget` |
//! | `loaded` | a load of the caller's own is not older than its call |
//! | `killed` | what is asked of a node after the hold of a writer that died inside `writing` is over is not older than its commit, if that came while it held the key |
//!
//! What may be older all the same, and is counted as excused (docs/freshness.md, "The edges"):
//!
//! | edge | what it excuses |
//! |---|---|
//! | `thawed` | a primary that hung while another node was promoted goes on answering for milliseconds until it hears of that: what it says in that time, and copies of it |
//! | `lost` | a failover lost what had been acknowledged: a process that did not hear the invalidation believes the new primary |
//! | `emptied` | a primary that was started again without its data has no holds: a writer that died is not covered |
//!
//! Not in here: a `set`, which is ordered by its arrival; and incomplete invalidations in processes that did not make them.

use crate::clock::millis;
use crate::record::{Key, Process, Read, Source};

/// What a service's settings promise, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub(crate) trust_window: u64,
    pub(crate) staleness_budget: u64,
    pub(crate) invalidation_ttl: u64,
    pub(crate) hold: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    Own,
    Primary,
    Age,
    Near,
    StandIn,
    Joined,
    Loaded,
    Killed,
}

impl Rule {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Primary => "primary",
            Self::Age => "age",
            Self::Near => "near",
            Self::StandIn => "stand-in",
            Self::Joined => "joined",
            Self::Loaded => "loaded",
            Self::Killed => "killed",
        }
    }
}

/// An invalidation of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalidation {
    pub(crate) process: Process,
    pub(crate) id: u64,
    /// What the store had when it was called for.
    pub(crate) version: u64,
    pub(crate) called: u64,
    /// When it came back, if it did.
    pub(crate) end: Option<u64>,
    pub(crate) complete: bool,
}

/// A commit of a writer that died inside `writing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orphan {
    pub(crate) process: Process,
    pub(crate) version: u64,
    /// From when the key may have been held.
    pub(crate) from: u64,
    /// From when nothing is read of the cluster that is older.
    pub(crate) over: u64,
}

/// A time of which the documentation promises less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) kind: EdgeKind,
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) keys: Vec<Key>,
    pub(crate) node: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EdgeKind {
    Thawed,
    Lost,
    Emptied,
}

impl EdgeKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Thawed => "thawed",
            Self::Lost => "lost",
            Self::Emptied => "emptied",
        }
    }
}

/// The lateness of clocks and timers that is let through where a promise ends with a time of a server's.
pub(crate) const SLACK: u64 = millis(50);

impl Promise {
    /// The rule that a read breaks which got something older than an invalidation; `heard` says whether its process
    /// heard all nodes since that was called for.
    pub(crate) fn broken(&self, read: &Read, by: &Invalidation, heard: bool) -> Option<Rule> {
        if read.version >= by.version {
            return None;
        }
        if by.process == read.process && by.called < read.start && read.start < by.called + self.invalidation_ttl {
            return Some(Rule::Own);
        }
        let complete = by.end.filter(|_| by.complete)?;
        let after = |limit: u64| read.start > complete + limit;
        let asked = read.age.map(|age| read.start.saturating_sub(age));
        let dated = asked.is_some_and(|asked| asked > complete);
        let cut_off = self.trust_window.max(read.budget.unwrap_or(self.staleness_budget));
        let window = if heard { self.trust_window } else { cut_off };
        match read.source {
            Source::Primary if read.joined => after(self.trust_window).then_some(Rule::Joined),
            Source::Primary => after(0).then_some(Rule::Primary),
            Source::Near if dated => Some(Rule::Age),
            Source::Near => after(self.trust_window).then_some(Rule::Near),
            Source::Replica | Source::Stale if dated => Some(Rule::Age),
            Source::Replica | Source::Stale => after(window).then_some(Rule::StandIn),
            Source::Secondary if !read.joined => after(0).then_some(Rule::Loaded),
            Source::Secondary if heard => after(self.trust_window).then_some(Rule::Joined),
            Source::Secondary => after(self.trust_window.max(self.staleness_budget)).then_some(Rule::Joined),
            // Every key has a value in the store.
            Source::None => Some(Rule::Loaded),
        }
    }

    /// The same for a commit whose writer died.
    pub(crate) fn orphaned(&self, read: &Read, by: &Orphan) -> Option<Rule> {
        let asked = read.age.map(|age| read.start.saturating_sub(age))?;
        let of_nodes = read.source != Source::Secondary;
        (of_nodes && read.version < by.version && asked > by.over).then_some(Rule::Killed)
    }
}

impl Edge {
    /// Whether a read may be older because of it than an invalidation that its process `heard`, or did not.
    pub(crate) fn excuses(&self, read: &Read, by: &Invalidation, heard: bool) -> bool {
        let meanwhile = by.called <= self.until && by.end.is_none_or(|end| end >= self.from);
        self.keys.contains(&read.key)
            && match self.kind {
                EdgeKind::Thawed => self.told(read),
                // Who made it knows, and sends it again.
                EdgeKind::Lost => meanwhile && !heard && by.process != read.process,
                EdgeKind::Emptied => false,
            }
    }

    /// The same for a commit whose writer died.
    pub(crate) fn excuses_orphan(&self, read: &Read, by: &Orphan) -> bool {
        let meanwhile = by.from <= self.until && by.over >= self.from;
        self.keys.contains(&read.key)
            && match self.kind {
                EdgeKind::Thawed => self.told(read),
                EdgeKind::Lost | EdgeKind::Emptied => meanwhile,
            }
    }

    /// Whether the node of this edge may have been asked for what was read, in its time.
    fn told(&self, read: &Read) -> bool {
        let asked = read.start.saturating_sub(read.age.unwrap_or(0));
        let itself = match read.source {
            Source::Primary | Source::Replica => read.node == self.node,
            Source::Near | Source::Stale => true,
            Source::Secondary | Source::None => false,
        };
        itself && asked <= self.until && read.end >= self.from
    }
}
