//! What follows from the end of a load, one rule at a time.

use super::*;
use crate::lease::{Lease, Lessor};
use crate::words::NodeKey;
use crate::write::Cause;
use alloc::vec;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn node() -> NodeKey {
    NodeKey { index: 3, generation: 0 }
}

fn key(name: &'static str) -> Bytes {
    Bytes::from_static(name.as_bytes())
}

fn wanted(names: &[&'static str], confirmed: bool) -> Vec<Wanted> {
    names
        .iter()
        .map(|name| Wanted {
            key: key(name),
            confirmed: confirmed.then(node),
            lease_by: None,
            over: None,
            since: Instant::ZERO,
        })
        .collect()
}

fn loads() -> Loads {
    Loads::new(&Config::default(), 7)
}

/// A lease as this node gives it.
fn lease() -> Result<Lease, Cause> {
    let lessor = Lessor { node: node(), epoch: 1, line: 1 };
    Ok(Lease { lessor, token: Bytes::from_static(b"1token"), at: at(0), kept: false, over: None })
}

/// Takes the leases of a load whose turn has come; those of keys whose names are `refused` are not to be had.
fn take_leases(loads: &mut Loads, load: LoadId, refused: &[&str]) {
    let missing = loads.leases(load);
    assert!(missing.iter().all(|missing| missing.node == node()));
    if missing.is_empty() {
        return;
    }
    let taken = |m: Missing| {
        let no = refused.iter().any(|name| m.key == name.as_bytes());
        (m.key, if no { Err(Cause::Timeout) } else { lease() })
    };
    let came = Came { taken: missing.into_iter().map(taken).collect(), elsewhere: vec![] };
    assert!(matches!(loads.leased(load, came, at(0), 0), Some(Next::Run(_))));
}

/// Joins as the leader, takes the leases, and begins.
fn lead(loads: &mut Loads, names: &[&'static str], confirmed: bool, now: Instant) -> LoadId {
    let joined = loads.join(&wanted(names, confirmed), &[], now, now).expect("no circle");
    let load = joined.lead.expect("nobody loads them").load;
    take_leases(loads, load, &[]);
    assert_eq!(loads.begin(load, true, at(0)), Begin::Run);
    load
}

const LOADED: Ending = Ending::Loaded { bytes: 10 };

#[test]
fn a_loaded_value_is_written_back_with_its_lease() {
    let mut loads = loads();
    let load = lead(&mut loads, &["a", "b"], true, at(0));
    let joined = loads.join(&wanted(&["b", "c"], true), &[], at(1), at(1)).expect("no circle");
    let finished = loads.finish(load, LOADED, at(2)).expect("it ran");
    assert_eq!(finished.fills, [(key("a"), lease()), (key("b"), lease())]);
    assert_eq!((finished.waiters, finished.kept), (2, true));
    let other = joined.lead.expect("c").load;
    take_leases(&mut loads, other, &["c"]);
    let finished = loads.finish(other, LOADED, at(3)).expect("it ran");
    assert_eq!(finished.fills, [(key("c"), Err(Cause::Timeout))], "not what another load was for");
    assert!(loads.leases.is_empty());
}

#[test]
fn nothing_is_written_back_without_a_confirmed_miss_a_value_or_the_setting() {
    let mut all = loads();
    let load = lead(&mut all, &["a"], false, at(0));
    assert_eq!(all.finish(load, LOADED, at(1)).expect("it ran").fills, []);
    for (ending, name) in [(Ending::Failed, "b"), (Ending::Gone, "c")] {
        let load = lead(&mut all, &[name], true, at(2));
        assert_eq!(all.finish(load, ending, at(3)).expect("it ran").fills, []);
    }
    let mut config = Config::default();
    config.set_text("fill", "false").expect("a setting");
    let mut none = Loads::new(&config, 7);
    let load = lead(&mut none, &["a"], true, at(0));
    assert_eq!(none.finish(load, LOADED, at(1)).expect("it ran").fills, []);
}

#[test]
fn who_set_out_before_the_end_is_answered_by_it_and_waits_for_nothing() {
    let mut loads = loads();
    let load = lead(&mut loads, &["a"], false, at(10));
    assert!(loads.finish(load, Ending::Failed, at(20)).expect("it ran").kept, "a failure tells as much");
    let joined = loads.join(&wanted(&["a", "b"], false), &[], at(15), at(30)).expect("no circle");
    assert_eq!(joined.answered, [LoadKeys { load, keys: vec![key("a")] }]);
    assert_eq!(joined.lead.expect("a lead").keys, [key("b")]);
    let joined = loads.join(&wanted(&["a"], false), &[], at(21), at(30)).expect("no circle");
    assert_eq!((joined.answered, joined.lead.is_some()), (vec![], true));
}

#[test]
fn a_callback_that_is_gone_leaves_it_to_callers_with_one_of_their_own() {
    let mut loads = loads();
    let load = lead(&mut loads, &["a"], true, at(0));
    let finished = loads.finish(load, Ending::Gone, at(1)).expect("it ran");
    assert_eq!((finished.kept, finished.waiters), (false, 1));
    assert!(Ending::Gone.leaves_it_to(true) && !Ending::Gone.leaves_it_to(false));
    assert!(!Ending::Failed.leaves_it_to(true) && !LOADED.leaves_it_to(true));
}

#[test]
fn after_its_limit_a_load_is_of_use_to_the_fill_alone() {
    let mut loads = loads();
    let load = lead(&mut loads, &["a"], true, at(0));
    let due = loads.expire(at(10_000));
    assert_eq!(due, Due { timed_out: vec![load], ..Due::default() });
    let finished = loads.finish(load, LOADED, at(10_001)).expect("it ran on");
    assert_eq!(finished, Finished { waiters: 0, fills: vec![(key("a"), lease())], kept: false, dropped: vec![] });
    assert_eq!(loads.finish(load, LOADED, at(10_002)), None, "it ends once");
}

#[test]
fn a_load_that_nobody_waits_for_is_not_begun() {
    let mut loads = loads();
    let joined = loads.join(&wanted(&["a"], true), &[], at(0), at(0)).expect("no circle");
    let load = joined.lead.expect("a lead").load;
    assert_eq!(loads.leave(joined.waiter), [load]);
    assert!(loads.begin(load, true, at(0)) == Begin::Over && loads.leases.is_empty());
    assert_eq!(loads.finish(load, LOADED, at(1)), None);
}

#[test]
fn results_are_kept_as_long_as_a_caller_can_be_on_its_way() {
    let mut loads = loads();
    let first = lead(&mut loads, &["a"], false, at(0));
    loads.finish(first, LOADED, at(0));
    let second = lead(&mut loads, &["b"], false, at(500));
    loads.finish(second, LOADED, at(500));
    let due = loads.next_timeout().expect("two results");
    assert_eq!(due, at(1_500) + Duration::from_nanos(1), "one timer for both");
    assert_eq!(loads.expire(due).dropped, [first, second]);
    assert_eq!(loads.next_timeout(), None);
}

#[test]
fn those_beyond_the_limit_wait_in_line_and_begin_when_a_callback_has_ended() {
    let mut config = Config::default();
    config.set_text("max_concurrent_loads", "1").expect("a setting");
    let mut loads = Loads::new(&config, 7);
    let first = loads.join(&wanted(&["a"], true), &[], at(0), at(0)).expect("no circle");
    let first = first.lead.map(|lead| (lead.load, first.begin)).expect("a lead");
    assert_eq!(first.1, [first.0]);
    assert_eq!(loads.begin(first.0, true, at(0)), Begin::Run);
    let second = loads.join(&wanted(&["b"], true), &[], at(1), at(1)).expect("no circle");
    let third = loads.join(&wanted(&["c"], true), &[], at(2), at(2)).expect("no circle");
    assert_eq!((&second.begin[..], &third.begin[..], loads.queued()), (&[][..], &[][..], 2));
    // Who waits for another's load needs no place of its own.
    let joined = loads.join(&wanted(&["b"], true), &[], at(3), at(3)).expect("no circle");
    assert_eq!((joined.lead, joined.begin, loads.queued()), (None, vec![], 2));
    assert_eq!(loads.leave(third.waiter).len(), 1);
    assert_eq!(loads.queued(), 1, "its only caller has left");
    assert!(loads.finish(first.0, LOADED, at(4)).is_some());
    let next = loads.release(first.0, at(20_000));
    assert_eq!(next, second.lead.map(|lead| lead.load));
    assert_eq!(loads.begin(next.expect("one in line"), true, at(0)), Begin::Run);
}

#[test]
fn a_load_keeps_its_place_until_its_callback_has_stopped() {
    let mut config = Config::default();
    config.set_text("max_concurrent_loads", "1").expect("a setting");
    let mut loads = Loads::new(&config, 7);
    let hung = lead(&mut loads, &["a"], true, at(0));
    let next = loads.join(&wanted(&["b"], true), &[], at(10_000), at(10_000)).expect("no circle");
    assert_eq!(loads.expire(at(10_000)), Due { timed_out: vec![hung], ..Due::default() });
    assert_eq!((next.begin, loads.queued()), (vec![], 1), "it runs on");
    let over = next.lead.expect("a lead").load;
    assert_eq!(loads.expire(at(20_000)), Due { timed_out: vec![over], stop: vec![hung, over], dropped: vec![] });
    assert!(loads.begin(over, true, at(20_000)) == Begin::Over && loads.leases.is_empty());
    assert_eq!((loads.release(hung, at(20_000)), loads.queued()), (None, 0));
    assert_eq!(lead(&mut loads, &["c"], true, at(20_001)), loads.flights.load_of(&key("c")).expect("it runs"));
}

#[test]
fn what_a_callback_asks_for_does_not_wait_in_line() {
    let mut config = Config::default();
    config.set_text("max_concurrent_loads", "1").expect("a setting");
    let mut loads = Loads::new(&config, 7);
    let outer = lead(&mut loads, &["a"], true, at(0));
    let waits = loads.join(&wanted(&["b"], true), &[], at(1), at(1)).expect("no circle");
    let queued = waits.lead.expect("a lead").load;
    let inner = loads.join(&wanted(&["b", "c"], true), &[outer], at(2), at(2)).expect("no circle");
    assert_eq!(inner.begin, [queued, inner.lead.expect("a lead").load]);
    assert_eq!(loads.queued(), 0);
}

#[test]
fn a_failed_load_is_not_repeated_during_its_pause() {
    let mut config = Config::default();
    config.set_text("failure_pause_ms", "5000").expect("a setting");
    let mut loads = Loads::new(&config, 7);
    let (failed, fine) = (lead(&mut loads, &["a"], false, at(0)), lead(&mut loads, &["b"], false, at(0)));
    assert!(loads.finish(failed, Ending::Failed, at(10)).expect("it ran").kept);
    assert!(loads.finish(fine, LOADED, at(10)).expect("it ran").kept);
    let joined = loads.join(&wanted(&["a", "b"], false), &[], at(5_009), at(5_009)).expect("no circle");
    assert_eq!(joined.answered, [LoadKeys { load: failed, keys: vec![key("a")] }]);
    assert_eq!(joined.lead.expect("a lead").keys, [key("b")], "a value is no failure");
    assert_eq!(loads.expire(at(5_009)).dropped, []);
    let joined = loads.join(&wanted(&["a"], false), &[], at(5_010), at(5_010)).expect("no circle");
    assert_eq!((joined.answered, joined.lead.is_some()), (vec![], true));
}

#[test]
fn nothing_stays_of_a_load_whose_limit_passes_while_it_takes_its_leases() {
    let mut loads = loads();
    let joined = loads.join(&wanted(&["a"], true), &[], at(0), at(0)).expect("no circle");
    let load = joined.lead.expect("a lead").load;
    assert_eq!(loads.leases(load), [Missing { key: key("a"), node: node(), by: None, over: None }]);
    assert_eq!(loads.expire(at(10_000)), Due { timed_out: vec![load], stop: vec![load], ..Due::default() });
    assert_eq!(loads.begin(load, true, at(10_000)), Begin::Over);
    assert_eq!((loads.finish(load, Ending::Gone, at(10_000)), loads.release(load, at(20_000))), (None, None));
    assert!(loads.leases.is_empty() && !loads.bulkhead.is_running(load));
}

#[test]
fn who_asks_after_a_key_was_changed_gets_nothing_of_what_began_before() {
    let mut loads = loads();
    // One has ended in the very moment of the change, one runs.
    let ended = lead(&mut loads, &["a"], true, at(0));
    assert!(loads.finish(ended, LOADED, at(5)).expect("it ran").kept);
    let runs = lead(&mut loads, &["b", "c"], true, at(1));
    loads.detach(&key("a"));
    loads.detach(&key("b"));
    let joined = loads.join(&wanted(&["a", "b", "c"], true), &[], at(5), at(5)).expect("no circle");
    let lead = joined.lead.expect("two keys are loaded anew");
    assert_eq!((lead.keys, joined.answered), (vec![key("a"), key("b")], vec![]));
    assert_eq!(joined.waits, [LoadKeys { load: runs, keys: vec![key("c")] }]);
    // Its result is kept of what was not changed meanwhile.
    loads.finish(runs, LOADED, at(9)).expect("it ran");
    let late = loads.join(&wanted(&["b", "c"], true), &[], at(2), at(9)).expect("no circle");
    assert_eq!(late.answered, [LoadKeys { load: runs, keys: vec![key("c")] }]);
    assert_eq!(late.waits, [LoadKeys { load: lead.load, keys: vec![key("b")] }]);
}

#[test]
fn a_load_that_may_lack_an_invalidation_is_not_joined() {
    let mut loads = loads();
    let load = lead(&mut loads, &["a"], false, at(0));
    let late = |since| vec![Wanted { since: at(since), ..wanted(&["a"], false).remove(0) }];
    let joined = loads.join(&late(0), &[], at(5_000), at(5_000)).expect("no circle");
    assert!(joined.lead.is_none() && joined.waits[0].load == load, "all is known since it began");
    // What it asks for itself is its own key.
    assert!(loads.join(&late(3_000), &[load], at(5_000), at(5_000)).is_err());
    let joined = loads.join(&late(3_000), &[], at(5_000), at(5_000)).expect("no circle");
    let anew = joined.lead.expect("one of its own").load;
    assert!(joined.waits.is_empty() && anew != load);
    // The first one still answers those who wait for it, and nobody who sets out later.
    assert_eq!(loads.finish(load, LOADED, at(5_001)).map(|finished| finished.waiters), Some(2));
    let joined = loads.join(&late(0), &[], at(5_001), at(5_002)).expect("no circle");
    assert_eq!(joined.waits[0].load, anew, "it is queued: its callback is still to begin");
}

#[test]
fn nor_is_its_result_an_answer_for_who_set_out_before_it_ended() {
    let mut loads = loads();
    let load = lead(&mut loads, &["a"], false, at(0));
    loads.finish(load, LOADED, at(5_000)).expect("it ran");
    let late = |since| vec![Wanted { since: at(since), ..wanted(&["a"], false).remove(0) }];
    assert_eq!(loads.join(&late(0), &[], at(4_999), at(5_001)).expect("no circle").answered[0].load, load);
    assert!(loads.join(&late(3_000), &[], at(4_999), at(5_001)).expect("no circle").lead.is_some());
}
