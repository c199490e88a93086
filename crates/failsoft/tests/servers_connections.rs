//! How servers let connections in, who it is that answers, and connections that are closed while they are idle.

mod support;

use failsoft::{Router, ServedBy, Status};
use failsoft_testkit::{Behaviour, Cluster, Topology, key_in};
use std::time::{Duration, Instant};
use support::{Pair, SLOT_A, eventually, patient, read, ready_router, scripted, server, text};

async fn from_primary(router: &Router, key: &str) -> bool {
    read(router, key).await.expect("a read").served_by == ServedBy::Primary
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_server_does_at_hello() {
    let refusals = [
        Behaviour::error("ERR unknown command `HELLO`, with args beginning with: `3`, "),
        Behaviour::error("NOPROTO unsupported protocol version"),
        Behaviour::error("ERR unsupported command `hello`"),
        Behaviour::error("unsupported command 'hello'"),
        Behaviour::error("ERR command is not allowed"),
        Behaviour::Close,
    ];
    for (password, behaviour) in refusals.into_iter().flat_map(|b| [(None, b.clone()), (Some("pw"), b)]) {
        let what = format!("{behaviour:?}, password {password:?}");
        let pair = Pair::start().await;
        for (node, key) in [(&pair.a, pair.key_a()), (&pair.b, pair.key_b())] {
            node.on("HELLO", behaviour.clone());
            node.on("CLIENT", Behaviour::error("ERR unknown command 'client'"));
            node.set(key, "stored");
        }
        let mut builder = patient(pair.addresses()).client_name("me");
        if let Some(password) = password {
            builder = builder.password(password);
        }
        let router = ready_router(builder).await;
        for key in [pair.key_a(), pair.key_b()] {
            assert!(from_primary(&router, &key).await, "{what}");
            assert!(from_primary(&router, &key).await, "{what}");
        }
        let health = router.health();
        assert!(health.nodes.iter().all(|n| n.denied == ["HELLO"]), "{what}: {}", health.to_json());
        router.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_why() {
    let pair = Pair::start().await;
    pair.a.on("HELLO", Behaviour::error("ERR max number of clients reached"));
    let router = ready_router(patient(pair.addresses())).await;
    assert!(!from_primary(&router, &pair.key_a()).await);
    let refusals = router.health().refusals;
    let told = refusals.get(&pair.a.address()).expect("it is named");
    assert!(told.contains("max number of clients"), "{told}");
    pair.a.clear_rules();
    eventually("let in", async || from_primary(&router, &pair.key_a()).await || router.health().refusals.is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_comes_later_is_said_later() {
    let pair = Pair::start().await;
    for node in [&pair.a, &pair.b] {
        node.on("HELLO", Behaviour::error("ERR unknown command 'HELLO'"));
        node.on("AUTH", Behaviour::error("ERR Client sent AUTH, but no password is set"));
    }
    pair.a.set(pair.key_a(), "stored");
    let router = ready_router(patient(pair.addresses()).password("secret")).await;
    assert!(from_primary(&router, &pair.key_a()).await);
    let denied = router.health().node(&pair.a.address()).expect("known").denied.clone();
    assert_eq!(denied, ["AUTH", "HELLO"]);
    // From now on it has one, and the connections that never said it are told so.
    pair.a.on("AUTH", Behaviour::reply("+OK\r\n"));
    let said = pair.a.count("AUTH");
    pair.a.next("GET", Behaviour::error("NOAUTH Authentication required."));
    eventually("the password is said", async || {
        from_primary(&router, &pair.key_a()).await && pair.a.count("AUTH") > said
    })
    .await;
    let denied = router.health().node(&pair.a.address()).expect("known").denied.clone();
    assert_eq!(denied, ["HELLO"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_into_another_cluster() {
    let pair = Pair::start().await;
    let builder = Router::builder(pair.addresses()).attempt_timeout(Duration::from_millis(50));
    let router = ready_router(builder.deadline(Duration::from_millis(100))).await;
    let key = pair.key_a();
    eventually("a set", async || router.set(&key, "ours", None).await.is_ok()).await;
    // Another cluster's node takes over the address, between two requests.
    pair.a.refuse_connections(true).await.expect("closes");
    pair.a.set_id("f00f00f00f00f00f00f00f00f00f00f00f00f00f");
    pair.a.set_topology(&Topology::of(&[&pair.a]));
    pair.a.set(&key, "theirs");
    pair.a.clear_received();
    pair.a.refuse_connections(false).await.expect("listens");
    for i in 0..80 {
        router.set(&key, format!("lost {i}"), None).await.expect_err("a stranger");
        let outcome = read(&router, &key).await.expect("a read");
        assert_ne!(text(&outcome), Some("theirs"));
    }
    assert_eq!((pair.a.count("SET"), pair.a.count("GET")), (0, 0), "nothing was asked of it");
    assert_eq!(pair.a.get(&key).as_deref(), Some(&b"theirs"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_start_one_stranger_among_four_seeds_is_not_our_cluster() {
    let pair = Pair::start().await;
    let (third, stranger) = (scripted().await, scripted().await);
    let ours = Topology::of(&[&pair.a, &pair.b, &third]);
    for node in [&pair.a, &pair.b, &third] {
        node.set_topology(&ours);
    }
    stranger.set_id("f00f00f00f00f00f00f00f00f00f00f00f00f00f");
    stranger.set_topology(&Topology::of(&[&stranger]));
    for seeds in [[&stranger, &pair.a, &pair.b, &third], [&third, &pair.b, &stranger, &pair.a]] {
        let router = ready_router(patient(seeds.map(|node| node.address()))).await;
        let health = router.health();
        assert_eq!(health.nodes.len(), 3, "{}", health.to_json());
        assert!(health.node(&stranger.address()).is_none(), "{}", health.to_json());
        router.close().await;
    }
    assert_eq!(stranger.count("GET"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_connection_that_was_closed_while_idle_is_no_trouble() {
    let pair = Pair::start().await;
    let router = ready_router(patient(pair.addresses()).slot_refresh_interval(Duration::from_secs(1))).await;
    eventually("probed", async || router.health().nodes.iter().all(|n| n.validated)).await;
    let mut troubled = Vec::new();
    for node in [&pair.a, &pair.b, &pair.a, &pair.b, &pair.a] {
        let asked = node.count("INFO");
        node.close_connections();
        node.wait_for("INFO", asked + 1).await.expect("asked on a new connection");
        let answered = async || {
            let health = router.health();
            health.node(&node.address()).is_some_and(|n| n.contact_ms.is_some_and(|ms| ms < 200))
        };
        eventually("it has been answered, so that the connection is idle", answered).await;
        troubled.extend(router.health().nodes.into_iter().filter_map(|n| n.trouble));
    }
    assert_eq!(troubled, Vec::<&str>::new());
    let opened = router.counters().attempts.iter().filter(|c| c.count > 0).map(|c| c.what).collect::<Vec<_>>();
    assert!(opened.is_empty(), "no read was sent, none failed over: {opened:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_connection_that_was_forgotten_on_the_way_is_no_trouble() {
    let pair = Pair::start().await;
    let builder = patient(pair.addresses()).attempt_timeout(Duration::from_secs(1));
    let router = ready_router(builder.slot_refresh_interval(Duration::from_secs(1))).await;
    eventually("probed", async || router.health().nodes.iter().all(|n| n.validated)).await;
    let asked = pair.a.count("INFO");
    // Nothing comes back on the connection that there is. A new one works, though slowly: were the node in trouble
    // until then, it would be seen.
    pair.a.next("INFO", Behaviour::Silence);
    pair.a.next("INFO", Behaviour::Normal.after(Duration::from_millis(300)));
    pair.a.wait_for("INFO", asked + 2).await.expect("asked on a new connection");
    let trouble: Vec<_> = router.health().nodes.into_iter().filter_map(|n| n.trouble).collect();
    assert_eq!(trouble, Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_idle_connections_is_no_trouble() {
    let builder = Cluster::builder().server(&server()).primaries(3).replicas(1).config("timeout", "1");
    let cluster = builder.start().await.expect("a cluster");
    let router = ready_router(Router::builder(cluster.addresses()).slot_refresh_interval(Duration::from_secs(4))).await;
    let keys = [SLOT_A, 6000, 12_000].map(key_in);
    for key in &keys {
        eventually("a write", async || router.set(key, "stored", None).await.is_ok()).await;
        eventually("warm", async || from_primary(&router, key).await).await;
    }
    // Control connections are idle between rounds, those for reads between these reads.
    let until = Instant::now() + Duration::from_secs(13);
    let mut round = 0;
    while Instant::now() < until {
        for key in &keys {
            assert!(from_primary(&router, key).await, "{}", router.health().to_json());
        }
        round += 1;
        tokio::time::sleep(Duration::from_millis(if round % 4 == 0 { 2100 } else { 50 })).await;
    }
    let health = router.health();
    assert!(health.nodes.iter().all(|n| n.trouble.is_none()), "{}", health.to_json());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_had_served_may_be_closed_at_the_next_read_but_a_new_one_may_not() {
    let pair = Pair::start().await;
    pair.a.set(pair.key_a(), "stored");
    let router = ready_router(patient(pair.addresses())).await;
    for _ in 0..3 {
        assert!(from_primary(&router, &pair.key_a()).await);
        // So it looks if the server's limit for idle connections fell between two reads.
        pair.a.next("GET", Behaviour::Close);
        assert!(from_primary(&router, &pair.key_a()).await, "asked anew");
        let trouble: Vec<_> = router.health().nodes.into_iter().filter_map(|n| n.trouble).collect();
        assert_eq!(trouble, Vec::<&str>::new());
    }
    pair.a.next("GET", Behaviour::Close);
    pair.a.next("GET", Behaviour::Close);
    let before = router.counters().attempts_with(Status::PrimaryFailover);
    read(&router, &pair.key_a()).await.expect("a read");
    assert_eq!((before, router.counters().attempts_with(Status::PrimaryFailover)), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_old_address_does_not_stay() {
    let (a, b) = (scripted().await, scripted().await);
    let right = Topology::of(&[&a, &b]);
    let mut old = right.clone();
    old.nodes[0].host = "127.0.0.99".to_owned();
    a.set_topology(&right);
    b.set_topology(&right);
    let key = key_in(SLOT_A);
    a.set(&key, "stored");
    let seeds = [a.address(), b.address()];
    let router = ready_router(Router::builder(seeds).slot_refresh_interval(Duration::from_secs(1))).await;
    eventually("warm", async || from_primary(&router, &key).await).await;
    // One lagging answer in a routine round.
    for node in [&a, &b] {
        node.on("CLUSTER SHARDS", Behaviour::reply(old.shards()));
    }
    let believed = async || router.health().nodes.iter().any(|n| n.address.starts_with("127.0.0.99"));
    eventually("the old address is believed", believed).await;
    for node in [&a, &b] {
        node.clear_rules();
    }
    eventually("found again", async || from_primary(&router, &key).await).await;
    eventually("and it stays so", async || router.health().nodes.iter().all(|n| n.trouble.is_none())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_after_its_failover_as_some_servers_list_it() {
    // The failed former primary still counts as one, in the shard of the new one; which has its slots, or not yet.
    for (forgotten, epochs) in [(false, true), (true, true), (false, false), (true, false)] {
        let what = format!("slots forgotten: {forgotten}, CLUSTER NODES allowed: {epochs}");
        let (dead, new, other) = (scripted().await, scripted().await, scripted().await);
        let mut topology = Topology::of(&[&dead, &other]).primary(&new, 0..=8191, 9).flag(&dead, "fail");
        topology.nodes[0].slots.clear();
        let shards = topology.one_shard_of(&[&new, &dead], forgotten);
        dead.refuse_connections(true).await.expect("closes");
        for node in [&new, &other] {
            node.set_topology(&topology);
            node.on("CLUSTER SHARDS", Behaviour::reply(&shards));
            if !epochs {
                node.on("CLUSTER NODES", Behaviour::error("NOPERM no"));
            }
        }
        let key = key_in(SLOT_A);
        new.set(&key, "stored");
        let router = ready_router(patient([other.address()]).slot_refresh_interval(Duration::from_secs(1))).await;
        for round in 1..=3 {
            eventually(&what, async || router.health().refreshes > round).await;
            assert!(from_primary(&router, &key).await, "{what}");
        }
        router.close().await;
    }
}
