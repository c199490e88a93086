//! Which cluster this is, by the word of the seeds: at the start, and when others answer at its addresses.
//!
//! An address proves nothing: it may be given to a node of somebody else's cluster while all of ours are away. So
//! one answer never decides where several seeds can be asked. What more than half of the seeds name is taken up, at
//! the start or when none of our own nodes answers. Where fewer of them answer at all, more than half of those
//! decide, if more than half of all addresses that were asked agree with them, or if the other cluster lives at more
//! than half of the addresses that were ours, or after a minute in which none of ours is heard. One that was taken up
//! in place of another is left as soon as the seeds name another one, three times in turn.

use super::Cluster;
use super::timers::Timer;
use crate::refresh::Scope;
use crate::time::Instant;
use crate::topology::Kind;
use crate::view::View;
use crate::words::Endpoint;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

/// For so long none of our nodes may be heard before a minority of the seeds can name another cluster.
const ALONE: Duration = Duration::from_secs(60);
/// So often in turn the seeds have to name another cluster than the one that was taken up, to leave that.
const TURNS: u32 = 3;

/// How our cluster came to be ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// More than half of the seeds named it at the start.
    #[default]
    Named,
    /// It was taken up on the word of no more than half of the seeds.
    Provisional,
    /// More than half of the seeds named it, in place of another.
    Replaced,
}

/// The answers of one round, and what is remembered beyond it.
#[derive(Clone, Debug, Default)]
pub(super) struct Census {
    /// Who was asked in this round, and which of them are seeds.
    asked: Vec<Endpoint>,
    seeds: Vec<Endpoint>,
    /// Views of this round that are not of our cluster, at most one of each who was asked.
    foreign: Vec<View>,
    /// Since when no node of ours has been heard while another cluster was.
    alone_since: Option<Instant>,
    /// How many of the seeds asked in this round are of our cluster.
    ours: usize,
    /// How sure it is that our cluster is the one that is meant.
    standing: Standing,
    /// How often in turn the seeds have named another cluster.
    turns: u32,
}

impl Census {
    /// A round begins.
    pub(super) fn open(&mut self, targets: &[Endpoint], seeds: &[Endpoint]) {
        self.seeds = targets.iter().filter(|t| seeds.contains(t)).cloned().collect();
        self.asked = targets.to_vec();
        self.foreign.clear();
        self.ours = 0;
    }

    /// A node of our cluster was heard.
    pub(super) fn heard_ours(&mut self) {
        self.alone_since = None;
    }

    /// A view of our cluster came from there.
    pub(super) fn counted_ours(&mut self, via: &Endpoint) {
        self.alone_since = None;
        self.ours += usize::from(self.seeds.contains(via));
        if self.standing == Standing::Provisional && 2 * self.ours > self.seeds.len() {
            self.standing = Standing::Named;
        }
    }

    /// Whether a seed is asked, too, where any node would do: it may name another cluster.
    pub(super) fn asks_seeds(&self) -> bool {
        self.standing != Standing::Named
    }

    fn add(&mut self, view: View) {
        self.foreign.retain(|v| v.via != view.via);
        self.foreign.push(view);
    }

    /// The cluster that most seeds name, as all views of it; how many seeds do, and how many answered at all.
    fn leading(&self) -> (Vec<View>, usize, usize) {
        let by_seeds = || self.foreign.iter().filter(|v| self.seeds.contains(&v.via));
        let camps = by_seeds().map(|one| (one, by_seeds().filter(|v| are_of_one(one, v)).count()));
        // The first of the largest.
        let largest = camps.reduce(|best, camp| if camp.1 > best.1 { camp } else { best });
        let Some((one, votes)) = largest else { return (Vec::new(), 0, 0) };
        let views = self.foreign.iter().filter(|v| are_of_one(one, v)).cloned().collect();
        (views, votes, by_seeds().count())
    }
}

