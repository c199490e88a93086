//! What a connection's end, or its not coming about, says of the node.

use super::*;

fn connecting() -> (Connection<u32, u32>, Told) {
    (Connection::new(TIMEOUT, 100), Told::default())
}

#[test]
fn a_node_that_does_not_open_is_to_blame_and_goes_on_opening() {
    let (mut c, mut told) = connecting();
    assert_eq!(c.next_timeout(), Instant::MAX, "nobody waits yet");
    let hasty = c.submit(Attempt::until(at(20)), 30, false, 1);
    assert_eq!(c.next_timeout(), Instant::ZERO, "since when it waits has to be known");
    c.handle_timeout(at(10), &mut told);
    c.release(hasty);
    c.submit(Attempt::until(at(900)), 30, false, 2);
    run_timers(&mut c, &mut told, at(259));
    assert_eq!((c.take_blame(), told.take()), (None, vec![]));
    run_timers(&mut c, &mut told, at(260));
    assert_eq!((c.take_blame(), told.take()), (Some(Reason::Timeout), vec![(2, Err(Failure::Hung))]));
    assert_eq!((c.phase(), c.next_timeout()), (&Phase::Connecting, Instant::MAX));
    // Who comes later waits as long as it may, and nobody is blamed again.
    c.submit(Attempt::until(at(700)), 30, false, 3);
    c.submit(Attempt::until(at(900)), 30, false, 4);
    run_timers(&mut c, &mut told, at(700));
    assert_eq!((c.take_blame(), told.take()), (None, vec![(3, Err(Failure::Timeout))]));
    c.handle_opened(at(0));
    assert_eq!(c.take(at(800)), [(30, false), (30, false), (30, false), (30, true)]);
    assert!(c.handle_replies([40], at(801), &mut told));
    assert_eq!((c.take_blame(), told.take()), (None, vec![(4, Ok(40))]));
}

#[test]
fn a_connection_that_fails_blames_once_for_those_who_waited() {
    let (mut c, mut told) = connecting();
    c.end(Failure::Connect("refused".into()), &mut told);
    assert_eq!(c.take_blame(), None, "nobody had asked for anything");
    let (mut c, mut told) = connecting();
    c.submit(Attempt::until(at(900)), 30, false, 1);
    c.end(Failure::Connect("refused".into()), &mut told);
    assert_eq!(c.take_blame(), Some(Reason::Connection));
    let (mut c, mut told) = connecting();
    c.submit(Attempt::until(at(900)), 30, false, 1);
    c.handle_timeout(at(0), &mut told);
    c.handle_timeout(at(250), &mut told);
    assert_eq!(c.take_blame(), Some(Reason::Timeout));
    c.submit(Attempt::until(at(900)), 30, false, 2);
    told.take();
    c.end(Failure::Connect("no end of it".into()), &mut told);
    assert_eq!((c.take_blame(), told.take()), (None, vec![(2, Err(Failure::Closed))]), "that was said already");
}

#[test]
fn a_pause_of_our_own_while_connecting_is_given_back_once() {
    let (mut c, mut told) = connecting();
    c.submit(Attempt::until(at(5000)), 30, false, 1);
    c.handle_timeout(at(0), &mut told);
    c.handle_timeout(at(900), &mut told);
    assert_eq!((c.take_blame(), c.next_timeout()), (None, at(1150)));
    c.handle_timeout(at(1150), &mut told);
    assert_eq!((c.take_blame(), told.take()), (Some(Reason::Timeout), vec![(1, Err(Failure::Hung))]));
}

