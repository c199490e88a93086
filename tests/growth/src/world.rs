//! A computed cluster: what each node says of itself and of the others, at each moment.

use failsoft_policy::view::{ClusterInfo, NodeReport, Role, View, ViewNode};
use failsoft_policy::{Endpoint, Instant, Slot};
use std::time::Duration;

/// From when on a node that is lost is suspected.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);
/// From the verdict on a primary to the promotion of its replica.
pub const ELECTION: Duration = Duration::from_secs(1);

/// What befalls the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A replica is promoted in place of its primary, as an operator does it: nobody is lost, but there is a new epoch.
    Elected,
    /// So many primaries, and as many replicas of other shards, are out of reach of the routers and of
    /// the rest of the cluster: killed (their addresses refuse), or cut off (nothing comes back).
    Lost {
        /// How many primaries.
        primaries: usize,
        /// Whether the addresses refuse, or stay silent.
        refused: bool,
    },
}

/// When it befalls it, from the start of the run.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The nodes are lost.
    pub lost: Instant,
    /// The others count them as failed, and their replicas are promoted.
    pub promoted: Instant,
    /// They are back, as replicas of their heirs.
    pub back: Instant,
}

/// How a node reacts to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It answers.
    Answers,
    /// The connection is refused.
    Refuses,
    /// Nothing comes.
    Silent,
}

/// So many primaries, each with one replica. Node `i` is a primary at first, node `primaries + i` its
/// replica.
#[derive(Clone, Debug)]
pub struct World {
    /// How many primaries.
    pub primaries: usize,
    /// What befalls it.
    pub fault: Fault,
    /// When.
    pub times: Times,
    /// `connected_clients` of each node.
    pub clients: u64,
}

impl World {
    /// A cluster that is struck at `lost`, takes 7 s to promote its replicas, and has the lost nodes back
    /// 10 s later.
    pub fn new(primaries: usize, fault: Fault, clients: u64, lost: Instant) -> Self {
        let promoted = lost + NODE_TIMEOUT + Duration::from_secs(2);
        Self { primaries, fault, times: Times { lost, promoted, back: promoted + Duration::from_secs(10) }, clients }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.primaries * 2
    }

    /// Whether this primary is one that is lost.
    pub fn strikes(&self, primary: usize) -> bool {
        match self.fault {
            Fault::None => false,
            Fault::Elected => primary == 0,
            Fault::Lost { primaries, .. } => primary < primaries,
        }
    }

