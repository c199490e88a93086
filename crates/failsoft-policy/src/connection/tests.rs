//! The machine in virtual time: whose fault a silence is, what is late behind a transfer, what is not sent.

mod blame;

use super::*;
use alloc::vec;
use proptest::prelude::*;

const TIMEOUT: Duration = Duration::from_millis(250);
const MIB: usize = 1024 * 1024;

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// Callers are numbers; their outcomes are collected.
#[derive(Default)]
struct Told(Vec<(u32, Outcome<u32>)>);

impl Deliver<u32, u32> for Told {
    fn wakes(&mut self, _: &mut u32) -> bool {
        false
    }

    fn deliver(&mut self, caller: u32, outcome: Outcome<u32>) {
        self.0.push((caller, outcome));
    }
}

impl Told {
    fn take(&mut self) -> Vec<(u32, Outcome<u32>)> {
        core::mem::take(&mut self.0)
    }
}

fn open() -> (Connection<u32, u32>, Told) {
    let mut c = Connection::new(TIMEOUT, 100);
    c.handle_opened(at(0));
    (c, Told::default())
}

/// Submits one request and writes it at once.
fn send(c: &mut Connection<u32, u32>, attempt: Attempt, caller: u32, now: Instant) -> u32 {
    let place = c.submit(attempt, 30, false, caller);
    assert_eq!(c.take(now), vec![]);
    c.handle_written(30, true, now);
    place
}

fn run_timers(c: &mut Connection<u32, u32>, told: &mut Told, until: Instant) {
    while c.next_timeout() <= until {
        c.handle_timeout(c.next_timeout(), told);
    }
}

#[test]
fn a_caller_in_a_hurry_says_nothing_of_the_node() {
    let (mut c, mut told) = open();
    send(&mut c, Attempt::until(at(1)), 1, at(0));
    send(&mut c, Attempt::until(at(1000)), 2, at(0));
    run_timers(&mut c, &mut told, at(200));
    assert_eq!(told.take(), [(1, Err(Failure::Timeout))]);
    assert!(c.handle_replies([10], at(240), &mut told) && c.handle_replies([20], at(240), &mut told));
    assert_eq!(told.take(), [(2, Ok(20))]);
    assert_eq!((c.phase(), c.contact()), (&Phase::Open, Some(at(0))));
}

#[test]
fn a_node_that_owes_a_reply_is_found_to_hang_even_if_every_caller_is_gone() {
    let (mut c, mut told) = open();
    let place = send(&mut c, Attempt::until(at(1000)), 1, at(100));
    c.release(place);
    send(&mut c, Attempt::until(at(120)), 2, at(110));
    run_timers(&mut c, &mut told, at(349));
    assert_eq!(c.phase(), &Phase::Open);
    run_timers(&mut c, &mut told, at(350));
    assert_eq!(c.phase(), &Phase::Ended(Failure::Hung));
    assert_eq!(c.take_blame(), Some(Reason::Timeout));
    assert_eq!(told.take(), [(2, Err(Failure::Timeout))]);
}

#[test]
fn replies_that_lie_in_the_buffer_of_a_process_without_time_are_no_silence() {
    let (mut c, mut told) = open();
    send(&mut c, Attempt::until(at(250)), 1, at(0));
    // Nothing ran for a second; first the replies are read, as the order of calls says.
    assert!(c.handle_replies([10], at(1000), &mut told));
    c.handle_timeout(at(1000), &mut told);
    assert_eq!((c.phase(), told.take()), (&Phase::Open, vec![(1, Ok(10))]));
}

#[test]
fn a_pause_of_our_own_is_given_back_once() {
    let (mut c, mut told) = open();
    send(&mut c, Attempt::until(at(5000)), 1, at(0));
    // The whole machine slept, and with it the reply on its way.
    c.handle_timeout(at(900), &mut told);
    assert_eq!((c.phase(), c.next_timeout()), (&Phase::Open, at(1150)));
    c.handle_timeout(at(2000), &mut told);
    assert_eq!(c.phase(), &Phase::Ended(Failure::Hung), "but it does not go on for ever");
}

#[test]
fn a_node_that_answers_slowly_but_steadily_does_not_hang() {
    let (mut c, mut told) = open();
    for caller in 0..10 {
        send(&mut c, Attempt::until(at(10_000)), caller, at(0));
    }
    for n in 1..=10 {
        run_timers(&mut c, &mut told, at(n * 240));
        assert!(c.handle_replies([0], at(n * 240), &mut told));
    }
    run_timers(&mut c, &mut told, at(9_999));
    assert_eq!((c.phase(), told.0.len()), (&Phase::Open, 10));
}

