//! Passwords and ACLs of a real server: whoever is not let in is served by the callback, and the
//! server is not run over.

mod support;

use failsoft::{Builder, Cause, Error, Reason, Router, ServedBy};
use failsoft_testkit::{Behaviour, Cluster};
use support::{Calls, Pair, eventually, in_time, patient, read, ready_router, server, text};

const PASSWORD: &str = "right";

/// A cluster of one with users of several kinds.
async fn guarded() -> Cluster {
    let builder = Cluster::builder().server(&server()).primaries(1).replicas(0).auth("", PASSWORD);
    let builder = builder.config("requirepass", PASSWORD).config("masterauth", PASSWORD);
    let builder = builder.user("app", ">right on ~* &* +@all").user("blind", ">right on ~* &* +@all -get");
    // All that the hot path needs, and nothing that the control plane asks beyond the slots.
    let some = "on >right ~* &* +get +set +ping +hello +auth +client +readonly +asking +cluster|shards +cluster|slots +cluster|myid";
    builder
        .user("narrow", some)
        .user("nodes", &format!("{some} +cluster|nodes +cluster|info"))
        .user("epochless", &format!("{some} +info +cluster|info"))
        .start()
        .await
        .expect("a cluster")
}

/// A router that is not let in serves from the callback.
async fn kept_out(builder: Builder) {
    let router = builder.standin_bytes(0).build().expect("good settings");
    let calls = Calls::default();
    let outcome = in_time("a read", async { router.resolve("k").fallback(calls.give("loaded")).await }).await;
    let outcome = outcome.expect("the callback serves");
    assert_eq!((outcome.served_by, text(&outcome), calls.count()), (ServedBy::Secondary, Some("loaded"), 1));
    let error = in_time("a read", async { router.resolve("k").await }).await.expect_err("no source");
    assert!(matches!(error, Error::Unavailable { reason: Reason::ErrorReply, .. }), "{error:?}");
    let (words, refusals) = (error.to_string(), router.health().refusals);
    assert!(refusals.values().any(|said| words.contains(said)), "{words}: {refusals:?}");
    assert_eq!(outcome.reason, Some(Reason::ErrorReply));
    assert!(!router.health().refusals.is_empty(), "health tells what the servers said");
    let error = in_time("a set", router.set("k", "v", None)).await.expect_err("no writer");
    assert!(matches!(error, Error::WriteRefused { .. }), "{error:?}");
    assert!(!format!("{error} {error:?} {}", router.health().to_json()).contains("wrong"), "no password is shown");
    router.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_and_who_is_not() {
    let cluster = guarded().await;
    let nodes = cluster.addresses();

    // In: by setting, by URL, as a user.
    let router = ready_router(patient(nodes.clone()).password(PASSWORD).client_name("my-app")).await;
    router.set("k", "stored", None).await.expect("a set");
    assert_eq!(text(&read(&router, "k").await.expect("a read")), Some("stored"));
    let list = cluster.command(0, &["CLIENT", "LIST"]).await.expect("CLIENT LIST");
    let list: String = redis::from_redis_value(list).expect("text");
    assert!(list.contains("name=my-app"), "{list}");
    router.close().await;
    for url in [format!("redis://app:right@{}", nodes[0]), format!("redis://:right@{}", nodes[0])] {
        let router = ready_router(patient([url])).await;
        assert_eq!(read(&router, "k").await.expect("a read").served_by, ServedBy::Primary);
        router.close().await;
    }

    // Out: wrong, missing, unknown.
    for builder in [
        Router::builder(nodes.clone()).password("wrong"),
        Router::builder(nodes.clone()),
        Router::builder(nodes.clone()).username("app").password("wrong"),
        Router::builder(nodes.clone()).username("nobody").password("wrong"),
        Router::builder([format!("redis://app:wrong@{}", nodes[0])]),
    ] {
        kept_out(builder).await;
    }

    // In, but not for GET.
    let router = ready_router(patient(nodes.clone()).username("blind").password(PASSWORD)).await;
    let outcome = read(&router, "k").await.expect("the callback serves");
    assert_eq!(
        (outcome.served_by, outcome.reason, outcome.attempts),
        (ServedBy::Secondary, Some(Reason::ErrorReply), 1)
    );
    router.set("k", "stored", None).await.expect("SET is allowed");
    router.close().await;

    // GET and nothing that describes nodes: reads work, and health says what is missing.
    for (user, denied) in [
        ("nodes", vec!["INFO"]),
        ("epochless", vec!["CLUSTER NODES"]),
        ("narrow", vec!["INFO", "CLUSTER INFO", "CLUSTER NODES"]),
    ] {
        let router = ready_router(patient(nodes.clone()).username(user).password(PASSWORD)).await;
        eventually(user, async || router.health().nodes.iter().all(|n| n.denied == denied && n.validated)).await;
        for _ in 0..3 {
            let outcome = read(&router, "k").await.expect("a read");
            assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some("stored")), "{user}");
        }
        router.set("k", "stored", None).await.expect("a set");
        router.close().await;
    }

    // Let in no more: the password is changed under a router.
    let router = ready_router(patient(nodes.clone()).username("app").password(PASSWORD)).await;
    cluster.command(0, &["ACL", "SETUSER", "app", "resetpass", ">other"]).await.expect("a new password");
    cluster.command(0, &["CLIENT", "KILL", "USER", "app"]).await.expect("kills");
    eventually("the callback serves", async || {
        read(&router, "k").await.expect("a read").served_by == ServedBy::Secondary
    })
    .await;
    cluster.command(0, &["ACL", "SETUSER", "app", "resetpass", ">right"]).await.expect("the old password");
    eventually("the primary serves", async || read(&router, "k").await.expect("a read").served_by == ServedBy::Primary)
        .await;
    router.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_makes_no_storm_of_connections() {
    let pair = Pair::start().await;
    pair.a.on("HELLO", Behaviour::error("WRONGPASS invalid username-password pair or user is disabled."));
    let router = ready_router(patient(pair.addresses())).await;
    for _ in 0..500 {
        let outcome = read(&router, pair.key_a()).await.expect("the callback serves");
        assert_eq!((outcome.served_by, outcome.reason), (ServedBy::Secondary, Some(Reason::ErrorReply)));
    }
    let knocks = pair.a.count("HELLO");
    assert!((1..=50).contains(&knocks), "{knocks} connections for 500 reads");
    let error = router.set(pair.key_a(), "v", None).await.expect_err("not let in");
    assert!(
        matches!(error, Error::WriteRefused { cause: Cause::Denied | Cause::BreakerOpen | Cause::ErrorReply }),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_control_plane_makes_no_storm_either() {
    let pair = Pair::start().await;
    for node in [&pair.a, &pair.b] {
        node.on("AUTH", Behaviour::error("WRONGPASS invalid username-password pair or user is disabled."));
        node.on("HELLO", Behaviour::error("WRONGPASS invalid username-password pair or user is disabled."));
    }
    let router = patient(pair.addresses()).password("wrong").build().expect("good settings");
    for _ in 0..500 {
        assert_eq!(read(&router, pair.key_a()).await.expect("the callback serves").served_by, ServedBy::Secondary);
    }
    let knocks = pair.a.count("AUTH") + pair.a.count("HELLO");
    assert!((1..=50).contains(&knocks), "{knocks} connections for 500 reads");
    router.close().await;
}
