//! What holds of partitions for any order of ballots: failovers are none, few voices decide nothing, cut-off
//! nodes get nothing and come back, and asking costs what it may.

use failsoft_policy::cluster::{Cluster, Command, WriteGate};
use failsoft_policy::config::Config;
use failsoft_policy::partition::Verdict;
use failsoft_policy::route::Route;
use failsoft_policy::view::{ClusterInfo, NodeReport, Probe, Role, View, ViewNode};
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason, Slot};
use proptest::prelude::*;
use std::time::Duration;

/// Three primaries and their replicas; node 0 is the one that is lost, node 3 its heir.
const NODES: usize = 6;
const VICTIM: usize = 0;
const HEIR: usize = 3;

/// What a node has heard of the loss of the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    None,
    Missed,
    GivenUp,
    Replaced,
}

const NEWS: [News; 4] = [News::None, News::Missed, News::GivenUp, News::Replaced];

/// The cluster, as each of its nodes has it.
struct Model {
    news: [News; NODES],
    /// Whether the victim runs; a dead one answers nobody.
    alive: bool,
    /// How many of the other primaries the victim misses.
    misses: usize,
    /// Whether the victim knows its heir.
    demoted: bool,
}

fn endpoint(n: usize) -> Endpoint {
    Endpoint { host: format!("n{n}"), port: 7000 }
}

impl Model {
    fn new(alive: bool) -> Self {
        Self { news: [News::None; NODES], alive, misses: 0, demoted: false }
    }

    fn view(&self, by: usize, now: Instant) -> View {
        let replaced = if by == VICTIM { self.demoted } else { self.news[by] == News::Replaced };
        let owner_epoch = if replaced { 7 } else { 1 };
        let node = |n: usize| {
            let primary = match n {
                VICTIM => !(self.demoted && replaced),
                HEIR => replaced,
                _ => n < 3,
            };
            let owns = primary && (n != VICTIM || !replaced);
            let range = |k: usize| (k as u16 * 5000, k as u16 * 5000 + 4999);
            let of = match n {
                VICTIM => HEIR,
                _ => n % 3,
            };
            ViewNode {
                id: format!("id{n}"),
                endpoint: Some(endpoint(n)),
                role: if primary { Role::Primary } else { Role::Replica(Some(format!("id{of}"))) },
                slots: if owns { vec![range(n % 3)] } else { vec![] },
                epoch: Some(match n {
                    HEIR => owner_epoch,
                    VICTIM if !primary => owner_epoch,
                    _ => (n % 3) as u64 + 1,
                }),
                failed: by != VICTIM && n == VICTIM && !self.demoted && self.news[by] >= News::GivenUp,
                suspected: match by {
                    VICTIM => (1..=self.misses).contains(&n),
                    _ => n == VICTIM && self.news[by] == News::Missed,
                },
            }
        };
        let info = ClusterInfo { ok: self.sees_all(by), current_epoch: self.epoch(by), ..ClusterInfo::default() };
        let nodes = Some((0..NODES).map(node).collect());
        View { by: Some(format!("id{by}")), via: endpoint(by), asked_at: now, nodes, info: Some(info) }
    }

    fn sees_all(&self, by: usize) -> bool {
        if by == VICTIM { self.misses < 2 } else { self.news[by] != News::GivenUp }
    }

    fn epoch(&self, n: usize) -> Option<u64> {
        let replaced = if n == VICTIM { self.demoted } else { self.news[n] == News::Replaced };
        Some(if replaced { 7 } else { 3 })
    }

    fn report(&self, n: usize, now: Instant) -> NodeReport {
        let view = self.view(n, now);
        let own = &view.nodes.as_ref().expect("a cluster")[n];
        let lost = |many: usize| Some(many as u32 * 5000);
        let missed = if n == VICTIM { self.misses } else { usize::from(self.news[n] == News::Missed) };
        NodeReport {
            id: Some(own.id.clone()),
            primary: own.role == Role::Primary,
            cluster_ok: self.sees_all(n),
            my_epoch: own.epoch,
            current_epoch: self.epoch(n),
            slots_pfail: lost(missed),
            slots_fail: lost(usize::from(n != VICTIM && self.news[n] == News::GivenUp)),
            ..NodeReport::default()
        }
    }
}

struct World {
    cluster: Cluster,
    model: Model,
    now: Instant,
    /// When the last rounds began.
    rounds: Vec<Instant>,
}

