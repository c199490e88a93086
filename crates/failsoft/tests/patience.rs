//! How long a read waits for what: a deadline leaves the callback its share, and without a callback all of it is used;
//! redirects that lead nowhere; failures that are not the node's.

mod support;

use failsoft::{Bytes, Error, Reason, Router, ServedBy};
use failsoft_testkit::Behaviour;
use std::time::Duration;
use support::{Pair, SLOT_A, eventually, give, in_time, patient, read, ready_router, scripted, text};

/// How long one attempt may take, where that is what the test is about.
const ATTEMPT: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_leaves_time_for_the_callback_when_the_node_hangs() {
    let node = scripted().await;
    node.standalone();
    node.on_key("GET", "k", Behaviour::Silence);
    let router = ready_router(patient([node.address()])).await;
    // Shorter than a single attempt may take.
    let limit = Duration::from_secs(2);
    let reads = (0..20).map(|_| router.resolve("k").fallback(give("loaded")).deadline(limit).into_future());
    for outcome in in_time("the reads", futures_util::future::join_all(reads)).await {
        let outcome = outcome.expect("served");
        assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Secondary, Some("loaded")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_callback_a_first_read_waits_for_a_cluster_that_is_late() {
    let pair = Pair::start().await;
    for node in [&pair.a, &pair.b] {
        node.set(pair.key_a(), "v");
        node.refuse_connections(true).await.expect("a closed port");
    }
    let router = patient(pair.addresses()).build().expect("good settings");
    // The first round of questions fails at once; with a callback that is enough.
    eventually("the first round", async || {
        let outcome = read(&router, "k").await.expect("served");
        outcome.reason == Some(Reason::Connection)
    })
    .await;
    let (r, key) = (router.clone(), pair.key_a());
    let late = tokio::spawn(async move { r.resolve(key).await });
    tokio::task::yield_now().await;
    for node in [&pair.a, &pair.b] {
        node.refuse_connections(false).await.expect("an open port");
    }
    let outcome = in_time("the first read", late).await.expect("no panic").expect("served in the end");
    assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some("v")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_callback_a_first_read_waits_for_nodes_that_start_slowly() {
    let pair = Pair::start().await;
    for node in [&pair.a, &pair.b] {
        node.set(pair.key_a(), "v");
        node.on("*", Behaviour::Silence);
    }
    let router = patient(pair.addresses()).attempt_timeout(ATTEMPT).build().expect("good settings");
    let (r, key) = (router.clone(), pair.key_a());
    let first = tokio::spawn(async move { r.resolve(key).await });
    // The first round of questions, and at least one more.
    pair.a.wait_for("CLUSTER", 2).await.expect("questions");
    for node in [&pair.a, &pair.b] {
        node.clear_rules();
    }
    let outcome = in_time("the first read", first).await.expect("no panic").expect("served in the end");
    assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some("v")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_callback_a_first_read_outlasts_handshakes_that_take_longer_than_an_attempt() {
    for takes in [300, 500, 800] {
        let pair = Pair::start().await;
        pair.a.set(pair.key_a(), "v");
        pair.a.on("HELLO", Behaviour::Normal.after(Duration::from_millis(takes)));
        let router = patient(pair.addresses()).attempt_timeout(ATTEMPT).build().expect("good settings");
        let outcome = in_time("the first read", router.resolve(pair.key_a()).into_future()).await.expect("served");
        assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some("v")), "{takes} ms");
        pair.a.wait_for("CLIENT TRACKING", 1).await.expect("it is listened to");
        assert_eq!(pair.a.count("HELLO"), 2, "another connection for reads would have taken as long");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_node_is_found_out_although_no_connection_to_it_is_open() {
    let pair = Pair::start().await;
    let router = ready_router(patient(pair.addresses()).attempt_timeout(ATTEMPT)).await;
    pair.a.on("*", Behaviour::Silence);
    // Connecting may take four seconds, and every caller gives up long before an attempt is over.
    let hasty = async || router.resolve(pair.key_a()).fallback(give("loaded")).deadline(ATTEMPT / 5).await;
    assert_eq!(hasty().await.expect("served").served_by, ServedBy::Secondary);
    eventually("it is found out", async || trouble(&router) == ["timeout"]).await;
    let outcome = read(&router, pair.key_a()).await.expect("served");
    assert_eq!((outcome.reason, outcome.attempts), (Some(Reason::BreakerOpen), 0), "nobody pays for it again");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_callback_a_deadline_that_passes_is_called_so() {
    let node = scripted().await;
    node.standalone();
    node.on_key("GET", "k", Behaviour::Silence);
    let router = ready_router(patient([node.address()])).await;
    let error = router.resolve("k").deadline(Duration::from_millis(50)).await.expect_err("nobody answers");
    assert!(matches!(error, Error::DeadlineExceeded { limit: "deadline" }), "{error:?}");
    assert_eq!(router.counters().reads_served_by("error"), 1);
}

fn trouble(router: &Router) -> Vec<&'static str> {
    router.health().nodes.iter().filter_map(|n| n.trouble).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_to_itself_is_asked_again_on_a_new_connection() {
    let pair = Pair::start().await;
    let router = ready_router(patient(pair.addresses())).await;
    let key = pair.key_a();
    pair.a.set(&key, "v");
    assert_eq!(read(&router, &key).await.expect("served").served_by, ServedBy::Primary);
    pair.a.wait_for("CLIENT TRACKING", 1).await.expect("it is listened to");
    let connections = pair.a.count("HELLO");
    // An address behind which another server stands by now: what was connected before is led astray.
    pair.a.next_key("GET", &key, Behaviour::error(format!("MOVED {SLOT_A} {}", pair.a.address())));
    let outcome = router.resolve(&key).fallback(|_, _| async { Err::<Option<Bytes>, _>("not needed") }).await;
    let outcome = outcome.expect("served");
    assert_eq!((outcome.served_by, text(&outcome), outcome.attempts), (ServedBy::Primary, Some("v"), 2));
    assert_eq!(pair.a.count("HELLO"), connections + 1);
    assert!(trouble(&router).is_empty(), "it says nothing of the node");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_send_reads_round_in_circles_are_asked_once_by_each() {
    let pair = Pair::start().await;
    let router = ready_router(patient(pair.addresses())).await;
    let (a, b) = (pair.a.address(), pair.b.address());
    pair.a.on("GET", Behaviour::error(format!("MOVED {SLOT_A} {b}")));
    pair.b.on("GET", Behaviour::error(format!("MOVED {SLOT_A} {a}")));
    let reads = 100;
    for _ in 0..reads {
        let outcome = read(&router, pair.key_a()).await.expect("served");
        assert_eq!((outcome.served_by, outcome.reason), (ServedBy::Secondary, Some(Reason::RedirectLimit)));
    }
    // A new try every two seconds follows as far as there are tokens.
    let asked = pair.a.count("GET") + pair.b.count("GET");
    assert!(asked < 2 * reads, "{asked} requests for {reads} reads");
}
