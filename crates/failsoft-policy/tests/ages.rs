//! How old a replica is said to be: for any history of writes, contacts, broken links and restarts it is never younger
//! than what it lacks, and no route goes by what is known to be wrong.

use failsoft_policy::cluster::Cluster;
use failsoft_policy::config::Config;
use failsoft_policy::route::{Route, Snapshot};
use failsoft_policy::slot::slot_of;
use failsoft_policy::view::{NodeReport, Probe, Role, View, ViewNode};
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason};
use proptest::prelude::*;
use std::time::Duration;

/// `outage_budget`, as it is by default.
const BUDGET: Duration = Duration::from_secs(30);
const PRIMARY: usize = 0;
const REPLICA: usize = 1;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes.
    Pass(u64),
    /// The primary writes.
    Write,
    /// The replica copies so much of what it lacks, if its link is up.
    Copy(u64),
    /// The link breaks, or comes up again.
    Break,
    Mend,
    /// The primary's process starts again, and its offset at 0 or where it was; that breaks the link.
    Restart {
        from_zero: bool,
    },
    /// A node is probed, which takes so long on the way there and on the way back.
    Probe {
        node: usize,
        there: u64,
        back: u64,
    },
    /// The primary answers a read that was sent so long ago.
    Contact {
        sent_ago: u64,
    },
    /// A read fails there.
    Fail {
        node: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let node = prop_oneof![Just(PRIMARY), Just(REPLICA)];
    prop_oneof![
        4 => (1u64..1_500).prop_map(Event::Pass),
        4 => Just(Event::Write),
        4 => (1u64..4).prop_map(Event::Copy),
        1 => Just(Event::Break),
        1 => Just(Event::Mend),
        1 => any::<bool>().prop_map(|from_zero| Event::Restart { from_zero }),
        6 => (node.clone(), 0u64..300, 0u64..300).prop_map(|(node, there, back)| Event::Probe { node, there, back }),
        2 => (0u64..100).prop_map(|sent_ago| Event::Contact { sent_ago }),
        1 => node.prop_map(|node| Event::Fail { node }),
    ]
}

/// A place in the primary's stream of writes.
type Place = (u128, u64);

/// A question under way: its node, when it was sent, when it is read there and comes back, and what it carries then.
struct Asked {
    node: usize,
    sent: u64,
    read_at: u64,
    back_at: u64,
    report: Option<NodeReport>,
}

struct World {
    cluster: Cluster,
    /// The routes in force: made anew whenever the cluster says that they have changed.
    routes: Snapshot,
    keys: [NodeKey; 2],
    now: u64,
    /// Whether the servers tell their histories; where they don't, the primary is not restarted.
    told: bool,
    primary: Place,
    /// When the primary came to each place that the replica may lack.
    changes: Vec<(u64, Place)>,
    replica: Place,
    /// Since when the link is up or down.
    link: (bool, u64),
    asked: Vec<Asked>,
}

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn endpoint(n: usize) -> Endpoint {
    Endpoint { host: format!("n{n}"), port: 7000 }
}

fn id(n: usize) -> String {
    format!("id{n}")
}

