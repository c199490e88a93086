//! What is done behind reads that were served, on real servers: early refreshes, and comparing with the store.

mod support;

use bytes::Bytes;
use failsoft::{Outcome, Reason, Router, ServedBy};
use failsoft_testkit::{Cluster, key_in};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use support::{LONG, eventually, patient, ready_router, start_cluster, text};
use tokio::sync::Semaphore;

const SLOT: u16 = 6_000;

/// A store whose key has a new version with each load; a load takes a while, and may be held up.
#[derive(Clone)]
struct Store {
    version: Arc<AtomicU64>,
    fails: Arc<AtomicBool>,
    held: Arc<Semaphore>,
    reasons: Arc<std::sync::Mutex<Vec<Reason>>>,
}

impl Store {
    fn new() -> Self {
        let held = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { version: Arc::default(), fails: Arc::default(), held, reasons: Arc::default() }
    }

    async fn load(self, reason: Reason) -> Result<Option<Bytes>, io::Error> {
        self.reasons.lock().expect("a list").push(reason);
        let _permit = self.held.acquire().await.expect("it is open");
        // Refreshes are as early as their loads are long.
        tokio::time::sleep(Duration::from_millis(100)).await;
        if self.fails.load(SeqCst) {
            return Err(io::Error::other("the store is away"));
        }
        Ok(Some(Bytes::from((self.version.fetch_add(1, SeqCst) + 1).to_string())))
    }

    fn began(&self) -> usize {
        self.reasons.lock().expect("a list").len()
    }
}

async fn read(router: &Router, key: &str, store: &Store) -> Outcome {
    let store = store.clone();
    router.resolve(key).fallback(move |_, reason| store.load(reason)).await.expect("a read")
}

/// A router that loads hot keys anew as early as can be, and its first load.
async fn eager(cluster: &Cluster, key: &str, store: &Store) -> Router {
    let settings = patient(cluster.addresses()).early_refresh(100.0).fill_ttl(Duration::from_secs(20)).ttl_jitter(0.0);
    let router = ready_router(settings).await;
    let first = read(&router, key, store).await;
    assert_eq!((text(&first), first.reason), (Some("1"), Some(Reason::Absent)));
    eventually("it is written back", async || router.counters().fills == 1).await;
    router
}

/// Reads until so many loads have begun; every read is the primary's.
async fn until_loads(router: &Router, key: &str, store: &Store, loads: usize) {
    let deadline = std::time::Instant::now() + LONG;
    while store.began() < loads {
        assert_eq!(read(router, key, store).await.served_by, ServedBy::Primary);
        assert!(std::time::Instant::now() < deadline, "{} of {loads} loads", store.began());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_key_is_loaded_anew_before_it_expires_and_nobody_waits() {
    let cluster = start_cluster(3, 0).await;
    let (key, store) = (key_in(SLOT), Store::new());
    let router = eager(&cluster, &key, &store).await;
    until_loads(&router, &key, &store, 2).await;
    eventually("the new value is there", async || text(&read(&router, &key, &store).await) != Some("1")).await;
    eventually("that is counted", async || router.counters().fills >= 2).await;
    assert!(store.reasons.lock().expect("a list")[1..].iter().all(|&reason| reason == Reason::Expired));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_never_goes_over_what_was_written_meanwhile() {
    let cluster = start_cluster(3, 0).await;
    let (key, store) = (key_in(SLOT), Store::new());
    let (router, other) = (eager(&cluster, &key, &store).await, ready_router(patient(cluster.addresses())).await);
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    for round in 0..3 {
        store.held.forget_permits(Semaphore::MAX_PERMITS);
        until_loads(&router, &key, &store, store.began() + 1).await;
        let skipped = router.counters().fills_skipped.iter().map(|cause| cause.count).sum::<u64>();
        let written = match round {
            0 => {
                other.set(&key, "set", None).await.expect("a set");
                Some("set")
            }
            1 => {
                cluster.command(owner, &["SET", &key, "by hand"]).await.expect("a set");
                Some("by hand")
            }
            _ => {
                other.invalidate([&key]).await.expect("it is invalidated");
                None
            }
        };
        store.held.add_permits(Semaphore::MAX_PERMITS);
        let counted = || router.counters().fills_skipped.iter().map(|cause| cause.count).sum::<u64>();
        eventually("it is not written", async || counted() > skipped).await;
        let there = router.resolve(&key).await.expect("a read");
        assert_eq!(text(&there), written, "round {round}");
        // Back to what expires.
        other.invalidate([&key]).await.expect("it is invalidated");
        let fills = router.counters().fills;
        eventually("it is loaded and written back", async || {
            read(&router, &key, &store).await;
            router.counters().fills > fills
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_fails_changes_nothing() {
    let cluster = start_cluster(3, 0).await;
    let (key, store) = (key_in(SLOT), Store::new());
    let router = eager(&cluster, &key, &store).await;
    store.fails.store(true, SeqCst);
    until_loads(&router, &key, &store, 2).await;
    assert_eq!(text(&read(&router, &key, &store).await), Some("1"));
    assert_eq!(router.counters().fills, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nothing_is_loaded_twice() {
    let cluster = start_cluster(3, 0).await;
    let (key, store) = (key_in(SLOT), Store::new());
    let router = ready_router(patient(cluster.addresses()).fill_ttl(Duration::from_secs(20))).await;
    read(&router, &key, &store).await;
    eventually("it is written back", async || router.counters().fills == 1).await;
    for _ in 0..1_000 {
        assert_eq!(read(&router, &key, &store).await.served_by, ServedBy::Primary);
    }
    assert_eq!(store.began(), 1);
}

fn verified(router: &Router) -> [u64; 3] {
    let verified = router.counters().verified;
    ["fresh", "stale", "raced"].map(|what| verified.iter().filter(|c| c.what == what).map(|c| c.count).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_is_compared_with_the_store() {
    let cluster = start_cluster(3, 0).await;
    let settings = patient(cluster.addresses()).verify_sample(1.0).trust_window(Duration::from_millis(200));
    let (router, key) = (ready_router(settings).await, key_in(SLOT));
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    let value = Arc::new(std::sync::Mutex::new("1"));
    let read = async || {
        let value = Arc::clone(&value);
        let fallback =
            move |_, _| async move { Ok::<_, io::Error>(Some(Bytes::from(*value.lock().expect("a value")))) };
        let recompute = async |_, _| panic!("it is no source of what is right");
        let recompute = move |key, reason| async move { recompute(key, reason).await };
        let outcome = router.resolve(&key).fallback(fallback).recompute::<_, _, io::Error>(recompute).await;
        assert_eq!(outcome.expect("a read").served_by, ServedBy::Primary);
    };
    router.set(&key, "1", None).await.expect("a set");
    read().await;
    eventually("it is right", async || verified(&router) == [1, 0, 0]).await;
    // Somebody has changed the store, and forgotten to say so.
    *value.lock().expect("a value") = "2";
    read().await;
    eventually("it is older", async || verified(&router) == [1, 1, 0]).await;
    // Somebody changes it in the cluster right after the store.
    let loads = router.counters().loads;
    read().await;
    eventually("it is loaded", async || router.counters().loads > loads).await;
    cluster.command(owner, &["SET", &key, "2"]).await.expect("a set");
    eventually("it was changed meanwhile", async || verified(&router)[..2] == [1, 1] && verified(&router)[2] == 1)
        .await;
    let reads = router.counters().reads_served_by("primary");
    assert_eq!(reads, 3, "what is read to compare is no caller's");
}
