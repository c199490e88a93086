//! A model of a cluster: what each node believes, how beliefs spread, and how nodes fail over and split by themselves.
//!
//! After the cluster specification and the servers' `cluster.c` ("legacy" bus). Simplified: messages
//! between nodes arrive within the tick that sends them or not at all, and a tick talks to every node.
//! The key space is [`BLOCKS`] blocks of slots; each belongs to one node.

mod command;
mod data;
mod election;
mod gossip;
mod join;
mod ledger;
mod state;
mod truth;
mod words;

pub(crate) use command::{Ask, Said};
pub(crate) use join::STRANGERS;
pub(crate) use ledger::FOREIGN;
pub(crate) use words::{address, answer, endpoint, number_of, slot_number};

use crate::net::Net;

/// Nanoseconds since the beginning of a run.
pub(crate) type Time = u64;
pub(crate) const MS: Time = 1_000_000;

/// Blocks of slots.
pub(crate) const BLOCKS: usize = 8;
/// Keys: two in each block, `k % BLOCKS` being its block.
pub(crate) const KEYS: usize = 2 * BLOCKS;
/// The most nodes that ever lived in one run.
pub(crate) const MAX: usize = 24;
/// The most addresses.
pub(crate) const ADDRESSES: usize = 12;
/// No node.
pub(crate) const NOBODY: u8 = u8::MAX;
/// The value of a key of another type.
pub(crate) const OTHER_TYPE: u32 = u32::MAX;

/// A set of nodes or of blocks.
pub(crate) type Set = u32;