    /// The primaries that are lost.
    pub fn struck(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.primaries).filter(|&p| self.strikes(p))
    }

    /// Where a node listens.
    pub fn endpoint(node: usize) -> Endpoint {
        let [_, b, c, d] = (node as u32).to_be_bytes();
        Endpoint { host: format!("10.{b}.{c}.{d}"), port: 6379 }
    }

    /// Which node listens there.
    pub fn node_at(endpoint: &Endpoint) -> usize {
        endpoint.host.split('.').skip(1).filter_map(|part| part.parse::<usize>().ok()).fold(0, |n, part| n * 256 + part)
    }

    /// A slot of a primary's shard.
    pub fn slot(&self, primary: usize) -> Slot {
        Slot::new(self.first_slot(primary)).expect("fewer primaries than slots")
    }

    /// How a node reacts at `now`.
    pub fn reaction(&self, node: usize, now: Instant) -> Reaction {
        // Of the nodes that are lost, one half are primaries and one half replicas of shards whose
        // primary stays: a cut goes through a cluster like that.
        let replica = node.checked_sub(self.primaries).map(|of| (of + self.primaries / 2) % self.primaries);
        let lost = match self.fault {
            Fault::None | Fault::Elected => false,
            Fault::Lost { primaries, .. } => {
                node < primaries || replica.is_some_and(|r| primaries > 1 && r < primaries)
            }
        };
        match self.fault {
            Fault::Lost { refused, .. } if lost && now >= self.times.lost && now < self.times.back => {
                if refused {
                    Reaction::Refuses
                } else {
                    Reaction::Silent
                }
            }
            _ => Reaction::Answers,
        }
    }

    /// What `by` says of the cluster at `now`, with epochs or without.
    pub fn view(&self, by: usize, asked_at: Instant, epochs: bool, now: Instant) -> View {
        let nodes = (0..self.nodes()).map(|node| self.entry(node, epochs, now)).collect();
        View { by: Some(id(by)), via: Self::endpoint(by), asked_at, nodes: Some(nodes), info: Some(self.info(by, now)) }
    }

    /// What a node says of itself at `now`.
    pub fn report(&self, node: usize, now: Instant) -> NodeReport {
        let primary = self.role(node, now) == Role::Primary;
        NodeReport {
            id: Some(id(node)),
            primary,
            cluster_ok: self.covered(now),
            my_epoch: Some(self.epoch(node, now)),
            current_epoch: Some(self.highest(now)),
            slots_pfail: Some(0),
            slots_fail: Some(0),
            clients: Some(self.clients),
            offset: Some(now.as_nanos() / 1_000),
            link_up: (!primary).then_some(true),
            priority: Some(100),
            maxmemory_policy: Some("allkeys-lru".into()),
            version: Some("7.0.15".into()),
            ..NodeReport::default()
        }
    }

    fn info(&self, node: usize, now: Instant) -> ClusterInfo {
        ClusterInfo {
            ok: self.covered(now),
            slots_pfail: Some(0),
            slots_fail: Some(0),
            current_epoch: Some(self.highest(now)),
            my_epoch: Some(self.epoch(node, now)),
        }
    }

    /// Whether the nodes take the cluster for whole: with full coverage, as servers have it by default,
    /// they do not from the verdict on the lost primaries until their replicas are promoted.
    pub fn covered(&self, now: Instant) -> bool {
        self.election().is_none_or(|from| now < from || now >= from + ELECTION)
    }

    /// From when on the lost primaries count as failed, if any are lost.
    pub fn election(&self) -> Option<Instant> {
        matches!(self.fault, Fault::Lost { .. }).then(|| self.times.promoted - ELECTION)
    }

    fn highest(&self, now: Instant) -> u64 {
        let struck = self.fault != Fault::None && now >= self.times.promoted;
        self.primaries as u64 * if struck { 2 } else { 1 }
    }

    fn entry(&self, node: usize, epochs: bool, now: Instant) -> ViewNode {
        let shard = node % self.primaries;
        let role = self.role(node, now);
        let owns = role == Role::Primary;
        let lost = self.reaction(node, now) != Reaction::Answers;
        ViewNode {
            id: id(node),
            endpoint: Some(Self::endpoint(node)),
            role,
            slots: if owns { vec![(self.first_slot(shard), self.first_slot(shard + 1) - 1)] } else { Vec::new() },
            epoch: epochs.then(|| self.epoch(node, now)),
            failed: lost && now >= self.times.promoted - ELECTION,
            suspected: lost && now < self.times.promoted - ELECTION && now >= self.times.lost + NODE_TIMEOUT,
        }
    }

    fn role(&self, node: usize, now: Instant) -> Role<String> {
        let shard = node % self.primaries;
        let turned = self.strikes(shard) && now >= self.times.promoted;
        match (node < self.primaries, turned) {
            (true, false) | (false, true) => Role::Primary,
            (true, true) => Role::Replica(Some(id(node + self.primaries))),
            (false, false) => Role::Replica(Some(id(shard))),
        }
    }

    fn epoch(&self, node: usize, now: Instant) -> u64 {
        let shard = node % self.primaries;
        let turned = self.strikes(shard) && now >= self.times.promoted;
        (shard + 1) as u64 + if turned { self.primaries as u64 } else { 0 }
    }

    fn first_slot(&self, primary: usize) -> u16 {
        u16::try_from(primary * usize::from(Slot::COUNT) / self.primaries).unwrap_or(Slot::COUNT)
    }
}

fn id(node: usize) -> String {
    format!("{node:040x}")
}
