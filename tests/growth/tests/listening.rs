//! What listeners cost one primary: 1,000 routers that are idle, that read, and whose keys are invalidated.

use failsoft_growth::listening::{Listeners, Load, load};

/// A thousand routers, in as many invalidations a second of the keys of each primary.
fn of(in_use: bool, invalidations: u32) -> Load {
    load(Listeners { routers: 1_000, sample: 12, in_use, invalidations })
}

#[test]
fn a_thousand_idle_routers_take_under_one_percent_of_a_core() {
    let load = of(false, 0);
    assert!(load.listen > 0.99 && load.probes > 10.0, "all of them listen: {load:?}");
    assert!(load.worst < 0.01, "{load:?}");
}

#[test]
fn a_thousand_routers_in_use_take_under_four() {
    let load = of(true, 0);
    assert!(load.listen > 0.99 && load.heard > 0.95, "all of them hear: {load:?}");
    assert!(load.worst < 0.04, "{load:?}");
}

#[test]
fn five_invalidations_a_second_of_each_primary_are_heard_by_all_for_under_a_tenth() {
    let load = of(true, 5);
    assert!(load.listen > 0.99 && load.heard > 0.95, "{load:?}");
    assert!(load.told > 9_900.0, "each is told twice: {load:?}");
    assert!(load.worst < 0.1, "{load:?}");
}

#[test]
fn where_more_would_cost_more_few_listen_at_a_time() {
    for invalidations in [10, 100] {
        let load = of(true, invalidations);
        assert!(load.listen < 0.2 && load.told > 0.0, "{invalidations}: {load:?}");
        assert!(load.worst < 0.05, "{invalidations}: {load:?}");
    }
}

#[test]
fn a_fleet_that_is_somewhat_too_large_listens_by_turns() {
    let load = load(Listeners { routers: 1_800, sample: 24, in_use: true, invalidations: 0 });
    assert!(load.listen > 0.1 && load.listen < 0.9, "{load:?}");
    assert!(load.worst < 0.06, "{load:?}");
}
