//! Whose fault it is when something takes too long: a hung node's, our own process's, or a long value's.

use super::*;
use failsoft_policy::Reason;
use std::sync::Mutex;

/// Longer than a busy machine keeps a process waiting.
const TIMEOUT: Duration = Duration::from_millis(300);

/// What is reported of a lane's end.
fn reports() -> (Arc<Mutex<Vec<Reason>>>, Option<Arc<Report>>) {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let push = Arc::clone(&reports);
    (reports, Some(Arc::new(move |blame: Blame| push.lock().unwrap().push(blame.reason))))
}

#[tokio::test]
async fn a_hung_node_is_noticed_although_every_caller_has_left() {
    let (reported, report) = reports();
    let (mut server, lane, clock) = open_lane(|c| (c.attempt_timeout, c.report) = (TIMEOUT, report)).await;
    let hasty = lane.get(b"k", false, within(&clock, Duration::from_millis(10))).unwrap();
    expect(&mut server, &get("k")).await;
    assert_eq!(hasty.await, Err(Failure::Timeout));
    until(|| lane.state() == Phase::Ended(Failure::Hung)).await;
    assert_eq!(*reported.lock().unwrap(), [Reason::Timeout]);
}

#[tokio::test]
async fn a_node_that_does_not_open_is_noticed_and_the_connection_goes_on() {
    let (reported, report) = reports();
    let (listener, lane, clock) = lane(|c| (c.attempt_timeout, c.report) = (TIMEOUT, report)).await;
    let hasty = lane.get(b"k", false, within(&clock, Duration::from_millis(10))).unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    assert_eq!(hasty.await, Err(Failure::Timeout));
    until(|| *reported.lock().unwrap() == [Reason::Timeout]).await;
    assert_eq!(lane.state(), Phase::Connecting);
    let later = lane.get(b"k", false, far(&clock)).unwrap();
    lane.fail_over();
    assert_eq!(later.await, Err(Failure::Closed));
    assert_eq!(lane.state(), Phase::Connecting, "it is as new as any");
    expect(&mut server, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n").await;
    server.write_all(HELLO_OK).await.unwrap();
    until(|| lane.state() == Phase::Open).await;
    let get_after = lane.get(b"after", false, far(&clock)).unwrap();
    expect(&mut server, &get("after")).await;
    server.write_all(b"$1\r\nv\r\n").await.unwrap();
    assert_eq!(get_after.await, value("v"), "what was given up meanwhile was not sent");
    assert_eq!(*reported.lock().unwrap(), [Reason::Timeout], "once");
}

#[tokio::test]
async fn a_server_that_closes_an_idle_connection_is_not_blamed() {
    let (reported, report) = reports();
    let (server, lane, _) = open_lane(|c| c.report = report).await;
    drop(server);
    until(|| matches!(lane.state(), Phase::Ended(Failure::Lost(_)))).await;
    assert_eq!(*reported.lock().unwrap(), []);
}

#[test]
fn replies_that_came_while_the_process_had_no_time_are_in_time() {
    // The server has a runtime of its own: it goes on while this process stands still.
    let there = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (reported, report) = reports();
    here.block_on(async {
        let (server, lane, clock) = open_lane(|c| (c.attempt_timeout, c.report) = (TIMEOUT, report)).await;
        let server = server.into_std().unwrap();
        let (asked, was_asked) = std::sync::mpsc::channel();
        let (sent, was_sent) = std::sync::mpsc::channel();
        there.spawn(async move {
            let mut server = TcpStream::from_std(server).unwrap();
            expect(&mut server, &get("k")).await;
            asked.send(()).unwrap();
            server.write_all(b"$1\r\nv\r\n").await.unwrap();
            sent.send(server).unwrap();
        });
        let pending = lane.get(b"k", false, within(&clock, TIMEOUT)).unwrap();
        while was_asked.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        let _server = was_sent.recv().unwrap();
        // The pause is the fault itself: three times what an answer may take.
        std::thread::sleep(3 * TIMEOUT);
        assert_eq!(pending.await, value("v"));
        assert_eq!(lane.state(), Phase::Open);
    });
    assert_eq!(*reported.lock().unwrap(), []);
}

#[test]
fn a_process_that_had_no_time_while_it_connected_goes_on_connecting() {
    let there = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (reported, report) = reports();
    here.block_on(async {
        // Long enough for a busy machine: after the pause the server still has to answer.
        let limit = Duration::from_secs(1);
        let (listener, lane, clock) = lane(|c| (c.connect_timeout, c.report) = (limit, report)).await;
        let listener = listener.into_std().unwrap();
        let served = there.spawn(async move {
            let (mut server, _) = TcpListener::from_std(listener).unwrap().accept().await.unwrap();
            expect(&mut server, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n").await;
            server.write_all(HELLO_OK).await.unwrap();
            expect(&mut server, &get("k")).await;
            server.write_all(b"$1\r\nv\r\n").await.unwrap();
            server
        });
        let pending = lane.get(b"k", false, far(&clock)).unwrap();
        // It has begun to connect when it is held up for longer than it may take.
        tokio::task::yield_now().await;
        std::thread::sleep(limit + TIMEOUT);
        assert_eq!(pending.await, value("v"));
        assert_eq!(lane.state(), Phase::Open);
        drop(served.await.unwrap());
    });
    assert_eq!(*reported.lock().unwrap(), []);
}

#[tokio::test]
async fn beside_a_long_value_that_arrives_slowly_nothing_is_late() {
    let (mut server, lane, clock) = open_lane(|c| c.attempt_timeout = TIMEOUT).await;
    let attempt = || Attempt { until: clock.now() + TIMEOUT, limit: clock.now() + LONG };
    let long = lane.get(b"long", false, attempt()).unwrap();
    let short = lane.get(b"short", false, attempt()).unwrap();
    const PIECES: usize = 20;
    server.write_all(format!("${}\r\n", PIECES * 70_000).as_bytes()).await.unwrap();
    for _ in 0..PIECES {
        server.write_all(&[b'x'; 70_000]).await.unwrap();
        // The pace of the link is the fault itself: in all, many times what an answer may take.
        tokio::time::sleep(TIMEOUT / 5).await;
    }
    server.write_all(b"\r\n$1\r\ns\r\n").await.unwrap();
    assert_eq!(long.await.map(|v| matches!(v, Reply::Value(v) if v.len() == PIECES * 70_000)), Ok(true));
    assert_eq!(short.await, value("s"));
    assert_eq!(lane.state(), Phase::Open);
}

#[tokio::test]
async fn a_write_that_was_given_up_while_connecting_is_never_sent() {
    let (listener, lane, clock) = lane(|_| {}).await;
    let set = lane.command(&[b"SET", b"k", b"v"], false, within(&clock, Duration::from_millis(20))).unwrap();
    let get_after = lane.get(b"after", false, far(&clock)).unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    assert_eq!(set.await, Err(Failure::Timeout));
    expect(&mut server, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n").await;
    server.write_all(HELLO_OK).await.unwrap();
    expect(&mut server, &get("after")).await;
    server.write_all(b"$1\r\nv\r\n").await.unwrap();
    assert_eq!(get_after.await, value("v"));
}

#[tokio::test]
async fn a_long_value_that_nobody_wants_any_more_is_still_an_advancing_one() {
    let (reported, report) = reports();
    let (mut server, lane, clock) = open_lane(|c| (c.attempt_timeout, c.report) = (TIMEOUT, report)).await;
    let attempt = || Attempt { until: clock.now() + TIMEOUT, limit: clock.now() + LONG };
    let long = lane.get(b"long", false, attempt()).unwrap();
    let short = lane.get(b"short", false, attempt()).unwrap();
    const PIECES: usize = 20;
    server.write_all(format!("${}\r\n", PIECES * 70_000).as_bytes()).await.unwrap();
    let mut long = Some(long);
    for piece in 0..PIECES {
        server.write_all(&[b'x'; 70_000]).await.unwrap();
        if piece == 5 {
            drop(long.take());
        }
        // The pace of the link is the fault itself: what is left takes many times what an answer may take.
        tokio::time::sleep(TIMEOUT / 5).await;
    }
    server.write_all(b"\r\n$1\r\ns\r\n").await.unwrap();
    assert_eq!(short.await, value("s"));
    assert_eq!(lane.state(), Phase::Open);
    assert_eq!(*reported.lock().unwrap(), []);
}
