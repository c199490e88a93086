//! Servers that refuse, die, fall silent or talk nonsense: every request ends, with a reason.

use super::*;

fn dead(lane: &Lane) -> Option<Failure> {
    match lane.state() {
        Phase::Ended(why) => Some(why),
        Phase::Connecting | Phase::Open => None,
    }
}

#[tokio::test]
async fn a_lost_connection_fails_all_in_flight_and_takes_no_more() {
    let (server, lane, clock) = open_lane(|_| {}).await;
    let pending: Vec<_> = (0..3).map(|_| lane.get(b"k", false, far(&clock)).unwrap()).collect();
    drop(server);
    for p in pending {
        assert!(matches!(p.await, Err(Failure::Lost(_))));
    }
    assert!(matches!(lane.get(b"k", false, far(&clock)), Err(SubmitError::Ended(Failure::Lost(_)))));
    assert_eq!(lane.in_flight(), 0);
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes_is_dead() {
    let (server, lane, _) = open_lane(|_| {}).await;
    drop(server);
    until(|| dead(&lane).is_some()).await;
    assert!(matches!(dead(&lane), Some(Failure::Lost(_))));
}

#[tokio::test]
async fn closing_answers_everyone_once_and_keeps_the_first_reason() {
    let (_server, lane, clock) = open_lane(|_| {}).await;
    let pending = lane.get(b"k", false, far(&clock)).unwrap();
    lane.close(Failure::Closed);
    lane.close(Failure::Timeout);
    assert_eq!(pending.await, Err(Failure::Closed));
    assert_eq!(dead(&lane), Some(Failure::Closed));
}

#[test]
fn a_lane_whose_runtime_is_gone_takes_no_request() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);
    let clock = Clock::new();
    let lane = Lane::open(Arc::new(config(1)), clock, &handle);
    assert_eq!(dead(&lane), Some(Failure::Closed));
    assert!(matches!(lane.get(b"k", false, far(&clock)), Err(SubmitError::Ended(Failure::Closed))));
}

#[tokio::test]
async fn half_a_reply_and_then_silence_is_a_timeout() {
    let (mut server, lane, clock) = open_lane(|_| {}).await;
    let pending = lane.get(b"k", false, within(&clock, Duration::from_millis(30))).unwrap();
    server.write_all(b"$10\r\nabc").await.unwrap();
    assert_eq!(pending.await, Err(Failure::Timeout));
    assert_eq!(lane.state(), Phase::Open, "what to do about it is the owner's business");
}

#[tokio::test]
async fn nonsense_ends_the_lane() {
    for (bytes, word) in [
        (&b"HTTP/1.1 400\r\n"[..], "begins with"),
        (b"$536870913\r\n", "536870912"),
        (b"$1\r\na\r\n:1\r\n", "asked for"),
    ] {
        let (mut server, lane, clock) = open_lane(|_| {}).await;
        let _pending = lane.get(b"k", false, far(&clock)).unwrap();
        expect(&mut server, &get("k")).await;
        server.write_all(bytes).await.unwrap();
        until(|| dead(&lane).is_some()).await;
        let Some(Failure::Protocol(what)) = dead(&lane) else { panic!("{lane:?}") };
        assert!(what.contains(word), "{what}");
    }
}

#[tokio::test]
async fn a_value_that_comes_byte_by_byte_does_not_move_its_deadline() {
    let (mut server, lane, clock) = open_lane(|_| {}).await;
    let mut pending = lane.get(b"drip", false, within(&clock, Duration::from_millis(100))).unwrap();
    let next = lane.get(b"next", false, far(&clock)).unwrap();
    server.write_all(b"$30000\r\n").await.unwrap();
    let mut sent = 0;
    let outcome = loop {
        server.write_all(b"x").await.unwrap();
        sent += 1;
        assert!(sent < 30_000, "it was waited for to its end");
        // The pace of the drip is the fault itself.
        if let Ok(outcome) = tokio::time::timeout(Duration::from_millis(1), &mut pending).await {
            break outcome;
        }
    };
    assert_eq!(outcome, Err(Failure::Timeout));
    server.write_all(&vec![b'x'; 30_000 - sent]).await.unwrap();
    server.write_all(b"\r\n$1\r\nn\r\n").await.unwrap();
    assert_eq!(next.await, value("n"), "the lane is in step");
}

