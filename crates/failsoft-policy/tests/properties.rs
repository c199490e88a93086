//! What holds for any answers, in any order, at any time: reads end inside their limits, the fast path
//! agrees with the machine, epochs never go back, breakers and budgets hold.

use bytes::Bytes;
use failsoft_policy::action::{Action, Answer, Event};
use failsoft_policy::breaker::{Admission, Breaker};
use failsoft_policy::budget::Budget;
use failsoft_policy::cluster::{Cluster, Command};
use failsoft_policy::config::Config;
use failsoft_policy::nodes::Nodes;
use failsoft_policy::read::Read;
use failsoft_policy::reply::{ErrorReply, Target};
use failsoft_policy::route::{Bounds, Route, Source, first_step};
use failsoft_policy::topology::Topology;
use failsoft_policy::view::{NodeReport, Probe, Role, View, ViewNode};
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason, Slot, Turn};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const NODES: usize = 5;

fn endpoint(n: usize) -> Endpoint {
    Endpoint { host: format!("n{n}"), port: 7000 }
}

fn slot(n: u16) -> Slot {
    Slot::new(n).expect("a slot")
}

/// A view in which node 0 or another one (`owner`) owns slots 0 and 1 at this epoch, the rest follow it.
fn view(owner: usize, epoch: u64, asked_ms: u64, epochs: bool) -> View {
    let node = |n: usize| ViewNode {
        id: format!("id{n}"),
        endpoint: Some(endpoint(n)),
        role: if n == owner { Role::Primary } else { Role::Replica(Some(format!("id{owner}"))) },
        slots: if n == owner { vec![(0, 1)] } else { vec![] },
        epoch: epochs.then_some(epoch),
        failed: false,
        suspected: false,
    };
    let nodes = Some((0..NODES).map(node).collect());
    View { by: Some("id0".into()), via: endpoint(0), asked_at: Instant::from_millis(asked_ms), nodes, info: None }
}

/// Something that happens to the cluster beside the read.
#[derive(Clone, Debug)]
enum Fact {
    Failed(usize, Reason),
    View { owner: usize, epoch: u64, age: u64, epochs: bool },
    Probed { n: usize, primary: bool, epoch: u64, loading: bool, answered: bool, witness: bool },
    RefreshDone,
    Poll,
    Moved(u16, usize),
    Later(u64),
    Credit(u64),
}

fn fact() -> impl Strategy<Value = Fact> {
    let reason = prop::sample::select(Reason::ALL);
    prop_oneof![
        (0..NODES, reason).prop_map(|(n, r)| Fact::Failed(n, r)),
        (0..NODES, 0u64..6, 0u64..300, any::<bool>()).prop_map(|(owner, epoch, age, epochs)| Fact::View {
            owner,
            epoch,
            age,
            epochs
        }),
        (0..NODES, any::<bool>(), 0u64..6, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(n, primary, epoch, loading, answered, witness)| Fact::Probed {
                n,
                primary,
                epoch,
                loading,
                answered,
                witness
            }
        ),
        Just(Fact::RefreshDone),
        Just(Fact::Poll),
        (0u16..2, 0..NODES + 2).prop_map(|(s, n)| Fact::Moved(s, n)),
        (0u64..400).prop_map(Fact::Later),
        (0u64..20).prop_map(Fact::Credit),
    ]
}

struct World {
    cluster: Cluster,
    now: Instant,
    round: u64,
    probing: BTreeMap<NodeKey, u32>,
}

impl World {
    fn new(config: &Config, known: bool) -> Self {
        let now = Instant::from_millis(1000);
        let cluster = Cluster::new(config, vec![endpoint(0), endpoint(1)], now);
        let mut world = Self { cluster, now, round: 0, probing: BTreeMap::new() };
        if known {
            world.happen(&Fact::Poll);
            world.happen(&Fact::View { owner: 0, epoch: 1, age: 0, epochs: true });
            world.happen(&Fact::RefreshDone);
            (0..NODES).for_each(|n| {
                world.happen(&Fact::Probed {
                    n,
                    primary: n == 0,
                    epoch: 1,
                    loading: false,
                    answered: true,
                    witness: false,
                });
            });
        }
        world
    }

