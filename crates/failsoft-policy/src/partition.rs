//! Partitions: what the views of several nodes, taken together, say of each of them.
//!
//! A view with config epochs is its node's ballot. By its own ballot a node is in the majority when
//! more than half of the primaries that own slots are neither FAIL nor PFAIL. One ballot decides
//! nothing: a verdict takes three voices, or the whole cluster where it is smaller. `cluster_state`
//! decides nothing either: in an ordinary failover the majority says `fail`, too, and for about one
//! node timeout a minority says `ok`.
//!
//! Source: cluster specification, "Failure detection" (PFAIL is one node's own opinion, FAIL the
//! agreement of a majority, so a minority can't reach it) and "Configuration epoch".

use crate::nodes::{Node, Nodes};
use crate::refresh::MANY;
use crate::time::Instant;
use crate::view::{ClusterInfo, Role, View, ViewNode};
use crate::words::{NodeKey, words};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

/// The number of nodes that must be heard for a verdict, or all of them in a smaller cluster.
pub const VOICES: usize = 3;

/// What comes so much later than the others' ballots may come from a node that was hung meanwhile.
const TOGETHER: Duration = Duration::from_millis(100);

words! {
    /// On which side of a partition a node is.
    Verdict {
        /// With the majority, or nothing speaks against it.
        Majority = "majority",
        /// Cut off from the majority: it gets no read and no write.
        Minority = "minority",
        /// It can't be told: reads go on, fills are skipped, a `set` goes ahead.
        Unknown = "unknown",
    }
}

/// What one node's view says of the cluster's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// Whose view it is.
    pub by: NodeKey,
    /// When it was asked for.
    pub at: Instant,
    /// When it came.
    pub heard_at: Instant,
    /// The primaries that own slots.
    pub primaries: u32,
    /// Those of them that are neither FAIL nor PFAIL.
    pub primaries_ok: u32,
    /// The highest config epoch in it.
    pub epoch: u64,
    /// What the node said in `CLUSTER INFO`, where that is allowed.
    pub info: Option<ClusterInfo>,
    /// Whether the node owns slots by its own word.
    pub claims: bool,
    /// The nodes that it can't reach itself (PFAIL).
    suspected: BTreeSet<NodeKey>,
    /// The nodes that a majority of the primaries could not reach (FAIL).
    failed: BTreeSet<NodeKey>,
}

impl Ballot {
    /// The ballot in a view; none if its node is not known, or it has no epochs or no owner.
    pub fn of(view: &View, nodes: &Nodes, now: Instant) -> Option<Self> {
        let seen = view.nodes.as_ref().filter(|_| view.has_epochs() && view.covers_anything())?;
        let by = nodes.iter().find(|n| n.id().is_some() && n.id() == view.by.as_deref())?.key();
        let known = |wanted: fn(&ViewNode) -> bool| {
            let ids: BTreeSet<&str> = seen.iter().filter(|n| wanted(n)).map(|n| n.id.as_str()).collect();
            let them = nodes.iter().filter(|n| n.id().is_some_and(|id| ids.contains(id)));
            them.map(|n| n.key()).collect()
        };
        let owners = || seen.iter().filter(|n| n.role == Role::Primary && !n.slots.is_empty());
        let counts = |n: &ViewNode| !n.failed && !n.suspected;
        Some(Self {
            by,
            at: view.asked_at,
            heard_at: now,
            primaries: owners().count() as u32,
            primaries_ok: owners().filter(|n| counts(n)).count() as u32,
            epoch: seen.iter().filter_map(|n| n.epoch).max().unwrap_or(0),
            info: view.info,
            claims: owners().any(|n| Some(&n.id) == view.by.as_ref()),
            suspected: known(|n| n.suspected),
            failed: known(|n| n.failed),
        })
    }

    /// The highest epoch that its node has seen.
    pub fn current_epoch(&self) -> u64 {
        self.info.and_then(|i| i.current_epoch).unwrap_or(0).max(self.epoch)
    }

    /// Whether its node is in the majority by its own view.
    pub fn majority(&self) -> bool {
        2 * self.primaries_ok > self.primaries
    }

    /// Whether its node holds that `other` can't be reached.
    pub fn accuses(&self, other: NodeKey) -> bool {
        self.by != other && (self.suspected.contains(&other) || self.failed.contains(&other))
    }

    /// Whether it looks like a minority: primaries out of reach (PFAIL), none of them FAIL.
    fn frozen(&self) -> bool {
        !self.suspected.is_empty() && self.failed.is_empty()
    }
}