impl World {
    fn new(model: Model) -> Self {
        let now = Instant::from_millis(1);
        let seeds = (0..NODES).map(endpoint).collect();
        let mut world = Self { cluster: Cluster::new(&Config::default(), seeds, now), model, now, rounds: Vec::new() };
        let alive = std::mem::replace(&mut world.model.alive, true);
        world.run(Duration::from_secs(3), &mut |_| 0);
        world.model.alive = alive;
        world
    }

    fn key(&self, n: usize) -> NodeKey {
        let found = self.cluster.endpoints().find(|(_, e)| **e == endpoint(n));
        found.map(|(key, _)| key).expect("all nodes are known")
    }

    fn verdict(&self, n: usize) -> Verdict {
        let report = self.cluster.report(self.now);
        report.nodes.iter().find(|s| s.endpoint == endpoint(n)).expect("all nodes are known").verdict
    }

    fn route(&self, block: u16) -> Route {
        self.cluster.route(Slot::new(block * 5000).expect("a slot"))
    }

    fn answers(&self, n: usize) -> bool {
        n != VICTIM || self.model.alive
    }

    /// Carries out what is due for so long. `chance` gives numbers, and may change the model between answers.
    fn run(&mut self, length: Duration, chance: &mut dyn FnMut(&mut Model) -> u32) {
        let end = self.now + length;
        while self.now < end {
            while let Some(command) = self.cluster.poll(self.now, chance(&mut self.model)) {
                self.carry_out(command, chance);
            }
            if self.cluster.is_dirty() {
                self.cluster.snapshot();
            }
            let next = self.cluster.next_timeout().unwrap_or(end);
            assert!(next > self.now, "a busy loop");
            self.now = next.min(end);
        }
    }

    fn carry_out(&mut self, command: Command, chance: &mut dyn FnMut(&mut Model) -> u32) {
        let index = |e: &Endpoint| e.host[1..].parse::<usize>().expect("n and a number");
        match command {
            Command::Close { .. } => {}
            Command::Refresh { round, mut targets, epochs } => {
                assert!(targets.len() <= 5, "{targets:?}");
                let soon = self.rounds.last().is_some_and(|&at| self.now.since(at) < Duration::from_secs(1));
                assert!(!soon, "a round within a second of the last");
                self.rounds.push(self.now);
                while !targets.is_empty() {
                    let target = index(&targets.remove(chance(&mut self.model) as usize % targets.len()));
                    if self.answers(target) {
                        let mut view = self.model.view(target, self.now);
                        if !epochs {
                            view.info = None;
                            view.nodes.iter_mut().flatten().for_each(|n| (n.epoch, n.suspected) = (None, false));
                        }
                        self.cluster.handle_view(round, view, self.now);
                    }
                }
                self.cluster.handle_refresh_done(round, self.now);
            }
            Command::Probe { node, endpoint, witness } => {
                let n = index(&endpoint);
                let report = if self.answers(n) { Ok(self.model.report(n, self.now)) } else { Err(Reason::Timeout) };
                let ready = report.as_ref().is_ok_and(|r| r.unready().is_none());
                chance(&mut self.model);
                let witness = witness.map(|w| index(&w)).filter(|&w| ready && self.answers(w));
                let witness = witness.map(|w| self.model.view(w, self.now));
                self.cluster.handle_probe(Probe { node, sent_at: self.now, report, witness }, self.now);
            }
        }
    }
}

/// Numbers from a script, again and again.
fn numbers(script: Vec<u32>) -> impl FnMut(&mut Model) -> u32 {
    let mut script = script.into_iter().cycle();
    move |_| script.next().unwrap_or(0)
}

/// The same; each number also lets one node hear the next piece of news.
fn with_news(script: Vec<u32>) -> impl FnMut(&mut Model) -> u32 {
    let mut script = script.into_iter().cycle();
    move |model| {
        let number = script.next().unwrap_or(0);
        let n = 1 + number as usize % (NODES - 1);
        if number.is_multiple_of(3) {
            let next = NEWS.iter().copied().find(|&m| m > model.news[n]).unwrap_or(News::Replaced);
            // The heir is elected once most primaries have given the victim up; the others hear of it from it.
            let elected = model.news[HEIR] == News::Replaced;
            let may = match next {
                News::Replaced => elected || (n == HEIR && (1..3).all(|p| model.news[p] >= News::GivenUp)),
                _ => true,
            };
            if may {
                model.news[n] = next;
            }
        }
        number
    }
}