#[tokio::test]
async fn a_request_that_the_server_does_not_take_times_out() {
    let (_server, lane, clock) = open_lane(|_| {}).await;
    let data = vec![0; 64 << 20];
    let set = lane.command(&[b"SET", b"k", &data], false, within(&clock, Duration::from_millis(30))).unwrap();
    let get = lane.get(b"k", false, within(&clock, Duration::from_millis(30))).unwrap();
    assert_eq!((set.await, get.await), (Err(Failure::Timeout), Err(Failure::Timeout)));
    assert_eq!((lane.state(), lane.in_flight()), (Phase::Open, 0));
}

#[tokio::test]
async fn nobody_listens() {
    let (listener, first, _) = lane(|_| {}).await;
    let port = listener.local_addr().unwrap().port();
    drop((listener, first));
    let clock = Clock::new();
    let lane = Lane::open(Arc::new(config(port)), clock, &Handle::current());
    until(|| dead(&lane).is_some()).await;
    let Some(Failure::Connect(why)) = dead(&lane) else { panic!("{lane:?}") };
    assert!(why.contains(&port.to_string()), "{why}");
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_ends_at_the_connect_timeout() {
    let (listener, lane, clock) = lane(|c| c.connect_timeout = Duration::from_millis(100)).await;
    let early = lane.get(b"k", false, within(&clock, Duration::from_millis(20))).unwrap();
    let patient = lane.get(b"k", false, far(&clock)).unwrap();
    let (_server, _) = listener.accept().await.unwrap();
    assert_eq!(early.await, Err(Failure::Timeout), "deadlines hold while connecting");
    assert!(matches!(patient.await, Err(Failure::Connect(_))));
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_server, lane, clock) = runtime.block_on(open_lane(|_| {}));
    let pending = lane.get(b"k", false, far(&clock)).unwrap();
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(other.block_on(pending), Err(Failure::Closed));
}

#[test]
fn who_submits_while_the_lane_dies_gets_one_answer() {
    const THREADS: usize = 3;
    const EACH: usize = 20;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for round in 0..200 {
        let (server, lane, clock) = runtime.block_on(open_lane(|_| {}));
        let start = std::sync::Barrier::new(THREADS + 1);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    loop {
                        let submitted: Vec<_> = (0..EACH).map(|_| lane.get(b"k", false, far(&clock))).collect();
                        let refused = submitted.iter().any(Result::is_err);
                        for pending in submitted {
                            let why = match pending {
                                Ok(p) => runtime.block_on(p).expect_err("nobody replies"),
                                Err(SubmitError::Ended(why)) => why,
                                Err(SubmitError::Full) => panic!("there is room for all"),
                            };
                            assert!(matches!(why, Failure::Lost(_) | Failure::Closed), "{why}");
                        }
                        if refused {
                            break;
                        }
                    }
                });
            }
            start.wait();
            for _ in 0..round % 20 {
                std::thread::yield_now();
            }
            if round % 2 == 0 {
                lane.close(Failure::Closed);
            } else {
                drop(server);
            }
        });
        assert_eq!(lane.in_flight(), 0);
    }
}

/// In a process of its own: memory is the process's, and other tests use a lot of it.
#[cfg(target_os = "linux")]
#[test]
fn a_huge_value_that_stops_holds_no_memory() {
    const ALONE: &str = "FAILSOFT_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = std::thread::current().name().expect("a test's thread has its name").to_owned();
        let this = std::env::current_exe().unwrap();
        let run = std::process::Command::new(this).args([&name, "--exact"]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    };
    let limit = resident() + (64 << 20);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut server, lane, clock) = open_lane(|_| {}).await;
        let first = lane.get(b"first", false, far(&clock)).unwrap();
        let _huge = lane.get(b"huge", false, far(&clock)).unwrap();
        // In one write: when the first value is here, so is the header.
        server.write_all(b"$1\r\n1\r\n$536870912\r\n").await.unwrap();
        assert_eq!(first.await, value("1"));
        assert!(resident() < limit, "a header alone costs nothing");

        let (mut server, lane, clock) = open_lane(|c| c.attempt_timeout = Duration::from_millis(300)).await;
        let huge = lane.get(b"huge", false, within(&clock, Duration::from_millis(300))).unwrap();
        server.write_all(b"$536870912\r\n").await.unwrap();
        for _ in 0..128 {
            server.write_all(&[b'x'; 1 << 20]).await.unwrap();
        }
        assert_eq!(huge.await, Err(Failure::Timeout));
        until(|| resident() < limit).await;
    });
}
