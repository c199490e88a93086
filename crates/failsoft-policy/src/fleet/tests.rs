//! When a load waits for another process's, takes over, goes on without, and what it does for its own lease meanwhile.

use super::*;
use crate::config::{Config, Setting};
use crate::flight::LoadId;
use crate::lease::Lessor;
use crate::load::{Begin, Ending, Loads, Wanted};
use crate::words::NodeKey;
use crate::write::Cause;
use alloc::vec;

const NODE: NodeKey = NodeKey { index: 3, generation: 0 };

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn key(name: &'static str) -> Bytes {
    Bytes::from_static(name.as_bytes())
}

/// `load_timeout` is 10 s.
fn loads() -> Loads {
    let mut config = Config::default();
    config.set("lease_ttl", Setting::Millis(3_000.0)).expect("in range");
    Loads::new(&config, 7)
}

fn lease(at: Instant, kept: bool) -> Lease {
    let lessor = Lessor { node: NODE, epoch: 1, line: 1 };
    Lease { lessor, token: Bytes::from_static(if kept { b"2ours" } else { b"2theirs" }), at, kept, over: None }
}

fn missing_of(name: &'static str) -> Missing {
    Missing { key: key(name), node: NODE, by: None, over: None }
}

/// Joins at this time, as the leader of all keys, and its turn comes.
fn lead(loads: &mut Loads, names: &[&'static str], inside: &[LoadId], began: u64, now: u64) -> LoadId {
    let one = |name: &&'static str| Wanted {
        key: key(name),
        confirmed: Some(NODE),
        lease_by: None,
        over: None,
        since: Instant::ZERO,
    };
    let wanted: Vec<Wanted> = names.iter().map(one).collect();
    let load =
        loads.join(&wanted, inside, at(began), at(now)).expect("no circle").lead.expect("nobody loads them").load;
    assert_eq!(loads.leases(load).len(), names.len());
    load
}

/// Those of the second list are loaded elsewhere.
fn came(ours: &[&'static str], theirs: &[&'static str], now: u64) -> Came {
    let taken = ours.iter().map(|name| (key(name), Ok(lease(at(now), true)))).collect();
    let elsewhere = theirs.iter().map(|name| (missing_of(name), lease(at(now), false))).collect();
    Came { taken, elsewhere }
}

