//! What replicas have of an invalidation, on real servers.

mod support;

use failsoft::{Builder, Cause, Durability, Error, Incomplete, Reason, Router, ServedBy, Step, slot_of};
use failsoft_policy::wire::echo_slot;
use failsoft_testkit::{Cluster, key_in};
use std::time::Duration;
use support::{eventually, give, patient, ready_router, router, server, start_cluster};

/// The slot of the keys that these tests invalidate.
const SLOT: u16 = 6_000;

/// A cluster that does not find out, while a test lasts, that a node hangs.
async fn slow_cluster(replicas: usize) -> Cluster {
    let cluster = start_cluster(3, replicas).await;
    // Only then: a handshake between two nodes that fails is begun anew after that time.
    for node in 0..cluster.nodes().len() {
        let words = ["CONFIG", "SET", "cluster-node-timeout", "120000"];
        cluster.command(node, &words).await.expect("a setting");
    }
    cluster
}

/// Servers are waited for half of an attempt.
fn quick(cluster: &Cluster) -> Builder {
    patient(cluster.addresses()).attempt_timeout(Duration::from_secs(1))
}

/// How many `WAIT`s the primaries were sent since their statistics were reset.
async fn waits(cluster: &Cluster) -> u64 {
    let mut all = 0;
    for node in 0..3 {
        all += cluster.command_calls(node, "wait").await.expect("INFO");
    }
    all
}

async fn reset(cluster: &Cluster) {
    for node in 0..3 {
        cluster.command(node, &["CONFIG", "RESETSTAT"]).await.expect("a reset");
    }
}