#[test]
fn requests_that_could_not_be_sent_in_a_pause_of_our_own_get_their_time_back_once() {
    let patient = Attempt { until: at(250), limit: at(5000) };
    // While connecting: a handshake takes several turns.
    let (mut c, mut told) = connecting();
    c.submit(patient, 30, false, 1);
    c.submit(Attempt::until(at(300)), 30, false, 2);
    c.handle_timeout(at(0), &mut told);
    c.handle_timeout(at(900), &mut told);
    assert_eq!(told.take(), [(2, Err(Failure::Timeout))], "its limit is over");
    assert_eq!((c.take_blame(), c.next_timeout()), (None, at(1150)));
    c.handle_opened(at(0));
    assert_eq!(c.take(at(950)), [(30, true), (30, false)]);
    assert!(c.handle_replies([10], at(951), &mut told));
    assert_eq!(told.take(), [(1, Ok(10))]);
    // Before it was written.
    let (mut c, mut told) = open();
    c.submit(patient, 30, false, 3);
    c.submit(Attempt { until: at(250), limit: at(350) }, 30, false, 4);
    c.handle_timeout(at(310), &mut told);
    assert_eq!((told.take(), c.next_timeout()), (vec![], at(350)), "no longer than its limit");
    c.handle_timeout(at(350), &mut told);
    assert_eq!((told.take(), c.next_timeout()), (vec![(4, Err(Failure::Timeout))], at(370)), "as long as the pause");
    c.handle_timeout(at(900), &mut told);
    assert_eq!(told.take(), [(3, Err(Failure::Timeout))], "once");
    assert_eq!((c.take_blame(), c.phase()), (None, &Phase::Open));
}

#[test]
fn when_its_node_fails_what_is_open_is_closed_and_what_opens_goes_on() {
    let (mut c, mut told) = connecting();
    c.submit(Attempt::until(at(900)), 30, false, 1);
    c.fail_over(&mut told);
    assert_eq!((c.phase(), c.waiting(), told.take()), (&Phase::Connecting, 0, vec![(1, Err(Failure::Closed))]));
    // The node may be well again by the time the next one waits: a packet of this connection was lost, perhaps.
    c.submit(Attempt::until(at(600)), 30, false, 9);
    run_timers(&mut c, &mut told, at(600));
    assert_eq!((c.take_blame(), told.take()), (None, vec![(9, Err(Failure::Timeout))]));
    c.handle_opened(at(0));
    assert_eq!(c.take(at(610)), [(30, false), (30, false)]);
    assert_eq!(c.take_blame(), None);
    send(&mut c, Attempt::until(at(900)), 2, at(620));
    c.fail_over(&mut told);
    assert_eq!((c.phase(), told.take()), (&Phase::Ended(Failure::Closed), vec![(2, Err(Failure::Closed))]));
    assert_eq!(c.take_blame(), None, "it was we who closed it");
}

#[test]
fn a_connection_that_was_closed_before_it_was_used_again_says_nothing_of_the_node() {
    // Before anything was sent.
    let (mut c, mut told) = open();
    c.submit(Attempt::until(at(250)), 30, false, 1);
    c.end(Failure::Lost("closed".into()), &mut told);
    assert_eq!((c.take_blame(), told.take()), (None, vec![(1, Err(Failure::Closed))]));
    // After a rest in which it may have been closed: any if it had served before, else a long one.
    for (served, rest, idle) in [(true, 1, true), (true, 5_000, true), (false, 4_999, false), (false, 5_000, true)] {
        let (mut c, mut told) = open();
        if served {
            send(&mut c, Attempt::until(at(1000)), 1, at(0));
            assert!(c.handle_replies([10], at(0), &mut told));
            assert_eq!(told.take(), [(1, Ok(10))]);
        }
        send(&mut c, Attempt::until(at(9000)), 2, at(rest));
        send(&mut c, Attempt::until(at(9000)), 3, at(1 + rest));
        c.end(Failure::Lost("closed".into()), &mut told);
        let (blame, why) = match idle {
            true => (None, Failure::Closed),
            false => (Some(Reason::Connection), Failure::Lost("closed".into())),
        };
        assert_eq!(c.take_blame(), blame);
        assert_eq!(told.take(), [(2, Err(why.clone())), (3, Err(why))]);
    }
    // But not once it has answered after that, ...
    let (mut c, mut told) = open();
    send(&mut c, Attempt::until(at(9000)), 1, at(6000));
    send(&mut c, Attempt::until(at(9000)), 2, at(6001));
    assert!(c.handle_replies([10], at(6002), &mut told));
    c.end(Failure::Lost("reset".into()), &mut told);
    assert_eq!(c.take_blame(), Some(Reason::Connection));
    // ... or while it owes what was asked before its last answer.
    let (mut c, mut told) = open();
    send(&mut c, Attempt::until(at(9000)), 1, at(0));
    assert!(c.handle_replies([10], at(1), &mut told));
    send(&mut c, Attempt::until(at(9000)), 2, at(2));
    send(&mut c, Attempt::until(at(9000)), 3, at(3));
    assert!(c.handle_replies([20], at(4), &mut told));
    send(&mut c, Attempt::until(at(9000)), 4, at(5));
    c.end(Failure::Lost("reset".into()), &mut told);
    assert_eq!(c.take_blame(), Some(Reason::Connection));
}

