//! The driver in virtual time: carries out what the policy decides, as the real one does.

use crate::check::Check;
use crate::faults::{Faults, Turn};
use crate::model::{BLOCKS, Model, NODES, Said, Up, WIDTH, endpoint, index};
use failsoft_policy::action::Answer;
use failsoft_policy::cluster::{Cluster, Command};
use failsoft_policy::config::Config;
use failsoft_policy::flight::{Flights, LoadId};
use failsoft_policy::route::Snapshot;
use failsoft_policy::view::{NodeReport, Probe, View};
use failsoft_policy::{Endpoint, Instant, NodeKey, Slot};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

mod calls;
mod judge;

use calls::Call;

#[derive(Debug)]
enum Ev {
    Fault(Turn),
    Begin,
    Poll,
    /// A command reaches a node.
    Arrive {
        call: u64,
        attempt: u64,
    },
    /// Its answer comes back.
    Answer {
        call: u64,
        attempt: u64,
        said: Option<Said>,
        end: Answer,
    },
    Wake {
        call: u64,
        attempt: u64,
    },
    Replicate {
        to: usize,
        block: usize,
        version: u64,
    },
    /// Another client writes.
    Stranger,
    Loaded(LoadId),
    Asked {
        round: u64,
        target: Endpoint,
        asked_at: Instant,
        epochs: bool,
    },
    View {
        round: u64,
        view: View,
    },
    RoundEnd(u64),
    Probed {
        node: NodeKey,
        target: usize,
        witness: Option<Endpoint>,
        sent_at: Instant,
    },
    ProbeEnd(Box<Probe>),
}

pub(crate) struct Sim {
    now: Instant,
    queue: BTreeMap<(Instant, u64), Ev>,
    number: u64,
    rng: fastrand::Rng,
    config: Config,
    model: Model,
    faults: Faults,
    cluster: Cluster,
    snapshot: Snapshot,
    flights: Flights,
    calls: BTreeMap<u64, Call>,
    contact: [Option<Instant>; NODES],
    setting: [bool; BLOCKS],
    next_version: u64,
    pub(crate) check: Check,
    trace: DefaultHasher,
}

/// How long faults go on, and how long the healed cluster is watched after that.
const TROUBLE: Duration = Duration::from_secs(5);
const HEALING: Duration = Duration::from_secs(7);

impl Sim {
    pub(crate) fn new(seed: u64) -> Self {
        let now = Instant::from_millis(1);
        let config = Config::default();
        let seeds = (0..3).map(endpoint).collect();
        let mut cluster = Cluster::new(&config, seeds, now);
        let snapshot = cluster.snapshot();
        let mut sim = Self {
            now,
            queue: BTreeMap::new(),
            number: 0,
            rng: fastrand::Rng::with_seed(seed),
            config,
            model: Model::new(),
            faults: Faults { until: now + TROUBLE },
            cluster,
            snapshot,
            flights: Flights::default(),
            calls: BTreeMap::new(),
            contact: [None; NODES],
            setting: [false; BLOCKS],
            next_version: 1,
            check: Check::default(),
            trace: DefaultHasher::new(),
        };
        let first = Duration::from_millis(sim.rng.u64(0..1500));
        sim.after(first, Ev::Fault(Turn::Strike));
        sim.after(first, Ev::Stranger);
        if sim.rng.bool() {
            sim.model.begin_empty(|| sim.rng.bool());
        }
        sim.after(Duration::ZERO, Ev::Begin);
        sim
    }

