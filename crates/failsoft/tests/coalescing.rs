//! One load for a key however many ask, with the cluster up, down and hung; and what is written back.

mod support;

use failsoft::{Bytes, Reason, Router, ServedBy, slot_of};
use failsoft_testkit::Cluster;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use support::{Calls, Loaded, eventually, give, in_time, patient, ready_router, router, start_cluster, text};
use tokio::sync::Semaphore;

const CALLERS: usize = 1_000;

/// 1,000 callers at once, each a task of its own, whose loader takes as long as it takes until all
/// of them wait, and 50 ms more.
async fn herd(router: &Router, key: &'static str, reasons: &[Reason]) {
    let (calls, gate) = (Calls::default(), Arc::new(Semaphore::new(0)));
    let callers = (0..CALLERS).map(|_| {
        let (router, calls, gate) = (router.clone(), calls.clone(), Arc::clone(&gate));
        let load = move |_, _| async move {
            calls.add();
            let _open = gate.acquire().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            Loaded::Ok(Some(Bytes::from_static(b"loaded")))
        };
        tokio::spawn(async move { router.resolve(key).fallback(load).await })
    });
    let callers: Vec<_> = callers.collect();
    eventually("all wait", async || router.health().waiters == CALLERS).await;
    assert_eq!(router.health().flights, 1);
    gate.add_permits(1);
    let outcomes = in_time("the herd", join_all(callers)).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(|o| o.expect("no panic").expect("a read")).collect();
    assert_eq!(calls.count(), 1, "loads for {key}");
    assert!(outcomes.iter().all(|o| o.served_by == ServedBy::Secondary && text(o) == Some("loaded")));
    assert!(outcomes.iter().all(|o| o.reason.is_some_and(|r| reasons.contains(&r))), "{:?}", outcomes[0]);
    assert_eq!(outcomes.iter().filter(|o| !o.coalesced).count(), 1, "one of them led");
}

async fn pttl(cluster: &Cluster, key: &str) -> i64 {
    let owner = cluster.owner_of(slot_of(key.as_bytes()).number()).await.expect("an owner");
    match cluster.command(owner, &["PTTL", key]).await.expect("PTTL") {
        redis::Value::Int(ms) => ms,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_load_for_a_herd_whatever_the_cluster_does() {
    let cluster = start_cluster(3, 0).await;
    let router = ready_router(Router::builder(cluster.addresses())).await;
    let outage = [Reason::Timeout, Reason::Connection, Reason::BreakerOpen, Reason::ClusterDown, Reason::Deadline];
    herd(&router, "healthy", &[Reason::Absent]).await;
    cluster.hang_all().expect("hangs");
    herd(&router, "hung", &outage).await;
    cluster.resume_all().expect("resumes");
    cluster.kill_all().await.expect("kills");
    herd(&router, "dead", &outage).await;
    assert_eq!(router.counters().loads, 3);
    router.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loaded_value_is_written_back_with_a_jittered_time_to_live() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let filled = async |router: &Router, key: &str, value: &str| {
        eventually(key, async || router.resolve(key).await.is_ok_and(|o| text(&o) == Some(value))).await;
    };
    // `fill_ttl` is 300 s and `ttl_jitter` 0.1.
    let mut different = std::collections::BTreeSet::new();
    for i in 0..10 {
        let key = format!("default:{i}");
        router.get_with_fallback(&key, give("v")).await.expect("a load");
        filled(&router, &key, "v").await;
        let left = pttl(&cluster, &key).await;
        assert!((240_000..=300_000).contains(&left), "{left} ms");
        different.insert(left / 1_000);
    }
    assert!(different.len() > 1, "they would all expire together: {different:?}");
    router.resolve("own").ttl(Duration::from_secs(5_000)).fallback(give("v")).await.expect("a load");
    filled(&router, "own", "v").await;
    let left = pttl(&cluster, "own").await;
    assert!((4_400_000..=5_000_000).contains(&left), "{left} ms");
    assert_eq!(router.counters().fills, 11);

    // What was written while it loaded is newer, and stays.
    let r = router.clone();
    let overtaken = move |key: Bytes, _| async move {
        r.set(&key, "newer", None).await.map(|()| Some(Bytes::from_static(b"older")))
    };
    let value = router.get_with_fallback("overtaken", overtaken).await.expect("a load");
    assert_eq!(value.as_deref(), Some(&b"older"[..]));
    eventually("the fill is skipped", async || {
        router.counters().fills_skipped.iter().any(|c| (c.what, c.count) == ("lease_gone", 1))
    })
    .await;
    filled(&router, "overtaken", "newer").await;
    assert_eq!(pttl(&cluster, "overtaken").await, -1);

    // Jitter off: exactly what was asked for, less the time that has passed.
    let exact = ready_router(patient(cluster.addresses()).ttl_jitter(0.0).fill_ttl(Duration::from_secs(3_000))).await;
    exact.get_with_fallback("exact", give("v")).await.expect("a load");
    filled(&exact, "exact", "v").await;
    let left = pttl(&cluster, "exact").await;
    assert!((2_900_000..=3_000_000).contains(&left), "{left} ms");
    exact.close().await;

    // Off: two reads, two loads, nothing written. A set afterwards proves that nothing is on its way.
    let off = ready_router(patient(cluster.addresses()).fill(false)).await;
    let calls = Calls::default();
    for _ in 0..2 {
        off.get_with_fallback("off", calls.give("v")).await.expect("a load");
    }
    off.set("{off}later", "v", None).await.expect("a set");
    assert_eq!((calls.count(), pttl(&cluster, "off").await, off.counters().fills), (2, -2, 0));
    off.close().await;
    router.close().await;
}