/// The members of a set in order.
pub(crate) fn members(set: Set) -> impl Iterator<Item = usize> {
    let mut left = set;
    std::iter::from_fn(move || {
        let next = (left != 0).then(|| left.trailing_zeros() as usize)?;
        left &= left - 1;
        Some(next)
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Up {
    Running,
    /// Stopped: the kernel takes what is sent to it, nobody answers.
    Hung,
    Down,
    /// Never to come back.
    Gone,
}

/// One node: its process, what it believes of the cluster, and what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) address: usize,
    /// Nodes of one group gossip; another group is another cluster.
    pub(crate) group: u8,
    pub(crate) up: Up,
    /// Counts how often its process began.
    pub(crate) life: u32,
    pub(crate) loading_until: Time,
    /// Until when a node that has just started, or left a minority, holds itself back as a primary.
    pub(crate) holding_back_until: Time,
    pub(crate) cluster_ok: bool,
    /// When it last saw most primaries out of reach.
    pub(crate) minority_at: Option<Time>,

    pub(crate) known: Set,
    pub(crate) current_epoch: u32,
    pub(crate) config_epoch: [u32; MAX],
    /// Whose replica each node is, or [`NOBODY`]'s.
    pub(crate) follows: [u8; MAX],
    pub(crate) owner: [u8; BLOCKS],
    /// Blocks whose owner, as it believes, does not claim them any more.
    unclaimed: Set,
    pub(crate) migrating: [u8; BLOCKS],
    pub(crate) importing: [u8; BLOCKS],
    /// When each node last answered a ping.
    pub(crate) heard: [Time; MAX],
    pub(crate) pfail: Set,
    pub(crate) fail: Set,
    fail_since: [Time; MAX],
    /// Whom each node last said to be failing.
    reports: [Set; MAX],
    last_vote: u32,
    /// When it last voted for a replica of each node.
    voted_at: [Time; MAX],
    election: Election,
    /// Counts the changes of what it says to others, and what was exchanged with each last.
    revision: u32,
    exchanged: [(u32, u32); MAX],

    pub(crate) data: [u32; KEYS],
    /// What stands beside each key.
    leases: [data::Lease; KEYS],
    holds: [data::Holds; KEYS],
    /// The config epochs of the marks beside the keys; 0 is none.
    marks: [u32; KEYS],
    log: Vec<data::Entry>,
    log_base: u32,
    history: u32,
    pub(crate) link: data::Link,
    /// Whether its link to its primary is kept down, whatever it tries.
    pub(crate) unlinked: bool,
}

/// A replica's attempt to take its failed primary's place.
#[derive(Clone, Copy, Debug, Default)]
struct Election {
    /// When the votes are asked for; 0 for none.
    at: Time,
    /// When another one may begin.
    again_at: Time,
}

/// How the servers are set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) node_timeout: Time,
    pub(crate) full_coverage: bool,
    pub(crate) reads_when_down: bool,
    /// Whether a replica without its primary answers with what it has.
    pub(crate) serve_stale: bool,
    /// How long a write takes to reach the replicas, at most.
    pub(crate) lag: Time,
    /// Whether redirects leave out the host: all nodes share one.
    pub(crate) short_redirects: bool,
    /// Whether a crashed node comes back with its data.
    pub(crate) persistent: bool,
    /// How many clients each node says to have, if it says so: a large fleet takes turns.
    pub(crate) clients: Option<u64>,
}

pub(crate) struct Model {
    pub(crate) setup: Setup,
    pub(crate) nodes: Vec<Node>,
    /// The node that lives at each address now.
    pub(crate) at: [u8; ADDRESSES],
    /// The group that is the routers' cluster.
    pub(crate) ours: u8,
    histories: u32,
    pub(crate) rng: fastrand::Rng,
    /// Counts what happened, for the trace and for judging.
    pub(crate) promotions: u32,
    ledger: ledger::Ledger,
}

impl Model {
    pub(crate) fn new(setup: Setup, rng: fastrand::Rng) -> Self {
        Self {
            setup,
            nodes: Vec::with_capacity(MAX),
            at: [NOBODY; ADDRESSES],
            ours: 0,
            histories: 0,
            rng,
            promotions: 0,
            ledger: ledger::Ledger::default(),
        }
    }

    /// Lays out a cluster of `primaries` with `replicas` each, at the first addresses. Each key has `value` and
    /// its number, so that no two have the same, or, if that is 0, none.
    pub(crate) fn lay_out(&mut self, group: u8, primaries: usize, replicas: usize, value: u32, now: Time) {
        let first = self.nodes.len();
        let count = primaries * (1 + replicas);
        for address in 0..count {
            self.add(address, group, now);
        }
        let all: Set = (((1u64 << count) - 1) << first) as Set;
        for n in first..first + count {
            self.histories += 1;
            let histories = self.histories;
            let node = &mut self.nodes[n];
            node.known = all;
            node.current_epoch = primaries as u32;
            node.history = histories;
            for k in 0..count {
                let primary = first + k % primaries;
                node.follows[first + k] = if k < primaries { NOBODY } else { primary as u8 };
                node.config_epoch[first + k] = 1 + (k % primaries) as u32;
            }
            for (block, owner) in node.owner.iter_mut().enumerate() {
                *owner = (first + block % primaries) as u8;
            }
            let serves = first + (n - first) % primaries;
            for key in 0..KEYS {
                node.data[key] =
                    if first + (key % BLOCKS) % primaries == serves && value != 0 { value + key as u32 } else { 0 };
            }
        }
        for n in first + primaries..first + count {
            self.attach(n, now);
        }
    }

    /// A new node at an address: it knows itself alone, and holds nothing.
    pub(crate) fn add(&mut self, address: usize, group: u8, now: Time) -> usize {
        let n = self.nodes.len();
        self.histories += 1;
        self.nodes.push(Node {
            address,
            group,
            up: Up::Running,
            life: 0,
            loading_until: 0,
            holding_back_until: 0,
            cluster_ok: true,
            minority_at: None,
            known: 1 << n,
            current_epoch: 0,
            config_epoch: [0; MAX],
            follows: [NOBODY; MAX],
            owner: [NOBODY; BLOCKS],
            unclaimed: 0,
            migrating: [NOBODY; BLOCKS],
            importing: [NOBODY; BLOCKS],
            heard: [now; MAX],
            pfail: 0,
            fail: 0,
            fail_since: [0; MAX],
            reports: [0; MAX],
            last_vote: 0,
            voted_at: [0; MAX],
            election: Election::default(),
            revision: 1,
            exchanged: [(0, 0); MAX],
            data: [0; KEYS],
            leases: [data::Lease::default(); KEYS],
            holds: [data::Holds::default(); KEYS],
            marks: [0; KEYS],
            log: Vec::new(),
            log_base: 0,
            history: self.histories,
            link: data::Link::default(),
            unlinked: false,
        });
        self.at[address] = n as u8;
        n
    }

    pub(crate) fn running(&self, n: usize) -> bool {
        self.nodes[n].up == Up::Running
    }

    /// The node at an address that takes connections, running or hung.
    pub(crate) fn listening(&self, address: usize) -> Option<usize> {
        let n = usize::from(*self.at.get(address)?);
        let node = self.nodes.get(n)?;
        matches!(node.up, Up::Running | Up::Hung).then_some(n)
    }

    /// Whether a message from one node reaches another one that is there to read it.
    fn reaches(&self, net: &Net, from: usize, to: usize) -> bool {
        self.running(to) && net.node_to_node(self.nodes[from].address, self.nodes[to].address)
    }

    /// The clock of one node: it talks to the others, judges them, and acts.
    pub(crate) fn tick(&mut self, net: &Net, n: usize, now: Time) {
        if !self.running(n) || now < self.nodes[n].loading_until {
            return;
        }
        self.gossip(net, n, now);
        self.judge(net, n, now);
        self.follow(net, n, now);
        self.stand(net, n, now);
        self.update_state(n, now);
    }
}

impl Node {
    /// Whether this node takes that one for a primary.
    pub(crate) fn is_primary(&self, n: usize) -> bool {
        self.follows[n] == NOBODY
    }

    /// The blocks that it believes a node to own.
    pub(crate) fn owned_by(&self, n: usize) -> Set {
        self.owner.iter().enumerate().filter(|(_, o)| usize::from(**o) == n).fold(0, |set, (b, _)| set | 1 << b)
    }

    /// The primaries with slots, as it believes.
    pub(crate) fn owners(&self) -> Set {
        self.owner.iter().filter(|o| **o != NOBODY).fold(0, |set, o| set | 1 << o)
    }

    /// Whether most primaries with slots are out of its reach.
    pub(crate) fn in_minority(&self) -> bool {
        let owners = self.owners();
        (owners & !(self.pfail | self.fail)).count_ones() < owners.count_ones() / 2 + 1
    }

    fn changed(&mut self) {
        self.revision += 1;
    }
}

/// Two different nodes at once.
fn two(nodes: &mut [Node], a: usize, b: usize) -> (&mut Node, &mut Node) {
    let (low, high) = nodes.split_at_mut(a.max(b));
    if a < b { (&mut low[a], &mut high[0]) } else { (&mut high[0], &mut low[b]) }
}