#[test]
fn behind_a_long_value_that_arrives_nothing_is_late_before_its_limit() {
    let (mut c, mut told) = open();
    send(&mut c, Attempt { until: at(250), limit: at(1000) }, 1, at(0));
    send(&mut c, Attempt { until: at(250), limit: at(500) }, 2, at(0));
    send(&mut c, Attempt { until: at(250), limit: at(1000) }, 3, at(0));
    for n in 1..=40 {
        run_timers(&mut c, &mut told, at(n * 20));
        assert!(c.handle_arriving(n as usize * 64 * 1024, 10 * MIB, at(n * 20)));
    }
    assert_eq!(told.take(), [(2, Err(Failure::Timeout))], "its limit was 500 ms");
    assert!(c.handle_replies([10], at(810), &mut told) && c.handle_replies([20], at(811), &mut told));
    assert!(c.handle_replies([30], at(811), &mut told));
    assert_eq!(told.take(), [(1, Ok(10)), (3, Ok(30))]);
}

#[test]
fn a_long_value_that_stops_hangs_the_connection() {
    let (mut c, mut told) = open();
    send(&mut c, Attempt { until: at(250), limit: at(5000) }, 1, at(0));
    c.handle_arriving(64 * 1024, 10 * MIB, at(200));
    // Less than a step is no advance.
    c.handle_arriving(65 * 1024, 10 * MIB, at(400));
    run_timers(&mut c, &mut told, at(450));
    assert_eq!(c.phase(), &Phase::Ended(Failure::Hung));
    assert_eq!(told.take(), [(1, Err(Failure::Hung))]);
}

#[test]
fn a_short_value_in_pieces_is_no_transfer() {
    let (mut c, mut told) = open();
    send(&mut c, Attempt { until: at(250), limit: at(5000) }, 1, at(0));
    for n in 1..250 {
        c.handle_arriving(n as usize * 100, 30_000, at(n));
    }
    run_timers(&mut c, &mut told, at(250));
    assert_eq!(c.phase(), &Phase::Ended(Failure::Hung));
}

#[test]
fn behind_a_long_value_that_leaves_nothing_is_late() {
    let (mut c, mut told) = open();
    c.submit(Attempt { until: at(250), limit: at(2000) }, 5 * MIB, false, 1);
    c.take(at(0));
    c.submit(Attempt { until: at(250), limit: at(2000) }, 30, false, 2);
    for n in 1..=80 {
        run_timers(&mut c, &mut told, at(n * 10));
        c.handle_written(64 * 1024, n == 80, at(n * 10));
    }
    c.take(at(800));
    c.handle_written(30, true, at(800));
    run_timers(&mut c, &mut told, at(1000));
    assert!(c.handle_replies([10], at(1000), &mut told) && c.handle_replies([20], at(1000), &mut told));
    assert_eq!(told.take(), [(1, Ok(10)), (2, Ok(20))]);
}

#[test]
fn a_socket_that_takes_nothing_hangs() {
    let (mut c, mut told) = open();
    c.submit(Attempt::until(at(100)), 5 * MIB, false, 1);
    c.take(at(0));
    run_timers(&mut c, &mut told, at(250));
    assert_eq!(c.phase(), &Phase::Ended(Failure::Hung));
}

#[test]
fn what_was_given_up_before_it_was_sent_is_not_sent() {
    let mut c = Connection::new(TIMEOUT, 100);
    let mut told = Told::default();
    c.submit(Attempt::until(at(100)), 10, false, 1);
    let dropped = c.submit(Attempt::until(at(900)), 20, true, 2);
    c.submit(Attempt::until(at(900)), 30, true, 3);
    c.release(dropped);
    run_timers(&mut c, &mut told, at(200));
    assert_eq!(c.phase(), &Phase::Connecting);
    c.handle_opened(at(0));
    assert_eq!(c.take(at(210)), [(10, false), (20, false), (30, true)]);
    assert_eq!(told.take(), [(1, Err(Failure::Timeout))]);
    // The OK of its ASKING, and its own.
    assert!(c.handle_replies([0], at(220), &mut told) && c.handle_replies([30], at(220), &mut told));
    assert_eq!(told.take(), [(3, Ok(30))]);
    assert!(!c.handle_replies([1], at(220), &mut told), "nobody asked");
}

