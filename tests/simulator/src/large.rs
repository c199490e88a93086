//! One router over a cluster of a thousand primaries, of which some hang for a while: who is closed, and for how long.
//!
//! What the nodes tell each other is left out: whoever answers has the same view, in which nobody is missed. So all that
//! can go wrong is the router's own: whom it closes, when it asks, and how soon it opens again.

use crate::model::{MS, Time};
use crate::sim::instant;
use failsoft_policy::cluster::{Cluster, Command};
use failsoft_policy::config::{Config, Setting};
use failsoft_policy::partition::Verdict;
use failsoft_policy::route::{Bounds, Snapshot, Step, first_step};
use failsoft_policy::view::{ClusterInfo, NodeReport, Probe, Role, View, ViewNode};
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason, Slot};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// How long the faults last at the most, and when they are over.
const HEALS: Time = 4_000 * MS;
/// How long a node that answers again may get no reads: the look at it, the pauses of its breaker, and a view.
const RETURNS: Time = 3_000 * MS;
/// When the router may have little of the processor.
const SLOW: std::ops::Range<Time> = 400 * MS..3_400 * MS;
/// The pause between two reads.
const READS: Time = MS / 2;

/// What one node does.
#[derive(Clone, Debug, Default)]
struct Server {
    /// It does not answer then.
    hangs: Option<(Time, Time)>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Read,
    Conduct,
    /// The first request that a node left unanswered is overdue.
    Overdue(usize),
    View {
        round: u64,
        of: Option<usize>,
        asked: Time,
    },
    Report {
        of: usize,
        witness: Option<usize>,
        asked: Time,
    },
    Witnessed {
        of: usize,
        witness: Option<usize>,
        asked: Time,
        witness_asked: Time,
    },
}

/// See the module.
struct Large {
    now: Time,
    number: u64,
    queue: BinaryHeap<Reverse<(Time, u64, Event)>>,
    rng: fastrand::Rng,
    config: Config,
    cluster: Cluster,
    snapshot: Snapshot,
    servers: Vec<Server>,
    replicas: bool,
    waiting: BTreeMap<usize, Time>,
    left: (u64, usize),
    closed: BTreeMap<usize, Time>,
    conduct_at: Time,
    /// When the router's process does not run: in turns with when it does, while it has little of the processor.
    stops: Vec<(Time, Time)>,
    events: u64,
}

/// Runs a seed; what went wrong, if anything did.
pub(crate) fn run(seed: u64) -> (u64, Option<String>) {
    let mut large = Large::new(seed);
    let problem = large.go();
    (large.events, problem)
}

