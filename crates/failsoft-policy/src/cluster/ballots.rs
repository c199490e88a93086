//! What the ballots of a round change: verdicts, quarantine, and what has to be asked next.

use super::Cluster;
use crate::nodes::Node;
use crate::pace;
use crate::partition::{Ballot, Verdict};
use crate::refresh::{Scope, Wish};
use crate::time::Instant;
use crate::topology::Kind;
use crate::view::{Role, View};
use crate::words::{NodeKey, Reason, Slot};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

/// After so many rounds in turn without a ballot, those before count no more.
const BLIND_ROUNDS: u32 = 3;
/// While slots have no owner, a view is asked for this often, or as often as a large fleet may.
const UNCOVERED_PAUSE: Duration = Duration::from_secs(2);

impl Cluster {
    /// A view came in this round: it is a ballot if it has epochs and its node is known.
    pub(super) fn cast(&mut self, round: u64, view: &View, now: Instant) {
        let Some(ballot) = Ballot::of(view, &self.nodes, now) else { return };
        let seen = ballot.info.and_then(|i| i.current_epoch);
        self.heard_epoch(ballot.by, seen.map(|e| e.max(ballot.epoch)), now);
        self.look_at_accused(&ballot, now);
        self.partition.cast(round, ballot);
        self.conclude(now);
    }

    /// A node has seen this epoch. A higher one than before says that somebody was elected, or that slots
    /// were moved, perhaps behind the back of an owner that is cut off.
    pub(super) fn heard_epoch(&mut self, key: NodeKey, epoch: Option<u64>, now: Instant) {
        let Some(node) = self.nodes.get_mut(key) else { return };
        node.note_current_epoch(epoch);
        let epoch = epoch.filter(|_| node.verdict() != Verdict::Minority).unwrap_or(0);
        if epoch > self.highest.0 {
            if self.highest.0 > 0 {
                self.refresh.want(Scope::Ballot, true);
            }
            self.highest = (epoch, now);
        }
    }

    /// Whether nothing that this node may have missed was decided: it has seen the highest epoch, or
    /// ballots put it with the majority after that was known.
    pub(super) fn is_up_to_date(&self, key: NodeKey) -> bool {
        let (highest, since) = self.highest;
        self.nodes.get(key).is_some_and(|n| {
            n.current_epoch().is_none_or(|e| e >= highest) || n.vouched_at().is_some_and(|at| at >= since)
        })
    }

    /// Who is said to be out of reach, and is in no trouble with us, is asked whether it is there, and whether it has
    /// heard of what was decided.
    pub(super) fn look_at_accused(&mut self, ballot: &Ballot, now: Instant) {
        let behind = |n: &Node| n.current_epoch().is_some_and(|epoch| epoch < ballot.current_epoch());
        let accused = |n: &Node| n.admits() && ballot.accuses(n.key()) && (n.reported_at() <= ballot.at || behind(n));
        self.nodes.change(accused, |node| node.probe_by(now));
    }

    /// Takes over what the ballots of this round come to so far.
    pub(super) fn conclude(&mut self, now: Instant) {
        let owners = self.owners();
        let outcome = self.partition.outcome(&self.nodes, |key| owners.contains(&key));
        for (key, verdict) in outcome.verdicts {
            self.decide(key, verdict, now);
            if let Some(node) = self.nodes.get_mut(key).filter(|_| verdict == Verdict::Majority) {
                node.vouch(self.partition.opened());
            }
        }
        let down = outcome.down.unwrap_or(self.down);
        self.dirty |= down != self.down;
        self.down = down;
        let lost = self.partition.ballots().iter().any(|b| !b.majority());
        let contradicted = self.nodes.iter().any(|n| n.admits() && n.is_heard() && self.partition.accused(n.key()));
        if lost || contradicted {
            self.refresh.want(Scope::Ballot, false);
        }
    }

