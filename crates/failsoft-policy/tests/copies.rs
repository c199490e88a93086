//! Copies that stand in: for how long, after which invalidation, and for which replica, in virtual time.

use failsoft_policy::cluster::Cluster;
use failsoft_policy::config::Config;
use failsoft_policy::copies::{Held, of_load};
use failsoft_policy::hearing::{Answer as Heard, Command, Ear};
use failsoft_policy::lease::{Lease, Lessor};
use failsoft_policy::read::{Action, Answer, Event, Finish, Read};
use failsoft_policy::route::Bounds;
use failsoft_policy::slot::slot_of;
use failsoft_policy::view::{NodeReport, Probe, Role, View, ViewNode};
use failsoft_policy::write::Cause;
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason, Slot, Turn};
use std::time::Duration;

/// Two primaries with half of the slots each, and a replica of the first, whose is the key.
const KEY: &[u8] = b"k";
const A: usize = 0;
const B: usize = 1;
const REPLICA: usize = 2;

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}
fn endpoint(n: usize) -> Endpoint {
    Endpoint { host: format!("n{n}"), port: 7000 }
}
fn id(n: usize) -> String {
    format!("id{n}")
}

struct World {
    config: Config,
    cluster: Cluster,
    keys: [NodeKey; 3],
    now: u64,
}

impl World {
    /// At 10 s, where nobody has been listened to yet.
    fn new() -> Self {
        Self::with(Config::default())
    }

    /// The same of a router with a near cache.
    fn near() -> Self {
        let mut config = Config::default();
        config.set_text("near_cache_bytes", "1000000").expect("in range");
        Self::with(config)
    }

    fn with(config: Config) -> Self {
        let mut cluster = Cluster::new(&config, vec![endpoint(A)], at(10_000));
        while cluster.poll(at(10_000), 0).is_some() {}
        cluster.handle_view(1, view(10_000, 1, 8_192), at(10_000));
        cluster.handle_refresh_done(1, at(10_000));
        let key = |n| cluster.endpoints().find(|(_, e)| **e == endpoint(n)).map(|(key, _)| key).expect("it is known");
        let keys = [key(A), key(B), key(REPLICA)];
        let mut world = Self { config, cluster, keys, now: 10_000 };
        for n in [A, B, REPLICA] {
            world.probe(n);
        }
        // Who is listened to goes by the routes.
        world.cluster.snapshot();
        world
    }

    fn probe(&mut self, n: usize) {
        let report = NodeReport {
            id: Some(id(n)),
            primary: n != REPLICA,
            offset: Some(100),
            history: Some(1),
            link_up: (n == REPLICA).then_some(true),
            cluster_ok: true,
            my_epoch: Some(1),
            ..NodeReport::default()
        };
        let (node, sent_at) = (self.keys[n], at(self.now));
        self.cluster.handle_probe(Probe { node, sent_at, report: Ok(report), witness: None }, at(self.now));
    }

    /// Time passes in which all who are listened to answer, but the `deaf`.
    fn listen(&mut self, millis: u64, deaf: &[usize]) {
        self.listen_by(millis, &[(Ear::Bells, deaf), (Ear::Keys, deaf)]);
    }

    /// The same, where they may be deaf for one thing and not for the other.
    fn listen_by(&mut self, millis: u64, deaf: &[(Ear, &[usize])]) {
        for _ in 0..millis {
            self.now += 1;
            let now = at(self.now);
            for node in self.keys {
                self.cluster.handle_use(node, now, now);
            }
            while let Some((ear, command)) = self.cluster.listen(now, 0) {
                let line = if ear == Ear::Bells { 7 } else { 8 };
                match command {
                    Command::Open { node } => self.cluster.handle_listening(ear, node, Ok(line), now, 0),
                    Command::Probe { node, line, at, .. } => {
                        let is = |n: &usize| self.keys[*n] == node;
                        if !deaf.iter().any(|(of, nodes)| *of == ear && nodes.iter().any(is)) {
                            self.cluster.handle_listening_probe(ear, (node, line), at, &Heard::Owner, now, 0);
                        }
                    }
                    Command::Close { .. } => {}
                }
            }
        }
    }

    fn serves(&self, held: Held, asked: Option<u64>, now: u64) -> bool {
        self.cluster.copy_serves((slot_of(KEY), KEY), held, asked.map(Duration::from_millis), at(now))
    }

