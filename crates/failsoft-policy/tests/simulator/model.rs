//! A small model of a cluster: roles, epochs, data, failure detection, promotion, demotion, migration.
//!
//! Simplified: configuration spreads by merging the newest one after a short delay, failure detection
//! and votes are one timer each, and the key space is [`BLOCKS`] blocks of slots with one key each.

use failsoft_policy::view::{NodeReport, Role, View, ViewNode};
use failsoft_policy::{Endpoint, Instant};
use std::time::Duration;

/// Blocks of slots; key `b` is in the first slot of block `b`.
pub(crate) const BLOCKS: usize = 8;
pub(crate) const WIDTH: u16 = 16_384 / BLOCKS as u16;
pub(crate) const PRIMARIES: usize = 3;
pub(crate) const NODES: usize = 2 * PRIMARIES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Up {
    Running,
    Hung,
    Down,
}

/// What one node believes of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Belief {
    /// Whose replica each node is, if it is one.
    pub(crate) follows: [Option<usize>; NODES],
    pub(crate) epochs: [u64; NODES],
    pub(crate) owners: [usize; BLOCKS],
    /// Counts the changes of the true configuration: who has the higher one knows more.
    pub(crate) version: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) up: Up,
    pub(crate) since: Instant,
    /// When it last became unreachable.
    pub(crate) failed_at: Instant,
    pub(crate) loading_until: Instant,
    pub(crate) belief: Belief,
    /// The newest belief that is on its way, and when it arrives.
    pub(crate) news: Option<(Instant, Belief)>,
    pub(crate) data: [u64; BLOCKS],
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    pub(crate) block: usize,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) moved: bool,
}

pub(crate) struct Model {
    pub(crate) nodes: Vec<Node>,
    /// The configuration that a majority agreed on.
    pub(crate) truth: Belief,
    /// While a majority sees a primary without a successor, or is none itself.
    pub(crate) down: bool,
    pub(crate) migration: Option<Migration>,
    /// Whether two nodes ever sent readers back and forth between them.
    pub(crate) contradicted: bool,
    /// When each node lost its blocks by a failover.
    pub(crate) superseded: [Option<Instant>; NODES],
}

/// What a node says to a command for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Value(u64),
    Nil,
    Line(String),
}

impl Model {
    pub(crate) fn new() -> Self {
        let truth = Belief {
            follows: std::array::from_fn(|n| n.checked_sub(PRIMARIES)),
            epochs: std::array::from_fn(|n| (n % PRIMARIES) as u64 + 1),
            owners: std::array::from_fn(|b| b % PRIMARIES),
            version: 0,
        };
        let node = Node {
            up: Up::Running,
            since: Instant::ZERO,
            failed_at: Instant::ZERO,
            loading_until: Instant::ZERO,
            belief: truth.clone(),
            news: None,
            data: [1; BLOCKS],
        };
        Self {
            nodes: vec![node; NODES],
            truth,
            down: false,
            migration: None,
            contradicted: false,
            superseded: [None; NODES],
        }
    }

    pub(crate) fn running(&self, n: usize) -> bool {
        self.nodes[n].up == Up::Running
    }

    pub(crate) fn reachable(&self, n: usize) -> bool {
        self.nodes[n].up != Up::Down
    }

    /// Belief that has arrived is taken over; a node that is no primary any more drops its data.
    pub(crate) fn settle(&mut self, n: usize, now: Instant) {
        let node = &mut self.nodes[n];
        if node.news.as_ref().is_some_and(|(at, _)| *at <= now)
            && let Some((_, belief)) = node.news.take()
        {
            let demoted = node.belief.follows[n].is_none() && belief.follows[n].is_some();
            node.belief = belief;
            if let (true, Some(of)) = (demoted, self.nodes[n].belief.follows[n]) {
                self.nodes[n].data = self.nodes[of].data;
            }
        }
    }

    /// Replicas that have not copied these blocks yet.
    pub(crate) fn begin_empty(&mut self, mut lacks: impl FnMut() -> bool) {
        for node in &mut self.nodes[PRIMARIES..] {
            node.data.iter_mut().filter(|_| lacks()).for_each(|value| *value = 0);
        }
    }

    /// Tells every running node of the true configuration, each after its own delay.
    pub(crate) fn spread(&mut self, now: Instant, mut delay: impl FnMut() -> Duration) {
        for n in 0..NODES {
            if self.running(n) && self.nodes[n].belief.version < self.truth.version {
                self.nodes[n].news = Some((now + delay(), self.truth.clone()));
            }
        }
    }