fn script() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 7..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_ordinary_failover_is_never_a_partition(script in script(), silent in any::<bool>()) {
        let mut world = World::new(Model::new(false));
        let mut chance = with_news(script);
        if silent {
            world.cluster.handle_failure(world.key(VICTIM), Reason::Timeout, world.now, None, world.now);
        }
        for _ in 0..80 {
            world.run(Duration::from_millis(100), &mut chance);
            let report = world.cluster.report(world.now);
            prop_assert!(!report.down && !report.isolated);
            for n in 0..NODES {
                prop_assert_ne!(world.verdict(n), Verdict::Minority, "n{} at {:?}", n, world.now);
            }
        }
    }

    #[test]
    fn a_cut_off_primary_gets_nothing_once_it_is_voted_out_and_comes_back_when_healed(
        script in script(),
        misses in 0usize..3,
        down in any::<bool>(),
    ) {
        let mut world = World::new(Model::new(true));
        let mut chance = numbers(script);
        // The majority gave it up and elected its heir; it may know nothing of that.
        world.model.news = [News::Replaced; NODES];
        world.model.misses = misses;
        if down {
            world.cluster.handle_failure(world.key(VICTIM), Reason::ClusterDown, world.now, None, world.now);
        }
        let mut voted_out = false;
        for _ in 0..200 {
            world.run(Duration::from_millis(100), &mut chance);
            voted_out |= world.verdict(VICTIM) == Verdict::Minority;
            if voted_out {
                let victim = world.key(VICTIM);
                prop_assert!(!world.cluster.admits(victim));
                let asked = match world.route(0) {
                    Route::Primary { node, .. } | Route::Readmitting { node, .. } => Some(node),
                    Route::Replica { replica, .. } => Some(replica.node),
                    Route::Secondary { .. } | Route::Await { .. } => None,
                };
                prop_assert_ne!(asked, Some(victim));
                let gate = world.cluster.write_gate(Slot::new(0).expect("a slot"), world.now);
                prop_assert!(!matches!(gate, WriteGate::Open(n) | WriteGate::InDoubt(n) if n == victim));
            }
            (1..NODES).for_each(|n| assert_ne!(world.verdict(n), Verdict::Minority, "n{n}"));
        }
        // In trouble for another cause it is out anyhow, and may have been hung; else it has to be voted out.
        prop_assert!(voted_out || (down && misses < 2), "never voted out: misses {misses}, down {down}");
        world.model.demoted = true;
        world.model.misses = 0;
        world.run(Duration::from_secs(15), &mut chance);
        prop_assert_eq!(world.verdict(VICTIM), Verdict::Majority);
        prop_assert!(world.cluster.admits(world.key(VICTIM)));
        let heir = world.key(HEIR);
        prop_assert!(matches!(world.route(0), Route::Primary { node, .. } if node == heir), "{:?}", world.route(0));
    }

    #[test]
    fn fewer_than_three_voices_decide_nothing(
        voices in prop::collection::vec((0..NODES, 0usize..3, 0usize..4), 1..3),
    ) {
        let mut world = World::new(Model::new(true));
        world.now = world.now + Duration::from_secs(20);
        let mut round = None;
        while let Some(command) = world.cluster.poll(world.now, 0) {
            if let Command::Refresh { round: number, .. } = command {
                round = Some(number);
            }
        }
        for (n, misses, news) in voices {
            world.model.misses = misses;
            world.model.news[n] = NEWS[news];
            let view = world.model.view(n, world.now);
            world.cluster.handle_view(round.expect("a round is due"), view, world.now);
            for n in 0..NODES {
                prop_assert_ne!(world.verdict(n), Verdict::Minority, "n{}", n);
            }
            prop_assert!(!world.cluster.report(world.now).down);
        }
    }

    #[test]
    fn a_long_partition_costs_little(script in script()) {
        let mut world = World::new(Model::new(true));
        let mut chance = numbers(script);
        world.model.news = [News::Replaced; NODES];
        world.model.misses = 2;
        world.run(Duration::from_secs(60), &mut chance);
        world.rounds.clear();
        world.run(Duration::from_secs(150), &mut chance);
        // Five seconds apart: a third of the interval.
        prop_assert!(world.rounds.len() <= 150 / 5 + 2, "{} rounds in 150 s", world.rounds.len());
    }
}
