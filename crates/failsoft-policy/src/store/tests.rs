//! When the breaker of the store opens and closes, and what is shed: callers, places and a store, in virtual time.

use super::*;
use crate::config::Setting;
use crate::load::{Begin, LONGEST_LINE};
use alloc::vec::Vec;
use world::{Event, HANGS, World};

mod world;

const LOADED: Ending = Ending::Loaded { bytes: 1 };

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

#[test]
fn a_slow_store_that_serves_everybody_is_left_alone() {
    // Four more callers than places: the line is never empty for long.
    let mut world = World::new(256, |_| (200, LOADED));
    world.callers(260);
    world.run_until(20_000);
    assert!(world.shed.is_empty() && world.served > 20_000, "{} shed", world.shed.len());
    let status = world.loads.store(world.now);
    assert_eq!((status.state, status.opened), (StoreState::Closed, 0));
    assert!(status.p95.expect("calls") >= Duration::from_millis(200) && status.seen.slow > 1_000);
}

#[test]
fn callers_who_come_one_after_the_other_are_not_shed_by_it_either() {
    let mut world = World::new(256, |_| (200, LOADED));
    for n in 0..260 {
        world.later(n, Event::Ask);
    }
    world.run_until(20_000);
    assert_eq!((world.shed.len(), world.state()), (0, StoreState::Closed));
}

#[test]
fn a_store_that_is_fast_enough_is_left_alone_however_long_the_line_is() {
    let mut world = World::new(4, |_| (40, LOADED));
    world.callers(500);
    world.run_until(9_000);
    assert_eq!((world.shed.len(), world.timed_out, world.state()), (0, 0, StoreState::Closed));
}

#[test]
fn loads_are_shed_when_all_wait_for_longer_than_the_objective() {
    let mut world = World::new(256, |_| (200, LOADED));
    world.callers(1_000);
    world.run_until(1_049);
    assert_eq!((world.shed.len(), world.state()), (0, StoreState::Closed), "not before a second of it");
    world.run_until(1_400);
    assert_eq!((world.state(), world.trouble()), (StoreState::Open, Some(Trouble::Slow)));
    assert!(world.shed.len() > 700, "those in line, too: {}", world.shed.len());
    assert_eq!(world.loads.queued(), 0);
}

#[test]
fn without_an_objective_no_latency_opens_it() {
    let mut world = World::with(256, |_| (200, LOADED), &[("slo", Setting::Off)]);
    world.callers(1_000);
    world.run_until(20_000);
    assert_eq!((world.shed.len(), world.state()), (0, StoreState::Closed));
}

#[test]
fn a_store_that_hangs_is_seen_without_any_end() {
    let mut world = World::new(256, |_| (HANGS, LOADED));
    world.callers(300);
    world.run_until(1_049);
    assert_eq!(world.shed.len(), 0);
    world.run_until(1_055);
    assert_eq!((world.shed.len(), world.state()), (44, StoreState::Open));
    assert_eq!(world.loads.queued(), 0);
    // Calls from before have all places, so those that are let in wait, and are not left waiting.
    world.run_until(9_000);
    assert_eq!((world.timed_out, world.loads.store(world.now).opened > 2), (0, true));
}

#[test]
fn half_of_twenty_calls_open_it_and_one_less_does_not() {
    for (good, bad, opens) in [(10, 10, true), (11, 10, false), (9, 10, false), (0, 19, false)] {
        let mut world = World::new(256, |_| (HANGS, LOADED));
        let loads: Vec<LoadId> = (0..good + bad).map(|_| world.ask(&[]).expect("let in")).collect();
        for (n, load) in loads.into_iter().enumerate() {
            world.end(load, if n < good { LOADED } else { Ending::Failed });
        }
        assert_eq!(world.state() == StoreState::Open, opens, "{good} and {bad}");
        assert_eq!(world.trouble(), opens.then_some(Trouble::Failing));
    }
}

#[test]
fn a_quiet_store_is_judged_over_a_minute() {
    for (pause, opens) in [(3_000, true), (4_000, false)] {
        let mut world = World::new(256, |_| (HANGS, LOADED));
        for n in 0..40 {
            world.now = at(n * pause);
            let Some(load) = world.ask(&[]) else { break };
            world.end(load, Ending::Failed);
        }
        assert_eq!(!world.shed.is_empty(), opens, "each {pause} ms");
    }
}

#[test]
fn what_is_no_answer_says_nothing_of_the_store() {
    let mut world = World::new(256, |_| (HANGS, LOADED));
    for _ in 0..40 {
        let load = world.ask(&[]).expect("let in");
        world.end(load, Ending::Unusable);
    }
    assert_eq!((world.state(), world.loads.store(world.now).seen.failures), (StoreState::Closed, 0));
}