impl Large {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x1000);
        let mut config = Config::default();
        let interval = f64::from(rng.u32(2_000..15_000));
        config.set("slot_refresh_interval", Setting::Millis(interval)).expect("it is within its range");
        let (primaries, replicas) = (1_000, rng.bool());
        let mut servers = vec![Server::default(); if replicas { 2 * primaries } else { primaries }];
        // One slow answer, a few nodes, or a third of them.
        let many = [1, 5, 30, 300][rng.usize(0..4)];
        for _ in 0..many {
            let from = 500 * MS + rng.u64(0..1_000) * MS;
            let lasts = if rng.bool() { 260 * MS } else { rng.u64(300..2_500) * MS };
            servers[rng.usize(0..primaries)].hangs = Some((from, from + lasts));
        }
        let mut stops = Vec::new();
        if rng.bool() {
            let (run, stop) = (rng.u64(1..60) * MS, rng.u64(30..450) * MS);
            let turns = (SLOW.end - SLOW.start) / (run + stop);
            let begins = |turn| SLOW.start + turn * (run + stop);
            stops = (0..turns).map(|turn| (begins(turn), begins(turn) + stop)).collect();
        }
        let mut cluster = Cluster::new(&config, (0..3).map(endpoint).collect(), Instant::ZERO);
        let snapshot = cluster.snapshot();
        let mut large = Self {
            now: MS,
            number: 0,
            queue: BinaryHeap::new(),
            rng,
            config,
            cluster,
            snapshot,
            servers,
            replicas,
            waiting: BTreeMap::new(),
            left: (0, 0),
            closed: BTreeMap::new(),
            conduct_at: MS,
            stops,
            events: 0,
        };
        large.at(MS, Event::Conduct);
        large.at(300 * MS, Event::Read);
        large
    }

    fn at(&mut self, at: Time, event: Event) {
        self.number += 1;
        self.queue.push(Reverse((at, self.number, event)));
    }

    fn go(&mut self) -> Option<String> {
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            if let Some((_, resumes)) = self.stops.iter().copied().find(|&(from, until)| from <= at && at < until) {
                // Whoever wakes reads what has come before it looks at the clock.
                let timer = matches!(event, Event::Read | Event::Conduct | Event::Overdue(_));
                if event == Event::Conduct {
                    self.conduct_at = resumes + 1;
                }
                self.at(resumes + Time::from(timer), event);
                continue;
            }
            self.now = at;
            self.events += 1;
            match event {
                Event::Read => self.read(),
                Event::Conduct if self.conduct_at == self.now => self.conduct(),
                Event::Conduct => {}
                Event::Overdue(n) => self.overdue(n),
                Event::View { round, of, asked } => self.view_came(round, of, asked),
                Event::Report { of, witness, asked } => self.report_came(of, witness, asked),
                Event::Witnessed { of, witness, asked, witness_asked } => {
                    let witness = witness.map(|w| self.view(w, witness_asked, true));
                    self.probed(of, asked, true, witness);
                }
            }
            if let Some(problem) = self.check() {
                return Some(problem);
            }
            if self.now > HEALS + RETURNS {
                let left = self.closed.len();
                return (left > 0)
                    .then(|| format!("all is well, but {left} of {} nodes get no reads", self.servers.len()));
            }
        }
        Some("nothing is left to do".into())
    }

    fn answers(&self, n: usize) -> bool {
        self.servers[n].hangs.is_none_or(|(from, until)| self.now < from || self.now >= until)
    }

    /// A read of any slot; a node that does not answer is found out after `attempt_timeout`.
    fn read(&mut self) {
        self.at(self.now + READS, Event::Read);
        let now = instant(self.now);
        let bounds = Bounds::new(&self.config, now);
        let slot = Slot::new(self.rng.u16(0..Slot::COUNT)).expect("it is a slot");
        let dice = self.rng.u32(..);
        let Step::Send { node, .. } = first_step(&self.snapshot, slot, now, bounds, dice) else { return };
        let Some(n) = self.cluster.endpoint(node).map(number) else { return };
        if self.answers(n) {
            self.cluster.handle_contact(node, now);
        } else if !self.waiting.contains_key(&n) {
            let overdue = self.now + self.config.attempt_timeout().as_nanos() as Time;
            self.waiting.insert(n, self.now);
            self.at(overdue, Event::Overdue(n));
        }
    }

    fn overdue(&mut self, n: usize) {
        let sent = self.waiting.remove(&n).unwrap_or(self.now);
        if let Some(key) = self.key(n) {
            self.cluster.handle_failure(key, Reason::Timeout, instant(sent), None, instant(self.now));
            self.conduct();
        }
    }

    fn key(&self, n: usize) -> Option<NodeKey> {
        let at = endpoint(n);
        self.cluster.endpoints().find(|(_, e)| **e == at).map(|(key, _)| key)
    }

    fn conduct(&mut self) {
        let limit = self.config.attempt_timeout().as_nanos() as Time;
        loop {
            let dice = self.rng.u32(..);
            let Some(command) = self.cluster.poll(instant(self.now), dice) else { break };
            let pause = self.rng.u64(MS / 5..MS);
            match command {
                Command::Close { .. } => {}
                Command::Refresh { round, targets, .. } => {
                    self.left = (round, targets.len());
                    for target in targets {
                        let n = number(&target);
                        let of = self.answers(n).then_some(n);
                        let pause = if of.is_some() { pause } else { limit };
                        self.at(self.now + pause, Event::View { round, of, asked: self.now });
                    }
                }
                Command::Probe { endpoint, witness, .. } => {
                    let (of, witness) = (number(&endpoint), witness.as_ref().map(number));
                    let pause = if self.answers(of) { pause } else { limit };
                    self.at(self.now + pause, Event::Report { of, witness, asked: self.now });
                }
            }
        }
        if self.cluster.is_dirty() {
            self.snapshot = self.cluster.snapshot();
        }
        let next = self.cluster.next_timeout().map_or(Time::MAX, Instant::as_nanos);
        let next = next.clamp(self.now + MS / 10, self.now + 1_000 * MS);
        if self.conduct_at <= self.now || next < self.conduct_at {
            self.conduct_at = next;
            self.at(next, Event::Conduct);
        }
    }

    fn view_came(&mut self, round: u64, of: Option<usize>, asked: Time) {
        let now = instant(self.now);
        match of {
            Some(n) => {
                let view = self.view(n, asked, true);
                self.cluster.handle_view(round, view, now);
            }
            None => self.cluster.handle_no_view(None),
        }
        if self.left.0 == round {
            self.left.1 = self.left.1.saturating_sub(1);
            if self.left.1 == 0 {
                self.cluster.handle_refresh_done(round, now);
            }
        }
        self.conduct();
    }

    fn report_came(&mut self, of: usize, witness: Option<usize>, asked: Time) {
        // What was asked while it hung is answered by nobody.
        let heard = self.servers[of].hangs.is_none_or(|(from, until)| asked < from || asked >= until);
        let Some(witness) = witness.filter(|_| heard) else { return self.probed(of, asked, heard, None) };
        let pause = self.rng.u64(MS / 5..MS);
        let there = self.answers(witness).then_some(witness);
        let event = Event::Witnessed { of, witness: there, asked, witness_asked: self.now };
        self.at(self.now + pause, event);
    }

    fn probed(&mut self, of: usize, asked: Time, heard: bool, witness: Option<View>) {
        let Some(node) = self.key(of) else { return };
        let report = NodeReport {
            id: Some(id(of)),
            primary: of < 1_000,
            cluster_ok: true,
            my_epoch: Some(1 + of as u64 % 1_000),
            current_epoch: Some(1_000),
            offset: Some(1),
            link_up: (of >= 1_000).then_some(true),
            ..NodeReport::default()
        };
        let report = if heard { Ok(report) } else { Err(Reason::Timeout) };
        self.cluster.handle_probe(Probe { node, sent_at: instant(asked), report, witness }, instant(self.now));
        self.conduct();
    }

    /// What every node says of the cluster.
    fn view(&self, by: usize, asked: Time, epochs: bool) -> View {
        let primary = |n: usize| {
            let (first, last) = (n * 16_384 / 1_000, (n + 1) * 16_384 / 1_000 - 1);
            (Role::Primary, vec![(first as u16, last as u16)])
        };
        let node = |n: usize| {
            let (role, slots) = if n < 1_000 { primary(n) } else { (Role::Replica(Some(id(n - 1_000))), Vec::new()) };
            let epoch = epochs.then_some(1 + n as u64 % 1_000);
            ViewNode { id: id(n), endpoint: Some(endpoint(n)), role, slots, epoch, failed: false, suspected: false }
        };
        let count = if self.replicas { 2_000 } else { 1_000 };
        let info = ClusterInfo {
            ok: true,
            current_epoch: Some(1_000),
            my_epoch: Some(1 + by as u64 % 1_000),
            ..ClusterInfo::default()
        };
        View {
            by: Some(id(by)),
            via: endpoint(by),
            asked_at: instant(asked),
            nodes: Some((0..count).map(node).collect()),
            info: epochs.then_some(info),
        }
    }

    /// Nobody is closed who has always answered, and nobody for long who answers again.
    fn check(&mut self) -> Option<String> {
        if !self.events.is_multiple_of(64) {
            return None;
        }
        let all: Vec<(NodeKey, usize)> = self.cluster.endpoints().map(|(key, e)| (key, number(e))).collect();
        for (key, n) in all {
            if self.cluster.admits(key) {
                self.closed.remove(&n);
                continue;
            }
            let since = *self.closed.entry(n).or_insert(self.now);
            let Some((_, until)) = self.servers[n].hangs else {
                return Some(format!("node {n} has always answered, but gets no reads"));
            };
            // A router without the processor opens nobody.
            let awake = self.stops.last().map_or(0, |&(_, until)| until);
            let well = since.max(until).max(awake);
            if self.now > well + RETURNS {
                return Some(format!("node {n} gets no reads, {} ms after it answers again", (self.now - well) / MS));
            }
            if self.cluster.verdict(key) == Some(Verdict::Minority) {
                return Some(format!("node {n} is held to be in a minority, though nobody misses it"));
            }
        }
        None
    }
}

fn id(n: usize) -> String {
    format!("{n:04}")
}

fn endpoint(n: usize) -> Endpoint {
    Endpoint { host: "h".into(), port: 7_000 + n as u16 }
}

fn number(endpoint: &Endpoint) -> usize {
    usize::from(endpoint.port - 7_000)
}