#[test]
fn a_node_may_close_what_nobody_uses_and_we_may_close_anything() {
    let (mut c, mut told) = open();
    c.end(Failure::Lost("closed".into()), &mut told);
    assert_eq!(c.take_blame(), None);
    let (mut c, mut told) = open();
    send(&mut c, Attempt::until(at(250)), 1, at(0));
    c.end(Failure::Closed, &mut told);
    assert_eq!((c.take_blame(), told.take()), (None, vec![(1, Err(Failure::Closed))]));
    let (mut c, mut told) = open();
    send(&mut c, Attempt::until(at(250)), 1, at(0));
    c.end(Failure::Lost("reset".into()), &mut told);
    assert_eq!(c.take_blame(), Some(Reason::Connection));
}

#[test]
fn what_is_sent_while_the_last_replies_are_read_may_meet_a_connection_closed_as_idle() {
    // Our own process had no time until 600 ms: the replies had come long before, and so had the end.
    for (second, blame) in [(600, None), (599, Some(Reason::Connection))] {
        let (mut c, mut told) = open();
        send(&mut c, Attempt::until(at(900)), 1, at(0));
        send(&mut c, Attempt::until(at(900)), 2, at(0));
        assert!(c.handle_replies([1], at(second), &mut told));
        send(&mut c, Attempt::until(at(900)), 3, at(second));
        assert!(c.handle_replies([2], at(600), &mut told));
        c.end(Failure::Lost("closed".into()), &mut told);
        assert_eq!(c.take_blame(), blame, "the third was sent at {second} ms");
    }
}

#[test]
fn requests_given_up_keep_their_place_until_their_reply_came() {
    let mut c = Connection::new(TIMEOUT, 2);
    let mut told = Told::default();
    c.handle_opened(at(0));
    for caller in 0..2 {
        assert!(c.has_room());
        let place = send(&mut c, Attempt::until(at(250)), caller, at(0));
        c.release(place);
    }
    assert!(!c.has_room());
    assert_eq!((c.waiting(), c.phase()), (0, &Phase::Open), "which is nobody's fault");
    assert!(c.handle_replies([0], at(100), &mut told) && c.has_room());
    assert_eq!(told.take(), []);
}

#[derive(Clone, Debug)]
enum Step {
    Submit { asking: bool, patience: u64 },
    Release(usize),
    Write,
    Reply,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 1..600u64).prop_map(|(asking, patience)| Step::Submit { asking, patience }),
        1 => any::<usize>().prop_map(Step::Release),
        3 => Just(Step::Write),
        6 => Just(Step::Reply),
        2 => (0..120u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// The server answers each request that was sent with that request's own number, in order: whoever gets a reply
    /// gets its own, everyone gets one outcome, and nobody more than one.
    #[test]
    fn each_request_gets_one_outcome_and_no_other_requests_reply(steps in prop::collection::vec(step(), 0..200)) {
        let (mut c, mut told) = open();
        let (mut now, mut next) = (0, 0);
        let (mut queued, mut sent) = (Vec::new(), alloc::collections::VecDeque::new());
        let (mut open, mut released) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Submit { asking, patience } if c.has_room() && !matches!(c.phase(), Phase::Ended(_)) => {
                    let place = c.submit(Attempt::until(at(now + patience)), 10, asking, next);
                    queued.push((next, asking));
                    open.push((next, place));
                    next += 1;
                }
                Step::Release(n) if !open.is_empty() => {
                    let (caller, place) = open.remove(n % open.len());
                    if c.caller_mut(place) == Some(&mut caller.clone()) {
                        c.release(place);
                        released.push(caller);
                    }
                }
                Step::Write => {
                    let cut = c.take(at(now));
                    let stays = |i: usize| cut.get(i).is_none_or(|&(_, stays)| stays);
                    for (i, (caller, asking)) in queued.drain(..).enumerate() {
                        if stays(i) {
                            sent.extend(asking.then_some(u32::MAX));
                            sent.push_back(caller);
                        }
                    }
                    c.handle_written(0, true, at(now));
                }
                Step::Reply => if let Some(caller) = sent.pop_front() {
                    let ended = matches!(c.phase(), Phase::Ended(_));
                    prop_assert!(c.handle_replies([caller], at(now), &mut told) || ended);
                },
                Step::Wait(ms) => {
                    now += ms;
                    c.handle_timeout(at(now), &mut told);
                }
                Step::Submit { .. } | Step::Release(_) => {}
            }
            prop_assert!(c.waiting() <= 100);
        }
        c.end(Failure::Closed, &mut told);
        let mut seen: Vec<u32> = told.0.iter().map(|(caller, _)| *caller).collect();
        for (caller, outcome) in &told.0 {
            if let Ok(reply) = outcome {
                prop_assert_eq!(caller, reply);
            }
        }
        seen.extend(released);
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..next).collect::<Vec<_>>());
    }
}
