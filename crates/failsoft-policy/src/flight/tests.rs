//! Each rule of the flights, one by one.

use super::*;
use alloc::string::ToString;
use alloc::vec;

const LIMIT: Duration = Duration::from_secs(10);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn keys(names: &[&str]) -> Vec<Bytes> {
    names.iter().map(|name| Bytes::copy_from_slice(name.as_bytes())).collect()
}

fn join(flights: &mut Flights, names: &[&str], parent: Option<LoadId>) -> Join {
    flights.join(&keys(names), parent.as_slice(), Instant::ZERO, LIMIT).expect("no circle")
}

/// Joins as the leader of all these keys, and begins.
fn lead(flights: &mut Flights, names: &[&str], parent: Option<LoadId>) -> (LoadId, WaiterId) {
    let join = join(flights, names, parent);
    let lead = join.lead.expect("nobody loads them");
    assert_eq!((lead.keys, join.waits), (keys(names), vec![]));
    assert!(flights.begin(lead.load));
    (lead.load, join.waiter)
}

fn reentrant(flights: &mut Flights, names: &[&str], parent: LoadId) -> Bytes {
    let before = flights.counts();
    let error = flights.join(&keys(names), &[parent], Instant::ZERO, LIMIT).expect_err("a circle");
    assert_eq!(flights.counts(), before);
    error.key
}

fn assert_nothing_left(flights: &Flights) {
    assert_eq!(flights.counts(), Counts::default());
    assert!(flights.loads.is_empty());
    assert_eq!(flights.next_timeout(), None);
}

#[test]
fn a_thousand_callers_make_one_load_and_each_is_told_once() {
    let mut flights = Flights::default();
    let (load, leader) = lead(&mut flights, &["k"], None);
    let mut waiters = vec![leader];
    for _ in 1..1_000 {
        let join = join(&mut flights, &["k"], None);
        assert_eq!((join.lead, join.waits), (None, vec![LoadKeys { load, keys: keys(&["k"]) }]));
        waiters.push(join.waiter);
    }
    assert_eq!(flights.counts(), Counts { flights: 1, loads: 1, waiters: 1_000, detached: 0 });
    assert_eq!(flights.complete(load), Some(Completed { keys: keys(&["k"]), waiters, late: false }));
    assert_eq!(flights.complete(load), None);
    assert_nothing_left(&flights);
    assert_ne!(lead(&mut flights, &["k"], None).0, load);
}

#[test]
fn duplicate_keys_are_folded() {
    let mut flights = Flights::default();
    let (load, _) = lead(&mut flights, &["x"], None);
    let join = join(&mut flights, &["b", "a", "x", "b", "x", "a"], None);
    assert_eq!(join.lead.expect("a and b").keys, keys(&["b", "a"]));
    assert_eq!(join.waits, [LoadKeys { load, keys: keys(&["x"]) }]);
}

#[test]
fn without_keys_nobody_waits() {
    let mut flights = Flights::default();
    let join = join(&mut flights, &[], None);
    assert_eq!((join.lead, join.waits), (None, vec![]));
    assert_eq!(flights.leave(join.waiter), []);
    assert_nothing_left(&flights);
}

#[test]
fn a_caller_of_many_keys_leads_some_and_waits_for_others() {
    let mut flights = Flights::default();
    let (ab, first) = lead(&mut flights, &["a", "b"], None);
    let (c, second) = lead(&mut flights, &["c"], None);
    let many = join(&mut flights, &["c", "b", "d", "a"], None);
    let d = many.lead.expect("d").load;
    assert_eq!(many.waits, [LoadKeys { load: ab, keys: keys(&["b", "a"]) }, LoadKeys { load: c, keys: keys(&["c"]) }]);
    assert_eq!(flights.counts(), Counts { flights: 4, loads: 3, waiters: 3, detached: 0 });
    assert_eq!(flights.complete(ab).expect("ab").waiters, [first, many.waiter]);
    assert_eq!(flights.complete(c).expect("c").waiters, [second, many.waiter]);
    assert_eq!(flights.complete(d).expect("d").waiters, [many.waiter]);
    assert_nothing_left(&flights);
}

