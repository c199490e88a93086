//! Users with few rights, passwords that come before their time, and ports of both kinds, on real servers.

mod support;

use failsoft::{Builder, Router, ServedBy};
use failsoft_testkit::{Cluster, key_in};
use std::time::Duration;
use support::{eventually, patient, read, ready_router, server, text};

const SLOTS: [u16; 3] = [1, 6000, 12_000];

fn quick(nodes: impl IntoIterator<Item = String>) -> Builder {
    patient(nodes).slot_refresh_interval(Duration::from_secs(1))
}

/// All reads come from primaries, and writes arrive.
async fn is_served(what: &str, router: &Router) {
    for key in SLOTS.map(key_in) {
        eventually(&format!("{what}: a write"), async || router.set(&key, "stored", None).await.is_ok()).await;
        for _ in 0..20 {
            let outcome = read(router, &key).await.expect("a read");
            assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some("stored")), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_let_a_get_be_routed_are_enough() {
    // 6.2 knows no SHARDS, and takes CLUSTER as a whole for dangerous.
    let here = |user: &str| server().at_least(7, 0) || !["shards", "harmless"].contains(&user);
    // Each sets a key on each node, for which a script was tried.
    let users = [
        // What most clients ask.
        (
            "slots",
            "+get +set +readonly +cluster|slots",
            vec!["INFO", "CLUSTER INFO", "CLUSTER MYID", "CLUSTER NODES", "EVALSHA"],
        ),
        (
            "nodes",
            "+get +set +readonly +cluster|nodes",
            vec!["INFO", "CLUSTER INFO", "CLUSTER MYID", "CLUSTER SLOTS", "EVALSHA"],
        ),
        (
            "shards",
            "+get +set +readonly +cluster|shards",
            vec!["INFO", "CLUSTER INFO", "CLUSTER MYID", "CLUSTER NODES", "EVALSHA"],
        ),
        (
            "info",
            "+get +set +readonly +info +client +cluster|nodes",
            vec!["CLUSTER INFO", "CLUSTER MYID", "CLUSTER SLOTS", "EVALSHA"],
        ),
        (
            "nomyid",
            "+@read +@write +@connection +info +cluster|nodes +cluster|slots +cluster|info",
            vec!["CLUSTER MYID", "EVALSHA"],
        ),
        ("harmless", "+@all -@dangerous", vec![]),
    ];
    let mut builder = Cluster::builder().server(&server()).primaries(3).replicas(0);
    for (user, rights, _) in &users {
        if here(user) {
            builder = builder.user(user, &format!("on >right ~* &* -@all {rights}"));
        }
    }
    let cluster = builder.start().await.expect("a cluster");
    for (user, rights, denied) in users.iter().filter(|(user, ..)| here(user)) {
        let router = ready_router(quick(cluster.addresses()).username(*user).password("right")).await;
        is_served(rights, &router).await;
        if !denied.is_empty() {
            let named = async || router.health().nodes.iter().all(|n| n.denied == *denied);
            eventually(&format!("{rights}: {:?}", router.health().nodes[0].denied), named).await;
        }
        assert!(router.health().refusals.is_empty(), "{rights}: {:?}", router.health().refusals);
        router.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_be_configured_before_the_servers_have_one() {
    let builder = Cluster::builder().server(&server()).primaries(3).replicas(0);
    let cluster = builder.start().await.expect("a cluster");
    let router = ready_router(quick(cluster.addresses()).password("secret")).await;
    is_served("no password yet", &router).await;
    for node in 0..3 {
        cluster.command(node, &["CONFIG", "SET", "requirepass", "secret"]).await.expect("a password");
    }
    is_served("the servers have one", &router).await;
    // From now on whoever did not say it is shut out.
    for address in cluster.addresses() {
        let client = redis::Client::open(format!("redis://:secret@{address}")).expect("an address");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let kill = redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).to_owned();
        kill.query_async::<i64>(&mut connection).await.expect("kills");
    }
    let key = key_in(SLOTS[0]);
    eventually("after all connections were lost", async || {
        read(&router, &key).await.expect("a read").served_by == ServedBy::Primary
    })
    .await;
    is_served("everybody has said it", &router).await;
    // And one that comes late.
    let late = ready_router(quick(cluster.addresses()).password("secret")).await;
    is_served("from the start", &late).await;
}