    fn key(&self, n: usize) -> Option<NodeKey> {
        self.cluster.endpoints().find(|(_, e)| **e == endpoint(n)).map(|(key, _)| key)
    }

    fn happen(&mut self, fact: &Fact) {
        let now = self.now;
        let ago = |age: u64| now - Duration::from_millis(age);
        match *fact {
            Fact::Failed(n, reason) => {
                if let Some(key) = self.key(n) {
                    self.cluster.handle_failure(key, reason, now, Some(ago(5)), now);
                }
            }
            Fact::View { owner, epoch, age, epochs } => {
                let asked = ago(age).as_nanos() / 1_000_000;
                self.cluster.handle_view(self.round, view(owner, epoch, asked, epochs), now);
            }
            Fact::Probed { n, primary, epoch, loading, answered, witness } => {
                let Some(node) = self.key(n) else { return };
                self.probing.remove(&node);
                let report = NodeReport {
                    id: Some(format!("id{n}")),
                    primary,
                    cluster_ok: true,
                    my_epoch: Some(epoch),
                    loading,
                    ..NodeReport::default()
                };
                let report = if answered { Ok(report) } else { Err(Reason::Connection) };
                let witness =
                    witness.then(|| view(if primary { n } else { 0 }, epoch, now.as_nanos() / 1_000_000, true));
                self.cluster.handle_probe(Probe { node, sent_at: now, report, witness }, now);
            }
            Fact::RefreshDone => self.cluster.handle_refresh_done(self.round, now),
            Fact::Poll => self.poll(),
            Fact::Moved(s, to) => {
                if let Some(from) = self.key(0) {
                    self.cluster.handle_moved(slot(s), &Target::At(endpoint(to)), from, now);
                }
            }
            Fact::Later(ms) => self.now = now + Duration::from_millis(ms),
            Fact::Credit(n) => self.cluster.handle_successes(n),
        }
    }

    /// All that is due; it ends, asks few, probes no node twice at a time, and leaves nothing due.
    fn poll(&mut self) {
        let mut commands = 0;
        while let Some(command) = self.cluster.poll(self.now, 7) {
            commands += 1;
            assert!(commands < 100, "poll does not end");
            match command {
                Command::Refresh { round, targets, .. } => {
                    assert!(targets.len() <= 5, "{targets:?}");
                    self.round = round;
                }
                Command::Probe { node, .. } => {
                    assert_eq!(self.probing.insert(node, 1), None, "two probes at once");
                }
                Command::Close { .. } => {}
            }
        }
        let next = self.cluster.next_timeout();
        assert!(next.is_none_or(|at| at > self.now), "a busy loop: {next:?} at {:?}", self.now);
    }
}

fn answer() -> impl Strategy<Value = Answer> {
    let error = prop_oneof![
        (0u16..2, 0..NODES + 2).prop_map(|(s, n)| ErrorReply::Moved(slot(s), Target::At(endpoint(n)))),
        (0u16..2).prop_map(|s| ErrorReply::Moved(slot(s), Target::Unknown)),
        (0u16..2).prop_map(|s| ErrorReply::Moved(slot(s), Target::SameHost(7001))),
        (0u16..2, 0..NODES + 2).prop_map(|(s, n)| ErrorReply::Ask(slot(s), Target::At(endpoint(n)))),
        Just(ErrorReply::TryAgain),
        Just(ErrorReply::ClusterDown),
        Just(ErrorReply::SlotUncovered),
        Just(ErrorReply::Unwilling),
        Just(ErrorReply::Denied),
    ];
    prop_oneof![
        1 => Just(Answer::Value),
        2 => Just(Answer::Nil),
        8 => error.clone().prop_map(Answer::Error),
        1 => error.prop_map(Answer::Refused),
        1 => Just(Answer::Protocol),
        3 => Just(Answer::Timeout),
        3 => Just(Answer::Connection),
        2 => Just(Answer::Saturated),
    ]
}

/// An answer, what happens beside it, how long it takes, and a number.
type Round = (Answer, Vec<Fact>, u64, u32);