#[test]
fn the_leader_leaves_and_the_load_goes_on_for_the_others() {
    let mut flights = Flights::default();
    let (load, leader) = lead(&mut flights, &["k"], None);
    let other = join(&mut flights, &["k"], None).waiter;
    assert_eq!(flights.leave(leader), []);
    assert_eq!(flights.leave(leader), []);
    assert_eq!(flights.complete(load).expect("running").waiters, [other]);
}

#[test]
fn a_load_that_nobody_waits_for_is_cancelled() {
    let mut flights = Flights::default();
    let (load, leader) = lead(&mut flights, &["k"], None);
    let other = join(&mut flights, &["k"], None).waiter;
    assert_eq!(flights.leave(other), []);
    assert_eq!(flights.leave(leader), [load]);
    assert_nothing_left(&flights);
    // Its flight is gone at once: the next caller leads, and the cancelled one can end no more.
    let (next, _) = lead(&mut flights, &["k"], None);
    assert_eq!(flights.complete(load), None);
    assert_eq!(flights.counts().flights, 1);
    assert!(flights.complete(next).is_some());
}

#[test]
fn leaving_cancels_only_what_nobody_else_waits_for() {
    let mut flights = Flights::default();
    let (a, first) = lead(&mut flights, &["a"], None);
    let (b, second) = lead(&mut flights, &["b"], None);
    let many = join(&mut flights, &["a", "b", "c"], None);
    let c = many.lead.expect("c").load;
    assert_eq!(flights.leave(first), []);
    assert_eq!(flights.leave(many.waiter), [a, c]);
    assert_eq!(flights.complete(b).expect("b").waiters, [second]);
    assert_nothing_left(&flights);
}

#[test]
fn a_callback_that_asks_for_its_own_key() {
    let mut flights = Flights::default();
    let (load, waiter) = lead(&mut flights, &["a", "b"], None);
    assert_eq!(reentrant(&mut flights, &["b"], load), "b");
    assert_eq!(reentrant(&mut flights, &["new", "a"], load), "a");
    // The refused call took no key with it.
    assert!(join(&mut flights, &["new"], None).lead.is_some());
    assert_eq!(flights.complete(load).expect("unharmed").waiters, [waiter]);
}

#[test]
fn a_circle_through_keys_that_the_callbacks_lead_themselves() {
    let mut flights = Flights::default();
    let (a, _) = lead(&mut flights, &["a"], None);
    let (b, _) = lead(&mut flights, &["b"], Some(a));
    let (c, _) = lead(&mut flights, &["c"], Some(b));
    assert_eq!(reentrant(&mut flights, &["a"], c), "a");
    assert_eq!(reentrant(&mut flights, &["b"], c), "b");
    assert_eq!(reentrant(&mut flights, &["c"], c), "c");
    // Downwards there is no circle: `a` may wait for what its own callback's callback loads.
    assert!(join(&mut flights, &["c"], Some(a)).lead.is_none());
    assert!(join(&mut flights, &["a"], None).lead.is_none());
}

#[test]
fn a_circle_through_a_flight_that_another_caller_leads() {
    let mut flights = Flights::default();
    let (a, _) = lead(&mut flights, &["a"], None);
    let (b, _) = lead(&mut flights, &["b"], None);
    assert_eq!(join(&mut flights, &["b"], Some(a)).waits[0].load, b);
    assert_eq!(reentrant(&mut flights, &["a"], b), "a");
}

#[test]
fn who_stopped_waiting_closes_no_circle() {
    let mut flights = Flights::default();
    let (a, _) = lead(&mut flights, &["a"], None);
    let (b, _) = lead(&mut flights, &["b"], None);
    let one = join(&mut flights, &["b"], Some(a)).waiter;
    let two = join(&mut flights, &["b"], Some(a)).waiter;
    assert_eq!(flights.leave(one), []);
    assert_eq!(reentrant(&mut flights, &["a"], b), "a");
    assert_eq!(flights.leave(two), []);
    assert_eq!(join(&mut flights, &["a"], Some(b)).waits[0].load, a);
}

