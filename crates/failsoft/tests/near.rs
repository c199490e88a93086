//! The near cache on real servers: hot keys are served without asking a node, and nothing is once it may be out of date.

mod support;

use failsoft::foreign::{Caller, Channel, Completion, Foreign, ReadOptions};
use failsoft::{Bytes, Error, Outcome, Router, ServedBy};
use failsoft_testkit::{Cluster, key_in};
use std::sync::Arc;
use std::time::Duration;
use support::{LONG, eventually, never, patient, ready_router, start_cluster, text};

/// The slot of the keys, and one that another node owns.
const SLOT: u16 = 6_000;
const OTHER_SLOT: u16 = 100;

async fn near(cluster: &Cluster) -> Router {
    ready_router(patient(cluster.addresses()).attempt_timeout(Duration::from_millis(250)).near_cache_bytes(1 << 20))
        .await
}

async fn read(router: &Router, key: &str) -> Outcome {
    router.resolve(key).fallback(never).await.expect("a read")
}

/// Reads until a near copy serves; every read on the way has this value.
async fn until_near(router: &Router, key: &str, value: &str) -> Outcome {
    let deadline = std::time::Instant::now() + LONG;
    loop {
        let outcome = read(router, key).await;
        assert_eq!(text(&outcome), Some(value));
        if outcome.served_by == ServedBy::Near {
            return outcome;
        }
        assert!(std::time::Instant::now() < deadline, "no near copy after {LONG:?}: {outcome:?}");
        // Which reads make a copy is a matter of chance.
        tokio::task::yield_now().await;
    }
}

