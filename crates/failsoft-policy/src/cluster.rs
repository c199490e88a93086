//! What a router knows of its cluster, and what follows from each new fact.
//!
//! The driver reports facts (a read failed, a view came, a probe ended) and asks [`Cluster::poll`]
//! what is to be asked next; the reads ask for routes. Nothing here waits or draws lots.

mod ballots;
mod facts;
mod report;
mod routes;
mod targets;
mod witness;

pub use report::{BallotStatus, ClusterReport, NodeStatus};
pub use routes::{Blocked, WriteGate};

use crate::breaker::Admission;
use crate::budget::Budget;
use crate::config::Config;
use crate::nodes::Nodes;
use crate::pace;
use crate::partition::Partition;
use crate::refresh::{Refresh, Scope};
use crate::time::Instant;
use crate::topology::{Kind, Topology};
use crate::view::View;
use crate::words::{Endpoint, NodeKey, Reason};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use witness::Witness;

/// In a large cluster the first probes are spread: this much apart.
const PROBE_SPREAD: Duration = Duration::from_millis(2);
/// Up to this many nodes, all are probed at once.
const PROBE_BURST: u32 = 32;
/// How often the replicas of a primary in trouble are probed: their rank may change.
const STAND_IN_PROBE: Duration = Duration::from_secs(1);