#[test]
fn what_has_ended_closes_no_circle() {
    let mut flights = Flights::default();
    let (a, _) = lead(&mut flights, &["a"], None);
    let (b, _) = lead(&mut flights, &["b"], Some(a));
    assert!(flights.complete(b).is_some());
    let (b, _) = lead(&mut flights, &["b"], None);
    assert!(join(&mut flights, &["a"], Some(b)).lead.is_none());
    // A parent that has ended is no parent: what its callback left running asks on its own.
    assert!(flights.complete(a).is_some());
    let (again, _) = lead(&mut flights, &["a"], Some(a));
    assert!(flights.complete(again).is_some());
}

#[test]
fn a_callback_that_was_called_by_another_ones_thread_holds_that_one_up() {
    let mut flights = Flights::default();
    let join_inside = |flights: &mut Flights, key: &str, parents: &[LoadId]| {
        flights.join(&keys(&[key]), parents, Instant::ZERO, LIMIT)
    };
    // Nobody in `outer` waits for `inner`, but its thread runs the callback of `inner` before it goes on.
    let (outer, _) = lead(&mut flights, &["outer"], None);
    let (inner, _) = lead(&mut flights, &["inner"], None);
    let before = flights.counts();
    let circle = join_inside(&mut flights, "outer", &[inner, outer]).expect_err("a circle");
    assert_eq!((&circle.key[..], flights.counts()), (&b"outer"[..], before));
    // While `inner` waits for a third, both do, and the third may wait for neither.
    let (third, _) = lead(&mut flights, &["third"], None);
    let waiter = join_inside(&mut flights, "third", &[inner, outer]).expect("no circle").waiter;
    assert_eq!(reentrant(&mut flights, &["outer"], third), "outer");
    assert_eq!(reentrant(&mut flights, &["inner"], third), "inner");
    assert_eq!(flights.leave(waiter), []);
    assert_eq!(join(&mut flights, &["outer", "inner"], Some(third)).waits.len(), 2);
    // Once `inner` has its answer, its callback still stands in the way of `outer`.
    let (inner, _) = lead(&mut flights, &["another"], None);
    assert!(flights.complete(inner).is_some());
    let circle = join_inside(&mut flights, "outer", &[inner, outer]).expect_err("a circle");
    assert_eq!(&circle.key[..], b"outer");
}

#[test]
fn two_independent_loads_in_one_callback() {
    let mut flights = Flights::default();
    let (a, top) = lead(&mut flights, &["a"], None);
    let (b, in_b) = lead(&mut flights, &["b"], Some(a));
    let (c, in_c) = lead(&mut flights, &["c"], Some(a));
    // Neither waits for the other, so each may ask for the other's key; not both.
    let crossing = join(&mut flights, &["c"], Some(b)).waiter;
    assert_eq!(reentrant(&mut flights, &["b"], c), "b");
    assert_eq!(flights.complete(c).expect("c").waiters, [in_c, crossing]);
    assert_eq!(flights.complete(b).expect("b").waiters, [in_b]);
    assert_eq!(flights.complete(a).expect("a").waiters, [top]);
    assert_nothing_left(&flights);
}

#[test]
fn at_its_limit_a_load_loses_its_flights_and_its_waiters_are_told() {
    let mut flights = Flights::default();
    let (load, leader) = lead(&mut flights, &["k"], None);
    let other = join(&mut flights, &["k"], None).waiter;
    assert_eq!(flights.next_timeout(), Some(at(10_000)));
    assert_eq!(flights.expire(at(9_999)), Expired::default());
    let expired = flights.expire(at(10_000));
    assert_eq!(
        expired,
        Expired { timed_out: vec![TimedOut { load, waiters: vec![leader, other], runs_on: true }], abort: vec![] }
    );
    assert_eq!(flights.counts(), Counts { detached: 1, ..Counts::default() });
    assert_eq!(flights.leave(leader), []);

    let next = flights.join(&keys(&["k"]), &[], at(10_000), LIMIT).expect("no circle").lead.expect("a new load").load;
    // The late one ends: it may still fill, and takes nothing from the new one.
    assert_eq!(flights.complete(load), Some(Completed { keys: keys(&["k"]), waiters: vec![], late: true }));
    assert_eq!(flights.counts(), Counts { flights: 1, loads: 1, waiters: 1, detached: 0 });
    assert!(flights.complete(next).is_some_and(|completed| !completed.late));
    assert_nothing_left(&flights);
}

