//! When a key was last invalidated: from its marks, from what a process knows, and from the log.

mod support;

use failsoft::{Error, InvalidationRecord, LastInvalidation, Router, slot_of};
use failsoft_policy::wire::{Stream, echo_slot, mark_name};
use failsoft_testkit::{Cluster, key_in};
use std::time::{Duration, SystemTime};
use support::{eventually, patient, ready_router, router, start_cluster};

/// The slot of the keys of these tests; its echoes, and the stream of the log, are on another node of three.
const SLOT: u16 = 6_000;

async fn command(cluster: &Cluster, key: &[u8], words: &[&[u8]]) -> redis::Value {
    let owner = cluster.owner_of(slot_of(key).number()).await.expect("an owner");
    cluster.command(owner, words).await.expect("a command")
}

/// The entries of the stream of a key in this slot.
async fn entries(cluster: &Cluster, slot: u16) -> i64 {
    let name = Stream::of(failsoft::Slot::new(slot).expect("a slot")).name();
    match command(cluster, &name, &[b"XLEN", &name]).await {
        redis::Value::Int(length) => length,
        other => panic!("{other:?}"),
    }
}

async fn last(router: &Router, key: &str) -> LastInvalidation {
    router.last_invalidation(key).await.expect("an answer").expect("a record")
}

async fn drop_marks(cluster: &Cluster, key: &str) {
    let slot = slot_of(key.as_bytes());
    for slot in [slot, echo_slot(slot)] {
        let mark = mark_name(slot, key.as_bytes());
        command(cluster, &mark, &[b"DEL", &mark]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_by_the_marks_then_by_the_process_and_then_by_the_log() {
    let cluster = start_cluster(3, 0).await;
    let (maker, other) = (router(&cluster).await, router(&cluster).await);
    let key = key_in(SLOT);
    assert_eq!(other.last_invalidation(&key).await.expect("an answer"), None);
    let before = SystemTime::now();
    maker.invalidate([&key]).await.expect("an invalidation");
    let by_mark = last(&other, &key).await;
    assert!(matches!(by_mark.record, InvalidationRecord::Mark | InvalidationRecord::Echo), "{by_mark:?}");
    assert!(by_mark.id.as_ref().is_some_and(|id| id.len() == 16 && id.starts_with(&maker.health().id)), "{by_mark:?}");
    assert!(!by_mark.own && last(&maker, &key).await.own);
    // Server and test have one clock here.
    let at = by_mark.at.expect("a time");
    assert!(at + Duration::from_millis(1) >= before && at <= SystemTime::now(), "{by_mark:?}");
    assert!(by_mark.age.is_some_and(|age| age <= before.elapsed().expect("a clock") + Duration::from_millis(1)));

    eventually("it is in the log", async || entries(&cluster, SLOT).await == 1).await;
    drop_marks(&cluster, &key).await;
    assert_eq!(last(&maker, &key).await.id, by_mark.id);
    let stranger = router(&cluster).await;
    let logged = last(&stranger, &key).await;
    assert_eq!((logged.record, &logged.id, logged.own), (InvalidationRecord::Log, &by_mark.id, false));
    assert!(logged.age.is_some());
    assert_eq!(stranger.last_invalidation(key_in(SLOT + 1)).await.expect("an answer"), None);
    assert_eq!(maker.counters().invalidations_unlogged, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_for_many_keys_leaves_no_more_than_sixteen_entries() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let keys: Vec<String> = (0..2_000).map(|n| format!("key:{n}")).collect();
    router.invalidate(&keys).await.expect("an invalidation");
    let all = async || {
        let mut sum = 0;
        for stream in 0..16 {
            sum += entries(&cluster, stream * 1_024).await;
        }
        sum
    };
    eventually("they are written", async || all().await == 16).await;
    router.close().await;
    assert_eq!(all().await, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_keys_node_is_away_the_echo_tells_and_without_both_it_is_an_error() {
    let cluster = start_cluster(3, 0).await;
    let maker = router(&cluster).await;
    let key = key_in(SLOT);
    maker.invalidate([&key]).await.expect("an invalidation");
    let soon = patient(cluster.addresses()).attempt_timeout(Duration::from_millis(200));
    let stranger = ready_router(soon).await;
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    cluster.hang(owner).expect("it hangs");
    assert_eq!(last(&stranger, &key).await.record, InvalidationRecord::Echo);
    let echo = cluster.owner_of(echo_slot(slot_of(key.as_bytes())).number()).await.expect("an owner");
    cluster.hang(echo).expect("it hangs");
    let unknown = stranger.last_invalidation(&key).await;
    assert!(matches!(unknown, Err(Error::Unavailable { .. })), "{unknown:?}");
    // Who made it knows all the same.
    let own = last(&maker, &key).await;
    assert_eq!((own.record, own.own, own.at), (InvalidationRecord::Process, true, None));
    for node in [owner, echo] {
        cluster.resume(node).expect("it goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_lately_is_within_the_budget_until_somebody_invalidates_it() {
    let cluster = start_cluster(3, 0).await;
    let (router, other) = (router(&cluster).await, router(&cluster).await);
    let key = key_in(SLOT);
    let within = async |max_age| router.within_staleness_budget(&key, max_age).await.expect("an answer");
    let (short, ttl) = (Duration::from_millis(500), Duration::from_secs(60));
    eventually("its nodes were heard for so long", async || within(short).await).await;
    assert!(!within(ttl).await, "nobody has listened for so long");
    assert!(!within(ttl * 2).await);
    other.invalidate([&key]).await.expect("an invalidation");
    eventually("it is heard", async || !within(short).await).await;
    eventually("that is past", async || within(short).await).await;
    router.close().await;
    assert!(matches!(router.within_staleness_budget(&key, short).await, Err(Error::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_it_an_invalidation_is_as_good_and_the_log_is_said_to_be_missing() {
    let cluster = start_cluster(3, 0).await;
    for node in 0..3 {
        let rights: &[&str] = &["ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-xadd", "-xrevrange"];
        cluster.command(node, rights).await.expect("a user");
    }
    let builder = patient(cluster.addresses()).username("app").password("secret");
    let router = ready_router(builder).await;
    let key = key_in(SLOT);
    router.invalidate([&key]).await.expect("an invalidation");
    eventually("it is counted", async || router.counters().invalidations_unlogged == 1).await;
    let denies = || router.health().nodes.iter().filter(|node| node.denied.contains(&"XADD")).count();
    assert_eq!(denies(), 1);
    assert!(matches!(last(&router, &key).await.record, InvalidationRecord::Mark | InvalidationRecord::Echo));
    assert_eq!(router.last_invalidation(key_in(SLOT + 1)).await.expect("an answer"), None);
}
