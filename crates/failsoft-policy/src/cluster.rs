//! What a router knows of its cluster, as a machine without I/O: facts go in, routes and questions come out. The time
//! and random numbers are arguments. Modelled on the way quinn documents its connection:
//!
//! | | |
//! |---|---|
//! | facts | [`handle_view`](Cluster::handle_view), [`handle_no_view`](Cluster::handle_no_view), [`handle_refresh_done`](Cluster::handle_refresh_done), [`handle_probe`](Cluster::handle_probe), [`handle_failure`](Cluster::handle_failure), [`handle_stranger`](Cluster::handle_stranger), [`handle_contact`](Cluster::handle_contact), [`handle_moved`](Cluster::handle_moved), [`handle_ask`](Cluster::handle_ask), [`handle_disproof`](Cluster::handle_disproof), [`handle_doubt`](Cluster::handle_doubt), [`handle_successes`](Cluster::handle_successes) |
//! | actions | [`poll`](Cluster::poll): which node to ask for a view or a probe, what to close; [`next_timeout`](Cluster::next_timeout), [`has_errands`](Cluster::has_errands): when |
//! | routes | [`snapshot`](Cluster::snapshot) when [`is_dirty`](Cluster::is_dirty), [`route`](Cluster::route), [`replica`](Cluster::replica), [`write_gate`](Cluster::write_gate), [`gate_of`](Cluster::gate_of), [`take_retry`](Cluster::take_retry) |
//! | getters | [`report`](Cluster::report), [`kind`](Cluster::kind), [`members`](Cluster::members), [`verdict`](Cluster::verdict), [`dated`](Cluster::dated), … |
//!
//! The order: report the facts; then call [`poll`](Cluster::poll) until it gives nothing more; then, if
//! [`is_dirty`](Cluster::is_dirty), put a new [`snapshot`](Cluster::snapshot) in force; then sleep until
//! [`next_timeout`](Cluster::next_timeout) or the next fact. A [`Command::Refresh`] is answered by views and one
//! [`handle_refresh_done`](Cluster::handle_refresh_done), a [`Command::Probe`] by one
//! [`handle_probe`](Cluster::handle_probe), whatever came of it: until then no second one is asked for.
//!
//! A fact costs what it changes: nodes that are due, replicas by primary and nodes in trouble are kept as lists
//! ([`crate::nodes`]), and routes in which replicas have only become younger wait for 50 ms for more of that kind.

mod ballots;
mod census;
mod copies;
mod facts;
mod hearing;
mod invalidations;
mod near;
mod probes;
mod report;
mod routes;
mod targets;
mod timers;
mod witness;

pub use near::Trust;
pub use report::{BallotStatus, ClusterReport, NodeStatus};
pub use routes::{Blocked, WriteGate};

use crate::budget::Budget;
use crate::config::Config;
use crate::hearing::Hearing;
use crate::invalidations::Invalidations;
use crate::nodes::{Node, Nodes, Step};
use crate::pace;
use crate::partition::Partition;
use crate::refresh::{Refresh, Scope};
use crate::replication::Behind;
use crate::time::Instant;
use crate::topology::{Kind, Topology};
use crate::view::Role;
use crate::words::{Endpoint, NodeKey, Reason};
use alloc::sync::Arc;
use alloc::vec::Vec;
use census::Census;
use core::time::Duration;
use timers::{Timer, Timers};
use witness::Witness;

