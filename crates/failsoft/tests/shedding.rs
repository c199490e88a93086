//! The breaker of the caller's own store, with the cluster down: a store that fails, hangs, or is slow under more callers
//! than places is spared, its callers are answered at once, and it comes back in rounds.

mod support;

use failsoft::{Builder, Bytes, Error, EventKind, Reason, Router, ShedCause};
use failsoft_testkit::Behaviour;
use futures_util::future::join_all;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Pair, eventually, give, in_time, patient, read, ready_router};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Nobody listens there.
const DOWN: &str = "127.0.0.1:1";

type Values = io::Result<Option<Bytes>>;

/// Reads have time for a busy machine; the cluster's side of them is over at once.
fn builder() -> Builder {
    Router::builder([DOWN]).load_timeout(support::LONG)
}

async fn fails(_: Bytes, _: Reason) -> Values {
    Err(io::Error::other("down"))
}

fn is_shed(result: &Result<Option<Bytes>, Error>) -> bool {
    matches!(result, Err(Error::Shed { cause: ShedCause::BreakerOpen }))
}

/// So many reads of different keys at once.
async fn reads<F: Future<Output = Values> + Send + 'static>(
    router: &Router,
    count: usize,
    callback: impl Fn(Bytes, Reason) -> F + Clone + Send + 'static,
) -> Vec<Result<Option<Bytes>, Error>> {
    let one = |n: usize| router.get_with_fallback(format!("key:{n}"), callback.clone());
    in_time("the reads", join_all((0..count).map(one))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_spared_and_comes_back_in_rounds() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    let observer = move |event: &failsoft::Event| hears.lock().expect("no panic").push((event.kind, event.count));
    let router = builder().observer(observer).build().expect("good settings");
    let failed = reads(&router, 20, fails).await;
    assert!(failed.iter().all(|read| matches!(read, Err(Error::Fallback(_)))), "{failed:?}");
    let shed = router.get_with_fallback("one more", support::never).await;
    assert!(is_shed(&shed), "{shed:?}");
    let store = router.health().store;
    assert_eq!((store.state, store.trouble, store.calls, store.failure_share), ("open", Some("failing"), 20, 1.0));
    assert_eq!((router.counters().loads, router.counters().shed), (20, 1));
    assert_eq!(router.counters().reads_served_by("error"), 21);

    // It is well again: a few are let in, then more.
    let mut served = 0;
    eventually("it has closed", async || {
        served += usize::from(router.get_with_fallback("back", give("v")).await.is_ok());
        router.health().store.state == "closed"
    })
    .await;
    assert_eq!(served, 4 + 16 + 64);
    assert_eq!(router.health().store.trouble, None);
    let heard = |kind| told.lock().expect("no panic").contains(&(kind, 1));
    eventually("it was told", async || heard(EventKind::StoreDown) && heard(EventKind::StoreUp)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_again_is_tried_by_few() {
    let router = builder().build().expect("good settings");
    reads(&router, 20, fails).await;
    let mut failed = 0;
    eventually("it is tried", async || {
        failed += usize::from(!is_shed(&router.get_with_fallback("again", fails).await));
        failed > 0 && router.health().store.state == "open"
    })
    .await;
    assert_eq!(failed, 2, "half of the first round of four is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_line_of_a_store_that_hangs_is_told() {
    let router = builder().max_concurrent_loads(20).build().expect("good settings");
    let hangs = |_, _| std::future::pending::<Values>();
    let mut hung = JoinSet::new();
    for n in 0..20 {
        let router = router.clone();
        hung.spawn(async move { router.get_with_fallback(format!("hung:{n}"), hangs).await });
    }
    eventually("all places are taken", async || router.counters().loads == 20).await;
    // Nothing ends any more, and two wait for one of these loads.
    let all = async { tokio::join!(reads(&router, 5, hangs), reads(&router, 5, hangs)) };
    let (some, others) = in_time("who waits", all).await;
    assert!(some.iter().chain(&others).all(is_shed), "{some:?} {others:?}");
    let store = router.health().store;
    assert_eq!((store.state, store.trouble, router.health().queued_loads), ("open", Some("slow"), 0));
    assert_eq!((router.counters().loads, router.counters().shed), (20, 5));
    assert!(is_shed(&router.get_with_fallback("one more", support::never).await));
}

/// Callers who read one key after the other, of a store that takes 100 ms. How many reads were shed.
async fn crowd(router: &Router, callers: usize, reads: usize) -> usize {
    let shed = Arc::new(AtomicUsize::new(0));
    let one = |n: usize| {
        let (router, shed) = (router.clone(), Arc::clone(&shed));
        tokio::spawn(async move {
            for read in 0..reads {
                let slow = |_, _| async {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    Values::Ok(None)
                };
                let got = router.get_with_fallback(format!("{n}:{read}"), slow).await;
                assert!(got.is_ok() || is_shed(&got), "{got:?}");
                shed.fetch_add(usize::from(got.is_err()), Ordering::SeqCst);
            }
        })
    };
    for caller in in_time("the crowd", join_all((0..callers).map(one))).await {
        caller.expect("no panic");
    }
    shed.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_is_spared_only_if_all_wait_for_it() {
    let router = builder().max_concurrent_loads(32).build().expect("good settings");
    // A line that is not empty for most of the time.
    assert_eq!(crowd(&router, 34, 25).await, 0);
    assert_eq!(router.counters().loads, 34 * 25);
    let shed = crowd(&router, 160, 10).await;
    assert!(shed > 0);
    assert_eq!(router.counters().shed, shed as u64, "each had a key of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_callbacks_are_slow_reads_make_fewer_retries() {
    let pair = Pair::start().await;
    let router = ready_router(patient(pair.addresses()).base_backoff(Duration::from_millis(1))).await;
    pair.a.on("GET", Behaviour::error("TRYAGAIN Multiple keys"));
    let attempts = async || read(&router, pair.key_a()).await.expect("a value").attempts;
    assert_eq!((attempts().await, router.health().store.max_retries), (4, 3));
    let slow = |_, _| async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        Values::Ok(None)
    };
    eventually("it is noticed", async || {
        let slow = (0..20).map(|n| router.resolve(format!("{{{}}}:{n}", pair.key_b())).fallback(slow));
        let read = join_all(slow.map(IntoFuture::into_future)).await;
        assert!(read.iter().all(Result::is_ok), "{read:?}");
        router.health().store.max_retries == 2
    })
    .await;
    assert_eq!(router.health().store.state, "closed");
    assert_eq!(attempts().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_for_many_keys_is_one_load_and_is_shed_as_one() {
    let router = builder().build().expect("good settings");
    let many = async |keys: [&str; 3]| {
        let all = |_| async { Err(io::Error::other("down")) };
        in_time("many", router.resolve_many(keys, all)).await.expect("an open router")
    };
    for _ in 0..20 {
        let failed = many(["a", "b", "c"]).await;
        assert!(failed.iter().all(|read| matches!(read, Err(Error::Fallback(_)))), "{failed:?}");
    }
    let shed = many(["a", "b", "c"]).await;
    assert!(shed.iter().all(|read| matches!(read, Err(Error::Shed { .. }))), "{shed:?}");
    assert_eq!((router.counters().loads, router.counters().shed), (20, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_callback_asks_for_is_not_shed() {
    let router = builder().build().expect("good settings");
    let (inside, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let outer = {
        let (router, inside, open) = (router.clone(), Arc::clone(&inside), Arc::clone(&open));
        move |_, _| async move {
            inside.add_permits(1);
            let _open = open.acquire().await;
            router.get_with_fallback("inner", give("inner")).await
        }
    };
    let reader = router.clone();
    let read = tokio::spawn(async move { reader.get_with_fallback("outer", outer).await });
    let _inside = in_time("the callback", inside.acquire()).await;
    reads(&router, 20, fails).await;
    assert!(is_shed(&router.get_with_fallback("one more", support::never).await));
    open.add_permits(1);
    let value = in_time("the outer read", read).await.expect("no panic").expect("a value");
    assert_eq!(value.as_deref(), Some(&b"inner"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_go_away_are_no_failures() {
    let router = builder().build().expect("good settings");
    let begun = Arc::new(AtomicBool::new(false));
    for n in 0..40 {
        let (router, begun) = (router.clone(), Arc::clone(&begun));
        let told = Arc::clone(&begun);
        let hangs = move |_, _| {
            told.store(true, Ordering::SeqCst);
            std::future::pending::<Values>()
        };
        let read = tokio::spawn(async move { router.get_with_fallback(format!("key:{n}"), hangs).await });
        eventually("its callback runs", async || begun.swap(false, Ordering::SeqCst)).await;
        read.abort();
    }
    eventually("all are stopped", async || router.health().flights == 0).await;
    let store = router.health().store;
    assert_eq!((store.state, store.failure_share), ("closed", 0.0));
}