    /// A copy of what a node was asked for at this time.
    fn held(&self, n: usize, millis: u64) -> Held {
        Held { current_at: at(millis), node: Some(self.keys[n]) }
    }

    fn turn(&mut self) -> Turn<'_> {
        Turn { now: at(self.now), dice: 0, cluster: &mut self.cluster }
    }
}

/// `A` has the slots before those of `B`.
fn view(asked_at: u64, epoch: u64, first_of_b: u16) -> View {
    let node = |n: usize, role, slots| ViewNode {
        id: id(n),
        endpoint: Some(endpoint(n)),
        role,
        slots,
        epoch: Some(epoch),
        failed: false,
        suspected: false,
    };
    View {
        by: Some(id(A)),
        via: endpoint(A),
        asked_at: at(asked_at),
        info: None,
        nodes: Some(vec![
            node(A, Role::Primary, vec![(0, first_of_b - 1)]),
            node(B, Role::Primary, vec![(first_of_b, 16_383)]),
            node(REPLICA, Role::Replica(Some(id(A))), vec![]),
        ]),
    }
}

#[test]
fn it_stands_in_for_two_seconds_where_an_invalidation_may_have_been_missed() {
    let world = World::new();
    let held = world.held(A, 10_000);
    assert!(world.serves(held, None, 11_999));
    assert!(!world.serves(held, None, 12_000));
}

#[test]
fn it_stands_in_for_thirty_seconds_where_all_that_happened_is_known() {
    let mut world = World::new();
    world.listen(1_000, &[]);
    let held = world.held(A, 11_000);
    world.listen(29_999, &[]);
    assert!(world.serves(held, None, world.now));
    world.listen(1, &[]);
    assert!(!world.serves(held, None, world.now));
}

#[test]
fn what_was_heard_is_trusted_for_a_trust_window() {
    let mut world = World::new();
    world.listen(1_000, &[]);
    let held = world.held(A, 11_000);
    world.listen(10_000, &[]);
    world.listen(300, &[A, B]);
    assert!(world.serves(held, None, world.now));
    world.listen(1_000, &[A, B]);
    assert!(!world.serves(held, None, world.now), "nobody has been heard for longer than the window");
}

#[test]
fn a_gap_is_not_closed_by_hearing_again() {
    let mut world = World::new();
    world.listen(1_000, &[]);
    let held = world.held(A, 11_000);
    world.listen(3_000, &[A, B]);
    world.listen(10_000, &[]);
    assert!(!world.serves(held, None, world.now));
    assert!(world.serves(world.held(A, world.now - 5_000), None, world.now), "what is later than the gap");
}

#[test]
fn the_echoes_are_enough_and_so_is_the_owner_for_what_it_was_asked_for() {
    for deaf in [A, B] {
        let mut world = World::new();
        world.listen(1_000, &[]);
        let held = world.held(A, 11_000);
        world.listen(10_000, &[deaf]);
        assert!(world.serves(held, None, world.now), "{deaf} is not heard");
    }
}

#[test]
fn only_the_echoes_tell_of_what_no_primary_or_another_one_was_asked_for() {
    for node in [None, Some(B)] {
        let mut world = World::new();
        world.listen(1_000, &[]);
        let held = Held { current_at: at(11_000), node: node.map(|n| world.keys[n]) };
        world.listen(10_000, &[A]);
        assert!(world.serves(held, None, world.now), "{node:?}, with the echoes heard");
        world.listen(1_500, &[]);
        let held = Held { current_at: at(world.now), ..held };
        world.listen(10_000, &[B]);
        assert!(!world.serves(held, None, world.now), "{node:?}, with the owner alone heard");
    }
}

#[test]
fn a_caller_may_ask_for_less_and_for_more() {
    let mut world = World::new();
    let held = world.held(A, 10_000);
    assert!(!world.serves(held, Some(0), 10_000), "nothing stands in");
    assert!(world.serves(held, Some(5_000), 14_999) && !world.serves(held, Some(5_000), 15_000));
    world.listen(1_000, &[]);
    let held = world.held(A, 11_000);
    world.listen(600, &[]);
    assert!(!world.serves(held, Some(500), world.now), "whatever is heard");
}