    /// A round of views is over. Who was asked for a ballot and gave none is looked at; where no
    /// ballots can be had at all (an ACL may forbid them), nothing is in doubt any more than before.
    pub(super) fn count_votes(&mut self, round: u64, now: Instant) {
        self.partition.close(round);
        self.conclude(now);
        let silent: BTreeSet<NodeKey> = self.partition.silent().collect();
        let matters = self.partition.is_wide();
        let unheard = |n: &Node| matters && n.admits() && silent.contains(&n.key());
        self.nodes.change(unheard, |node| node.probe_by(now));
        if !self.refresh.has_views(round) || self.partition.round() != Some(round) {
            return;
        }
        let blind = self.partition.ballots().is_empty();
        self.blind_rounds = if blind { self.blind_rounds + 1 } else { 0 };
        if blind && !self.isolated {
            self.dispel(now);
        }
    }

    /// What is to be asked in the next round, as long as something is wrong.
    pub(super) fn next_wish(&self) -> Option<Wish> {
        let wish = |scope, most| Some(Wish { scope, most });
        // Who does not answer at all needs no ballot.
        let doubtful = |n: &Node| n.verdict() != Verdict::Majority && (n.is_heard() || n.admits());
        if self.down || self.isolated || self.nodes.iter().any(doubtful) {
            return wish(Scope::Ballot, self.interval / 3);
        }
        let primary = |n: &Node| n.role() == Role::Primary;
        let troubled = self.nodes.iter().any(|n| primary(n) && n.is_in_trouble())
            || self.topology.patched() > 0
            || self.topology.kind() == Kind::Unknown;
        if troubled {
            return wish(Scope::Suspicion, self.interval);
        }
        // A slot that nobody serves yet may be served any moment.
        let uncovered = self.topology.kind() == Kind::Cluster && self.topology.assigned() < usize::from(Slot::COUNT);
        let most = UNCOVERED_PAUSE.max(pace::pause(self.clients)).min(self.interval);
        if uncovered { wish(Scope::Routine, most) } else { None }
    }

    /// Our own reach changed: when more than half of the slots' owners are out of it, it may be we who
    /// are cut off, and nothing is taken for granted until ballots say otherwise.
    pub(super) fn look_around(&mut self, now: Instant) {
        let lost = |n: &Node| {
            let why = n.trouble().map(|t| t.reason);
            !n.admits() && matches!(why, Some(Reason::Timeout | Reason::Connection | Reason::Protocol))
        };
        let owners = self.owners();
        let out_of_reach = owners.iter().filter(|&&k| self.nodes.get(k).is_some_and(lost)).count();
        let isolated = self.topology.kind() == Kind::Cluster && 2 * out_of_reach > owners.len();
        if isolated == self.isolated {
            return;
        }
        self.isolated = isolated;
        self.refresh.want(Scope::Ballot, true);
        if isolated {
            let sure: Vec<NodeKey> =
                self.nodes.iter().filter(|n| n.verdict() == Verdict::Majority).map(|n| n.key()).collect();
            for key in sure {
                self.decide(key, Verdict::Unknown, now);
            }
        }
    }

    /// Nothing speaks against the nodes that were in doubt. Where ballots could be had before, and now none can be
    /// for several rounds (rights may have been taken away), nothing that they decided stays for ever: who was voted
    /// out returns like any node in trouble.
    fn dispel(&mut self, now: Instant) {
        let over = self.blind_rounds >= BLIND_ROUNDS;
        self.dirty |= over && self.down;
        self.down &= !over;
        let ends = |n: &Node| n.verdict() == Verdict::Unknown || (over && n.verdict() == Verdict::Minority);
        let doubtful = self.nodes.iter().filter(|n| ends(n));
        let doubtful: Vec<NodeKey> = doubtful.map(|n| n.key()).collect();
        for key in doubtful {
            self.decide(key, Verdict::Majority, now);
        }
    }

    /// A verdict on a node. One in the minority is quarantined: its breaker opens, and it returns like
    /// any node in trouble, but not before a verdict has set it free.
    fn decide(&mut self, key: NodeKey, verdict: Verdict, now: Instant) {
        let Some(node) = self.nodes.get_mut(key) else { return };
        if node.set_verdict(verdict) {
            self.dirty = true;
            self.unsettled = true;
        }
        if verdict == Verdict::Minority && node.quarantine(now) {
            self.dirty = true;
        }
    }

    /// The nodes that own slots by the highest epoch seen.
    fn owners(&self) -> BTreeSet<NodeKey> {
        match &self.slots {
            Some((_, owners)) => owners.iter().copied().collect(),
            None => self.topology.owners(),
        }
    }
}
