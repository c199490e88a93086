//! A fleet of 10,000 routers leaves the servers of 1,000 shards alone: under 2% of a core in calm, under 10% in a
//! failover, by what a command costs and how often the real policy asks.

#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

use failsoft_growth::fleet::{Fleet, Load, load, settled};
use failsoft_growth::world::Fault;

const PRIMARIES: usize = 1_000;
const ROUTERS: usize = 10_000;

fn of(sample: usize, fault: Fault) -> Load {
    load(Fleet { routers: ROUTERS, sample }, PRIMARIES, fault)
}

#[test]
fn a_calm_cluster_spends_under_two_percent_on_being_watched() {
    let load = of(4, Fault::None);
    assert!(load.probes > 10.0 && load.views > 0.1, "somebody asks: {load:?}");
    assert!(load.mean < 0.02, "{load:?}");
}

#[test]
fn a_failover_costs_no_server_a_tenth_of_its_processor() {
    let load = of(24, Fault::Lost { primaries: 1, refused: false });
    assert!(load.hottest > 0.01, "every router looks at the shard that is struck: {load:?}");
    assert!(load.mean < 0.1 && load.worst < 0.1 && load.hottest < 0.1, "{load:?}");
}

#[test]
fn a_partition_costs_the_servers_a_tenth_at_the_most_too() {
    let load = of(3, Fault::Lost { primaries: PRIMARIES / 10, refused: false });
    assert!(load.mean < 0.1 && load.worst < 0.1, "{load:?}");
}

#[test]
fn an_election_makes_nobody_ask_every_primary_at_once() {
    let elected = load(Fleet { routers: ROUTERS, sample: 60 }, 3, Fault::Elected);
    assert!(elected.hottest > 0.01, "every router hears of it: {elected:?}");
    assert!(elected.worst < 0.2 && elected.hottest < 0.12, "{elected:?}");
}

#[test]
fn every_slot_of_a_large_cluster_has_a_route() {
    let report = settled(PRIMARIES).report(failsoft_policy::Instant::from_millis(1_000_000));
    assert_eq!((report.nodes.len(), report.slots_assigned, report.slots_ok), (2 * PRIMARIES, 16_384, 16_384));
}