/// Something the driver has to do; the answer comes back as a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Close the connections to this node: one of them timed out, broke, or carried no RESP. What is
    /// in flight on them ends as [`crate::read::Answer::Connection`].
    Close {
        /// The node.
        node: NodeKey,
    },
    /// Ask these nodes for their views, all at once: [`Cluster::on_view`] for each that answers,
    /// then [`Cluster::on_refresh_done`].
    Refresh {
        /// The round's number.
        round: u64,
        /// Whom to ask.
        targets: Vec<Endpoint>,
        /// Whether with config epochs (`CLUSTER NODES`).
        epochs: bool,
    },
    /// Ask a node for its state, and if it answers and is ready ([`crate::view::NodeReport::unready`]),
    /// the witness for its view: [`Cluster::on_probe`].
    Probe {
        /// The node.
        node: NodeKey,
        /// Where it listens.
        endpoint: Endpoint,
        /// Which other node to ask for a view with epochs once this one has said that it is ready.
        witness: Option<Endpoint>,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Cluster {
    outage_budget: Duration,
    interval: Duration,
    seeds: Vec<Endpoint>,
    nodes: Nodes,
    topology: Topology,
    refresh: Refresh,
    budget: Budget,
    partition: Partition,
    /// Whether no majority is in reach: then nobody is asked.
    down: bool,
    /// Whether more than half of the slots' owners are out of our own reach.
    isolated: bool,
    /// Whether a verdict changed since the last round of ballots began.
    unsettled: bool,
    /// The highest epoch that any node outside a minority is known to have seen, and since when.
    highest: (u64, Instant),
    /// The most clients that any node was said to have when it was last probed.
    clients: u64,
    witness: Witness,
    /// Until when reads wait for the very first view.
    starting_until: Option<Instant>,
    /// Why the last node that was asked for a view gave none.
    no_view: Reason,
    /// A view of what seems to be another cluster, until the round that brought it ends.
    foreign: Option<View>,
    /// The slot part of the snapshot, while no owner changes, and the owners it names.
    slots: Option<(Arc<[u16]>, Vec<NodeKey>)>,
    /// Nodes whose connections are to be closed.
    closing: Vec<NodeKey>,
    dirty: bool,
}

impl Cluster {
    /// A router that knows its seeds and nothing else. Seeds beyond the first 64 are not asked.
    pub fn new(config: &Config, mut seeds: Vec<Endpoint>, now: Instant) -> Self {
        seeds.truncate(64);
        Self {
            outage_budget: config.outage_budget(),
            interval: config.slot_refresh_interval(),
            seeds,
            nodes: Nodes::default(),
            topology: Topology::default(),
            refresh: Refresh::new(config.slot_refresh_interval(), now),
            budget: Budget::default(),
            partition: Partition::default(),
            down: false,
            isolated: false,
            unsettled: false,
            highest: (0, now),
            clients: 0,
            witness: Witness::default(),
            starting_until: Some(now + config.attempt_timeout()),
            no_view: Reason::Connection,
            foreign: None,
            slots: None,
            closing: Vec::new(),
            dirty: true,
        }
    }

    /// What is to be asked now, one command a call, until none is left. `dice` is any number.
    pub fn poll(&mut self, now: Instant, dice: u32) -> Option<Command> {
        if let Some(node) = self.closing.pop() {
            return Some(Command::Close { node });
        }
        if self.starting_until.is_some_and(|until| until <= now) {
            self.starting_until = None;
            self.dirty = true;
        }
        for node in self.nodes.iter_mut() {
            if node.breaker.tick(now) {
                if node.breaker.admission() == Admission::All {
                    node.trouble = None;
                }
                self.dirty = true;
            }
        }
        let jitter = self.interval / 10 * (dice % 1000) / 1000;
        if let Some((round, scope)) = self.refresh.start(now, jitter) {
            let targets = self.targets(scope, dice);
            let epochs = scope > Scope::Routine;
            if epochs {
                self.unsettled = false;
                self.partition.open(round, targets.iter().filter_map(|e| self.nodes.at(e)).collect(), now);
            }
            return Some(Command::Refresh { round, targets, epochs });
        }
        let turn = pace::turn(self.clients, self.interval);
        let key = loop {
            let node = self.nodes.iter_mut().find(|n| n.probe_due().is_some_and(|at| at <= now))?;
            if !node.hold_back(turn, now, dice) {
                break node.key;
            }
        };
        let witness = self.call_witness(key, dice, now);
        let stands_in = self.stands_in(key);
        let routine = self.interval.max(pace::pause(self.clients));
        let node = self.nodes.get_mut(key)?;
        node.held_until = None;
        let pause = match node.latency {
            _ if stands_in => self.interval.min(STAND_IN_PROBE).max(turn),
            // Probes spread over the interval: each node's word tells of a cut, so the first sign of
            // one comes the earlier, the more nodes there are.
            None => routine - routine / 1000 * 9 / 10 * (dice % 1000),
            Some(_) => routine,
        };
        node.breaker.take_probe(now);
        node.probing = true;
        node.probe_at = now + pause + jitter;
        Some(Command::Probe { node: key, endpoint: node.endpoint.clone(), witness })
    }

    /// Whether something waits for [`Self::poll`] that a read or a write may have left there: a
    /// connection to close, or a wish for views.
    pub fn has_errands(&self) -> bool {
        !self.closing.is_empty() || self.refresh.is_wanted()
    }

    /// When [`Self::poll`] has something to do, if no fact comes before.
    pub fn next_timeout(&self) -> Option<Instant> {
        let nodes = self.nodes.iter().flat_map(|n| [n.probe_due(), n.breaker.next_timeout().filter(|_| n.admits())]);
        nodes.flatten().chain(self.refresh.due()).chain(self.starting_until).min()
    }

    /// Where a node listens, if it is still known.
    pub fn endpoint(&self, node: NodeKey) -> Option<&Endpoint> {
        self.nodes.get(node).map(|n| &n.endpoint)
    }

    /// A node's id, if it is still known and has one.
    pub fn id(&self, node: NodeKey) -> Option<&str> {
        self.nodes.get(node)?.id.as_deref()
    }

    /// All known nodes and where they listen.
    pub fn endpoints(&self) -> impl Iterator<Item = (NodeKey, &Endpoint)> {
        self.nodes.iter().map(|n| (n.key, &n.endpoint))
    }

    /// The same, with their node ids, as far as they are known.
    pub fn members(&self) -> impl Iterator<Item = (NodeKey, &Endpoint, Option<&str>)> {
        self.nodes.iter().map(|n| (n.key, &n.endpoint, n.id.as_deref()))
    }

    /// What kind of server answers.
    pub fn kind(&self) -> Kind {
        self.topology.kind()
    }

    /// A token for one retry on a source that was asked before.
    pub fn take_retry(&mut self) -> bool {
        self.budget.take()
    }

    /// What the further attempts of all reads and writes are paid from.
    pub(crate) fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }
}