/// The ballots of the last round of views, and what they come to.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    round: Option<u64>,
    opened: Instant,
    asked: Vec<NodeKey>,
    /// Those of them that had answered us before the round began.
    acquainted: Vec<NodeKey>,
    over: bool,
    ballots: Vec<Ballot>,
}

/// What a round came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The nodes that have a verdict.
    pub verdicts: Vec<(NodeKey, Verdict)>,
    /// Whether no majority is in reach; `None` if the round does not decide it.
    pub down: Option<bool>,
}

impl Partition {
    /// A round of views with epochs begins: at most [`MANY`] nodes are asked. Views that were asked
    /// for at different times are not held against each other, so the ballots before it are dropped.
    pub fn open(&mut self, round: u64, asked: Vec<NodeKey>, nodes: &Nodes, now: Instant) {
        let answered = |key: &NodeKey| nodes.get(*key).is_some_and(|n| n.contact().is_some());
        let acquainted = asked.iter().copied().filter(answered).collect();
        *self = Self { round: Some(round), opened: now, asked, acquainted, over: false, ballots: Vec::new() };
    }

    /// The nodes are others from here on: the round goes on, but nothing of what was asked and told in it is of them.
    pub fn begin_anew(&mut self) {
        *self = Self { round: self.round, opened: self.opened, ..Self::default() };
    }

    /// Who was asked in the round, under the keys that they have now.
    pub fn asks(&mut self, asked: Vec<NodeKey>) {
        self.asked = asked;
    }

    /// The last round.
    pub fn round(&self) -> Option<u64> {
        self.round
    }

    /// When the last round began.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// A ballot came in this round.
    pub fn cast(&mut self, round: u64, ballot: Ballot) {
        if self.round == Some(round) && self.ballots.len() < MANY {
            self.ballots.retain(|b| b.by != ballot.by);
            self.ballots.push(ballot);
        }
    }

    /// A witness has seen this node in the majority since: earlier ballots against it no longer count.
    pub fn forgive(&mut self, node: NodeKey) {
        for ballot in &mut self.ballots {
            ballot.suspected.remove(&node);
            ballot.failed.remove(&node);
        }
    }

    /// All who were asked in this round have answered or were given up.
    pub fn close(&mut self, round: u64) {
        self.over |= self.round == Some(round);
    }

    /// The ballots of the last round, in the order in which they came: at most [`MANY`].
    pub fn ballots(&self) -> &[Ballot] {
        &self.ballots
    }

    /// Whether enough were asked for a verdict.
    pub fn is_wide(&self) -> bool {
        self.asked.len() >= VOICES
    }

    /// The nodes that were asked in the last round and gave no ballot before it ended.
    pub fn silent(&self) -> impl Iterator<Item = NodeKey> {
        let gave = |k: &NodeKey| self.ballots.iter().any(|b| b.by == *k);
        self.asked.iter().filter(|_| self.over).filter(move |k| !gave(k)).copied()
    }

    /// Whether any ballot says that this node can't be reached.
    pub fn accused(&self, node: NodeKey) -> bool {
        self.ballots.iter().any(|b| b.accuses(node))
    }

    /// What the ballots so far come to. `owns` says which nodes own slots by the highest epoch seen.
    pub fn outcome(&self, nodes: &Nodes, owns: impl Fn(NodeKey) -> bool) -> Outcome {
        let members = || nodes.iter().filter(|n| n.id().is_some());
        let known = members().count();
        let heard = self.ballots.len();
        let enough = heard >= VOICES || heard >= known;
        // Silent nodes have no voice, but there are no others to ask.
        let exhausted = self.over && self.asked.len() >= known.min(MANY);
        let majority: Vec<&Ballot> = self.ballots.iter().filter(|b| b.majority()).collect();
        let decided = heard > 0 && (enough || exhausted);
        if !decided || (majority.is_empty() && !self.over && heard < known) {
            // A node that was voted out before stays so until there is another verdict.
            let free = |b: &&Ballot| nodes.get(b.by).is_some_and(|n| n.verdict() != Verdict::Minority);
            let losing = self.ballots.iter().filter(|b| !b.majority()).filter(free);
            return Outcome { verdicts: losing.map(|b| (b.by, Verdict::Unknown)).collect(), down: None };
        }
        if majority.is_empty() {
            let all = self.ballots.iter().map(|b| (b.by, Verdict::Minority));
            return Outcome { verdicts: all.collect(), down: Some(true) };
        }
        // Most of the owners, if each of them sees a majority, are a majority; a few that agree may all be cut off.
        let owners = majority.iter().filter(|b| owns(b.by)).count() as u32;
        let sure = enough || majority.iter().all(|b| 2 * owners > b.primaries);
        let judged = members().filter_map(|node| {
            let own = self.ballots.iter().find(|b| b.by == node.key());
            let verdict = match own {
                Some(own) => {
                    let used = node.admits() && self.acquainted.contains(&node.key());
                    voter(own, node, &majority, owns(node.key()), used)
                }
                None if enough => absent(node, &majority)?,
                None => return None,
            };
            let verdict = if verdict == Verdict::Majority && !sure { Verdict::Unknown } else { verdict };
            Some((node.key(), verdict))
        });
        Outcome { verdicts: judged.collect(), down: Some(false) }
    }
}

