//! One router in virtual time: the policy asks, the world answers, and every question is noted.

use crate::cost::Question;
use crate::world::{ELECTION, Fault, Reaction, World};
use failsoft_policy::cluster::{Cluster, Command};
use failsoft_policy::config::Config;
use failsoft_policy::view::{Probe, View};
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason};
use std::collections::BTreeMap;
use std::time::Duration;

/// One way of the network.
const WAY: Duration = Duration::from_micros(250);
/// How often a router reads from each shard that is struck, and wants to write to it.
const READS: Duration = Duration::from_millis(50);
const WRITES: Duration = Duration::from_secs(10);

enum Ev {
    View { round: u64, left: usize, view: Option<View> },
    Probed(Box<Probe>),
    Read(usize),
    Write(usize),
}

/// One router of a fleet.
pub(crate) struct Router<'a> {
    world: &'a World,
    config: Config,
    cluster: Cluster,
    rng: fastrand::Rng,
    queue: BTreeMap<(Instant, u64), Ev>,
    number: u64,
    now: Instant,
    /// Views of one round that are still to come, by round.
    rounds: BTreeMap<u64, usize>,
    /// When the policy has something to ask, if nothing happens before.
    wake: Option<Instant>,
    note: &'a mut dyn FnMut(Instant, usize, Question),
}

