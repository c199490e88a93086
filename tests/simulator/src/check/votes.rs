//! The ballots that one router was given, counted once more: who has to be in quarantine, and who must not.

use super::Check;
use crate::model::{MS, Model, Time, Up, address};
use crate::plan::{Fault, Plan};
use crate::router::Router;
use failsoft_policy::partition::Verdict;
use failsoft_policy::view::{Role, View, ViewNode};
use failsoft_policy::{Endpoint, NodeKey};

/// How long ago a node may have seen itself in a minority for a verdict to come of it.
const RECENT: Time = 8_000 * MS;

/// A set of addresses.
type Addresses = u32;

#[derive(Clone, Debug)]
struct Ballot {
    by: usize,
    id: Option<String>,
    majority: bool,
    /// How many primaries own slots, and whether its node is one of them.
    owners: usize,
    owns: bool,
    epoch: u64,
    accuses: Addresses,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Votes {
    round: u64,
    asked: usize,
    over: bool,
    ballots: Vec<Ballot>,
    /// Nodes in the view with the most of them.
    known: usize,
    /// Voted into the minority in the last round that said so: where, and who.
    minority: Vec<(usize, Option<String>, Time)>,
    /// When a round last ended with enough ballots.
    pub(super) counted_at: Time,
    /// No ballot of the last round saw a majority.
    none: bool,
    was_down: bool,
    was_minority: Vec<NodeKey>,
}

impl Votes {
    pub(super) fn open(&mut self, round: u64, asked: usize) {
        (self.round, self.asked, self.over) = (round, asked, false);
        self.ballots.clear();
    }

    /// Nothing is known of anybody any more; the round goes on.
    pub(super) fn forget(&mut self) {
        self.ballots.clear();
        self.minority.clear();
        (self.known, self.none, self.was_down) = (0, false, false);
    }

    pub(super) fn heard(&mut self, round: u64, view: &View, now: Time) {
        let Some(nodes) = view.nodes.as_ref().filter(|_| view.has_epochs()) else { return };
        self.known = nodes.len();
        let owners = || nodes.iter().filter(|n| n.role == Role::Primary && !n.slots.is_empty());
        let lost = |n: &&ViewNode| n.failed || n.suspected;
        let places = |n: &ViewNode| n.endpoint.as_ref().map_or(0, |e| 1 << address(e));
        let (all, out) = (owners().count(), owners().filter(lost).count());
        let ballot = Ballot {
            by: address(&view.via),
            id: view.by.clone(),
            majority: 2 * (all - out) > all,
            owners: all,
            owns: owners().any(|n| Some(&n.id) == view.by.as_ref()),
            epoch: nodes.iter().filter_map(|n| n.epoch).max().unwrap_or(0),
            accuses: nodes.iter().filter(lost).fold(0, |set, n| set | places(n)),
        };
        // Any later word may set a node free.
        self.minority.retain(|(at, ..)| *at != ballot.by);
        self.named(view);
        self.none = false;
        if round == self.round && all > 0 {
            self.ballots.retain(|b| b.by != ballot.by);
            self.ballots.push(ballot);
            if self.suffice() {
                self.counted_at = now;
            }
        }
    }

    /// Another node than the one that was voted out may live at its address by now.
    pub(super) fn named(&mut self, view: &View) {
        let named = || view.nodes.iter().flatten();
        let another = |at: usize, id: &Option<String>| {
            named().any(|n| n.endpoint.as_ref().map(address) == Some(at) && Some(&n.id) != id.as_ref())
        };
        self.minority.retain(|(at, id, _)| !another(*at, id));
    }

    /// A node says that it reaches all: with the ballots of others that may set it free.
    pub(super) fn reaches_all(&mut self, who: Option<&str>) {
        self.minority.retain(|(_, id, _)| who.is_none() || id.as_deref() != who);
    }

    pub(super) fn close(&mut self, now: Time) {
        self.over = true;
        let majority: Vec<&Ballot> = self.ballots.iter().filter(|b| b.majority).collect();
        // Nobody else will answer. More than half of the owners, if each of them sees a majority, are one: whoever was
        // elected has the votes of as many, so at least one of these knows of it, and no more can be told by anybody.
        let owners = majority.iter().filter(|b| b.owns).count();
        if self.suffice() && owners > 0 && majority.iter().all(|b| 2 * owners > b.owners) {
            self.counted_at = now;
        }
        if self.ballots.len() < 3 {
            return;
        }
        self.counted_at = now;
        self.none = majority.is_empty();
        for lost in self.ballots.iter().filter(|b| !b.majority && !majority.is_empty()) {
            let accusers = majority.iter().filter(|m| m.accuses & (1 << lost.by) != 0 && m.epoch >= lost.epoch).count();
            if 2 * accusers > majority.len() {
                self.minority.push((lost.by, lost.id.clone(), now));
            }
        }
    }