/// In a large cluster the first probes are spread: this much apart.
const PROBE_SPREAD: Duration = Duration::from_millis(2);
/// Up to this many nodes, all are probed at once.
const PROBE_BURST: u32 = 32;
/// How long routes wait in which nothing has changed but that replicas are younger.
const AGES_PAUSE: Duration = Duration::from_millis(50);
/// How many questions, each of which may need a new connection, a probe and its witness are asked in turn at the most.
const QUESTIONS: u32 = 12;
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
    /// Ask these nodes for their views, all at once: [`Cluster::handle_view`] for each that answers,
    /// then [`Cluster::handle_refresh_done`].
    Refresh {
        /// The round's number.
        round: u64,
        /// Whom to ask.
        targets: Vec<Endpoint>,
        /// Whether with config epochs (`CLUSTER NODES`).
        epochs: bool,
    },
    /// Ask a node for its state, and if it answers and is ready ([`crate::view::NodeReport::unready`]),
    /// the witness for its view: [`Cluster::handle_probe`].
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
    staleness_budget: Duration,
    outage_budget: Duration,
    attempt_timeout: Duration,
    interval: Duration,
    /// No round and no probe takes longer: after that its end will not be reported any more.
    limit: Duration,
    seeds: Vec<Endpoint>,
    nodes: Nodes,
    topology: Topology,
    refresh: Refresh,
    budget: Budget,
    partition: Partition,
    /// Whether no majority is in reach: then no node is asked.
    down: bool,
    /// Whether more than half of the slots' owners are out of our own reach.
    isolated: bool,
    /// Whether a verdict changed since the last round of ballots began.
    unsettled: bool,
    /// When this cluster was taken up in place of another one.
    taken_up_at: Instant,
    /// When owners, nodes or roles last changed.
    map_changed_at: Instant,
    /// The highest epoch that any node outside a minority is known to have seen, and since when.
    highest: (u64, Instant),
    /// The most clients that any node was said to have when it was last probed.
    clients: u64,
    witness: Witness,
    timers: Timers,
    /// Why the last node that was asked for a view gave none.
    no_view: Reason,
    census: Census,
    /// How many rounds in turn brought views, but none with epochs.
    blind_rounds: u32,
    /// The slot part of the snapshot, while no owner changes, and the owners it names.
    slots: Option<(Arc<[u16]>, Vec<NodeKey>)>,
    /// Nodes whose connections are to be closed.
    closing: Vec<NodeKey>,
    dirty: bool,
    invalidations: Invalidations,
    hearing: Hearing,
    /// The same for the keys of a near cache, if there is one.
    keys: Option<Hearing>,
    /// The same for evictions, with `eviction_events`.
    events: Option<Hearing>,
    /// The slot part of the snapshot by which nodes are listened to.
    followed: Option<Arc<[u16]>>,
    behind: Behind,
}

impl Cluster {
    /// A router that knows its seeds and nothing else. Seeds beyond the first 64 are not asked.
    pub fn new(config: &Config, mut seeds: Vec<Endpoint>, now: Instant) -> Self {
        seeds.truncate(64);
        let mut timers = Timers::default();
        timers.start(Timer::Starting, now + config.attempt_timeout());
        Self {
            staleness_budget: config.staleness_budget(),
            // Beyond that nobody knows any more what a replica may lack.
            outage_budget: config.outage_budget().min(config.invalidation_ttl()),
            attempt_timeout: config.attempt_timeout(),
            interval: config.slot_refresh_interval(),
            limit: (config.connect_timeout() + config.attempt_timeout() * 2) * QUESTIONS,
            seeds,
            nodes: Nodes::default(),
            topology: Topology::default(),
            refresh: Refresh::new(config.slot_refresh_interval(), now),
            budget: Budget::default(),
            partition: Partition::default(),
            down: false,
            isolated: false,
            unsettled: false,
            taken_up_at: Instant::ZERO,
            map_changed_at: now,
            highest: (0, now),
            clients: 0,
            witness: Witness::default(),
            timers,
            no_view: Reason::Connection,
            census: Census::default(),
            blind_rounds: 0,
            slots: None,
            closing: Vec::new(),
            dirty: true,
            invalidations: Invalidations::new(config.invalidation_ttl()),
            hearing: Hearing::new(config),
            keys: (config.near_cache_bytes() > 0).then(|| Hearing::new(config)),
            events: config.eviction_events().then(|| Hearing::new(config)),
            followed: None,
            behind: Behind::new(config.invalidation_ttl()),
        }
    }