    /// Runs to the end; gives the hash of all that happened.
    pub(crate) fn run(&mut self) -> u64 {
        let end = self.faults.until + HEALING;
        self.commands();
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > end {
                break;
            }
            self.now = at;
            (at, std::mem::discriminant(&event), self.rng.get_seed()).hash(&mut self.trace);
            self.happen(event);
            self.commands();
        }
        for block in 0..BLOCKS {
            let route = self.cluster.route(slot(block));
            let owner = self.cluster.endpoints().find(|(_, e)| **e == endpoint(self.model.truth.owners[block]));
            self.check.healed(block, route, owner.map(|(key, _)| key));
        }
        self.trace.finish()
    }

    fn after(&mut self, pause: Duration, event: Ev) {
        self.number += 1;
        self.queue.insert((self.now + pause, self.number), event);
    }

    fn latency(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(100..2000))
    }

    fn happen(&mut self, event: Ev) {
        match event {
            Ev::Fault(turn) => {
                let owners = self.model.truth.owners;
                for (pause, turn) in self.faults.turn(turn, &mut self.model, &mut self.rng, self.now) {
                    self.after(pause, Ev::Fault(turn));
                }
                let moving = matches!(turn, Turn::EndMigration);
                for b in (0..BLOCKS).filter(|&b| !moving && owners[b] != self.model.truth.owners[b]) {
                    // Asynchronous replication: what the heir does not have is lost.
                    self.check.lost(b, self.model.nodes[self.model.truth.owners[b]].data[b]);
                }
            }
            Ev::Begin => self.begin(),
            Ev::Poll => {}
            Ev::Arrive { call, attempt } => self.arrive(call, attempt),
            Ev::Answer { call, attempt, said, end } => self.answer(call, attempt, said, end),
            Ev::Wake { call, attempt } => {
                if self.calls.get(&call).is_some_and(|c| c.attempt == attempt && c.waiting) {
                    self.wake(call);
                }
            }
            Ev::Replicate { to, block, version } => {
                let value = &mut self.model.nodes[to].data[block];
                *value = version.max(*value);
            }
            Ev::Stranger => self.stranger(),
            Ev::Loaded(load) => {
                if let Some(done) = self.flights.complete(load) {
                    self.check.loaded(&done.keys);
                }
            }
            Ev::Asked { round, target, asked_at, epochs } => {
                let n = index(&target);
                if self.model.running(n) {
                    let view = self.model.view(n, asked_at, epochs, self.now);
                    let back = self.latency();
                    self.after(back, Ev::View { round, view });
                }
            }
            Ev::View { round, view } => self.cluster.on_view(round, view, self.now),
            Ev::RoundEnd(round) => self.cluster.on_refresh_done(round, self.now),
            Ev::Probed { node, target, witness, sent_at } => self.probed(node, target, witness, sent_at),
            Ev::ProbeEnd(probe) => {
                if let Some(n) = self.cluster.endpoint(probe.node).map(index) {
                    self.check.probed(&self.model, n, &probe, self.now);
                }
                self.cluster.on_probe(*probe, self.now);
            }
        }
    }

    fn probed(&mut self, node: NodeKey, target: usize, witness: Option<Endpoint>, sent_at: Instant) {
        let ends = |report: Option<NodeReport>, witness| {
            let report = report.ok_or_else(|| String::from("no answer"));
            Ev::ProbeEnd(Box::new(Probe { node, sent_at, report, witness }))
        };
        if !self.model.running(target) {
            let gives_up = Duration::from_millis(if self.model.reachable(target) { 250 } else { 1 });
            return self.after(gives_up, ends(None, None));
        }
        let report = Some(self.model.report(target, self.now));
        let back = self.latency();
        // The witness is asked once the report has come; a hung one is given up.
        match witness.map(|w| index(&w)) {
            Some(w) if self.model.running(w) => {
                let view = self.model.view(w, self.now + back, true, self.now);
                self.after(back * 3, ends(report, Some(view)));
            }
            Some(_) => self.after(Duration::from_millis(250), ends(report, None)),
            None => self.after(back, ends(report, None)),
        }
    }

    /// After every event: new routes wake who waits, and what is due is asked.
    fn commands(&mut self) {
        let mut rounds = 0;
        loop {
            let dice = self.rng.u32(..);
            let Some(command) = self.cluster.poll(self.now, dice) else { break };
            rounds += 1;
            self.check.that(rounds < 100, || format!("poll does not end: {command:?}"));
            self.command(command);
        }
        if self.cluster.is_dirty() {
            self.snapshot = self.cluster.snapshot();
            let waiting: Vec<u64> = self.calls.iter().filter(|(_, c)| c.waiting).map(|(&id, _)| id).collect();
            waiting.into_iter().for_each(|id| self.wake(id));
        }
        if let Some(next) = self.cluster.next_timeout().filter(|&at| at > self.now) {
            let known = self.queue.range((self.now, 0)..=(next, u64::MAX)).any(|(_, e)| matches!(e, Ev::Poll));
            if !known {
                self.after(next.since(self.now), Ev::Poll);
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Close { node } => {
                let lost: Vec<_> = self.calls.iter().filter(|(_, c)| c.target.is_some_and(|t| t.0 == node)).collect();
                let lost: Vec<(u64, u64)> = lost.into_iter().map(|(&id, c)| (id, c.attempt)).collect();
                for (call, attempt) in lost {
                    self.after(Duration::ZERO, Ev::Answer { call, attempt, said: None, end: Answer::Connection });
                }
            }
            Command::Refresh { round, targets, epochs } => {
                self.check.refresh(self.now, targets.len());
                let hung = targets.iter().any(|t| self.model.nodes[index(t)].up == Up::Hung);
                for target in targets {
                    let there = self.latency();
                    self.after(there, Ev::Asked { round, target, asked_at: self.now, epochs });
                }
                self.after(Duration::from_millis(if hung { 250 } else { 5 }), Ev::RoundEnd(round));
            }
            Command::Probe { node, endpoint, witness } => {
                let target = index(&endpoint);
                self.check.probe(target, witness.is_some(), self.now);
                let there = self.latency();
                self.after(there, Ev::Probed { node, target, witness, sent_at: self.now });
            }
        }
    }
}

fn slot(block: usize) -> Slot {
    Slot::new(block as u16 * WIDTH).expect("blocks are inside the slots")
}