fn run(next: Option<Next>) -> Keeping {
    match next {
        Some(Next::Run(keeping)) => keeping,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_load_asks_again_ever_less_often_until_its_key_is_its_own() {
    let mut loads = loads();
    let load = lead(&mut loads, &["a"], &[], 0, 0);
    let mut now = 0;
    for pause in [10, 20, 40, 80, 160, 200, 200] {
        let next = loads.leased(load, came(&[], &["a"], now), at(now), 0);
        assert_eq!(next, Some(Next::Wait { until: at(now + pause), missing: vec![missing_of("a")] }));
        now += pause;
    }
    let next = loads.leased(load, came(&[], &["a"], now), at(now), u32::MAX);
    assert_eq!(next, Some(Next::Wait { until: at(now + 100), missing: vec![missing_of("a")] }), "half by chance");
    run(loads.leased(load, came(&["a"], &[], now), at(now), 0));
    assert_eq!(loads.begin(load, true, at(0)), Begin::Run);
    let ended = loads.finish(load, Ending::Loaded { bytes: 1 }, at(now)).expect("it ran");
    assert_eq!(ended.fills, [(key("a"), Ok(lease(at(now), true)))]);
    assert_eq!(loads.released(), []);
}

#[test]
fn a_load_of_many_keys_asks_for_a_thousand_in_a_second_at_the_most() {
    assert_eq!(pause(20, 5_000, u32::MAX), Duration::from_secs(5));
    assert_eq!(pause(u32::MAX, 1, 0), LONGEST_PAUSE);
}

#[test]
fn after_half_of_its_limit_a_load_goes_on_with_the_others_token_and_does_not_keep_it() {
    let mut loads = loads();
    // It waited in line for a second.
    let load = lead(&mut loads, &["a"], &[], 1_000, 2_000);
    let next = loads.leased(load, came(&[], &["a"], 5_990), at(5_990), 0);
    assert_eq!(next, Some(Next::Wait { until: at(6_000), missing: vec![missing_of("a")] }));
    let keeping = run(loads.leased(load, came(&[], &["a"], 6_000), at(6_000), 0));
    assert_eq!(loads.begin(load, true, at(0)), Begin::Run);
    assert_eq!(keeping.next(), None, "it is another's");
    let ended = loads.finish(load, Ending::Loaded { bytes: 1 }, at(6_100)).expect("it ran");
    assert_eq!(ended.fills, [(key("a"), Ok(lease(at(6_000), false)))]);
}

#[test]
fn a_load_of_many_keys_waits_until_it_has_one_of_its_own_and_then_loads_the_rest() {
    let mut loads = loads();
    let load = lead(&mut loads, &["a", "b", "c"], &[], 0, 0);
    let next = loads.leased(load, came(&[], &["a", "b", "c"], 0), at(0), 0);
    assert!(matches!(next, Some(Next::Wait { .. })), "{next:?}");
    // The first has a value now.
    let next = loads.leased(load, came(&[], &["b", "c"], 10), at(10), 0);
    assert!(matches!(next, Some(Next::Wait { missing, .. }) if missing == [missing_of("b"), missing_of("c")]));
    let keeping = run(loads.leased(load, came(&["b"], &["c"], 30), at(30), 0));
    assert_eq!(keeping.leases, [(key("b"), lease(at(30), true))]);
    assert_eq!(loads.begin(load, true, at(0)), Begin::Run);
    let ended = loads.finish(load, Ending::Loaded { bytes: 1 }, at(40)).expect("it ran");
    assert_eq!(ended.fills, [(key("b"), Ok(lease(at(30), true))), (key("c"), Ok(lease(at(30), false)))]);
}

#[test]
fn a_load_with_a_key_that_nobody_coordinates_does_not_wait() {
    let mut loads = loads();
    let load = lead(&mut loads, &["a", "b"], &[], 0, 0);
    let mut held = came(&[], &["a"], 0);
    held.taken.push((key("b"), Err(Cause::Held)));
    assert_eq!(run(loads.leased(load, held, at(0), 0)).next(), None);
    // Of one key a replica said that it is missing, so that it is not leased.
    let one =
        |(name, confirmed)| Wanted { key: key(name), confirmed, lease_by: None, over: None, since: Instant::ZERO };
    let wanted = [("c", Some(NODE)), ("d", None)].map(one);
    let load = loads.join(&wanted, &[], at(0), at(0)).expect("no circle").lead.expect("nobody loads them").load;
    assert_eq!(loads.leases(load), [missing_of("c")]);
    run(loads.leased(load, came(&[], &["c"], 0), at(0), 0));
}

#[test]
fn what_a_callback_waits_for_does_not_wait_for_another_process() {
    let mut loads = loads();
    let outer = lead(&mut loads, &["outer"], &[], 0, 0);
    run(loads.leased(outer, came(&["outer"], &[], 0), at(0), 0));
    assert_eq!(loads.begin(outer, true, at(0)), Begin::Run);
    let inner = lead(&mut loads, &["inner"], &[outer], 0, 0);
    run(loads.leased(inner, came(&[], &["inner"], 0), at(0), 0));
    // So does one that waits already, from when a callback asks for it.
    let third = lead(&mut loads, &["third"], &[], 0, 0);
    assert!(matches!(loads.leased(third, came(&[], &["third"], 0), at(0), 0), Some(Next::Wait { .. })));
    let wanted = Wanted { key: key("third"), confirmed: Some(NODE), lease_by: None, over: None, since: Instant::ZERO };
    let joined = loads.join(&[wanted], &[outer], at(5), at(5)).expect("no circle");
    assert_eq!(joined.waits.len(), 1);
    run(loads.leased(third, came(&[], &["third"], 10), at(10), 0));
}

#[test]
fn a_call_with_a_deadline_waits_within_the_clusters_share_of_it() {
    let mut loads = loads();
    let wanted =
        Wanted { key: key("a"), confirmed: Some(NODE), lease_by: Some(at(15)), over: None, since: Instant::ZERO };
    let load = loads.join(&[wanted], &[], at(0), at(0)).expect("no circle").lead.expect("nobody loads it").load;
    assert_eq!(loads.leases(load).len(), 1);
    let next = loads.leased(load, came(&[], &["a"], 10), at(10), 0);
    assert!(matches!(next, Some(Next::Wait { until, .. }) if until == at(15)), "{next:?}");
    run(loads.leased(load, came(&[], &["a"], 15), at(15), 0));
}

#[test]
fn a_lease_is_prolonged_each_third_of_its_time_until_its_callers_are_gone() {
    let mut loads = loads();
    let load = lead(&mut loads, &["a", "b"], &[], 0, 0);
    let mut keeping = run(loads.leased(load, came(&["a", "b"], &[], 100), at(150), 0));
    assert_eq!(keeping.next(), Some(at(1_100)), "it stands since it was asked for, at the latest");
    assert_eq!(keeping.due(at(1_200)).len(), 2);
    assert_eq!(keeping.next(), Some(at(2_200)));
    keeping.lost(&key("a"));
    assert_eq!(keeping.due(at(9_500)), [(key("b"), lease(at(100), true))]);
    assert_eq!(keeping.next(), None, "the limit of the load is at 10 s");
    keeping.lost(&key("b"));
    assert_eq!(keeping.next(), None);
}

#[test]
fn a_load_that_comes_to_nothing_releases_its_own_leases() {
    let own = |name| (key(name), lease(at(0), true));
    let begin = |loads: &mut Loads, took: u64| {
        let load = lead(loads, &["a"], &[], 0, 0);
        run(loads.leased(load, came(&["a"], &[], 0), at(took), 0));
        assert_eq!(loads.begin(load, true, at(0)), Begin::Run);
        load
    };
    for ending in [Ending::Failed, Ending::Gone] {
        let mut loads = loads();
        let load = begin(&mut loads, 0);
        let ended = loads.finish(load, ending, at(1)).expect("it ran");
        assert_eq!((ended.fills, loads.released()), (vec![], vec![own("a")]), "{ending:?}");
        assert_eq!(loads.released(), []);
    }
    // Nobody waits for it any more.
    let mut loads = loads();
    let wanted = Wanted { key: key("a"), confirmed: Some(NODE), lease_by: None, over: None, since: Instant::ZERO };
    let joined = loads.join(&[wanted], &[], at(0), at(0)).expect("no circle");
    let load = joined.lead.expect("nobody loads it").load;
    loads.leases(load);
    run(loads.leased(load, came(&["a"], &[], 0), at(0), 0));
    assert_eq!((loads.leave(joined.waiter), loads.released()), (vec![load], vec![own("a")]));
    // Nor did anybody when its lease came.
    assert_eq!((loads.leased(load, came(&["a"], &[], 0), at(0), 0), loads.released()), (None, vec![own("a")]));
    // It is stopped when it has run on for as long again.
    let load = begin(&mut loads, 0);
    assert_eq!((loads.expire(at(10_000)).timed_out, loads.released()), (vec![load], vec![]));
    assert_eq!((loads.expire(at(20_000)).stop, loads.released()), (vec![load], vec![own("a")]));
}
