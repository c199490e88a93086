//! Writers and readers of one process through a cluster that loses what it had acknowledged: no reader that sets out after
//! an invalidation was called for gets what is older than that.

mod support;

use failsoft::{Bytes, Router};
use failsoft_testkit::Cluster;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::{eventually, patient, ready_router, start_cluster};
use tokio::task::JoinSet;

const KEYS: usize = 48;
const READERS: usize = 8;

/// The secondary store, and what is known of its readers' cache.
struct Store {
    /// The version of each key.
    versions: [AtomicU64; KEYS],
    /// The version that each key had when it was last invalidated.
    floors: [AtomicU64; KEYS],
    reads: AtomicU64,
    /// Reads that a node served.
    hits: AtomicU64,
    over: AtomicBool,
    /// Nobody writes for a while: what is lost now is not said again by chance.
    quiet: AtomicBool,
}

impl Store {
    fn new() -> Self {
        let [versions, floors] = [(); 2].map(|()| std::array::from_fn(|_| AtomicU64::new(0)));
        let [reads, hits] = [(); 2].map(|()| AtomicU64::new(0));
        let [over, quiet] = [(); 2].map(|()| AtomicBool::new(false));
        Self { versions, floors, reads, hits, over, quiet }
    }
}

fn name(key: usize) -> String {
    format!("history:{key}")
}

/// Changes one key after the other, and says so.
async fn write(router: Router, store: Arc<Store>, writes: bool) {
    let mut turn = 0;
    while !store.over.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(3)).await;
        if store.quiet.load(Ordering::Relaxed) {
            continue;
        }
        let key = turn * 7 % KEYS;
        turn += 1;
        let commit = || store.versions[key].fetch_add(1, Ordering::SeqCst) + 1;
        if writes {
            // One that cannot hold its key leaves the store alone.
            if let Ok(writing) = router.writing([name(key)]).await {
                let version = commit();
                let done = writing.done();
                store.floors[key].fetch_max(version, Ordering::SeqCst);
                let _ = done.await;
            }
        } else {
            let version = commit();
            let invalidation = IntoFuture::into_future(router.invalidate([name(key)]));
            // It was called for; whether it is acknowledged is another matter.
            store.floors[key].fetch_max(version, Ordering::SeqCst);
            let _ = invalidation.await;
        }
    }
}

async fn read(router: Router, store: Arc<Store>, reader: usize) {
    let mut key = reader;
    while !store.over.load(Ordering::Relaxed) {
        key = (key + 5) % KEYS;
        let floor = store.floors[key].load(Ordering::SeqCst);
        let source = Arc::clone(&store);
        let load = move |_, _| async move {
            let version = source.versions[key].load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok::<_, Infallible>(Some(Bytes::from(version.to_string())))
        };
        let outcome = router.resolve(name(key)).fallback(load).await.expect("a read");
        let value = outcome.value.expect("every key has a version");
        let version: u64 = std::str::from_utf8(&value).expect("text").parse().expect("a number");
        let (served_by, reason) = (outcome.served_by, outcome.reason);
        assert!(version >= floor, "{key} is {version} of {floor}: {served_by} {reason:?}");
        store.reads.fetch_add(1, Ordering::Relaxed);
        store.hits.fetch_add(u64::from(outcome.node.is_some()), Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

/// Lets so many reads pass.
async fn pass(store: &Store, reads: u64) {
    let until = store.reads.load(Ordering::Relaxed) + reads;
    eventually("reads go on", async || store.reads.load(Ordering::Relaxed) >= until).await;
}

/// The primary is killed after its replica has parted from it, so that the replica is promoted without what was
/// acknowledged last.
async fn lose_what_was_acknowledged(cluster: &Cluster, store: &Store, shard: usize) {
    let owner = cluster.owner_of((shard * 5_461) as u16).await.expect("an owner");
    let replica = (0..6).find(|&n| n % 3 == owner % 3 && n != owner).expect("a replica");
    cluster.part(owner, replica).await.expect("they part");
    pass(store, 1_000).await;
    store.quiet.store(true, Ordering::Relaxed);
    pass(store, 500).await;
    cluster.kill(owner).await.expect("a kill");
    cluster.wait_promoted(replica, Duration::from_secs(30)).await.expect("a promotion");
    pass(store, 2_000).await;
    store.quiet.store(false, Ordering::Relaxed);
    cluster.restart(owner).await.expect("a restart");
    cluster.wait_until_ok().await.expect("a whole cluster");
    pass(store, 2_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_older_is_read_after_an_invalidation_was_called_for() {
    let cluster = start_cluster(3, 1).await;
    let quick = |builder: failsoft::Builder| builder.attempt_timeout(Duration::from_millis(250));
    let router = ready_router(quick(patient(cluster.addresses())).deadline(Duration::from_secs(1))).await;
    let store = Arc::new(Store::new());
    let mut tasks = JoinSet::new();
    for writes in [false, true] {
        tasks.spawn(write(router.clone(), Arc::clone(&store), writes));
    }
    for reader in 0..READERS {
        tasks.spawn(read(router.clone(), Arc::clone(&store), reader));
    }
    let faults = async {
        pass(&store, 2_000).await;
        for shard in 0..3 {
            lose_what_was_acknowledged(&cluster, &store, shard).await;
        }
        let from = cluster.owner_of(0).await.expect("an owner");
        let replica = (0..6).find(|&n| n % 3 == from % 3 && n != from).expect("a replica");
        cluster.failover(replica).await.expect("a failover");
        pass(&store, 2_000).await;
    };
    tokio::select! {
        () = faults => {}
        ended = tasks.join_next() => ended.expect("tasks").expect("no reader and no writer fails"),
    }
    store.over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no reader and no writer fails");
    }
    let (reads, hits) = (store.reads.load(Ordering::Relaxed), store.hits.load(Ordering::Relaxed));
    assert!(hits * 10 > reads, "few of {reads} reads were served by nodes: {hits}");
    assert!(router.health().counters.fills > 100);
}