impl Cluster {
    /// A view that is not of our cluster, or came before there is one.
    pub(super) fn hear_foreign(&mut self, view: View, now: Instant) {
        self.census.add(view);
        if self.topology.kind() != Kind::Unknown {
            self.census.alone_since.get_or_insert(now);
            return;
        }
        let (views, votes, _) = self.census.leading();
        if 2 * votes > self.census.seeds.len() {
            self.take_up(&views, Standing::Named, now);
        } else {
            let grace = now + self.attempt_timeout / 4;
            self.timers.start(Timer::Election, grace);
        }
    }

    /// Enough was waited for other seeds' answers: more than half of those that came decide.
    pub(super) fn elect(&mut self, now: Instant) {
        self.timers.stop(Timer::Election);
        let (views, votes, answers) = self.census.leading();
        if self.topology.kind() == Kind::Unknown && 2 * votes > answers {
            let named = 2 * votes > self.census.seeds.len();
            self.take_up(&views, if named { Standing::Named } else { Standing::Provisional }, now);
        }
    }

    /// The round is over; `ours` says whether a node of our cluster answered in it.
    pub(super) fn count_seeds(&mut self, round: u64, scope: Scope, ours: bool, now: Instant) {
        self.elect(now);
        let (views, votes, answers) = self.census.leading();
        if views.is_empty() || self.topology.kind() == Kind::Unknown || scope != Scope::Broad {
            return;
        }
        // Of two seeds one may be gone for good: what most of all who were asked say counts as much.
        let enough = 2 * views.len() > self.census.asked.len() || self.lives_at_ours(&views);
        let strong = 2 * votes > self.census.seeds.len() || (2 * votes > answers && enough);
        self.census.turns = if strong { self.census.turns + 1 } else { 0 };
        let alone = self.census.alone_since.is_some_and(|at| now.since(at) >= ALONE);
        let taken = match (ours, self.census.standing) {
            (false, _) => strong || (alone && 2 * votes > answers),
            (true, Standing::Named) => false,
            (true, Standing::Provisional) => strong,
            (true, Standing::Replaced) => self.census.turns >= TURNS,
        };
        if taken {
            self.topology.forget(&mut self.nodes);
            (self.down, self.isolated) = Default::default();
            (self.highest, self.taken_up_at) = ((0, now), now);
            self.partition.begin_anew();
            self.take_up(&views, if strong { Standing::Replaced } else { Standing::Provisional }, now);
            // The views of this round are ballots, too: one of its nodes may be cut off.
            let asked = self.census.asked.iter().filter_map(|e| self.nodes.at(e)).collect();
            self.partition.asks(asked);
            self.count_votes(round, now);
        }
    }

    /// Whether these views name nodes at more than half of the addresses that we know, our seeds' and our nodes', so that
    /// it is not a stranger who was given one of them, but who was put in our cluster's place.
    fn lives_at_ours(&self, views: &[View]) -> bool {
        let members = self.nodes.iter().filter(|n| n.id().is_some()).map(|n| n.endpoint());
        let known: BTreeSet<&Endpoint> = members.chain(&self.seeds).collect();
        let theirs = views.iter().flat_map(|v| v.nodes.iter().flatten()).filter(|n| !n.failed && !n.suspected);
        let shared: BTreeSet<&Endpoint> =
            theirs.filter_map(|n| n.endpoint.as_ref()).filter(|e| known.contains(e)).collect();
        2 * shared.len() > known.len()
    }

    fn take_up(&mut self, views: &[View], standing: Standing, now: Instant) {
        self.timers.stop(Timer::Election);
        self.census.standing = standing;
        (self.census.alone_since, self.census.turns) = (None, 0);
        self.census.foreign.retain(|v| !views.contains(v));
        self.refresh.found_ours();
        for view in views {
            self.take_in(view, true, now);
            self.census.counted_ours(&view.via);
            if let Some(round) = self.partition.round() {
                self.cast(round, view, now);
            }
        }
    }
}

/// Whether two views are of one cluster: they share a node, or neither is of a cluster at all.
fn are_of_one(one: &View, other: &View) -> bool {
    match (&one.nodes, &other.nodes) {
        (Some(one), Some(other)) => {
            let ids: BTreeSet<&str> = one.iter().map(|n| n.id.as_str()).collect();
            other.iter().any(|n| ids.contains(n.id.as_str()))
        }
        (None, None) => true,
        _ => false,
    }
}