    /// What is to be asked now, one command a call, until none is left. `dice` is any number.
    pub fn poll(&mut self, now: Instant, dice: u32) -> Option<Command> {
        if let Some(node) = self.closing.pop() {
            return Some(Command::Close { node });
        }
        while let Some(timer) = self.timers.expire(now) {
            match timer {
                Timer::Starting | Timer::Ages => self.dirty = true,
                Timer::Election => self.elect(now),
            }
        }
        let jitter = self.interval / 10 * (dice % 1000) / 1000;
        if let Some((round, scope)) = self.refresh.start(now, jitter, self.limit) {
            let targets = self.targets(scope, dice);
            let epochs = scope > Scope::Routine;
            self.census.open(&targets, &self.seeds);
            if epochs {
                self.unsettled = false;
                let asked = targets.iter().filter_map(|e| self.nodes.at(e)).collect();
                self.partition.open(round, asked, &self.nodes, now);
            }
            return Some(Command::Refresh { round, targets, epochs });
        }
        let turn = pace::turn(self.clients, self.interval);
        let key = loop {
            let key = self.nodes.first_due(now)?;
            let node = self.nodes.get_mut(key)?;
            if node.step_on(now) {
                self.dirty = true;
            } else if !node.hold_back(turn, now, dice) {
                break key;
            }
        };
        let witness = self.call_witness(key, dice, now);
        let pause = self.pause_of(key, turn, dice) + jitter;
        let node = self.nodes.get_mut(key)?;
        node.start_probe(now, pause, self.limit);
        Some(Command::Probe { node: key, endpoint: node.endpoint().clone(), witness })
    }

    /// How long after this probe of a node the next one is due, if nothing happens before.
    fn pause_of(&self, key: NodeKey, turn: Duration, dice: u32) -> Duration {
        let routine = self.interval.max(pace::pause(self.clients));
        if self.stands_in(key) {
            return self.interval.min(STAND_IN_PROBE).max(turn);
        }
        match self.nodes.get(key) {
            // Its primary's next report calls for it: compared right after that, it is dated best.
            Some(node) if self.is_dated_by_primary(node) => routine + routine / 4,
            Some(node) if node.latency().is_some() => routine,
            // Probes spread over the interval: each node's word tells of a cut, so the first sign of
            // one comes the earlier, the more nodes there are.
            _ => routine - routine / 1000 * 9 / 10 * (dice % 1000),
        }
    }

    fn is_dated_by_primary(&self, node: &Node) -> bool {
        let Role::Replica(Some(of)) = node.role() else { return false };
        let primary = self.nodes.get(of).filter(|p| p.admits() && p.has_offsets());
        primary.is_some() && node.step() != Step::Unmeasured
    }

    /// The ages of stand-ins have changed for the better: the next table of routes can wait a moment for more.
    fn rejuvenate(&mut self, now: Instant) {
        self.timers.start(Timer::Ages, now + AGES_PAUSE);
    }

    /// Whether something waits for [`Self::poll`] that a read or a write may have left there: a
    /// connection to close, or a wish for views.
    pub fn has_errands(&self) -> bool {
        !self.closing.is_empty() || self.refresh.is_wanted()
    }

    /// When [`Self::poll`] has something to do, if no fact comes before.
    pub fn next_timeout(&self) -> Option<Instant> {
        let timers = [self.nodes.next_due(), Some(self.refresh.due()), self.timers.next()];
        timers.into_iter().flatten().min()
    }

    /// Where a node listens, if it is still known.
    pub fn endpoint(&self, node: NodeKey) -> Option<&Endpoint> {
        self.nodes.get(node).map(|n| n.endpoint())
    }

    /// A node's id, if it is still known and has one.
    pub fn id(&self, node: NodeKey) -> Option<&str> {
        self.nodes.get(node)?.id()
    }

    /// All known nodes and where they listen.
    pub fn endpoints(&self) -> impl Iterator<Item = (NodeKey, &Endpoint)> {
        self.nodes.iter().map(|n| (n.key(), n.endpoint()))
    }

    /// The same, with their node ids, as far as they are known.
    pub fn members(&self) -> impl Iterator<Item = (NodeKey, &Endpoint, Option<&str>)> {
        self.nodes.iter().map(|n| (n.key(), n.endpoint(), n.id()))
    }

    /// Whether a view has come. That of a server without cluster mode is empty: its role is in its first report.
    pub fn is_known(&self) -> bool {
        match self.topology.kind() {
            Kind::Unknown => false,
            Kind::Cluster => true,
            Kind::Standalone => self.nodes.iter().any(|n| n.looked_at().is_some() || n.is_in_trouble()),
        }
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
