//! Requests on a healthy connection: order, ASKING, limits, deadlines, values of every size.

use super::*;

#[tokio::test]
async fn replies_are_matched_in_order() {
    let (mut server, lane, clock) = open_lane(|_| {}).await;
    let pending: Vec<_> = (0..3).map(|i| lane.get(format!("k{i}").as_bytes(), false, far(&clock)).unwrap()).collect();
    expect(&mut server, &[get("k0"), get("k1"), get("k2")].concat()).await;
    server.write_all(b"$1\r\na\r\n$-1\r\n-ERR c\r\n").await.unwrap();
    let mut replies = Vec::new();
    for p in pending {
        replies.push(p.await.unwrap());
    }
    assert_eq!(replies, [Reply::Value("a".into()), Reply::Nil, Reply::Error("ERR c".into())]);
    assert_eq!(lane.in_flight(), 0);
    assert!(lane.contact().is_some());
}

#[tokio::test]
async fn requests_queue_behind_the_handshake() {
    let (listener, lane, clock) = lane(|_| {}).await;
    let pending = lane.get(b"k", false, far(&clock)).unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    expect(&mut server, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n").await;
    server.write_all(HELLO_OK).await.unwrap();
    expect(&mut server, &get("k")).await;
    server.write_all(b"$1\r\nv\r\n").await.unwrap();
    assert_eq!(pending.await, value("v"));
}

#[tokio::test]
async fn asking_takes_its_own_ok() {
    let (mut server, lane, clock) = open_lane(|_| {}).await;
    let asked = lane.get(b"k", true, far(&clock)).unwrap();
    let next = lane.command(&[b"SET", b"k", b"v"], false, far(&clock)).unwrap();
    expect(&mut server, &[&b"*1\r\n$6\r\nASKING\r\n"[..], &get("k")].concat()).await;
    server.write_all(b"+OK\r\n$1\r\nv\r\n+DONE\r\n").await.unwrap();
    assert_eq!(asked.await, value("v"));
    assert_eq!(next.await, Ok(Reply::Status("DONE".into())));
}

#[tokio::test]
async fn a_late_reply_goes_to_nobody_and_the_next_one_to_its_request() {
    let (mut server, lane, clock) = open_lane(|c| c.max_in_flight = 3).await;
    let late = lane.get(b"late", false, within(&clock, Duration::from_millis(20))).unwrap();
    let next = lane.get(b"next", false, far(&clock)).unwrap();
    assert_eq!(late.await, Err(Failure::Timeout));
    assert_eq!(lane.in_flight(), 1, "nobody waits for it");
    let third = lane.get(b"third", false, far(&clock)).unwrap();
    assert_eq!(lane.get(b"k", false, far(&clock)).unwrap_err(), SubmitError::Full, "but its reply is still to come");
    expect(&mut server, &[get("late"), get("next"), get("third")].concat()).await;
    server.write_all(b"$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n").await.unwrap();
    assert_eq!(next.await, value("b"));
    assert_eq!(third.await, value("c"));
    assert_eq!(lane.state(), Phase::Open);
}

#[tokio::test]
async fn the_reply_to_a_dropped_request_is_discarded() {
    let (mut server, lane, clock) = open_lane(|_| {}).await;
    let dropped = lane.get(b"a", false, far(&clock)).unwrap();
    expect(&mut server, &get("a")).await;
    drop(dropped);
    let kept = lane.get(b"b", false, far(&clock)).unwrap();
    expect(&mut server, &get("b")).await;
    server.write_all(b"$1\r\na\r\n$1\r\nb\r\n").await.unwrap();
    assert_eq!(kept.await, value("b"));
}

#[tokio::test]
async fn callers_who_leave_end_nothing_and_hold_their_places_until_the_replies_come() {
    let (mut server, lane, clock) = open_lane(|c| c.max_in_flight = 10_000).await;
    let patient = lane.get(b"k", false, far(&clock)).unwrap();
    let hasty: Vec<_> = (0..9_999).map(|_| lane.get(b"k", false, far(&clock)).unwrap()).collect();
    for _ in 0..10_000 {
        expect(&mut server, &get("k")).await;
    }
    drop(hasty);
    assert_eq!((lane.state(), lane.in_flight()), (Phase::Open, 1));
    assert_eq!(lane.get(b"k", false, far(&clock)).unwrap_err(), SubmitError::Full);
    server.write_all(&b"$1\r\nv\r\n".repeat(10_000)).await.unwrap();
    assert_eq!(patient.await, value("v"));
    until(|| lane.get(b"k", false, far(&clock)).is_ok()).await;
}

#[tokio::test]
async fn a_value_of_64_mib_arrives_whole_and_the_next_in_step() {
    let (mut server, lane, clock) = open_lane(|_| {}).await;
    let big = lane.get(b"big", false, far(&clock)).unwrap();
    let next = lane.get(b"next", false, far(&clock)).unwrap();
    let data: Vec<u8> = (0..64_u32 << 20).map(|i| (i % 251) as u8).collect();
    let send = async {
        server.write_all(format!("${}\r\n", data.len()).as_bytes()).await.unwrap();
        server.write_all(&data).await.unwrap();
        server.write_all(b"\r\n$1\r\nn\r\n").await.unwrap();
    };
    let (got, ()) = tokio::join!(big, send);
    assert!(got == Ok(Reply::Value(data.clone().into())), "the value is not the one that was sent");
    assert_eq!(next.await, value("n"));
}

#[tokio::test]
async fn a_long_value_that_stops_is_a_timeout_and_the_rest_of_it_goes_to_nobody() {
    let (mut server, lane, clock) = open_lane(|_| {}).await;
    let pending = lane.get(b"big", false, within(&clock, Duration::from_millis(30))).unwrap();
    let next = lane.get(b"next", false, far(&clock)).unwrap();
    server.write_all(b"$2097152\r\n").await.unwrap();
    server.write_all(&[b'x'; 1 << 20]).await.unwrap();
    assert_eq!(pending.await, Err(Failure::Timeout));
    server.write_all(&[b'x'; 1 << 20]).await.unwrap();
    server.write_all(b"\r\n$1\r\nn\r\n").await.unwrap();
    assert_eq!(next.await, value("n"));
}

#[tokio::test]
async fn a_long_request_goes_out_whole_and_in_its_turn() {
    let (mut server, lane, clock) = open_lane(|_| {}).await;
    let data = vec![b'd'; 64 << 20];
    let (long_key, ttl) = (vec![b'k'; 70_000], far(&clock));
    let pending = [
        lane.get(b"before", false, ttl).unwrap(),
        lane.command(&[b"SET", b"big", &data], true, ttl).unwrap(),
        lane.get(b"after", false, ttl).unwrap(),
        lane.get(&long_key, false, ttl).unwrap(),
    ];
    expect(&mut server, &get("before")).await;
    expect(&mut server, b"*1\r\n$6\r\nASKING\r\n*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$67108864\r\n").await;
    let mut got = vec![0; data.len()];
    server.read_exact(&mut got).await.unwrap();
    assert!(got == data, "the value is not the one that was set");
    expect(&mut server, &[&b"\r\n"[..], &get("after"), b"*2\r\n$3\r\nGET\r\n$70000\r\n", &long_key].concat()).await;
    server.write_all(b"$1\r\n0\r\n+OK\r\n+OK\r\n$1\r\n2\r\n$-1\r\n").await.unwrap();
    let [before, set, after, long] = pending;
    assert_eq!((before.await, set.await), (value("0"), Ok(Reply::Status("OK".into()))));
    assert_eq!((after.await, long.await), (value("2"), Ok(Reply::Nil)));
}

#[tokio::test]
async fn pushes_are_handed_out_in_order_with_the_replies() {
    let seen: Seen = Arc::default();
    let hear = Arc::clone(&seen);
    let pushes: Arc<dyn Fn(Vec<Reply>) + Send + Sync> = Arc::new(move |push| hear.lock().unwrap().push(Ok(push)));
    let (mut server, lane, clock) = open_lane(|c| c.pushes = Some(pushes)).await;
    for key in [&b"a"[..], b"b"] {
        let sink = Arc::new(Told(Arc::clone(&seen)));
        lane.get_for(sink, key, far(&clock)).unwrap();
    }
    let last = lane.get(b"c", false, far(&clock)).unwrap();
    expect(&mut server, &[get("a"), get("b"), get("c")].concat()).await;
    let push = |n| format!(">2\r\n+invalidate\r\n*1\r\n:{n}\r\n");
    let stream = [&push(1), "$1\r\na\r\n", &push(2), &push(3), "$1\r\nb\r\n", &push(4), "*2\r\n:1\r\n_\r\n"].concat();
    server.write_all(stream.as_bytes()).await.unwrap();
    assert_eq!(last.await, Ok(Reply::Array(vec![Reply::Integer(1), Reply::Nil])));
    let pushed = |n| Ok(vec![Reply::Status("invalidate".into()), Reply::Array(vec![Reply::Integer(n)])]);
    let expected = [pushed(1), Err(value("a")), pushed(2), pushed(3), Err(value("b")), pushed(4)];
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// Pushes, and outcomes of requests, in the order in which they were given out.
type Seen = Arc<std::sync::Mutex<Vec<Result<Vec<Reply>, Outcome>>>>;

struct Told(Seen);

impl Sink for Told {
    fn told(self: Arc<Self>, outcome: Outcome, _: &mut Vec<std::task::Waker>) {
        self.0.lock().unwrap().push(Err(outcome));
    }
}