/// The verdict on a node that gave a ballot; `used` says that it answered us before, and gets reads.
fn voter(own: &Ballot, node: &Node, majority: &[&Ballot], owns: bool, used: bool) -> Verdict {
    let others = || majority.iter().filter(|m| m.by != own.by);
    // A witness with a lower config epoch than the accused is itself the one that lags.
    let most = |holds: &dyn Fn(&Ballot) -> bool| {
        let count = others().filter(|m| m.epoch >= own.epoch && holds(m)).count();
        2 * count > others().count()
    };
    // It claims slots that the highest epoch gives to others.
    let superseded = own.claims && !owns;
    let behind = others().any(|m| m.epoch > own.epoch);
    let cut_off = if own.majority() {
        // For one node timeout a minority does not notice that it is one. A node that comes back from other
        // trouble needs its witness first; it may have been hung rather than cut off. So may one that had never
        // answered us before.
        let together = |m: &Ballot| own.heard_at.since(m.heard_at) < TOGETHER;
        (used || node.verdict() == Verdict::Minority) && most(&|m| m.failed.contains(&node.key()) && together(m))
    } else {
        superseded || (behind && own.frozen()) || most(&|m| m.accuses(node.key()))
    };
    if cut_off {
        Verdict::Minority
    } else if own.majority() && !superseded && !others().any(|m| m.accuses(node.key()) && m.epoch >= own.epoch) {
        Verdict::Majority
    } else {
        Verdict::Unknown
    }
}

/// Whether a node gets reads, or gets none because of the ballots alone.
fn is_used_or_out(node: &Node) -> bool {
    node.admits() || node.verdict() == Verdict::Minority
}

/// The verdict on a node that gave none: by the majority's word, and by what it says itself when it is
/// probed because of that. One that was in the minority is set free by its probe, if it reaches everybody, has heard
/// of what was decided, and nobody in the majority misses it: a round asks few nodes, and a minority may be large.
fn absent(node: &Node, majority: &[&Ballot]) -> Option<Verdict> {
    let given_up = majority.iter().filter(|m| m.failed.contains(&node.key()));
    let asked = given_up.clone().map(|m| m.at).max();
    let said = given_up.clone().map(|m| m.heard_at).max();
    // It was probed because of that, and answered at once. A read's answer does not tell a node that was cut
    // off from one that was hung and is back.
    let speaks = asked.is_some_and(|at| node.reported_at() > at)
        && said.is_some_and(|at| node.reported_at().since(at) < TOGETHER);
    // A node that is cut off sees no working cluster, or misses what is decided. One that was hung is back
    // among the others: if that is not clear yet, its own ballot will show it.
    // Of what the others told only after it was asked, its answer says nothing: it may have been decided meanwhile.
    let told_before = given_up.clone().filter(|m| node.looked_at() >= Some(m.heard_at));
    let decided = told_before.map(|m| m.current_epoch()).max();
    let heard_it = node.current_epoch().is_none_or(|e| Some(e) >= decided);
    let back = node.report().cluster_ok && heard_it;
    if is_used_or_out(node) && speaks && !back && 2 * given_up.count() > majority.len() {
        Some(Verdict::Minority)
    } else if node.verdict() == Verdict::Minority {
        let missed = majority.iter().any(|m| m.accuses(node.key()));
        let highest = majority.iter().map(|m| m.current_epoch()).max();
        let since_then = node.trouble().is_some_and(|t| node.looked_at() > Some(t.since));
        let whole = node.seems_well() && node.report().slots_pfail == Some(0) && node.current_epoch() >= highest;
        let free = whole && since_then && !missed;
        free.then_some(Verdict::Majority)
    } else if majority.iter().any(|m| m.accuses(node.key())) {
        Some(Verdict::Unknown)
    } else {
        Some(Verdict::Majority)
    }
}