    /// Whether a node that is asked now was voted out, or nobody is to be asked.
    pub(super) fn forbids(&self, at: usize) -> Option<&'static str> {
        if self.none {
            Some("though no ballot of the last round saw a majority")
        } else if self.minority.iter().any(|(lost, ..)| *lost == at) {
            Some("which the last ballots hold in a minority")
        } else {
            None
        }
    }

    /// When the node at an address was voted out, if it is out.
    pub(super) fn out_since(&self, at: usize) -> Option<Time> {
        self.minority.iter().filter(|(lost, ..)| *lost == at).map(|(_, _, since)| *since).min()
    }

    /// Whether the ballots of this round are enough for a verdict.
    fn suffice(&self) -> bool {
        self.ballots.len() >= 3
            || self.ballots.len() >= self.known
            || (self.over && self.asked >= self.known.min(5) && !self.ballots.is_empty())
    }
}

impl Check {
    /// After each word of a node: verdicts need enough ballots, and an ordinary failover is no partition.
    pub(crate) fn verdicts(&mut self, r: usize, router: &Router, model: &Model, now: Time) {
        let down = router.cluster.is_down();
        // Those of the policy: the driver hears of new ones only when this word is dealt with.
        let out = |key: &NodeKey| router.cluster.verdict(*key) == Some(Verdict::Minority);
        let minority: Vec<NodeKey> = router.cluster.members().map(|(key, ..)| key).filter(out).collect();
        let votes = &mut self.routers[r].votes;
        let was = std::mem::replace(&mut votes.was_minority, minority.clone());
        let newly = || router.cluster.members().filter(|(key, ..)| minority.contains(key) && !was.contains(key));
        let changed = newly().next().is_some() || (down && !votes.was_down);
        votes.was_down = down;
        let (enough, heard, asked) = (votes.suffice(), votes.ballots.len(), votes.asked);
        self.that(!changed || enough, || {
            format!("router {r} comes to a verdict by {heard} ballots of {asked} that were asked")
        });
        if self.cuts {
            return;
        }
        for at in newly().map(|(_, endpoint, _)| address(endpoint)) {
            let Some(n) = model.listening(at) else { continue };
            let node = &model.nodes[n];
            let counted_out = model
                .nodes
                .iter()
                .any(|other| other.up == Up::Running && other.group == node.group && other.fail & (1 << n) != 0);
            let saw_a_minority = node.in_minority() || node.minority_at.is_some_and(|seen| now - seen < RECENT);
            let sound = node.up == Up::Running && !counted_out && !saw_a_minority && !model.superseded(n);
            self.that(!sound, || format!("router {r} holds address {at} in a minority, but there is no partition"));
        }
    }

    /// Once all is whole nobody is in quarantine.
    pub(crate) fn quarantines_over(&mut self, r: usize, router: &Router, model: &Model) {
        let there = |at: &Endpoint| model.listening(address(at)).is_some();
        for member in router.members.iter().flatten().filter(|m| there(&m.endpoint)) {
            let verdict = router.cluster.verdict(member.key);
            let at = address(&member.endpoint);
            self.that(verdict == Some(Verdict::Majority), || {
                format!("router {r}: all is whole, but address {at} is held to be in the {verdict:?}")
            });
        }
        self.that(!router.cluster.is_down(), || format!("router {r}: all is whole, but no majority is seen"));
    }
}

/// Whether primaries change, or lose their histories, in a run.
pub(super) fn rewrites(plan: &Plan) -> bool {
    let rewrites = |f: &Fault| {
        !matches!(
            f,
            Fault::Cut { .. }
                | Fault::CutRouter { .. }
                | Fault::SlowRouter { .. }
                | Fault::SlowNode { .. }
                | Fault::Loss { .. }
                | Fault::Suspend { .. }
                | Fault::SlowStore { .. }
                | Fault::OtherType(_)
                | Fault::Misbehave { .. }
                | Fault::Throttle { .. }
                | Fault::Lost(_)
                | Fault::NoLink(_)
                | Fault::IdleClose
                | Fault::Hang(_)
                | Fault::HangOwner(_)
        )
    };
    plan.faults.iter().any(|f| rewrites(&f.fault))
}

/// Whether the nodes are ever cut off from each other in a run.
pub(super) fn cuts(plan: &Plan) -> bool {
    plan.faults.iter().any(|f| {
        matches!(
            f.fault,
            Fault::Cut { .. }
                | Fault::AnotherCluster
                | Fault::Replace(_)
                | Fault::Swap(..)
                | Fault::Move(_)
                | Fault::Stranger { .. }
                | Fault::ScaleOut(_)
        )
    })
}
