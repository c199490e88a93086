//! Nodes that answer with garbage, halves, errors or nothing: each read is served, and the other
//! shard does not notice.

mod support;

use failsoft::{Outcome, Reason, Router, ServedBy};
use failsoft_testkit::{Behaviour, Topology};
use std::ops::RangeInclusive;
use std::time::Duration;
use support::{Calls, Pair, SLOT_A, eventually, in_time, never, ready_router, text};

/// The first attempt and three more.
const ALL_RETRIES: RangeInclusive<u32> = 1..=4;
const ONE: RangeInclusive<u32> = 1..=1;

/// Reads with short attempts, so that silence is soon over.
async fn quick(pair: &Pair) -> Router {
    ready_router(Router::builder(pair.addresses()).attempt_timeout(Duration::from_millis(100))).await
}

/// One read of the first shard while the second one is read too.
async fn read_both(what: &str, pair: &Pair, router: &Router) -> (Outcome, usize) {
    let calls = Calls::default();
    pair.b.set(pair.key_b(), "well");
    let ill = async { router.resolve(pair.key_a()).fallback(calls.give("loaded")).await };
    let well = async {
        for _ in 0..20 {
            let outcome = router.resolve(pair.key_b()).fallback(never).await.expect("the other shard");
            assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some("well")), "{what}");
        }
    };
    let (ill, ()) = in_time(what, async { tokio::join!(ill, well) }).await;
    (ill.unwrap_or_else(|e| panic!("{what}: {e}")), calls.count())
}