#[test]
fn a_caller_goes_on_waiting_for_its_other_loads() {
    let mut flights = Flights::default();
    let (slow, _) = lead(&mut flights, &["slow"], None);
    let many = flights.join(&keys(&["slow", "b"]), &[], at(5_000), LIMIT).expect("no circle");
    assert_eq!(flights.expire(at(10_000)).timed_out[0].load, slow);
    assert_eq!(flights.complete(many.lead.expect("b").load).expect("b").waiters, [many.waiter]);
    assert_eq!(flights.counts().waiters, 0);
}

#[test]
fn a_detached_load_is_stopped_after_one_more_timeout() {
    let mut flights = Flights::default();
    let (load, _) = lead(&mut flights, &["k"], None);
    assert_eq!(flights.expire(at(10_000)).abort, []);
    assert_eq!(flights.next_timeout(), Some(at(20_000)));
    assert_eq!(flights.expire(at(19_999)), Expired::default());
    assert_eq!(flights.expire(at(20_000)), Expired { timed_out: vec![], abort: vec![load] });
    assert_eq!(flights.complete(load), None);
    assert_nothing_left(&flights);
}

#[test]
fn a_late_tick_does_all_that_is_due() {
    let mut flights = Flights::default();
    let (load, waiter) = lead(&mut flights, &["k"], None);
    let expired = flights.expire(at(60_000));
    let timed_out = vec![TimedOut { load, waiters: vec![waiter], runs_on: true }];
    assert_eq!(expired, Expired { timed_out, abort: vec![load] });
    assert_nothing_left(&flights);
}

#[test]
fn detached_loads_are_bounded() {
    let mut flights = Flights::default();
    let mut loads = Vec::new();
    for n in 0..Flights::MAX_DETACHED as u64 + 3 {
        let key = Bytes::from(n.to_string());
        let load = flights.join(&[key], &[], at(n), LIMIT).expect("no circle").lead.expect("led").load;
        assert!(flights.begin(load));
        loads.push(load);
    }
    let expired = flights.expire(at(12_000));
    assert_eq!(expired.timed_out.len(), loads.len());
    assert_eq!(expired.abort, loads[..3]);
    assert_eq!(flights.counts(), Counts { detached: Flights::MAX_DETACHED, ..Counts::default() });
}

#[test]
fn one_that_has_not_begun_is_over_at_its_limit() {
    let mut flights = Flights::default();
    let join = flights.join(&keys(&["k"]), &[], at(0), LIMIT).expect("no circle");
    let load = join.lead.expect("led").load;
    let timed_out = vec![TimedOut { load, waiters: vec![join.waiter], runs_on: false }];
    assert_eq!(flights.expire(at(10_000)), Expired { timed_out, abort: vec![] });
    assert!(!flights.begin(load));
    assert_nothing_left(&flights);
}

#[test]
fn a_detached_load_is_out_of_every_circle() {
    let mut flights = Flights::default();
    let (old, _) = lead(&mut flights, &["k"], None);
    flights.expire(at(10_000));
    // Nobody can wait for it any more, so its callback may ask for its key: another load's now.
    let join = flights.join(&keys(&["k"]), &[old], at(10_000), LIMIT).expect("no circle");
    let new = join.lead.expect("a new load").load;
    assert!(flights.complete(old).is_some());
    assert_eq!(flights.complete(new).expect("new").waiters, [join.waiter]);
}

#[test]
fn a_limit_beyond_all_time_never_comes() {
    let mut flights = Flights::default();
    let join = flights.join(&keys(&["k"]), &[], at(5), Duration::MAX).expect("no circle");
    assert_eq!(flights.expire(at(u64::MAX / 2_000_000)), Expired::default());
    assert_eq!(flights.leave(join.waiter).len(), 1);
    assert_nothing_left(&flights);
}
