//! Whom to ask: for views, for ballots, and as a witness.

use super::Cluster;
use crate::nodes::Node;
use crate::pace;
use crate::partition::Verdict;
use crate::refresh::{FEW, MANY, Scope};
use crate::view::Role;
use crate::words::{Endpoint, NodeKey};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// So many of those asked for ballots are the ones that are in doubt themselves.
const DOUBTFUL: usize = 2;

impl Cluster {
    /// Whom to ask for a view: nodes out of trouble first, starting anywhere. A broad round asks some
    /// of the seeds before, which may lead to another cluster; at most [`MANY`] are asked at once.
    pub(super) fn targets(&self, scope: Scope, dice: u32) -> Vec<Endpoint> {
        let wanted = match scope {
            Scope::Routine => 1 + usize::from(self.census.asks_seeds()),
            Scope::Suspicion => FEW,
            Scope::Ballot => return self.voters(dice),
            Scope::Broad => MANY,
        };
        let start = dice as usize % self.seeds.len().max(1);
        let seeds = || self.seeds.iter().cycle().skip(start).take(self.seeds.len());
        let first = match scope {
            Scope::Broad => MANY - FEW,
            Scope::Routine if self.census.asks_seeds() => 1,
            _ => 0,
        };
        let mut targets: Vec<Endpoint> = Vec::new();
        for endpoint in seeds().take(first).chain(self.rotated(dice).map(|n| n.endpoint())).chain(seeds()) {
            if targets.len() < wanted && !targets.contains(endpoint) {
                targets.push(endpoint.clone());
            }
        }
        targets
    }

    /// Whom to ask for ballots: some of those in doubt, who need a fresh one, and others of as many
    /// shards and hosts as there are, so that not all of them are on one side of a cut.
    fn voters(&self, dice: u32) -> Vec<Endpoint> {
        let in_doubt = |n: &&Node| n.verdict() != Verdict::Majority && n.is_heard();
        // The ballots of others settle the rest. Who seems to be back from a minority is set free by its own
        // alone; a primary is missed more than a replica.
        let first = |n: &&Node| {
            let back = n.verdict() == Verdict::Minority && n.seems_well();
            (!back, back && n.role() != Role::Primary)
        };
        let mut doubtful: Vec<&Node> = self.rotated(dice).filter(in_doubt).collect();
        doubtful.sort_by_key(first);
        // All routers of a fleet want to hear them: they take turns.
        let ours = (dice >> 16) % 1000 < pace::views_permille(self.clients, self.nodes.len());
        let mut chosen: Vec<&Node> = doubtful.into_iter().take(if ours { DOUBTFUL } else { 0 }).collect();
        let shard = |n: &Node| match n.role() {
            Role::Replica(Some(of)) => of,
            Role::Primary | Role::Replica(None) => n.key(),
        };
        let mut shards: BTreeSet<NodeKey> = chosen.iter().map(|n| shard(n)).collect();
        let mut hosts: BTreeSet<&str> = chosen.iter().map(|n| n.endpoint().host.as_str()).collect();
        // Another shard on another host, then another shard, then any; nodes that answer before others.
        for answering in [true, false] {
            for pass in 0..3 {
                for node in self.rotated(dice).filter(|n| n.is_in_trouble() != answering) {
                    let (apart, away) =
                        (!shards.contains(&shard(node)), !hosts.contains(node.endpoint().host.as_str()));
                    let fits = pass == 2 || (apart && (away || pass == 1));
                    if chosen.len() < MANY && fits && !chosen.iter().any(|n| n.endpoint() == node.endpoint()) {
                        shards.insert(shard(node));
                        hosts.insert(&node.endpoint().host);
                        chosen.push(node);
                    }
                }
            }
        }
        chosen.into_iter().map(|n| n.endpoint().clone()).collect()
    }

    /// All nodes, those in trouble or counted as failed last, each kind beginning at a place that `dice` chooses among
    /// them: where many are in trouble, the routers must not all go to the first one after those.
    pub(super) fn rotated(&self, dice: u32) -> impl Iterator<Item = &Node> {
        let (mut fine, mut rest): (Vec<&Node>, Vec<&Node>) =
            self.nodes.iter().partition(|n| !n.is_in_trouble() && !n.has_failed());
        for kind in [&mut fine, &mut rest] {
            let first = dice as usize % kind.len().max(1);
            kind.rotate_left(first);
        }
        fine.into_iter().chain(rest)
    }

    /// Whether a node is a replica of a primary in trouble.
    pub(super) fn stands_in(&self, key: NodeKey) -> bool {
        let Some(Role::Replica(Some(of))) = self.nodes.get(key).map(Node::role) else { return false };
        self.nodes.get(of).is_some_and(|p| p.is_in_trouble())
    }
}