#[test]
fn a_connection_that_was_forgotten_on_the_way_is_silent_and_no_fault_of_the_node() {
    for (rest, blame, why) in [(14_999, Some(Reason::Timeout), Failure::Hung), (15_000, None, Failure::Timeout)] {
        let (mut c, mut told) = open();
        send(&mut c, Attempt::until(at(rest + 900)), 1, at(rest));
        run_timers(&mut c, &mut told, at(rest + 250));
        assert_eq!(c.phase(), &Phase::Ended(Failure::Hung), "in any case it is of no use");
        assert_eq!((c.take_blame(), told.take()), (blame, vec![(1, Err(why))]));
    }
}

#[test]
fn a_long_push_that_nobody_waits_for_hangs_nothing() {
    let (mut c, mut told) = open();
    for n in 1..10 {
        c.handle_arriving(n * 64 * 1024, 10 * MIB, at(n as u64));
    }
    assert_eq!(c.next_timeout(), Instant::MAX);
    send(&mut c, Attempt::until(at(2000)), 1, at(1000));
    assert!(c.handle_replies([10], at(1100), &mut told));
    assert_eq!((c.phase(), c.next_timeout()), (&Phase::Open, at(2000)), "a timer that finds nothing to do");
}

#[test]
fn an_answer_to_what_went_before_leaves_a_long_request_its_time() {
    let (mut c, mut told) = open();
    send(&mut c, Attempt::until(at(2000)), 1, at(0));
    c.submit(Attempt::until(at(2000)), 3 * MIB, false, 2);
    c.take(at(0));
    c.handle_written(3 * MIB, true, at(1));
    // All of it may still lie in buffers here and on the way.
    assert!(c.handle_replies([10], at(10), &mut told));
    run_timers(&mut c, &mut told, at(1000));
    assert_eq!(c.phase(), &Phase::Open);
    assert!(c.handle_replies([20], at(1005), &mut told));
    send(&mut c, Attempt::until(at(3000)), 3, at(1010));
    run_timers(&mut c, &mut told, at(1260));
    assert_eq!(c.phase(), &Phase::Ended(Failure::Hung), "nothing of it is left");
}

#[test]
fn a_node_that_hangs_in_a_long_request_is_found_out_by_what_was_written_of_it() {
    let (mut c, mut told) = open();
    c.submit(Attempt { until: at(250), limit: at(60_000) }, 400 * MIB, false, 1);
    c.take(at(0));
    c.handle_written(2 * MIB, false, at(0));
    run_timers(&mut c, &mut told, at(750));
    assert_eq!(c.phase(), &Phase::Ended(Failure::Hung), "two MiB in buffers");
    let (mut c, mut told) = open();
    c.submit(Attempt { until: at(250), limit: at(60_000) }, 400 * MIB, false, 1);
    c.take(at(0));
    c.handle_written(400 * MIB, true, at(0));
    run_timers(&mut c, &mut told, at(9 * 250));
    assert_eq!(c.phase(), &Phase::Ended(Failure::Hung), "no system buffers more than eight");
}