#[test]
fn a_copy_from_before_an_invalidation_never_stands_in() {
    let mut world = World::new();
    let (slot, key) = (slot_of(KEY), bytes::Bytes::from_static(KEY));
    let held = world.held(A, 10_000);
    world.cluster.invalidations().call(slot, &key, at(10_100));
    assert!(!world.serves(world.held(A, 10_101), None, 10_150), "the key is owed");
    let reign = world.cluster.reign(slot).expect("an owner");
    world.cluster.invalidations().told((slot, &key, at(10_100)), reign, Some(reign), at(10_200));
    assert!(!world.serves(held, None, 10_300));
    assert!(!world.serves(held, Some(5_000), 10_300), "whatever the caller asks for");
    assert!(world.serves(world.held(A, 10_200), None, 10_300));
}

#[test]
fn nothing_of_another_cluster_stands_in() {
    let mut world = World::new();
    let held = world.held(A, 10_000);
    let foreign = |n: usize| {
        let mut view = view(10_500, 9, 8_192);
        view.nodes.iter_mut().flatten().for_each(|node| node.id = format!("other {}", node.id));
        View { by: Some(format!("other id{n}")), via: endpoint(n), ..view }
    };
    world.now = 10_500;
    for n in [A, B, REPLICA] {
        world.cluster.handle_failure(world.keys[n], Reason::Connection, at(10_400), None, at(10_500));
    }
    let mut round = None;
    for millis in 10_500..20_000 {
        while let Some(command) = world.cluster.poll(at(millis), 0) {
            if let failsoft_policy::cluster::Command::Refresh { round: number, targets, .. } = command {
                for target in &targets {
                    let n = [A, B, REPLICA].into_iter().find(|&n| endpoint(n) == *target).expect("a known node");
                    world.cluster.handle_view(number, foreign(n), at(millis));
                }
                world.cluster.handle_refresh_done(number, at(millis));
                round = Some(millis);
            }
        }
        if world.cluster.members().any(|(_, _, id)| id == Some("other id0")) {
            break;
        }
    }
    assert!(world.cluster.members().any(|(_, _, id)| id == Some("other id0")), "it was taken up");
    let taken = round.expect("the nodes were asked");
    assert!(!world.serves(held, Some(60_000), taken + 1));
    assert!(world.serves(Held { current_at: at(taken + 1), node: None }, Some(60_000), taken + 2));
}

#[test]
fn what_was_loaded_while_a_writer_held_the_key_is_kept_nowhere() {
    let node = NodeKey { index: 0, generation: 0 };
    let lessor = Lessor { node, epoch: 1, line: 1 };
    let lease = Lease { lessor, token: bytes::Bytes::from_static(b"1t"), at: at(5), kept: false, over: None };
    assert_eq!(of_load(at(7), Some(&Err(Cause::Held))), None);
    assert_eq!(of_load(at(7), Some(&Ok(lease))), Some(Held { current_at: at(7), node: Some(node) }));
    assert_eq!(of_load(at(7), Some(&Err(Cause::Denied))), Some(Held { current_at: at(7), node: None }));
    assert_eq!(of_load(at(7), None), Some(Held { current_at: at(7), node: None }));
}

/// What a read does whose primary does not answer, with this copy.
fn after_a_timeout(world: &mut World, held: Option<Held>, asked: Option<u64>) -> Action {
    let bounds =
        Bounds::new(&world.config, at(world.now)).no_staler_than(&world.config, asked.map(Duration::from_millis));
    let key: (Slot, _) = (slot_of(KEY), bytes::Bytes::from_static(KEY));
    let mut read = Read::new(&world.config, key, bounds, true).holding(held);
    let first = read.start(world.turn());
    assert!(matches!(first, Action::Send { node, .. } if node == world.keys[A]), "{first:?}");
    world.now += 250;
    read.on(Event::Answered { answer: Answer::Timeout, contact: None }, world.turn())
}

#[test]
fn a_copy_goes_before_a_replica_that_is_known_to_be_older() {
    let mut world = World::new();
    world.now = 10_500;
    let replica = world.keys[REPLICA];
    let to_replica = |action: &Action| matches!(action, Action::Send { node, .. } if *node == replica);
    let action = after_a_timeout(&mut world, None, None);
    assert!(to_replica(&action), "{action:?}");
    let older = world.held(A, 9_000);
    let action = after_a_timeout(&mut world, Some(older), None);
    assert!(to_replica(&action), "the replica is known to have been current later: {action:?}");
    let later = world.held(A, 10_400);
    let action = after_a_timeout(&mut world, Some(later), None);
    assert_eq!(action, Action::Finish(Finish::Stale { reason: Some(Reason::Timeout) }));
}

