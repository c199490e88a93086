//! The load of those who listen, on one primary: the real policy in virtual time, times what a probe and a bell cost.
//!
//! What a fleet costs one primary does not depend on how many there are, so three stand for any number; what a router
//! sends and is told grows with them.

use crate::cost::{LISTENER_PROBE, TOLD};
use failsoft_policy::config::Config;
use failsoft_policy::hearing::{Answer, Command, Hearing, Listening};
use failsoft_policy::{Instant, NodeKey, Slot};
use std::collections::BTreeMap;
use std::time::Duration;

const PRIMARIES: u32 = 3;
/// How finely time is cut.
const TICK: Duration = Duration::from_millis(5);
/// Routers start in this time; from then on they are watched.
const STARTED: Duration = Duration::from_secs(40);
const WATCHED: Duration = Duration::from_secs(600);
/// The load is taken over so many seconds.
const WINDOW: u64 = 10;
/// How often a router reads from each primary, if it does, and how often it is told how many clients they have.
const READS: Duration = Duration::from_secs(1);
const TOLD_CLIENTS: Duration = Duration::from_secs(15);
/// Connections of a router to a primary beside the one on which it listens: for its questions and for its reads. Where
/// keys are invalidated, every router has one more, on which it does that.
const OTHERS: u64 = 2;

/// A fleet, and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Listeners {
    /// How many routers there are.
    pub routers: usize,
    /// How many of them are run.
    pub sample: usize,
    /// Whether they read.
    pub in_use: bool,
    /// Of the keys of each primary, how many are invalidated in a second.
    pub invalidations: u32,
}

/// What it puts on one primary. Processor time is the share of one core, 1 being all of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Probes in a second.
    pub probes: f64,
    /// Times in a second that a router is told of a bell.
    pub told: f64,
    /// The share of the routers that listen, over all the time.
    pub listen: f64,
    /// The share that knows to have heard everything.
    pub heard: f64,
    /// The mean over all the time.
    pub mean: f64,
    /// The worst ten seconds.
    pub worst: f64,
}

struct Router {
    hearing: Hearing,
    rng: fastrand::Rng,
    /// Its connections that are open.
    open: BTreeMap<NodeKey, u64>,
    starts: Instant,
    reads_at: Instant,
    clients: u64,
    told_at: Instant,
}

/// The load that a fleet of listeners puts on one primary.
pub fn load(fleet: Listeners) -> Load {
    let mut routers: Vec<_> = (0..fleet.sample as u64).map(Router::new).collect();
    let scale = fleet.routers as f64 / fleet.sample as f64 / f64::from(PRIMARIES);
    let (mut load, mut windows) = (Load::default(), BTreeMap::<u64, f64>::new());
    let (from, to) = (Instant::ZERO + STARTED, Instant::ZERO + STARTED + WATCHED);
    // Each invalidation is told in the key's own slot and in that of its echo.
    let bells = 2 * u64::from(fleet.invalidations);
    let others = OTHERS + u64::from(bells > 0);
    let (mut now, mut rung) = (Instant::ZERO, 0);
    while now < to {
        let open: usize = routers.iter().map(|r| r.open.len()).sum();
        let clients = fleet.routers as u64 * others + (open as f64 * scale) as u64;
        let due = now.as_nanos() / 1_000 * bells / 1_000_000;
        let (mut probes, mut told) = (0, 0);
        for router in routers.iter_mut().filter(|r| r.starts <= now) {
            router.look(clients, fleet.in_use, now);
            for _ in rung..due {
                told += router.open.len();
                router.hear(now);
            }
            probes += router.poll(now);
        }
        rung = due;
        if now >= from {
            let core = scale * (f64::from(probes) * LISTENER_PROBE + told as f64 * TOLD) / 1e6;
            (load.probes, load.told) = (load.probes + scale * f64::from(probes), load.told + scale * told as f64);
            load.mean += core;
            *windows.entry(now.since(from).as_secs() / WINDOW).or_default() += core / WINDOW as f64;
            if (now.as_nanos() / 1_000_000).is_multiple_of(1_000) {
                let all = (fleet.sample as u32 * PRIMARIES) as f64 * WATCHED.as_secs_f64();
                load.listen += open as f64 / all;
                load.heard += routers.iter().map(|r| r.heard(now)).sum::<usize>() as f64 / all;
            }
        }
        now = now + TICK;
    }
    let seconds = WATCHED.as_secs_f64();
    (load.probes, load.told, load.mean) = (load.probes / seconds, load.told / seconds, load.mean / seconds);
    load.worst = windows.values().copied().fold(0.0, f64::max);
    load
}

fn primaries() -> impl Iterator<Item = NodeKey> {
    (0..PRIMARIES).map(|index| NodeKey { index, generation: 0 })
}

impl Router {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let starts = Instant::from_millis(rng.u64(0..15_000));
        let (reads_at, told_at) = (starts, starts);
        Self {
            hearing: Hearing::new(&Config::default()),
            rng,
            open: BTreeMap::new(),
            starts,
            reads_at,
            clients: 0,
            told_at,
        }
    }

    /// What it does by itself, and is told at its routine probes.
    fn look(&mut self, clients: u64, in_use: bool, now: Instant) {
        if self.hearing.next_timeout().is_none() {
            let echo = |of: NodeKey| NodeKey { index: (of.index + 1) % PRIMARIES, ..of };
            let slot = |of: NodeKey| Slot::new(of.index as u16).expect("fewer primaries than slots");
            self.hearing.follow(primaries().map(|node| (node, slot(node), vec![echo(node)])).collect(), now);
        }
        if now >= self.told_at {
            (self.clients, self.told_at) = (clients, now + TOLD_CLIENTS);
        }
        if in_use && now >= self.reads_at {
            self.reads_at = now + READS;
            primaries().for_each(|node| self.hearing.handle_use(node, now, now));
        }
    }

    /// A bell is told by each primary that it listens to.
    fn hear(&mut self, now: Instant) {
        for node in self.open.keys() {
            self.hearing.handle_push(*node, self.clients, now, self.rng.u32(..));
        }
    }

    /// Does what the policy wants; gives how many probes that were.
    fn poll(&mut self, now: Instant) -> u32 {
        let mut probes = 0;
        while let Some(command) = self.hearing.poll(|_| true, self.clients, now, self.rng.u32(..)) {
            match command {
                Command::Open { node } => {
                    let line = self.rng.u64(..);
                    self.open.insert(node, line);
                    self.hearing.handle_opened(node, Ok(line), now, self.rng.u32(..));
                }
                Command::Probe { node, line, at, .. } => {
                    probes += 1;
                    self.hearing.handle_answer((node, line), at, &Answer::Owner, now, self.rng.u32(..));
                }
                Command::Close { node, line } => {
                    if self.open.get(&node) == Some(&line) {
                        self.open.remove(&node);
                    }
                }
            }
        }
        probes
    }

    fn heard(&self, now: Instant) -> usize {
        primaries().filter(|&node| self.hearing.listening(node, now) == Some(Listening::Heard)).count()
    }
}