    /// The replica takes over all blocks of its primary with a new epoch.
    pub(crate) fn promote(&mut self, replica: usize, of: usize, now: Instant) {
        let epoch = self.truth.epochs.iter().max().expect("there are nodes") + 1;
        self.truth.version += 1;
        self.truth.follows[replica] = None;
        self.truth.follows[of] = Some(replica);
        for follower in self.truth.follows.iter_mut().filter(|f| **f == Some(of)) {
            *follower = Some(replica);
        }
        self.truth.epochs[replica] = epoch;
        self.truth.owners.iter_mut().filter(|o| **o == of).for_each(|o| *o = replica);
        self.superseded[of] = Some(now);
        self.superseded[replica] = None;
        self.nodes[replica].belief = self.truth.clone();
    }

    /// What a running node says to a read or, with `write`, a write of the key of this block.
    pub(crate) fn command(
        &mut self,
        n: usize,
        block: usize,
        readonly: bool,
        asking: bool,
        write: Option<u64>,
        now: Instant,
    ) -> Said {
        self.settle(n, now);
        let node = &self.nodes[n];
        if now < node.loading_until {
            return Said::Line("LOADING Redis is loading the dataset in memory".into());
        }
        if self.down {
            return Said::Line("CLUSTERDOWN The cluster is down".into());
        }
        let owner = node.belief.owners[block];
        let slot = block as u16 * WIDTH;
        let redirect = |word: &str, to: usize| Said::Line(format!("{word} {slot} n{to}:7000"));
        if let Some(m) = self.migration.filter(|m| m.block == block) {
            if n == m.from && m.moved && owner == n {
                return redirect("ASK", m.to);
            }
            if n == m.to && owner != n && !asking {
                return redirect("MOVED", owner);
            }
            if n == m.to && asking {
                return self.apply(n, block, write);
            }
        }
        let serves = owner == n || (readonly && write.is_none() && node.belief.follows[n] == Some(owner));
        if serves { self.apply(n, block, write) } else { redirect("MOVED", owner) }
    }

    fn apply(&mut self, n: usize, block: usize, write: Option<u64>) -> Said {
        let value = &mut self.nodes[n].data[block];
        if let Some(version) = write {
            *value = version;
        }
        if *value == 0 { Said::Nil } else { Said::Value(*value) }
    }

    pub(crate) fn view(&mut self, n: usize, asked_at: Instant, epochs: bool, now: Instant) -> View {
        self.settle(n, now);
        let belief = &self.nodes[n].belief;
        let node = |k: usize| {
            let shown = belief.follows[k].map_or(k, |of| of);
            let owned = (0..BLOCKS as u16).filter(|&b| belief.owners[usize::from(b)] == k);
            ViewNode {
                id: format!("n{k}"),
                endpoint: Some(endpoint(k)),
                role: belief.follows[k].map_or(Role::Primary, |of| Role::Replica(Some(format!("n{of}")))),
                slots: owned.map(|b| (b * WIDTH, (b + 1) * WIDTH - 1)).collect(),
                epoch: epochs.then_some(belief.epochs[shown]),
                failed: false,
                suspected: false,
            }
        };
        View {
            by: Some(format!("n{n}")),
            via: endpoint(n),
            asked_at,
            nodes: Some((0..NODES).map(node).collect()),
            info: None,
        }
    }

    pub(crate) fn report(&mut self, n: usize, now: Instant) -> NodeReport {
        self.settle(n, now);
        let node = &self.nodes[n];
        let follows = node.belief.follows[n];
        NodeReport {
            id: Some(format!("n{n}")),
            primary: follows.is_none(),
            cluster_ok: !self.down,
            my_epoch: Some(node.belief.epochs[follows.unwrap_or(n)]),
            loading: now < node.loading_until,
            offset: Some(node.data.iter().sum()),
            link_up: follows.map(|of| self.running(of)),
            ..NodeReport::default()
        }
    }
}

pub(crate) fn endpoint(n: usize) -> Endpoint {
    Endpoint { host: format!("n{n}"), port: 7000 }
}

/// The node at an endpoint.
pub(crate) fn index(endpoint: &Endpoint) -> usize {
    endpoint.host[1..].parse().expect("all nodes of the model are called n<number>")
}
