//! Servers that refuse, die, fall silent or talk nonsense: every request ends, with a reason.

use super::*;

fn dead(lane: &Lane) -> Option<LaneError> {
    match lane.state() {
        LaneState::Dead(why) => Some(why),
        LaneState::Connecting | LaneState::Open => None,
    }
}

#[tokio::test]
async fn a_lost_connection_fails_all_in_flight_and_takes_no_more() {
    let (server, lane, clock) = open_lane(|_| {}).await;
    let pending: Vec<_> = (0..3).map(|_| lane.get(b"k", false, far(&clock)).unwrap()).collect();
    drop(server);
    for p in pending {
        assert!(matches!(p.await, Err(LaneError::Lost(_))));
    }
    assert!(matches!(lane.get(b"k", false, far(&clock)), Err(SubmitError::Dead(LaneError::Lost(_)))));
    assert_eq!(lane.in_flight(), 0);
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes_is_dead() {
    let (server, lane, _) = open_lane(|_| {}).await;
    drop(server);
    until(|| dead(&lane).is_some()).await;
    assert!(matches!(dead(&lane), Some(LaneError::Lost(_))));
}

#[tokio::test]
async fn closing_answers_everyone_once_and_keeps_the_first_reason() {
    let (_server, lane, clock) = open_lane(|_| {}).await;
    let pending = lane.get(b"k", false, far(&clock)).unwrap();
    lane.close(LaneError::Closed);
    lane.close(LaneError::Timeout);
    assert_eq!(pending.await, Err(LaneError::Closed));
    assert_eq!(dead(&lane), Some(LaneError::Closed));
}

#[tokio::test]
async fn half_a_reply_and_then_silence_is_a_timeout() {
    let (mut server, lane, clock) = open_lane(|_| {}).await;
    let pending = lane.get(b"k", false, clock.now() + Duration::from_millis(30)).unwrap();
    server.write_all(b"$10\r\nabc").await.unwrap();
    assert_eq!(pending.await, Err(LaneError::Timeout));
    assert_eq!(lane.state(), LaneState::Open, "what to do about it is the owner's business");
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
        let Some(LaneError::Protocol(what)) = dead(&lane) else { panic!("{lane:?}") };
        assert!(what.contains(word), "{what}");
    }
}

#[tokio::test]
async fn the_header_of_a_huge_value_alone_costs_no_more_than_a_timeout() {
    let (mut server, lane, clock) = open_lane(|c| c.attempt_timeout = Duration::from_millis(30)).await;
    let pending = lane.get(b"k", false, clock.now() + Duration::from_millis(30)).unwrap();
    server.write_all(b"$536870912\r\n").await.unwrap();
    assert_eq!(pending.await, Err(LaneError::Timeout));
}

#[tokio::test]
async fn nobody_listens() {
    let (listener, first, _) = lane(|_| {}).await;
    let port = listener.local_addr().unwrap().port();
    drop((listener, first));
    let clock = Clock::new();
    let lane = Lane::open(Arc::new(config(port)), clock, &Handle::current());
    until(|| dead(&lane).is_some()).await;
    let Some(LaneError::Connect(why)) = dead(&lane) else { panic!("{lane:?}") };
    assert!(why.contains(&port.to_string()), "{why}");
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_ends_at_the_connect_timeout() {
    let (listener, lane, clock) = lane(|c| c.connect_timeout = Duration::from_millis(100)).await;
    let early = lane.get(b"k", false, clock.now() + Duration::from_millis(20)).unwrap();
    let patient = lane.get(b"k", false, far(&clock)).unwrap();
    let (_server, _) = listener.accept().await.unwrap();
    assert_eq!(early.await, Err(LaneError::Timeout), "deadlines hold while connecting");
    assert!(matches!(patient.await, Err(LaneError::Connect(_))));
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_the_line_and_without_the_password() {
    let (listener, lane, clock) = lane(|c| c.password = Some("s3cret".to_owned())).await;
    let pending = lane.get(b"k", false, far(&clock)).unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    expect(&mut server, b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$6\r\ns3cret\r\n").await;
    server.write_all(b"-WRONGPASS not with `s3cret`\r\n").await.unwrap();
    assert_eq!(pending.await, Err(LaneError::Refused("WRONGPASS not with `***`".into())));
}

#[tokio::test]
async fn a_server_without_resp3_is_spoken_to_in_resp2() {
    let (listener, lane, clock) = lane(|c| {
        (c.password, c.client_name, c.readonly) = (Some("p".to_owned()), Some("me".to_owned()), true);
    })
    .await;
    let pending = lane.get(b"k", false, far(&clock)).unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let hello =
        b"*7\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$1\r\np\r\n$7\r\nSETNAME\r\n$2\r\nme\r\n";
    let readonly = b"*1\r\n$8\r\nREADONLY\r\n";
    expect(&mut server, &[&hello[..], readonly].concat()).await;
    server.write_all(b"-ERR unknown command `HELLO`\r\n-NOAUTH Authentication required.\r\n").await.unwrap();
    let again = b"*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$2\r\nme\r\n";
    expect(&mut server, &[&again[..], readonly].concat()).await;
    server.write_all(b"+OK\r\n+OK\r\n-ERR This instance has cluster support disabled\r\n").await.unwrap();
    expect(&mut server, &get("k")).await;
    server.write_all(b"$1\r\nv\r\n").await.unwrap();
    assert_eq!(pending.await, value("v"));
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_server, lane, clock) = runtime.block_on(open_lane(|_| {}));
    let pending = lane.get(b"k", false, far(&clock)).unwrap();
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(other.block_on(pending), Err(LaneError::Closed));
}