/// Answers of all kinds, or a long run of redirects, or of replicas that say nil.
fn script() -> impl Strategy<Value = Vec<Round>> {
    let turn = |answer, facts| (answer, prop::collection::vec(fact(), facts), 0u64..60, any::<u32>());
    let redirect = (any::<bool>(), 0..NODES + 2).prop_map(|(moved, n)| {
        let target = Target::At(endpoint(n));
        Answer::Error(if moved { ErrorReply::Moved(slot(0), target) } else { ErrorReply::Ask(slot(0), target) })
    });
    let nil = prop_oneof![1 => Just(Answer::Connection), 3 => Just(Answer::Nil)];
    prop_oneof![
        2 => prop::collection::vec(turn(answer().boxed(), 0..3), 60),
        1 => prop::collection::vec(turn(redirect.boxed(), 0..1), 60),
        1 => prop::collection::vec(turn(nil.boxed(), 0..1), 60),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_read_ends_inside_its_limits(
        before in prop::collection::vec(fact(), 0..12),
        script in script(),
        callback in any::<bool>(),
        known in prop::bool::weighted(0.9),
    ) {
        let config = Config::default();
        let mut world = World::new(&config, known);
        before.iter().for_each(|fact| world.happen(fact));
        let bounds = Bounds::new(&config, world.now);
        let deadline = bounds.deadline;
        let mut read = Read::new(&config, (slot(0), Bytes::new()), bounds, callback);
        let mut action = read.start(Turn { cluster: &mut world.cluster, now: world.now, dice: script[0].3 });
        let (mut redirects, mut primary_sends) = (0, 0);
        let mut script = script.into_iter().cycle();
        let (mut steps, mut tokens) = (0, 0);
        let (mut asked, mut empty) = (Vec::new(), Vec::new());
        loop {
            steps += 1;
            prop_assert!(steps < 200, "the read does not end");
            let (answer, facts, pause, dice) = script.next().expect("a cycle");
            let event = match action {
                Action::Send { node, source, until, .. } => {
                    prop_assert!(until <= deadline && until > world.now, "{until:?} at {:?}", world.now);
                    prop_assert!(until.since(world.now) <= config.attempt_timeout());
                    let report = world.cluster.report(world.now);
                    let status = report.nodes.iter().find(|n| n.key == node).expect("a known node");
                    prop_assert!(!matches!(status.breaker, "open" | "half_open"), "sent to a closed node");
                    if source == Source::Replica {
                        prop_assert!(matches!(status.role, Role::Replica(_)), "{:?}", status.role);
                        prop_assert!(!empty.contains(&node), "a replica is asked again after nil");
                        let paid = report.retry_tokens < tokens;
                        prop_assert!(paid || !asked.contains(&node), "a replica is asked again without a token");
                        asked.push(node);
                        if answer == Answer::Nil {
                            empty.push(node);
                        }
                    } else {
                        // As the owner it is another source.
                        empty.retain(|&n| n != node);
                        asked.retain(|&n| n != node);
                        primary_sends += 1;
                    }
                    if matches!(answer, Answer::Error(ErrorReply::Moved(s, _) | ErrorReply::Ask(s, _)) if s == slot(0)) {
                        redirects += 1;
                    }
                    let at = world.now + Duration::from_millis(pause);
                    world.now = if answer == Answer::Timeout { until } else { at.min(until) };
                    Event::Answered { answer, contact: None }
                }
                Action::Wait { until } => {
                    prop_assert!(until <= deadline);
                    world.now = if dice % 2 == 0 { until.max(world.now) } else { world.now + Duration::from_millis(pause) };
                    Event::Woken
                }
                Action::Load { .. } => { prop_assert!(callback); break }
                Action::Finish(_) => break,
            };
            facts.iter().filter(|f| !matches!(f, Fact::Later(_))).for_each(|fact| world.happen(fact));
            tokens = world.cluster.report(world.now).retry_tokens;
            action = read.on(event, Turn { cluster: &mut world.cluster, now: world.now, dice });
        }
        prop_assert!(redirects <= config.max_redirects() + 1, "{redirects} redirects");
        prop_assert!(primary_sends <= 1 + config.max_retries() + config.max_redirects(), "{primary_sends} sends");
        prop_assert!(read.attempts() <= 1 + config.max_retries() + config.max_redirects() + NODES as u32 + 2);
    }

    #[test]
    fn the_fast_path_is_the_machine_s_first_action(
        facts in prop::collection::vec(fact(), 0..40),
        known in prop::bool::weighted(0.9),
        number in 0u16..3,
        dice in any::<u32>(),
        wait in 0u64..40_000,
    ) {
        let config = Config::default();
        let mut world = World::new(&config, known);
        facts.iter().for_each(|fact| world.happen(fact));
        let snapshot = world.cluster.snapshot();
        let now = world.now + Duration::from_millis(wait);
        let bounds = Bounds::new(&config, now);
        for callback in [false, true] {
            let read = || Read::new(&config, (slot(number), Bytes::new()), bounds, callback);
            let step = first_step(&snapshot, slot(number), now, bounds, dice);
            let turn = Turn { cluster: &mut world.cluster, now, dice };
            prop_assert_eq!(read().resume(step, now), read().start(turn));
        }
    }

    #[test]
    fn the_snapshot_is_marked_old_when_a_route_changes(facts in prop::collection::vec(fact(), 1..40)) {
        let mut world = World::new(&Config::default(), true);
        for fact in &facts {
            let old = world.cluster.snapshot();
            world.happen(fact);
            if !world.cluster.is_dirty() {
                let kind = |route: Route| match route {
                    // Their dates may have moved on: an older one only stands in for a shorter time.
                    Route::Replica { replica, reason } => (0, Some(replica.node), Some(reason), 0),
                    Route::Readmitting { node, permille, reason, .. } => (1, Some(node), Some(reason), permille),
                    Route::Primary { node, backed } => (2, Some(node), None, u16::from(backed)),
                    Route::Secondary { reason } => (3, None, Some(reason), 0),
                    Route::Await { .. } => (4, None, None, 0),
                };
                prop_assert_eq!(kind(old.route(slot(0))), kind(world.cluster.route(slot(0))), "{:?}", fact);
            }
        }
    }

    #[test]
    fn a_newer_epoch_is_never_overwritten(
        views in prop::collection::vec((0..NODES, 1u64..8, 0u64..100, any::<bool>()), 1..20),
    ) {
        // An epoch has one owner.
        let (mut nodes, mut topology) = (Nodes::default(), Topology::default());
        let mut highest = 0;
        for &(_, epoch, asked, epochs) in &views {
            topology.apply(&mut nodes, &view(epoch as usize % NODES, epoch, asked, epochs));
            if epochs {
                highest = highest.max(epoch);
                prop_assert_eq!(topology.epoch(slot(0)), Some(highest));
                let owner = topology.owner(slot(0)).and_then(|k| nodes.get(k)?.id().map(str::to_owned));
                prop_assert_eq!(owner, Some(format!("id{}", highest as usize % NODES)));
            } else {
                prop_assert!(topology.epoch(slot(0)).is_some_and(|e| e >= highest));
            }
        }
    }

    #[test]
    fn the_breaker_probes_one_at_a_time(calls in prop::collection::vec((0u8..4, 0u64..300), 1..100)) {
        let (mut breaker, mut now, mut probing) = (Breaker::default(), Instant::ZERO, false);
        for (call, pause) in calls {
            now = now + Duration::from_millis(pause);
            match call {
                0 => breaker.on_failure(now),
                1 => {
                    let taken = breaker.take_probe(now);
                    prop_assert!(!(taken && probing), "two probes at once");
                    probing |= taken;
                }
                2 | 3 if probing => {
                    breaker.on_probe(call == 2, now);
                    probing = false;
                    let open = breaker.admission() == Admission::Closed;
                    prop_assert_eq!(open, call == 3);
                }
                _ => { breaker.tick(now); }
            }
            if probing {
                prop_assert_eq!(breaker.admission(), Admission::Closed, "a probe is no user's read");
            }
        }
    }

    #[test]
    fn retries_stay_under_a_fifth(calls in prop::collection::vec((any::<bool>(), 0u64..200), 1..300)) {
        let (mut budget, mut successes, mut taken) = (Budget::default(), 0u64, 0u64);
        for (take, n) in calls {
            if take {
                taken += u64::from(budget.take());
            } else {
                budget.deposit(n);
                successes += n;
            }
            prop_assert!(taken <= 10 + successes / 5 && budget.tokens() <= 100);
        }
    }
}
