//! Why keys are missing on real servers: evicted, expired, invalidated and absent are told apart, and nothing is claimed
//! without evidence.

mod support;

use failsoft::{Builder, Outcome, Reason, Router};
use failsoft_testkit::{Cluster, key_in};
use std::convert::Infallible;
use std::time::Duration;
use support::{LONG, eventually, never, patient, ready_router, server, text};

/// The slot of the keys, and so the node that is short of memory.
const SLOT: u16 = 6_000;

/// A cluster whose nodes evict what was used longest ago, and tell of it.
async fn small(events: &str) -> Cluster {
    let builder = Cluster::builder().server(&server()).primaries(3).replicas(0);
    let builder = builder.config("maxmemory", "12mb").config("maxmemory-policy", "allkeys-lru");
    builder.config("notify-keyspace-events", events).start().await.expect("a cluster")
}

fn settings(cluster: &Cluster) -> Builder {
    // What is missing stays so, and no probe tells of counters.
    patient(cluster.addresses()).fill(false).slot_refresh_interval(Duration::from_secs(3_600))
}

async fn heard(router: &Router) {
    eventually("nodes tell of evictions", async || {
        let nodes = router.health().nodes;
        nodes.iter().filter(|node| node.slots > 0).all(|node| matches!(node.events, Some("heard" | "open")))
    })
    .await;
}

/// Reads with both callbacks, which say which of them was asked.
async fn read(router: &Router, key: &str) -> Outcome {
    let fallback = async |_, _| Ok::<_, Infallible>(Some("fallback".into()));
    let recompute = async |_, _| Ok::<_, Infallible>(Some("recompute".into()));
    router.resolve(key).fallback(fallback).recompute(recompute).await.expect("a read")
}

/// Reads until the miss has this reason: what nodes tell arrives by and by.
async fn until(router: &Router, key: &str, reason: Reason) -> Outcome {
    let deadline = std::time::Instant::now() + LONG;
    loop {
        let outcome = read(router, key).await;
        if outcome.reason == Some(reason) {
            return outcome;
        }
        assert!(std::time::Instant::now() < deadline, "not {reason} after {LONG:?}: {outcome:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Writes until the node has no room left for these keys.
async fn crowd_out(cluster: &Cluster, keys: &[&str]) {
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    let tag = key_in(SLOT);
    let value = "x".repeat(100_000);
    for n in 0..2_000 {
        cluster.command(owner, &["SET", &format!("{{{tag}}}filler:{n}"), &value]).await.expect("a set");
        let mut there = 0;
        for key in keys {
            let exists = cluster.command(owner, &["EXISTS", key]).await.expect("an answer");
            there += u8::from(exists == redis::Value::Int(1));
        }
        if there == 0 {
            return;
        }
    }
    panic!("nothing was evicted");
}

fn keys() -> [String; 3] {
    let tag = key_in(SLOT);
    ["hot", "cold", "other"].map(|name| format!("{{{tag}}}{name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn evicted_keys_are_told_apart_and_a_hot_one_is_not_computed() {
    let cluster = small("Exe").await;
    let router = ready_router(settings(&cluster).eviction_events(true)).await;
    heard(&router).await;
    let [hot, cold, other] = keys();
    router.set(&hot, "v", None).await.expect("a set");
    router.set(&cold, "v", None).await.expect("a set");
    for _ in 0..1_000 {
        assert_eq!(text(&router.resolve(&hot).fallback(never).await.expect("a read")), Some("v"));
    }
    crowd_out(&cluster, &[&hot, &cold]).await;
    assert_eq!(text(&until(&router, &hot, Reason::Evicted).await), Some("fallback"));
    assert_eq!(text(&until(&router, &cold, Reason::Evicted).await), Some("recompute"));
    let absent = read(&router, &other).await;
    assert_eq!((absent.reason, text(&absent)), (Some(Reason::Absent), Some("recompute")));
    router.invalidate([&cold]).await.expect("it is invalidated");
    let invalidated = read(&router, &cold).await;
    assert_eq!((invalidated.reason, text(&invalidated)), (Some(Reason::Invalidated), Some("fallback")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_events_nothing_is_claimed() {
    let cluster = small("").await;
    let router = ready_router(settings(&cluster).eviction_events(true)).await;
    let [key, ..] = keys();
    router.set(&key, "v", None).await.expect("a set");
    crowd_out(&cluster, &[&key]).await;
    let outcome = read(&router, &key).await;
    assert_eq!((outcome.reason, text(&outcome)), (Some(Reason::Unknown), Some("recompute")));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_node_is_seen_to_evict_its_counter_is_evidence() {
    let cluster = small("").await;
    let router = ready_router(settings(&cluster).slot_refresh_interval(Duration::from_millis(200))).await;
    let [key, ..] = keys();
    router.set(&key, "v", None).await.expect("a set");
    crowd_out(&cluster, &[&key]).await;
    until(&router, &key, Reason::Evicted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_expires_is_told_of_whoever_wrote_it() {
    let cluster = small("Exe").await;
    let router = ready_router(settings(&cluster).eviction_events(true)).await;
    heard(&router).await;
    let [key, ..] = keys();
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    cluster.command(owner, &["SET", &key, "v", "PX", "20"]).await.expect("a set");
    assert_eq!(text(&until(&router, &key, Reason::Expired).await), Some("recompute"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_subscribe_is_served_all_the_same() {
    let builder = Cluster::builder().server(&server()).primaries(3).replicas(0);
    let cluster = builder.user("app", "on >secret ~* &* +@all -subscribe").start().await.expect("a cluster");
    let settings = settings(&cluster).username("app").password("secret").eviction_events(true);
    let router = ready_router(settings).await;
    let [key, ..] = keys();
    router.set(&key, "v", None).await.expect("a set");
    assert_eq!(text(&read(&router, &key).await), Some("v"));
    eventually("it is denied", async || router.health().nodes.iter().all(|node| node.events == Some("denied"))).await;
}