impl<'a> Router<'a> {
    /// A router that starts somewhere in the first 15 seconds, as the routers of a fleet do.
    pub(crate) fn new(world: &'a World, seed: u64, note: &'a mut dyn FnMut(Instant, usize, Question)) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let config = Config::default();
        let now = Instant::from_millis(1 + rng.u64(0..15_000));
        let seeds = (0..3).map(|_| World::endpoint(rng.usize(0..world.nodes()))).collect();
        let cluster = Cluster::new(&config, seeds, now);
        let mut router = Self {
            world,
            config,
            cluster,
            rng,
            queue: BTreeMap::new(),
            number: 0,
            now,
            rounds: BTreeMap::new(),
            wake: Some(now),
            note,
        };
        for primary in world.struck() {
            let (read, write) = (router.some(READS), router.some(WRITES));
            router.at(world.times.lost + read, Ev::Read(primary));
            router.at(world.times.lost + write, Ev::Write(primary));
        }
        // What an election elsewhere means for writes to the other shards.
        for primary in (0..world.primaries).filter(|&p| world.fault == Fault::Elected && !world.strikes(p)) {
            let write = router.some(WRITES);
            router.at(world.times.lost + write, Ev::Write(primary));
        }
        // While no replica is promoted yet, it reads from every other shard, too.
        if let Some(from) = world.election() {
            for primary in (0..world.primaries).filter(|&p| !world.strikes(p)) {
                let read = router.some(ELECTION);
                router.at(from + read, Ev::Read(primary));
            }
        }
        router
    }

    /// Runs until `end`; gives the policy as it then is.
    pub(crate) fn run(mut self, end: Instant) -> Cluster {
        loop {
            let next = self.queue.first_key_value().map(|(&(at, _), _)| at);
            let Some(at) = next.into_iter().chain(self.wake).min().filter(|&at| at <= end) else { break };
            self.now = at;
            let event = if next == Some(at) { self.queue.pop_first() } else { None };
            if event.is_none_or(|(_, event)| self.happen(event)) {
                self.poll();
            }
        }
        self.cluster
    }

    fn some(&mut self, of: Duration) -> Duration {
        of * self.rng.u32(0..1000) / 1000
    }

    fn at(&mut self, at: Instant, event: Ev) {
        self.number += 1;
        self.queue.insert((at, self.number), event);
    }

    /// Whether the driver asks the policy what to do next after this.
    fn happen(&mut self, event: Ev) -> bool {
        match event {
            Ev::View { round, left, view } => {
                match view {
                    Some(view) => self.cluster.handle_view(round, view, self.now),
                    None => self.cluster.handle_no_view(None),
                }
                let waiting = self.rounds.entry(round).or_insert(left);
                *waiting -= 1;
                if *waiting == 0 {
                    self.rounds.remove(&round);
                    self.cluster.handle_refresh_done(round, self.now);
                }
            }
            Ev::Probed(probe) => self.cluster.handle_probe(*probe, self.now),
            Ev::Read(primary) => {
                if self.world.strikes(primary) {
                    self.at(self.now + READS, Ev::Read(primary));
                }
                self.read(primary);
                return self.cluster.has_errands() || self.cluster.is_dirty();
            }
            Ev::Write(primary) => {
                let again = self.now + WRITES;
                self.at(again, Ev::Write(primary));
                // What it does about a missing proof is what counts here.
                let _ = self.cluster.write_gate(self.world.slot(primary), self.now);
            }
        }
        true
    }

    /// A read of a struck shard: it goes to whom the router takes for the primary.
    fn read(&mut self, primary: usize) {
        let Some(owner) = self.cluster.open_primary(self.world.slot(primary)) else { return };
        let Some(node) = self.node(owner) else { return };
        match self.world.reaction(node, self.now) {
            Reaction::Answers if !self.world.covered(self.now) => {
                self.cluster.handle_failure(owner, Reason::ClusterDown, self.now, Some(self.now), self.now);
            }
            Reaction::Answers => self.cluster.handle_contact(owner, self.now),
            Reaction::Refuses => self.cluster.handle_failure(owner, Reason::Connection, self.now, None, self.now),
            Reaction::Silent => self.cluster.handle_failure(owner, Reason::Timeout, self.now, None, self.now),
        }
    }

    fn node(&self, key: NodeKey) -> Option<usize> {
        self.cluster.endpoint(key).map(World::node_at)
    }

    /// After everything that happens, as the driver does.
    fn poll(&mut self) {
        loop {
            let dice = self.rng.u32(..);
            let Some(command) = self.cluster.poll(self.now, dice) else { break };
            match command {
                Command::Close { .. } => {}
                Command::Refresh { round, targets, epochs } => self.refresh(round, &targets, epochs),
                Command::Probe { node, endpoint, witness } => self.probe(node, &endpoint, witness.as_ref()),
            }
        }
        if self.cluster.is_dirty() {
            let _ = self.cluster.snapshot();
        }
        self.wake = self.cluster.next_timeout().map(|at| at.max(self.now));
    }

    fn refresh(&mut self, round: u64, targets: &[Endpoint], epochs: bool) {
        for target in targets {
            let (view, pause) = self.view(World::node_at(target), self.now, epochs);
            self.at(self.now + pause, Ev::View { round, left: targets.len(), view });
        }
    }

    fn probe(&mut self, node: NodeKey, endpoint: &Endpoint, witness: Option<&Endpoint>) {
        let n = World::node_at(endpoint);
        let sent_at = self.now;
        let (report, mut pause) = match self.world.reaction(n, self.now) {
            Reaction::Answers => {
                (self.note)(self.now, n, Question::Probe);
                (Ok(self.world.report(n, self.now)), WAY * 2)
            }
            Reaction::Refuses => (Err(Reason::Connection), WAY * 2),
            Reaction::Silent => (Err(Reason::Timeout), self.config.attempt_timeout()),
        };
        let mut seen = None;
        if let (Some(witness), Ok(_)) = (witness, &report) {
            let (view, more) = self.view(World::node_at(witness), self.now + pause, true);
            seen = view;
            pause += more;
        }
        self.at(self.now + pause, Ev::Probed(Box::new(Probe { node, sent_at, report, witness: seen })));
    }

    /// The view of a node, if it answers, and how long that takes.
    fn view(&mut self, n: usize, asked_at: Instant, epochs: bool) -> (Option<View>, Duration) {
        match self.world.reaction(n, asked_at) {
            Reaction::Answers => {
                // The driver knows the nodes' preferred names already.
                (self.note)(asked_at, n, if epochs { Question::Ballot } else { Question::View });
                (Some(self.world.view(n, asked_at, epochs, asked_at)), WAY * 2)
            }
            Reaction::Refuses => (None, WAY * 2),
            Reaction::Silent => (None, self.config.attempt_timeout()),
        }
    }
}
