//! The load of a fleet: a few routers are run, and their mean stands for all.

use crate::cost::{Question, cost};
use crate::router::Router;
use crate::world::{Fault, World};
use failsoft_policy::Instant;
use failsoft_policy::cluster::Cluster;
use std::collections::BTreeMap;
use std::time::Duration;

/// From when on all routers know all nodes; from when on they probe at their steady pace, and for how long that is
/// watched.
const STARTED: Duration = Duration::from_secs(40);
const SETTLED: Duration = Duration::from_secs(150);
const CALM: Duration = Duration::from_secs(120);
/// How long after the lost nodes are back the routers are watched.
const HEALING: Duration = Duration::from_secs(20);
/// The load of one server, of which a sample of routers tells little, is taken over so many seconds.
const WINDOW: u64 = 10;

/// What servers have to do for a fleet. Processor time is the share of one core, 1 being all of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Probes of one server in a second.
    pub probes: f64,
    /// Views that one server gives in a second.
    pub views: f64,
    /// Reply bytes of one server in a second.
    pub bytes: f64,
    /// The mean over all servers and all the time.
    pub mean: f64,
    /// The worst second of the mean over all servers.
    pub worst: f64,
    /// The same over the worst ten seconds, for the server of the struck shards that has it worst: every
    /// router looks at those.
    pub hottest: f64,
}

/// How many routers are run, and how many there are.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// How many routers there are.
    pub routers: usize,
    /// How many of them are run.
    pub sample: usize,
}

/// The load that a fleet puts on the servers of `primaries` shards while `fault` happens.
pub fn load(fleet: Fleet, primaries: usize, fault: Fault) -> Load {
    // Each router has a connection for its questions, and one for its reads.
    let start = Instant::ZERO + if fault == Fault::None { SETTLED } else { STARTED };
    let world = World::new(primaries, fault, 2 * fleet.routers as u64, start);
    let from = world.times.lost;
    let to = if fault == Fault::None { from + CALM } else { world.times.back + HEALING };
    let mut asked: BTreeMap<(u64, usize, Question), u64> = BTreeMap::new();
    for seed in 0..fleet.sample as u64 {
        let mut note = |at: Instant, node: usize, question: Question| {
            if at >= from && at < to {
                *asked.entry((at.since(from).as_secs(), node, question)).or_default() += 1;
            }
        };
        let _ = Router::new(&world, seed, &mut note).run(to);
    }
    sum(&asked, fleet, &world, to.since(from).as_secs_f64())
}

/// One settled router of a calm cluster, for measuring what it holds and what its reads cost.
pub fn settled(primaries: usize) -> Cluster {
    let world = World::new(primaries, Fault::None, 2, Instant::ZERO + SETTLED);
    Router::new(&world, 1, &mut |_, _, _| {}).run(world.times.lost)
}

fn sum(asked: &BTreeMap<(u64, usize, Question), u64>, fleet: Fleet, world: &World, seconds: f64) -> Load {
    let nodes = world.nodes() as f64;
    let scale = fleet.routers as f64 / fleet.sample as f64;
    let mut load = Load::default();
    let mut by_second: BTreeMap<u64, f64> = BTreeMap::new();
    let mut by_node: BTreeMap<(u64, usize), f64> = BTreeMap::new();
    for (&(second, node, question), &times) in asked {
        let times = times as f64 * scale;
        let one = cost(question, world.nodes());
        let core = times * one.micros / 1e6;
        let rate = times / seconds / nodes;
        match question {
            Question::Probe => load.probes += rate,
            Question::Ballot | Question::View => load.views += rate,
        }
        load.bytes += rate * one.bytes;
        load.mean += core / seconds / nodes;
        *by_second.entry(second).or_default() += core / nodes;
        if world.strikes(node % world.primaries) {
            *by_node.entry((second / WINDOW, node)).or_default() += core / WINDOW as f64;
        }
    }
    load.worst = by_second.values().copied().fold(0.0, f64::max);
    load.hottest = by_node.values().copied().fold(0.0, f64::max);
    load
}