/// What a client says that is no router, to the node that owns the key's slot.
async fn by_hand(cluster: &Cluster, slot: u16, words: &[&str]) {
    let owner = cluster.owner_of(slot).await.expect("an owner");
    cluster.command(owner, words).await.expect("it is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_key_is_served_without_asking_a_node() {
    let cluster = start_cluster(3, 0).await;
    let (router, key) = (near(&cluster).await, key_in(SLOT));
    router.set(&key, "v", None).await.expect("a set");
    let outcome = until_near(&router, &key, "v").await;
    assert_eq!((outcome.attempts, outcome.node, outcome.reason, outcome.coalesced), (0, None, None, false));
    assert!(outcome.age.is_some_and(|age| age <= Duration::from_secs(1)), "{:?}", outcome.age);
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    let asked = cluster.command_calls(owner, "get").await.expect("a count");
    let mut near = 0;
    for _ in 0..1_000 {
        near += u64::from(read(&router, &key).await.served_by == ServedBy::Near);
    }
    let asked = cluster.command_calls(owner, "get").await.expect("a count") - asked;
    assert_eq!(near + asked, 1_000);
    assert!(near > 900, "{near}");
    let counters = router.health().counters;
    assert!(counters.reads_served_by("near") >= near);
    let values = router.get_many_with_fallback([&key], |_| async { Ok::<_, std::io::Error>([].into()) }).await;
    assert_eq!(values.expect("a read"), [Some("v".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_changes_is_seen() {
    let cluster = start_cluster(3, 0).await;
    let (router, other, key) = (near(&cluster).await, near(&cluster).await, key_in(SLOT));
    router.set(&key, "0", None).await.expect("a set");
    until_near(&router, &key, "0").await;
    by_hand(&cluster, SLOT, &["SET", &key, "1"]).await;
    eventually("a plain SET", async || text(&read(&router, &key).await) == Some("1")).await;
    until_near(&router, &key, "1").await;
    by_hand(&cluster, SLOT, &["DEL", &key]).await;
    eventually("a plain DEL", async || router.resolve(&key).await.expect("a read").value.is_none()).await;
    for round in 2..22 {
        let value = round.to_string();
        // Its own writes are seen by the very next read.
        router.set(&key, &value, None).await.expect("a set");
        assert_eq!(text(&read(&router, &key).await), Some(&*value));
        until_near(&router, &key, &value).await;
        router.invalidate([&key]).await.expect("an invalidation");
        assert_eq!(router.resolve(&key).await.expect("a read").value, None);
    }
    other.set(&key, "theirs", None).await.expect("a set");
    until_near(&router, &key, "theirs").await;
    other.invalidate([&key]).await.expect("an invalidation");
    eventually("their invalidation", async || router.resolve(&key).await.expect("a read").value.is_none()).await;
    router.set(&key, "v", None).await.expect("a set");
    until_near(&router, &key, "v").await;
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    cluster.command(owner, &["FLUSHALL"]).await.expect("it is done");
    eventually("a flush", async || router.resolve(&key).await.expect("a read").value.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_its_time_to_live() {
    let cluster = start_cluster(1, 0).await;
    let (router, key) = (near(&cluster).await, key_in(SLOT));
    router.set(&key, "v", Some(Duration::from_millis(700))).await.expect("a set");
    let set_at = std::time::Instant::now();
    let mut near = false;
    eventually("it is gone", async || {
        let began = set_at.elapsed();
        let outcome = router.resolve(&key).await.expect("a read");
        near |= outcome.served_by == ServedBy::Near;
        assert!(outcome.value.is_none() || began < Duration::from_millis(700), "{outcome:?} after {began:?}");
        outcome.value.is_none()
    })
    .await;
    assert!(near, "it was served near before");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_trusted_who_does_not_answer() {
    let cluster = start_cluster(3, 0).await;
    let (router, key) = (near(&cluster).await, key_in(SLOT));
    router.set(&key, "v", None).await.expect("a set");
    until_near(&router, &key, "v").await;
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    cluster.hang(owner).expect("it hangs");
    eventually("copies are near no more", async || {
        let outcome = router.resolve(&key).fallback(support::give("loaded")).await.expect("a read");
        outcome.served_by != ServedBy::Near
    })
    .await;
    cluster.resume(owner).expect("it goes on");
    eventually("copies are near again", async || {
        router.resolve(&key).fallback(support::give("loaded")).await.expect("a read").served_by == ServedBy::Near
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_away_takes_its_copies_along() {
    let cluster = start_cluster(3, 0).await;
    let (router, key) = (near(&cluster).await, key_in(SLOT));
    router.set(&key, "old", None).await.expect("a set");
    until_near(&router, &key, "old").await;
    let from = cluster.owner_of(SLOT).await.expect("an owner");
    let to = cluster.owner_of(OTHER_SLOT).await.expect("an owner");
    let migration = cluster.begin_migration(SLOT, from, to).await.expect("it begins");
    migration.move_key(&key).await.expect("it is moved");
    migration.finish().await.expect("it ends");
    by_hand(&cluster, SLOT, &["SET", &key, "new"]).await;
    eventually("the new owner's value", async || text(&read(&router, &key).await) == Some("new")).await;
    until_near(&router, &key, "new").await;
    by_hand(&cluster, SLOT, &["SET", &key, "newer"]).await;
    eventually("what it tells", async || text(&read(&router, &key).await) == Some("newer")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracking_connection_that_is_lost_is_held_against_nobody() {
    let cluster = start_cluster(1, 0).await;
    let (router, key) = (near(&cluster).await, key_in(SLOT));
    router.set(&key, "v", None).await.expect("a set");
    for _ in 0..20 {
        until_near(&router, &key, "v").await;
        // What it tells ends the copies, so that reads are under way on the connection when it is lost.
        by_hand(&cluster, SLOT, &["SET", &key, "v"]).await;
        let reads: Vec<_> = (0..200)
            .map(|_| {
                let (router, key) = (router.clone(), key.clone());
                tokio::spawn(async move { read(&router, &key).await })
            })
            .collect();
        let list = match cluster.command(0, &["CLIENT", "LIST"]).await.expect("a list") {
            redis::Value::VerbatimString { text, .. } => text,
            redis::Value::BulkString(text) => String::from_utf8(text).expect("text"),
            other => panic!("{other:?}"),
        };
        // Of connections that track, those with a prefix tell bells.
        let tracks = |line: &&str| line.contains("flags=t ") || line.contains("flags=Nt ");
        for line in list.lines().filter(tracks) {
            let id = line.split(' ').find_map(|field| field.strip_prefix("id=")).expect("an id");
            let _ = cluster.command(0, &["CLIENT", "KILL", "ID", id]).await;
        }
        for read in reads {
            assert_eq!(text(&read.await.expect("no panic")), Some("v"));
        }
    }
    let attempts = router.health().counters.attempts_with(failsoft::Status::PrimaryFailover);
    assert_eq!(attempts, 0, "nobody was blamed");
}

/// Makes a call of another language, and waits for its last completion.
async fn call(start: impl FnOnce(Caller<'_>) -> Result<failsoft::foreign::Pending, Error>) -> Completion {
    let rung = Arc::new(tokio::sync::Notify::new());
    let bell = Arc::clone(&rung);
    let channel = Channel::without_loading(move || bell.notify_one());
    start(Caller { channel: &channel, token: 1, parent: None }).expect("it starts");
    let mut come = Vec::new();
    while come.is_empty() {
        support::in_time("a completion", rung.notified()).await;
        channel.drain(&mut come);
    }
    come.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_language_is_told_on_its_own_thread() {
    let cluster = start_cluster(3, 0).await;
    let settings = patient(cluster.addresses()).attempt_timeout(Duration::from_millis(250)).near_cache_bytes(1 << 20);
    let (router, key, options) = (Foreign::open(settings).expect("settings"), key_in(SLOT), ReadOptions::default());
    let near = |options: &ReadOptions| router.near(key.as_bytes(), options, true);
    call(|caller| router.ready(caller, LONG)).await;
    call(|caller| router.set(caller, Bytes::from(key.clone()), "v".into(), None)).await;
    assert!(near(&options).expect("no error").is_none(), "nothing was read yet");
    while near(&options).expect("no error").is_none() {
        let read = call(|caller| router.get(caller, key.as_bytes(), options, false)).await;
        assert!(matches!(read, Completion::Value { result: Ok(Some(value)), .. } if value == "v"));
    }
    assert_eq!(near(&options).expect("no error").as_deref(), Some(&b"v"[..]));
    let before = router.health().expect("of this process").counters.reads_served_by("near");
    let outcome = router.near_outcome(key.as_bytes(), &options, true).expect("no error").expect("a near copy");
    assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Near, Some("v")));
    let counted = router.health().expect("of this process").counters.reads_served_by("near") - before;
    assert_eq!(counted, 1);
    let no_time = ReadOptions { deadline: Some(Duration::ZERO), ..options };
    assert!(near(&no_time).expect("no error").is_none(), "nothing is begun that has no time");
    let bad = near(&ReadOptions { ttl: Some(Duration::ZERO), ..options });
    assert!(matches!(bad, Err(Error::InvalidArgument { argument: "ttl", .. })), "{bad:?}");
    // From the call on, whatever comes of it.
    let done = call(|caller| {
        let pending = router.invalidate(caller, vec![Bytes::from(key.clone())], None);
        assert!(near(&options).expect("no error").is_none(), "it was invalidated");
        pending
    });
    done.await;
    call(|caller| router.close(caller)).await;
    assert!(matches!(near(&options), Err(Error::Closed)));
}