impl World {
    fn new(told: bool) -> Self {
        let now = 10_000;
        // Nobody listens to a node here.
        let mut config = Config::default();
        config.set_text("staleness_budget_ms", "30000").expect("in range");
        let mut cluster = Cluster::new(&config, vec![endpoint(PRIMARY)], at(now));
        while cluster.poll(at(now), 0).is_some() {}
        let node = |n: usize| ViewNode {
            id: id(n),
            endpoint: Some(endpoint(n)),
            role: if n == PRIMARY { Role::Primary } else { Role::Replica(Some(id(PRIMARY))) },
            slots: if n == PRIMARY { vec![(0, 16_383)] } else { vec![] },
            epoch: Some(1),
            failed: false,
            suspected: false,
        };
        let nodes = Some(vec![node(PRIMARY), node(REPLICA)]);
        let view = View { by: Some(id(PRIMARY)), via: endpoint(PRIMARY), asked_at: at(now), nodes, info: None };
        cluster.handle_view(1, view, at(now));
        cluster.handle_refresh_done(1, at(now));
        let keys = [PRIMARY, REPLICA].map(|n| {
            let (key, _) = cluster.endpoints().find(|(_, e)| **e == endpoint(n)).expect("it is known");
            key
        });
        let start = (1, 5);
        Self {
            routes: cluster.snapshot(),
            cluster,
            keys,
            now,
            told,
            primary: start,
            changes: Vec::new(),
            replica: start,
            link: (true, now),
            asked: Vec::new(),
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Pass(ms) => (0..ms).for_each(|_| self.pass()),
            Event::Write => self.come_to((self.primary.0, self.primary.1 + 1)),
            Event::Copy(n) => {
                if self.link.0 && self.replica.0 == self.primary.0 {
                    self.replica.1 = (self.replica.1 + n).min(self.primary.1);
                }
            }
            Event::Break if self.link.0 => self.link = (false, self.now),
            Event::Mend if !self.link.0 => {
                self.link = (true, self.now);
                if self.replica.0 != self.primary.0 {
                    // It copies everything anew.
                    self.replica = self.primary;
                }
            }
            Event::Restart { from_zero } if self.told => {
                let offset = if from_zero { 0 } else { self.primary.1 };
                self.come_to((self.primary.0 + 1, offset));
                self.link = (false, self.now);
            }
            Event::Break | Event::Mend | Event::Restart { .. } => {}
            Event::Probe { node, there, back } => {
                if self.asked.iter().all(|a| a.node != node) {
                    let read_at = self.now + there;
                    self.asked.push(Asked { node, sent: self.now, read_at, back_at: read_at + back, report: None });
                    self.answer();
                }
            }
            Event::Contact { sent_ago } => {
                self.cluster.handle_contact(self.keys[PRIMARY], at(self.now - sent_ago));
            }
            Event::Fail { node } => {
                self.cluster.handle_failure(self.keys[node], Reason::Connection, at(self.now), None, at(self.now));
            }
        }
    }

    fn come_to(&mut self, place: Place) {
        self.primary = place;
        self.changes.push((self.now, place));
    }

    fn pass(&mut self) {
        self.now += 1;
        self.answer();
    }

    /// Questions are read, and answers come back.
    fn answer(&mut self) {
        let now = self.now;
        let reports = [self.report(PRIMARY), self.report(REPLICA)];
        for asked in self.asked.iter_mut().filter(|a| a.read_at == now) {
            asked.report = Some(reports[asked.node].clone());
        }
        let (back, on_the_way): (Vec<Asked>, Vec<Asked>) =
            std::mem::take(&mut self.asked).into_iter().partition(|a| a.back_at <= now);
        self.asked = on_the_way;
        for Asked { node, sent, report, .. } in back {
            let report = report.ok_or(Reason::Timeout);
            let probe = Probe { node: self.keys[node], sent_at: at(sent), report, witness: None };
            self.cluster.handle_probe(probe, at(now));
        }
    }

    fn report(&self, node: usize) -> NodeReport {
        let primary = node == PRIMARY;
        let (history, offset) = if primary { self.primary } else { self.replica };
        let (up, since) = self.link;
        NodeReport {
            id: Some(id(node)),
            primary,
            cluster_ok: true,
            my_epoch: Some(1),
            offset: Some(offset),
            history: self.told.then_some(history),
            link_up: (!primary).then_some(up),
            link_down_for: (!primary && !up).then(|| Duration::from_secs((self.now - since) / 1_000)),
            ..NodeReport::default()
        }
    }

    /// The last moment of which the replica holds everything.
    fn held(&self) -> u64 {
        self.changes.iter().find(|(_, place)| *place > self.replica).map_or(self.now, |&(at, _)| at)
    }