#[test]
fn what_is_stopped_or_gone_has_not_failed() {
    let mut world = World::new(256, |_| (HANGS, LOADED));
    for n in 0..40 {
        let joined = world.join(&[]);
        let load = joined.lead.expect("let in").load;
        assert_eq!(world.loads.begin(load, true, world.now), Begin::Run);
        if n % 2 == 0 {
            assert_eq!(world.loads.leave(joined.waiter), [load]);
        }
        world.end(load, Ending::Gone);
    }
    assert_eq!((world.state(), world.loads.store(world.now).seen), (StoreState::Closed, Seen::default()));
    // One that has taken too long by then was slow.
    let load = world.ask(&[]).expect("let in");
    world.now = at(51);
    world.end(load, Ending::Gone);
    assert_eq!(world.loads.store(world.now).seen, Seen { calls: 1, failures: 0, slow: 1 });
}

#[test]
fn a_call_that_outlasts_load_timeout_has_failed() {
    let mut world = World::with(256, |_| (HANGS, LOADED), &[("slo", Setting::Off)]);
    world.callers(20);
    world.run_until(9_999);
    assert_eq!(world.state(), StoreState::Closed);
    world.run_until(10_000);
    assert_eq!((world.timed_out, world.state(), world.trouble()), (20, StoreState::Open, Some(Trouble::Failing)));
}

#[test]
fn the_time_in_line_is_no_time_of_the_store() {
    let mut world = World::with(1, |_| (9_990, LOADED), &[("slo", Setting::Off)]);
    world.callers(2);
    world.run_until(10_100);
    // The second one began ten milliseconds before its limit.
    assert_eq!((world.timed_out, world.loads.store(world.now).seen), (1, Seen { calls: 1, failures: 0, slow: 0 }));
}

#[test]
fn only_calls_of_the_callback_count() {
    let mut world = World::new(256, |_| (HANGS, LOADED));
    for _ in 0..40 {
        let load = world.join(&[]).lead.expect("let in").load;
        // The primary had all of its keys again.
        assert_eq!(world.loads.begin(load, false, world.now), Begin::Run);
        world.end(load, LOADED);
        let never = world.join(&[]).lead.expect("let in").load;
        world.end(never, Ending::Gone);
    }
    assert_eq!(world.loads.store(world.now).seen, Seen::default());
}

/// A store of which 20 calls have failed at 0 ms, and the callers in line of one that had all places.
fn failed() -> World {
    let mut world = World::new(256, |_| (HANGS, LOADED));
    let loads: Vec<LoadId> = (0..20).map(|_| world.ask(&[]).expect("let in")).collect();
    loads.into_iter().for_each(|load| world.end(load, Ending::Failed));
    assert_eq!(world.state(), StoreState::Open);
    world.events.clear();
    world
}

/// So many are let in now, and no more.
fn lets_in(world: &mut World, count: usize) -> Vec<LoadId> {
    let loads: Vec<LoadId> = core::iter::from_fn(|| world.ask(&[])).take(100).collect();
    assert_eq!(loads.len(), count, "{:?}", world.loads.store(world.now));
    loads
}

/// When it lets somebody in again.
fn cools_down(world: &mut World) -> u64 {
    let since = world.now;
    loop {
        world.now = world.now + Duration::from_millis(1);
        if let Some(load) = world.ask(&[]) {
            // Gone, as if it had never been.
            world.end(load, Ending::Gone);
            return world.now.since(since).as_millis() as u64;
        }
    }
}

#[test]
fn it_closes_in_rounds() {
    let mut world = failed();
    let millis = cools_down(&mut world);
    assert!((500..=1_000).contains(&millis), "{millis}");
    for round in [4, 16, 64] {
        assert_eq!(world.state(), StoreState::HalfOpen);
        let mut loads = lets_in(&mut world, round);
        let last = loads.pop().expect("some");
        loads.into_iter().for_each(|load| world.end(load, LOADED));
        lets_in(&mut world, 0);
        // Another one takes the place of one that comes to nothing.
        world.end(last, Ending::Gone);
        lets_in(&mut world, 1).into_iter().for_each(|load| world.end(load, LOADED));
    }
    assert_eq!((world.state(), world.trouble()), (StoreState::Closed, None));
    lets_in(&mut world, 100);
}

