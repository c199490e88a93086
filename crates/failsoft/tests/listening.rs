//! What a router hears of other processes' invalidations on real servers, and how old a stand-in may be for it.

mod support;

use failsoft::{Bytes, Durability, Reason, Router, ServedBy};
use failsoft_testkit::{Cluster, key_in};
use std::time::Duration;
use support::{Calls, begin_load, eventually, give, patient, ready_router, router, start_cluster, text};

/// The slot of the keys that these tests invalidate.
const SLOT: u16 = 6_000;

/// Waits until a router is known to hear all primaries.
async fn hears_all(router: &Router) {
    let primaries = || router.health().nodes.into_iter().filter(|node| node.slots > 0).collect::<Vec<_>>();
    eventually("all primaries are heard", async || {
        let nodes = primaries();
        !nodes.is_empty() && nodes.iter().all(|node| node.listening == Some("heard"))
    })
    .await;
}

async fn get(router: &Router, key: &str, callback: &'static str) -> (Option<Bytes>, ServedBy, Option<Reason>) {
    let outcome = router.resolve(key).fallback(give(callback)).await.expect("a read");
    (outcome.value, outcome.served_by, outcome.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_is_heard_by_other_processes_and_ends_what_they_load() {
    let cluster = start_cluster(3, 0).await;
    let (maker, other) = (router(&cluster).await, router(&cluster).await);
    hears_all(&other).await;
    let key = key_in(SLOT);
    let (load, end) = begin_load(&other, &key).await;
    maker.invalidate([&key]).await.expect("an invalidation");
    eventually("it is heard", async || other.health().invalidations == 1).await;
    let health = other.health();
    assert_eq!((health.invalidations_owed, health.counters.invalidations), (0, 0), "it is not its own");
    let calls = Calls::default();
    let outcome = other.resolve(&key).fallback(calls.give("of later")).await.expect("a read");
    assert_eq!((text(&outcome), calls.count()), (Some("of later"), 1), "nobody waits for a load from before");
    end.send(()).expect("it waits");
    load.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_invalidations_end_no_load_that_began_after_them() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    hears_all(&router).await;
    for round in 0..200 {
        let key = format!("{{{}}}{round}", key_in(SLOT));
        router.invalidate([&key]).await.expect("an invalidation");
        let (load, end) = begin_load(&router, &key).await;
        // What is told of it has come by the time at which that of a later one has.
        let later = format!("{{{}}}later{round}", key_in(SLOT));
        router.invalidate([&later]).await.expect("an invalidation");
        let waiting = tokio::spawn({
            let (router, key) = (router.clone(), key.clone());
            async move { router.resolve(&key).fallback(give("of another load")).await.expect("a read") }
        });
        eventually("it waits", async || router.health().waiters == 2).await;
        end.send(()).expect("it waits");
        load.await.expect("it ends");
        assert_ne!(text(&waiting.await.expect("no panic")), Some("of another load"), "in round {round}");
    }
}

/// A router whose replicas stand in only if all invalidations are known.
async fn strict(cluster: &Cluster) -> Router {
    let builder = patient(cluster.addresses()).attempt_timeout(Duration::from_millis(250));
    ready_router(builder.staleness_budget(Duration::ZERO).slot_refresh_interval(Duration::from_secs(1))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_stands_in_while_its_echoes_are_heard() {
    let cluster = start_cluster(3, 3).await;
    let router = strict(&cluster).await;
    let key = key_in(SLOT);
    router.set(&key, "v", None).await.expect("a set");
    hears_all(&router).await;
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    cluster.hang(owner).expect("it hangs");
    eventually("its replica stands in", async || get(&router, &key, "loaded").await.1 == ServedBy::Replica).await;
    cluster.resume(owner).expect("it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lacks_what_was_heard_does_not_stand_in() {
    let cluster = start_cluster(3, 3).await;
    let alone = patient(cluster.addresses()).invalidate_durability(Durability::Primary);
    let (maker, other) = (ready_router(alone).await, strict(&cluster).await);
    let key = key_in(SLOT);
    maker.set(&key, "old", None).await.expect("a set");
    hears_all(&other).await;
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    let replica = cluster.replica_of(owner, 0);
    cluster.part(owner, replica).await.expect("they part");
    maker.invalidate([&key]).await.expect("an invalidation");
    eventually("it is heard", async || other.health().invalidations == 1).await;
    cluster.hang(owner).expect("it hangs");
    for _ in 0..20 {
        let (value, served_by, _) = get(&other, &key, "new").await;
        assert_eq!((value.as_deref(), served_by), (Some(&b"new"[..]), ServedBy::Secondary));
    }
    cluster.resume(owner).expect("it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lets_nobody_listen_says_so_and_its_stand_ins_are_young() {
    let cluster = start_cluster(3, 3).await;
    let rules = ["ACL", "SETUSER", "reader", "on", ">secret", "allkeys", "+@all", "-client|tracking"];
    for node in 0..6 {
        cluster.command(node, &rules).await.expect("a user");
    }
    let builder = patient(cluster.addresses()).username("reader").password("secret");
    let builder = builder.attempt_timeout(Duration::from_millis(250)).staleness_budget(Duration::ZERO);
    let router = ready_router(builder).await;
    let denied = || router.health().nodes.iter().filter(|node| node.listening == Some("denied")).count();
    eventually("all have said so", async || denied() == 3).await;
    let key = key_in(SLOT);
    router.set(&key, "v", None).await.expect("a set");
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    cluster.hang(owner).expect("it hangs");
    for _ in 0..5 {
        assert_eq!(get(&router, &key, "loaded").await.1, ServedBy::Secondary, "no replica may stand in");
    }
    cluster.resume(owner).expect("it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn bells_are_never_there() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    router.invalidate((0..100).map(|n| format!("key{n}"))).await.expect("an invalidation");
    for node in 0..3 {
        let keys = cluster.command(node, &["KEYS", "failsoft:b:*"]).await.expect("a command");
        assert_eq!(keys, redis::Value::Array(Vec::new()));
    }
}