#[test]
fn an_older_replica_does_not_stand_in_for_a_copy_that_may_not_serve() {
    let mut world = World::new();
    world.now = 10_500;
    let held = world.held(A, 10_400);
    let action = after_a_timeout(&mut world, Some(held), Some(100));
    assert!(!matches!(action, Action::Send { node, .. } if node == world.keys[REPLICA]), "{action:?}");
    assert!(!matches!(action, Action::Finish(Finish::Stale { .. })), "{action:?}");
}

#[test]
fn a_call_says_how_old_a_replica_may_be() {
    let mut world = World::new();
    world.now = 11_500;
    let action = after_a_timeout(&mut world, None, Some(1_000));
    assert!(!matches!(action, Action::Send { node, .. } if node == world.keys[REPLICA]), "{action:?}");
    let mut world = World::new();
    world.now = 16_000;
    let action = after_a_timeout(&mut world, None, None);
    assert!(!matches!(action, Action::Send { node, .. } if node == world.keys[REPLICA]), "{action:?}");
    let action = after_a_timeout(&mut world, None, Some(20_000));
    assert!(matches!(action, Action::Send { node, .. } if node == world.keys[REPLICA]), "{action:?}");
}

#[test]
fn without_a_near_cache_nobody_is_trusted() {
    let mut world = World::new();
    world.listen(2_000, &[]);
    assert_eq!(world.cluster.trust(world.keys[A]), None);
}

#[test]
fn near_copies_are_trusted_from_the_first_proof_on_and_for_a_trust_window() {
    let mut world = World::near();
    world.listen(5, &[]);
    assert_eq!(world.cluster.trust(world.keys[A]), None, "one answer proves nothing");
    world.listen(1_000, &[]);
    let trust = world.cluster.trust(world.keys[A]).expect("it is heard");
    assert_eq!(trust.line, 8);
    assert!(trust.since >= at(10_000) && trust.since < at(10_100), "{trust:?}");
    assert!(trust.until > at(world.now) && trust.until <= at(world.now + 1_000), "{trust:?}");
    world.listen(5_000, &[]);
    let later = world.cluster.trust(world.keys[A]).expect("it is heard");
    assert_eq!(later.since, trust.since, "there was no gap");
    assert!(later.until > trust.until);
}

#[test]
fn near_copies_need_the_node_and_those_who_tell_its_echoes() {
    for (ear, deaf) in [(Ear::Keys, A), (Ear::Bells, B)] {
        let mut world = World::near();
        world.listen(2_000, &[]);
        assert!(world.cluster.trust(world.keys[A]).is_some());
        world.listen_by(2_000, &[(ear, &[deaf])]);
        assert!(world.cluster.trust(world.keys[A]).is_none_or(|trust| trust.until <= at(world.now)), "{ear:?} {deaf}");
    }
    // The node's own bells are not needed: what happens to a key is told on the other connection.
    let mut world = World::near();
    world.listen_by(2_000, &[(Ear::Bells, &[A])]);
    assert!(world.cluster.trust(world.keys[A]).is_some_and(|trust| trust.until > at(world.now)));
}

#[test]
fn a_gap_ends_the_trust_in_what_was_asked_for_before() {
    let mut world = World::near();
    world.listen(2_000, &[]);
    let before = world.cluster.trust(world.keys[A]).expect("it is heard");
    world.listen_by(1_500, &[(Ear::Keys, &[A])]);
    world.listen(2_000, &[]);
    let after = world.cluster.trust(world.keys[A]).expect("it is heard");
    assert!(after.since > before.until, "{before:?} and {after:?}");
}

#[test]
fn a_flush_ends_the_trust_in_what_was_asked_for_before() {
    let mut world = World::near();
    world.listen(2_000, &[]);
    let flushed = at(world.now);
    world.cluster.handle_flush(world.keys[A], flushed);
    assert_eq!(world.cluster.trust(world.keys[A]), None);
    world.listen(2_000, &[]);
    assert!(world.cluster.trust(world.keys[A]).is_some_and(|trust| trust.since >= flushed));
}