/// The first shard's node does this to every GET: the callback serves, for this reason, after so many
/// attempts.
async fn ends_in_secondary(behaviour: Behaviour, reason: Reason, attempts: RangeInclusive<u32>) {
    let what = format!("{behaviour:?}");
    let pair = Pair::start().await;
    let router = quick(&pair).await;
    pair.a.on("GET", behaviour);
    let (outcome, calls) = read_both(&what, &pair, &router).await;
    assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Secondary, Some("loaded")), "{what}");
    assert_eq!((outcome.reason, calls), (Some(reason), 1), "{what}");
    assert!(attempts.contains(&outcome.attempts), "{what}: {outcome:?}");
    let sent = pair.a.count_key("GET", pair.key_a());
    assert!(sent <= outcome.attempts as usize, "{what}: {sent} sent, {outcome:?}");
    assert_eq!(pair.a.count("FILL"), 0, "{what}: nothing is written on an unconfirmed miss");

    // And it comes back when the node does.
    pair.a.clear_rules();
    pair.a.set(pair.key_a(), "back");
    eventually(&what, async || {
        let outcome = router.resolve(pair.key_a()).fallback(Calls::default().give("loaded")).await;
        outcome.expect("a read").served_by == ServedBy::Primary
    })
    .await;
    in_time(&what, router.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_answer() {
    ends_in_secondary(Behaviour::Garbage, Reason::Protocol, ALL_RETRIES).await;
    ends_in_secondary(Behaviour::Array, Reason::Protocol, ALL_RETRIES).await;
    for bytes in [":42\r\n", "+OK\r\n", "$-2\r\n", "$5\r\nhello!!\r\n", "$99999999999999999999\r\n", "\r\n"] {
        let behaviour = Behaviour::reply(bytes);
        ends_in_secondary(behaviour, Reason::Protocol, ALL_RETRIES).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_slowness() {
    let drip = Behaviour::Drip { bytes: "$5\r\nhello\r\n".into(), every: Duration::from_millis(50) };
    let long = Behaviour::reply("*1000000000\r\n");
    for behaviour in [Behaviour::Silence, Behaviour::HalfReplyThenSilence, Behaviour::HugeHeader, long, drip] {
        ends_in_secondary(behaviour, Reason::Timeout, ALL_RETRIES).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end() {
    ends_in_secondary(Behaviour::Close, Reason::Connection, ALL_RETRIES).await;

    let pair = Pair::start().await;
    let router = quick(&pair).await;
    pair.a.refuse_connections(true).await.expect("refuses");
    let (outcome, calls) = read_both("refused connections", &pair, &router).await;
    assert_eq!((outcome.served_by, calls), (ServedBy::Secondary, 1));
    // A probe may have found out first.
    assert!(matches!(outcome.reason, Some(Reason::Connection | Reason::BreakerOpen)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_say_not_now() {
    let lines = [
        ("LOADING Redis is loading the dataset in memory", Reason::Loading),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Reason::Loading),
        ("BUSY Redis is busy running a script.", Reason::Loading),
        ("ERR max number of clients reached", Reason::Loading),
        ("CLUSTERDOWN The cluster is down", Reason::ClusterDown),
        ("CLUSTERDOWN Hash slot not served", Reason::SlotUncovered),
    ];
    for (line, reason) in lines {
        ends_in_secondary(Behaviour::error(line), reason, ONE).await;
    }
    // Too many clients is what a server says instead of a welcome.
    let pair = Pair::start().await;
    pair.a.on("HELLO", Behaviour::error("ERR max number of clients reached"));
    let router = quick(&pair).await;
    let (outcome, calls) = read_both("too many clients", &pair, &router).await;
    assert_eq!((outcome.served_by, outcome.reason, calls), (ServedBy::Secondary, Some(Reason::Loading), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_errors() {
    ends_in_secondary(Behaviour::error("ERR something else"), Reason::ErrorReply, ONE).await;
    ends_in_secondary(Behaviour::error("NOPERM no permissions"), Reason::ErrorReply, ONE).await;
    ends_in_secondary(Behaviour::error("MOVED nonsense"), Reason::ErrorReply, ONE).await;
    ends_in_secondary(Behaviour::error("ASK 99999 127.0.0.1:1"), Reason::ErrorReply, ONE).await;
    ends_in_secondary(Behaviour::error("MOVED 16000 127.0.0.1:1"), Reason::ErrorReply, ONE).await;
    ends_in_secondary(Behaviour::error("TRYAGAIN Multiple keys"), Reason::ErrorReply, ALL_RETRIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn try_again_is_tried_again() {
    let pair = Pair::start().await;
    let router = quick(&pair).await;
    pair.a.set(pair.key_a(), "there");
    pair.a.next("GET", Behaviour::error("TRYAGAIN Multiple keys request during rehashing of slot"));
    let (outcome, calls) = read_both("TRYAGAIN once", &pair, &router).await;
    assert_eq!((outcome.served_by, outcome.reason, outcome.attempts, calls), (ServedBy::Primary, None, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_redirects_ends() {
    let pair = Pair::start().await;
    let router = quick(&pair).await;
    let to = |port: u16| Behaviour::error(format!("MOVED {SLOT_A} 127.0.0.1:{port}"));
    pair.a.on_key("GET", pair.key_a(), to(pair.b.port()));
    pair.b.on_key("GET", pair.key_a(), to(pair.a.port()));
    let (outcome, calls) = read_both("MOVED in a circle", &pair, &router).await;
    assert_eq!((outcome.served_by, outcome.reason), (ServedBy::Secondary, Some(Reason::RedirectLimit)));
    assert_eq!((outcome.attempts, calls), (3, 1), "there, back, and no further");

    let to = |port: u16| Behaviour::error(format!("ASK {SLOT_A} 127.0.0.1:{port}"));
    pair.a.on_key("GET", pair.key_a(), to(pair.b.port()));
    pair.b.on_key("GET", pair.key_a(), to(pair.a.port()));
    let (outcome, calls) = read_both("ASK in a circle", &pair, &router).await;
    assert_eq!((outcome.served_by, outcome.reason), (ServedBy::Secondary, Some(Reason::RedirectLimit)));
    assert_eq!((outcome.attempts, calls), (1, 1), "no redirect of that slot is followed for a while");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_nowhere() {
    let pair = Pair::start().await;
    let router = quick(&pair).await;
    // Nobody listens there.
    let gone = support::scripted().await;
    gone.refuse_connections(true).await.expect("refuses");
    pair.a.on_key("GET", pair.key_a(), Behaviour::error(format!("MOVED {SLOT_A} {}", gone.address())));
    let (outcome, calls) = read_both("MOVED to a closed port", &pair, &router).await;
    assert_eq!((outcome.served_by, outcome.reason, calls), (ServedBy::Secondary, Some(Reason::Connection), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_without_a_host_means_the_host_that_answered() {
    let pair = Pair::start().await;
    let router = quick(&pair).await;
    pair.a.on_key("GET", pair.key_a(), Behaviour::error(format!("MOVED {SLOT_A} :{}", pair.b.port())));
    pair.b.on_key("GET", pair.key_a(), Behaviour::value("moved"));
    let (outcome, calls) = read_both("MOVED without a host", &pair, &router).await;
    assert_eq!((outcome.served_by, text(&outcome), outcome.reason), (ServedBy::Primary, Some("moved"), None));
    assert_eq!((outcome.attempts, calls), (2, 0));
    assert_eq!(outcome.node.map(|n| n.to_string()), Some(pair.b.address()));
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_to_an_unknown_host_is_found_by_a_view() {
    let pair = Pair::start().await;
    let router = quick(&pair).await;
    let mut moved = Topology::of(&[&pair.a, &pair.b]);
    moved.nodes[0].slots = vec![100..=8191];
    moved.nodes[1].slots = vec![0..=99, 8192..=16_383];
    moved.nodes[1].epoch = 7;
    for node in [&pair.a, &pair.b] {
        node.set_topology(&moved);
    }
    pair.a.on_key("GET", pair.key_a(), Behaviour::error(format!("MOVED {SLOT_A} ?:{}", pair.b.port())));
    pair.b.set(pair.key_a(), "moved");
    let mut attempts = 0;
    eventually("the view's address", async || {
        let (outcome, _) = read_both("MOVED to ?", &pair, &router).await;
        attempts = attempts.max(outcome.attempts);
        outcome.served_by == ServedBy::Primary && text(&outcome) == Some("moved")
    })
    .await;
    assert!(attempts <= 6, "{attempts} attempts");
    assert!(router.health().nodes.iter().all(|n| !n.address.contains('?')), "never taken for a name");
}

#[tokio::test(flavor = "multi_thread")]
async fn ask_goes_to_the_target_once_and_changes_no_map() {
    let pair = Pair::start().await;
    let router = quick(&pair).await;
    pair.a.on_key("GET", pair.key_a(), Behaviour::error(format!("ASK {SLOT_A} 127.0.0.1:{}", pair.b.port())));
    pair.b.set(pair.key_a(), "importing");
    for _ in 0..3 {
        let (outcome, calls) = read_both("ASK", &pair, &router).await;
        assert_eq!((outcome.served_by, text(&outcome), outcome.reason), (ServedBy::Primary, Some("importing"), None));
        assert_eq!((outcome.attempts, calls), (2, 0));
        assert_eq!(outcome.node.map(|n| n.to_string()), Some(pair.b.address()));
    }
    assert_eq!(pair.a.count_key("GET", pair.key_a()), 3, "each read asks the owner first");
    assert_eq!(pair.b.count("ASKING"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_resp2_only() {
    let pair = Pair::start().await;
    pair.a.resp2_only();
    let router = ready_router(Router::builder(pair.addresses()).password("secret").client_name("app")).await;
    pair.a.set(pair.key_a(), "old");
    let (outcome, calls) = read_both("RESP2", &pair, &router).await;
    assert_eq!((outcome.served_by, text(&outcome), calls), (ServedBy::Primary, Some("old"), 0));
    let missing = router.resolve(format!("{{{}}}missing", pair.key_a())).await.expect("a nil of RESP2");
    assert_eq!((missing.served_by, missing.value), (ServedBy::None, None));
    assert!(pair.a.count("AUTH") >= 1 && pair.a.count("CLIENT SETNAME") >= 1);
}
