//! Whom to ask: for views, for ballots, and as a witness.

use super::Cluster;
use crate::nodes::Node;
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
    /// of the seeds before, which may lead to another cluster; nobody asks more than [`MANY`] at once.
    pub(super) fn targets(&self, scope: Scope, dice: u32) -> Vec<Endpoint> {
        let wanted = match scope {
            Scope::Routine => 1,
            Scope::Suspicion => FEW,
            Scope::Ballot => return self.voters(dice),
            Scope::Broad => MANY,
        };
        let start = dice as usize % self.seeds.len().max(1);
        let seeds = || self.seeds.iter().cycle().skip(start).take(self.seeds.len());
        let first = if scope == Scope::Broad { MANY - FEW } else { 0 };
        let mut targets: Vec<Endpoint> = Vec::new();
        for endpoint in seeds().take(first).chain(self.rotated(dice).map(|n| &n.endpoint)).chain(seeds()) {
            if targets.len() < wanted && !targets.contains(endpoint) {
                targets.push(endpoint.clone());
            }
        }
        targets
    }

    /// Whom to ask for ballots: some of those in doubt, who need a fresh one, and others of as many
    /// shards and hosts as there are, so that not all of them are on one side of a cut.
    fn voters(&self, dice: u32) -> Vec<Endpoint> {
        let doubtful = |n: &&Node| n.verdict != Verdict::Majority && n.heard;
        let mut chosen: Vec<&Node> = self.rotated(dice).filter(doubtful).take(DOUBTFUL).collect();
        let shard = |n: &Node| match n.role {
            Role::Replica(Some(of)) => of,
            Role::Primary | Role::Replica(None) => n.key,
        };
        let mut shards: BTreeSet<NodeKey> = chosen.iter().map(|n| shard(n)).collect();
        let mut hosts: BTreeSet<&str> = chosen.iter().map(|n| n.endpoint.host.as_str()).collect();
        // Another shard on another host, then another shard, then anybody; who answers before who does not.
        for answering in [true, false] {
            for pass in 0..3 {
                for node in self.rotated(dice).filter(|n| n.trouble.is_none() == answering) {
                    let (apart, away) = (!shards.contains(&shard(node)), !hosts.contains(node.endpoint.host.as_str()));
                    let fits = pass == 2 || (apart && (away || pass == 1));
                    if chosen.len() < MANY && fits && !chosen.iter().any(|n| n.endpoint == node.endpoint) {
                        shards.insert(shard(node));
                        hosts.insert(&node.endpoint.host);
                        chosen.push(node);
                    }
                }
            }
        }
        chosen.into_iter().map(|n| n.endpoint.clone()).collect()
    }

    /// Another node to ask what it thinks of `key`: one out of trouble, if there is one, and never one
    /// that is cut off from the majority.
    pub(super) fn witness(&self, key: NodeKey, dice: u32) -> Option<Endpoint> {
        let others = self.rotated(dice).filter(|n| n.key != key && n.verdict != Verdict::Minority);
        others.map(|n| n.endpoint.clone()).next()
    }

    /// All nodes, beginning at a place that `dice` chooses, those in trouble or counted as failed last.
    fn rotated(&self, dice: u32) -> impl Iterator<Item = &Node> {
        let start = dice as usize % self.nodes.len().max(1);
        let turn = |wanted: bool| {
            let all = move || self.nodes.iter().filter(move |n| (n.trouble.is_none() && !n.failed) == wanted);
            all().skip(start).chain(all().take(start))
        };
        turn(true).chain(turn(false))
    }

    /// Whether a node is a replica of a primary in trouble.
    pub(super) fn stands_in(&self, key: NodeKey) -> bool {
        let Some(Role::Replica(Some(of))) = self.nodes.get(key).map(|n| &n.role) else { return false };
        self.nodes.get(*of).is_some_and(|p| p.trouble.is_some())
    }
}