#[test]
fn a_round_is_judged_as_a_whole_and_the_cool_down_doubles_to_half_a_minute() {
    let mut world = failed();
    let mut longest = Vec::new();
    for most in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        let millis = cools_down(&mut world);
        assert!((most / 2..=most).contains(&millis), "{millis} of {most}");
        longest.push(millis * 1_000 / most);
        let loads = lets_in(&mut world, 4);
        for (n, load) in loads.into_iter().enumerate() {
            assert_eq!(world.state(), StoreState::HalfOpen, "one failure of four says nothing");
            world.end(load, if n % 2 == 1 { Ending::Failed } else { LOADED });
        }
        assert_eq!(world.state(), StoreState::Open, "half of them do");
    }
    longest.dedup();
    assert!(longest.len() > 1, "chance shortens them: {longest:?}");
    // Once it has closed, it begins anew.
    cools_down(&mut world);
    for round in [4, 16, 64] {
        lets_in(&mut world, round).into_iter().for_each(|load| world.end(load, LOADED));
    }
    assert_eq!(world.state(), StoreState::Closed);
    let loads = lets_in(&mut world, 100);
    loads.into_iter().for_each(|load| world.end(load, Ending::Failed));
    assert!(cools_down(&mut world) <= 1_000);
}

#[test]
fn calls_from_before_it_opened_say_nothing_afterwards() {
    let mut world = World::new(256, |_| (HANGS, LOADED));
    let loads: Vec<LoadId> = (0..200).map(|_| world.ask(&[]).expect("let in")).collect();
    let (first, rest) = loads.split_at(20);
    first.iter().for_each(|load| world.end(*load, Ending::Failed));
    cools_down(&mut world);
    for round in [4, 16, 64] {
        lets_in(&mut world, round).into_iter().for_each(|load| world.end(load, LOADED));
    }
    rest.iter().for_each(|load| world.end(*load, Ending::Failed));
    assert_eq!(world.state(), StoreState::Closed);
}

#[test]
fn those_in_line_are_shed_by_the_end_that_opens_it() {
    let mut world = World::new(20, |_| (HANGS, LOADED));
    let loads: Vec<LoadId> = (0..30).map(|_| world.ask(&[]).expect("let in")).collect();
    let (running, _) = loads.split_at(20);
    for load in &running[..19] {
        // Their places are given on only afterwards.
        world.loads.finish(*load, Ending::Failed, world.now).expect("it ran");
    }
    assert_eq!((world.loads.shed(), world.loads.queued()), (Vec::new(), 10));
    let last = world.loads.finish(running[19], Ending::Failed, world.now).expect("it ran");
    assert_eq!((last.waiters, last.kept), (1, true));
    assert_eq!(world.loads.shed(), loads[20..]);
    assert_eq!((world.loads.release(running[19], world.now), world.loads.queued()), (None, 0));
    // Their callers are told: nobody waits for these loads.
    assert_eq!(world.loads.counts().waiters, 0);
}

#[test]
fn what_a_callback_asks_for_is_let_through() {
    let mut world = World::new(21, |_| (HANGS, LOADED));
    let loads: Vec<LoadId> = (0..21).map(|_| world.ask(&[]).expect("let in")).collect();
    let (outer, others) = loads.split_first().expect("some");
    others.iter().for_each(|load| world.end(*load, Ending::Failed));
    assert_eq!(world.state(), StoreState::Open);
    world.ask(&[*outer]).expect("let through");
    assert_eq!(world.ask(&[]), None, "others are not");
}

#[test]
fn who_takes_leases_while_it_opens_does_not_begin_unless_a_callback_waits() {
    let mut world = World::new(256, |_| (HANGS, LOADED));
    let loads: Vec<LoadId> = (0..21).map(|_| world.ask(&[]).expect("let in")).collect();
    let (ours, theirs) = (world.join(&[]), world.join(&[loads[0]]));
    loads[1..].iter().for_each(|load| world.end(*load, Ending::Failed));
    let [ours, theirs] = [ours, theirs].map(|joined| joined.lead.expect("let in").load);
    assert_eq!(world.loads.begin(ours, true, world.now), Begin::Shed(ShedCause::BreakerOpen));
    assert_eq!(world.loads.begin(theirs, true, world.now), Begin::Run);
    let ended = world.loads.finish(ours, Ending::Shed, world.now).expect("its caller waits");
    assert_eq!((ended.waiters, ended.kept), (1, false), "late callers ask for themselves");
}

#[test]
fn the_line_is_bounded() {
    let mut world = World::new(1, |_| (HANGS, LOADED));
    for _ in 0..=LONGEST_LINE {
        world.ask(&[]).expect("let in");
    }
    let joined = world.join(&[]);
    assert_eq!((joined.lead, joined.begin), (None, Vec::new()));
    assert_eq!(joined.shed.map(|shed| (shed.0.len(), shed.1)), Some((1, ShedCause::QueueFull)));
    assert_eq!(world.loads.counts().loads, LONGEST_LINE + 1, "nothing stays of it");
}
