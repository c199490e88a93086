//! A router's life: born before its cluster, moved to another one, closed while others wait.

mod support;

use failsoft::{Bytes, Cause, Error, Reason, Router, ServedBy};
use failsoft_testkit::{Behaviour, Standalone, Topology, key_in};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use support::{
    Calls, LONG, Loaded, eventually, give, in_time, never, patient, read, ready_router, scripted, server,
    start_cluster, text,
};
use tokio::sync::oneshot;

#[tokio::test(flavor = "multi_thread")]
async fn born_before_its_cluster_and_taken_over_by_another() {
    let cluster = start_cluster(3, 0).await;
    cluster.kill_all().await.expect("kills");
    let router = Router::builder(cluster.addresses()).standin_bytes(0).build().expect("good settings");
    let calls = Calls::default();
    for key in ["a", "b", "c"] {
        let outcome = in_time("a read", router.resolve(key).fallback(calls.give("loaded")).into_future()).await;
        let outcome = outcome.expect("the callback serves");
        assert_eq!((outcome.served_by, outcome.reason), (ServedBy::Secondary, Some(Reason::Connection)));
        assert_eq!((outcome.attempts, text(&outcome)), (0, Some("loaded")));
    }
    assert_eq!(calls.count(), 3);
    assert!(matches!(router.resolve("a").await, Err(Error::Unavailable { reason: Reason::Connection, .. })));
    let refused = in_time("a set", router.set("a", "v", None)).await;
    assert!(matches!(refused, Err(Error::WriteRefused { cause: Cause::NoView })), "{refused:?}");
    let waited = router.ready(Duration::from_millis(20)).await;
    assert!(matches!(waited, Err(Error::Unavailable { .. })), "{waited:?}");
    assert_eq!((router.health().kind, router.health().slots_assigned), ("unknown", 0));

    cluster.restart_all().await.expect("starts");
    in_time("a view", router.ready(LONG)).await.expect("it joins");
    eventually("the primaries serve", async || {
        let outcome = read(&router, "a").await.expect("never an error");
        outcome.served_by == ServedBy::Primary
    })
    .await;
    assert_eq!((router.health().kind, router.health().slots_assigned), ("cluster", 16_384));
    cluster.wait_until_ok().await.expect("a whole cluster");
    let known = |router: &Router| router.health().nodes.into_iter().filter_map(|n| n.id).collect::<BTreeSet<_>>();
    let old = known(&router);
    assert_eq!(old.len(), 3);

    // Another cluster at the same addresses, with data of its own. Nobody is failed meanwhile.
    let (done, mut stop) = oneshot::channel::<()>();
    let reads = async {
        let mut count = 0;
        while stop.try_recv().is_err() {
            read(&router, format!("k{}", count % 64)).await.expect("never an error");
            count += 1;
        }
        count
    };
    let replace = async {
        cluster.replace().await.expect("another cluster");
        done.send(()).expect("the reads go on");
    };
    let (count, ()) = in_time("the other cluster", async { tokio::join!(reads, replace) }).await;
    assert!(count > 0);
    let new: Vec<String> = (0..3).map(|i| key_in(i * 6_000)).collect();
    for key in &new {
        let owner = cluster.owner_of(failsoft_testkit::slot_of(key)).await.expect("an owner");
        cluster.command(owner, &["SET", key, "new"]).await.expect("a set");
    }
    eventually("it follows", async || {
        let mut all = true;
        for key in &new {
            let outcome = read(&router, key).await.expect("never an error");
            all &= outcome.served_by == ServedBy::Primary && text(&outcome) == Some("new");
        }
        all && known(&router).is_disjoint(&old)
    })
    .await;
    eventually("it may write", async || router.set("a", "v", None).await.is_ok()).await;
    router.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_server_is_one_shard_and_loses_its_connections_with_the_last_clone() {
    let plain = Standalone::start(&server(), &[]).await.expect("a server");
    let router = ready_router(patient([plain.address()]).client_name("last-clone")).await;
    assert_eq!(router.health().kind, "standalone");
    router.set("k", "v", None).await.expect("a set");
    let outcome = router.resolve("k").fallback(never).await.expect("a read");
    assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some("v")));
    assert_eq!(outcome.node.map(|n| n.to_string()), Some(plain.address()));
    router.get_with_fallback("filled", give("v")).await.expect("a load");
    eventually("a fill", async || router.counters().fills == 1).await;

    plain.kill().await.expect("kills");
    assert_eq!(read(&router, "k").await.expect("a read").served_by, ServedBy::Secondary);
    plain.restart().await.expect("starts");
    eventually("it is back", async || read(&router, "k").await.expect("a read").served_by == ServedBy::Primary).await;

    let ours = async || {
        let list = plain.command(&["CLIENT", "LIST"]).await.expect("CLIENT LIST");
        let list: String = redis::from_redis_value(list).expect("text");
        list.matches("name=last-clone").count()
    };
    let clone = router.clone();
    drop(router);
    assert_eq!(read(&clone, "k").await.expect("a clone is the router").served_by, ServedBy::Primary);
    assert!(ours().await > 0);
    drop(clone);
    eventually("its connections are gone", async || ours().await == 0).await;
    let all = async || {
        let list = plain.command(&["CLIENT", "LIST"]).await.expect("CLIENT LIST");
        let list: String = redis::from_redis_value(list).expect("text");
        list.lines().count()
    };
    eventually("those without a name, too", async || all().await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_server_that_copies_another_one_does_not_say_how_old_its_answers_are() {
    let primary = Standalone::start(&server(), &[]).await.expect("a server");
    primary.command(&["SET", "k", "v"]).await.expect("a set");
    let (host, port) = primary.address().rsplit_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).expect("a port");
    let copy = Standalone::start(&server(), &[("replicaof", &format!("{host} {port}"))]).await.expect("a server");
    eventually("it has the value", async || {
        copy.command(&["GET", "k"]).await.is_ok_and(|v| v == redis::Value::BulkString(b"v".to_vec()))
    })
    .await;
    let [whole, copied] =
        [ready_router(patient([primary.address()])).await, ready_router(patient([copy.address()])).await];
    let outcome = whole.resolve("k").fallback(never).await.expect("a read");
    assert_eq!((outcome.served_by, outcome.age), (ServedBy::Primary, Some(Duration::ZERO)));
    primary.kill().await.expect("kills");
    let outcome = copied.resolve("k").fallback(never).await.expect("a read");
    assert_eq!((outcome.served_by, text(&outcome), outcome.age), (ServedBy::Primary, Some("v"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn close_answers_all_who_wait_and_leaves_no_task() {
    let own = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let node = scripted().await;
    let router = ready_router(patient([node.address()]).runtime(own.handle().clone())).await;

    // One waits for a hung node, two for a flight, one for a write, one for both of many.
    node.on_key("GET", "hung", Behaviour::Silence);
    let (alive, ended) = oneshot::channel::<()>();
    let load = move |_, _| async move {
        let _alive = alive;
        std::future::pending::<Loaded>().await
    };
    let r = router.clone();
    let flight = tokio::spawn(async move { r.get_with_fallback("flight", load).await.map(drop) });
    eventually("a flight", async || router.health().flights == 1).await;
    let r = router.clone();
    let waiter = tokio::spawn(async move { r.get_with_fallback("flight", never).await.map(drop) });
    eventually("two wait", async || router.health().waiters == 2).await;
    let r = router.clone();
    let hung = tokio::spawn(async move { r.get_with_fallback("hung", never).await.map(drop) });
    node.wait_for("GET", 3).await.expect("it was asked");
    let r = router.clone();
    let none = |_| std::future::ready(Ok::<_, std::io::Error>(HashMap::new()));
    let many = tokio::spawn(async move { r.get_many_with_fallback(["x", "hung"], none).await.map(drop) });
    let r = router.clone();
    let set = tokio::spawn(async move { r.set("hung", "v", None).await });
    // Three reads and the set, of whose answer none is sent before theirs; or what asks for its node's proof.
    eventually("all are under way", async || router.health().nodes.iter().map(|n| n.in_flight).sum::<usize>() >= 4)
        .await;

    let r = router.clone();
    in_time("close", async { tokio::join!(router.close(), r.close()) }).await;
    for (what, call) in
        [("a flight", flight), ("a waiter", waiter), ("a hung node", hung), ("many", many), ("a set", set)]
    {
        let result = in_time(what, call).await.expect("no panic");
        assert!(matches!(result, Err(Error::Closed)), "{what}: {result:?}");
    }
    in_time("the callback is dropped", ended).await.expect_err("dropped");
    eventually("no task is left", async || own.metrics().num_alive_tasks() == 0).await;

    // Whoever comes later is told so; nothing is asked.
    node.clear_received();
    in_time("close again", router.close()).await;
    let results = [
        router.get_with_fallback("k", never).await.map(drop),
        router.resolve("k").await.map(drop),
        router.set("k", "v", None).await,
        router.ready(LONG).await,
    ];
    assert!(results.iter().all(|r| matches!(r, Err(Error::Closed))), "{results:?}");
    let outcomes = router.resolve_many(["k"], none).await;
    assert!(
        matches!(&outcomes, Err(Error::Closed)) || matches!(outcomes.as_deref(), Ok([Err(Error::Closed)])),
        "{outcomes:?}"
    );
    assert!(router.health().closed);
    assert_eq!((node.received(), own.metrics().num_alive_tasks()), (Vec::new(), 0));
    own.shutdown_background();
}

#[tokio::test(flavor = "multi_thread")]
async fn close_ends_the_wait_for_a_first_view() {
    let node = scripted().await;
    node.on("*", Behaviour::Silence);
    let router = patient([node.address()]).build().expect("good settings");
    let r = router.clone();
    let waits = tokio::spawn(async move { r.get_with_fallback("k", never).await.map(drop) });
    let r = router.clone();
    let ready = tokio::spawn(async move { r.ready(Duration::from_secs(3600)).await });
    node.wait_for("*", 1).await.expect("it was asked");
    in_time("close", router.close()).await;
    for call in [waits, ready] {
        let result = in_time("the wait", call).await.expect("no panic");
        assert!(matches!(result, Err(Error::Closed)), "{result:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn close_does_not_wait_for_a_hung_fill_as_long_as_for_an_answer() {
    let node = scripted().await;
    node.on("FILL", Behaviour::Silence);
    let hour = Duration::from_secs(3600);
    let router = ready_router(Router::builder([node.address()]).attempt_timeout(hour).deadline(hour)).await;
    router.get_with_fallback("k", give("loaded")).await.expect("a load");
    node.wait_for("FILL", 1).await.expect("it is filled");
    in_time("close", router.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_is_passed_over() {
    let (primary, replica) = (scripted().await, scripted().await);
    let topology = Topology::of(&[&primary]).replica(&replica, &primary);
    for node in [&primary, &replica] {
        node.set_topology(&topology);
    }
    let router = ready_router(patient([primary.address()]).max_in_flight(1)).await;
    eventually("the replica is dated", async || {
        router.health().node(&replica.address()).is_some_and(|n| n.lag_ms.is_some())
    })
    .await;
    primary.on_key("GET", "hung", Behaviour::Silence);
    replica.set("k", "copy");
    let r = router.clone();
    let hung = tokio::spawn(async move { r.get_with_fallback("hung", give("loaded")).await });
    primary.wait_for("GET", 1).await.expect("it was asked");
    let outcome = in_time("the next read", router.resolve("k").fallback(never).into_future()).await.expect("a read");
    assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Replica, Some("copy")));
    assert_eq!(outcome.reason, Some(Reason::BreakerOpen));
    assert_eq!(outcome.node.map(|n| n.to_string()), Some(replica.address()));
    assert_eq!(primary.count_key("GET", "k"), 0);
    assert_eq!(in_time("the hung read", hung).await.expect("no panic").expect("served"), Some(Bytes::from("loaded")));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_typed_and_json() {
    let node = scripted().await;
    let router = ready_router(patient([node.address()]).password("hunter2")).await;
    router.set("k", "v", None).await.expect("a set");
    router.get_with_fallback("k", never).await.expect("a read");
    router.get_with_fallback("missing", give("v")).await.expect("a load");
    let json: serde_json::Value = serde_json::from_str(&router.health().to_json()).expect("JSON");
    let fields = "kind closed slots_assigned slots_ok moved_patches retry_tokens refreshes flights waiters \
                  queued_loads detached_loads copies copies_bytes stalled refusals nodes counters";
    for field in fields.split_whitespace() {
        assert!(!json[field].is_null(), "{field} in {json}");
    }
    let fields = "address id role slots breaker contact_ms validated failed in_flight cluster_ok denied version";
    for field in fields.split_whitespace() {
        assert!(!json["nodes"][0][field].is_null(), "{field} in {json}");
    }
    assert_eq!(json["nodes"][0]["address"], node.address());
    assert_eq!(json["counters"]["loads"], 1);
    assert_eq!(router.counters().reads_served_by("primary"), 1);
    assert_eq!(router.counters().reads_served_by("secondary"), 1);
    assert!(!json.to_string().contains("hunter2"));
    assert!(router.health().node(&node.address()).is_some() && router.health().node("127.0.0.1:1").is_none());
}