/// Whether a node's own data set has the key, whoever owns the slot.
async fn has(cluster: &Cluster, node: usize, key: &str) -> bool {
    let slot = slot_of(key.as_bytes()).number().to_string();
    match cluster.command(node, &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await.expect("a list") {
        redis::Value::Array(keys) => keys.contains(&redis::Value::BulkString(key.into())),
        other => panic!("{other:?}"),
    }
}

fn lacking(error: &Error) -> &[Incomplete] {
    match error {
        Error::InvalidationIncomplete { pending } => pending,
        other => panic!("{other}"),
    }
}

fn steps(error: &Error) -> Vec<(Step, Cause)> {
    lacking(error)[0].pending.steps().collect()
}

/// The owner of the key, and its replicas.
async fn shard(cluster: &Cluster, replicas: usize) -> (usize, Vec<usize>) {
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    (owner, (0..replicas).map(|n| cluster.replica_of(owner, n)).collect())
}

async fn settled(router: &Router, invalidations: u64) {
    eventually("it is complete", async || router.health().counters.invalidations == invalidations).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_it_is_complete_a_replica_has_it_and_one_wait_is_for_many_keys() {
    let cluster = start_cluster(3, 1).await;
    let router = router(&cluster).await;
    let (_, replicas) = shard(&cluster, 1).await;
    let key = key_in(SLOT);
    router.set(&key, "old", None).await.expect("a set");
    eventually("it is copied", async || has(&cluster, replicas[0], &key).await).await;
    reset(&cluster).await;
    router.invalidate([&key]).await.expect("an invalidation");
    assert!(!has(&cluster, replicas[0], &key).await);
    assert_eq!(waits(&cluster).await, 2, "one for the key, one for its echo");
    reset(&cluster).await;
    router.invalidate((0..10_000).map(|n| format!("many:{n}"))).await.expect("an invalidation");
    let waits = waits(&cluster).await;
    assert!((3..=600).contains(&waits), "{waits} for 20,000 writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replica_lacks_is_pending_and_made_up_for_when_it_goes_on() {
    let cluster = slow_cluster(1).await;
    let router = ready_router(quick(&cluster)).await;
    let (_, replicas) = shard(&cluster, 1).await;
    let key = key_in(SLOT);
    router.set(&key, "old", None).await.expect("a set");
    eventually("it is copied", async || has(&cluster, replicas[0], &key).await).await;
    cluster.hang(replicas[0]).expect("it hangs");
    let error = router.invalidate([&key]).await.expect_err("no replica has it");
    assert_eq!(steps(&error), [(Step::Replicas, Cause::NotReplicated)]);
    // Its primary has acknowledged it: it is read from there, and written back.
    assert_eq!(router.health().invalidations_owed, 0);
    let outcome = router.resolve(&key).fallback(give("new")).await.expect("a read");
    assert_eq!((outcome.served_by, outcome.reason), (ServedBy::Secondary, Some(Reason::Invalidated)));
    eventually("it is filled", async || {
        let outcome = router.resolve(&key).fallback(give("new")).await.expect("a read");
        outcome.served_by == ServedBy::Primary
    })
    .await;
    // No transaction begins under a hold that a failover would lose.
    let error = router.writing([&key_in(SLOT + 1)]).await.expect_err("no replica holds it");
    assert_eq!(steps(&error), [(Step::Replicas, Cause::NotReplicated)]);
    cluster.resume(replicas[0]).expect("it goes on");
    eventually("it is made up for", async || router.health().counters.invalidations > 0).await;
    eventually("the replica has what came since", async || has(&cluster, replicas[0], &key).await).await;
    let outcome = router.resolve(&key).fallback(give("newer")).await.expect("a read");
    assert_eq!(outcome.served_by, ServedBy::Primary, "nothing was deleted again");
    router.invalidate([&key]).await.expect("all is well");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_one_may_hang_unless_all_are_waited_for() {
    let cluster = slow_cluster(2).await;
    let (one, all) = (
        ready_router(quick(&cluster)).await,
        ready_router(quick(&cluster).invalidate_durability(Durability::All)).await,
    );
    let (_, replicas) = shard(&cluster, 2).await;
    let key = key_in(SLOT);
    all.invalidate([&key]).await.expect("both are there");
    cluster.hang(replicas[1]).expect("it hangs");
    one.invalidate([&key]).await.expect("one is enough");
    let error = all.invalidate([&key]).await.expect_err("one lacks it");
    assert_eq!(steps(&error), [(Step::Replicas, Cause::NotReplicated)]);
    let echo = key_in(echo_slot(slot_of(key.as_bytes())).number());
    let error = all.invalidate([&echo]).await.expect_err("its echo is in the same shard");
    assert_eq!(steps(&error), [(Step::Echo, Cause::NotReplicated)]);
    cluster.resume(replicas[1]).expect("it goes on");
    settled(&all, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primarys_word_is_enough_where_that_is_asked_for() {
    let cluster = slow_cluster(1).await;
    let router = ready_router(quick(&cluster).invalidate_durability(Durability::Primary)).await;
    let (_, replicas) = shard(&cluster, 1).await;
    cluster.hang(replicas[0]).expect("it hangs");
    reset(&cluster).await;
    router.invalidate([&key_in(SLOT)]).await.expect("its primary has it");
    assert_eq!(waits(&cluster).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_has_failed_is_not_waited_for() {
    let cluster = start_cluster(3, 1).await;
    let router = ready_router(quick(&cluster).slot_refresh_interval(Duration::from_secs(1))).await;
    let (_, replicas) = shard(&cluster, 1).await;
    cluster.kill(replicas[0]).await.expect("a kill");
    eventually("its primary is enough", async || router.invalidate([&key_in(SLOT)]).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_wait_invalidates_all_the_same() {
    let rights = "on >right ~* &* -@all +@read +@write +@scripting +@connection +info +cluster -wait";
    let builder = Cluster::builder().server(&server()).primaries(3).replicas(1).user("app", rights);
    let cluster = builder.start().await.expect("a cluster");
    let router = ready_router(patient(cluster.addresses()).username("app").password("right")).await;
    let (owner, _) = shard(&cluster, 1).await;
    for _ in 0..3 {
        router.invalidate([&key_in(SLOT)]).await.expect("without WAIT");
    }
    let health = router.health();
    let address = cluster.node(owner).address();
    let denied = health.nodes.iter().find(|node| node.address == address).expect("the owner").denied.clone();
    assert_eq!(denied, ["WAIT"]);
}