    /// Until when the replica stands in by the routes in force, if it does.
    fn stands_in_until(&mut self) -> Option<Instant> {
        if self.cluster.is_dirty() {
            self.routes = self.cluster.snapshot();
        }
        match self.routes.route(slot_of(b"")) {
            Route::Replica { replica, .. } | Route::Readmitting { replica, .. } => Some(replica.until),
            Route::Primary { .. } | Route::Secondary { .. } | Route::Await { .. } => None,
        }
    }

    fn claimed(&self) -> Option<u64> {
        Some(self.cluster.current_at(self.keys[REPLICA])?.as_nanos() / 1_000_000)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_replica_is_never_said_to_be_younger_than_it_is(told: bool, events in prop::collection::vec(event(), 1..80)) {
        let mut world = World::new(told);
        for event in &events {
            world.happen(event);
            let (claimed, held) = (world.claimed(), world.held());
            prop_assert!(claimed.is_none_or(|claimed| claimed <= held), "as of {claimed:?} after {event:?}, but of {held}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_route_goes_by_an_age_that_is_known_to_be_higher(told: bool, events in prop::collection::vec(event(), 1..80)) {
        let mut world = World::new(told);
        for event in &events {
            world.happen(event);
            let until = world.stands_in_until();
            let known = world.cluster.dated(world.keys[REPLICA]).map(|dated| dated.counts_from + BUDGET);
            let (until, known) = (until.unwrap_or(Instant::ZERO), known.unwrap_or(Instant::ZERO));
            prop_assert!(until <= known, "until {until:?} after {event:?}, not {known:?} at the latest");
        }
    }
}

#[test]
fn a_replica_that_turns_out_to_be_older_stands_in_no_longer() {
    let mut world = World::new(true);
    let probe = |node, there, back| Event::Probe { node, there, back };
    let all = |world: &mut World, events: &[Event]| events.iter().for_each(|event| world.happen(event));
    all(&mut world, &[probe(PRIMARY, 0, 0), probe(REPLICA, 0, 0), Event::Restart { from_zero: false }, Event::Mend]);
    // In the new history it is not compared before the primary's answer is there: its age counts from the last contact.
    all(&mut world, &[probe(PRIMARY, 0, 1_000), Event::Pass(1), probe(REPLICA, 0, 0), Event::Pass(899)]);
    all(&mut world, &[Event::Contact { sent_ago: 0 }, Event::Fail { node: PRIMARY }]);
    assert_eq!(world.stands_in_until(), Some(at(10_900) + BUDGET));
    all(&mut world, &[Event::Pass(100)]);
    assert_eq!(world.stands_in_until(), Some(at(10_000) + BUDGET), "it was asked long before");
}

#[test]
fn a_replica_is_as_young_as_the_newest_sample_that_it_covers() {
    let mut world = World::new(true);
    let probe = |node, there, back| Event::Probe { node, there, back };
    let all = |world: &mut World, events: &[Event]| events.iter().for_each(|event| world.happen(event));
    all(&mut world, &[probe(REPLICA, 0, 0), Event::Pass(100), probe(PRIMARY, 5, 20), Event::Pass(100)]);
    assert_eq!(world.claimed(), Some(10_100), "the replica had said before that it was as far");
    all(&mut world, &[Event::Write, Event::Copy(1), probe(PRIMARY, 0, 0)]);
    assert_eq!(world.claimed(), Some(10_100), "it has said nothing new");
    all(&mut world, &[Event::Pass(50), probe(REPLICA, 0, 0)]);
    assert_eq!(world.claimed(), Some(10_200));
    all(&mut world, &[Event::Pass(300), Event::Contact { sent_ago: 1 }, Event::Fail { node: PRIMARY }]);
    all(&mut world, &[Event::Pass(1), probe(REPLICA, 0, 0)]);
    assert_eq!(world.claimed(), Some(10_200), "who may have written before it failed is followed by its offset alone");
}
