//! Callbacks that panic, fail, never return, give up, or ask for their own key.

mod support;

use failsoft::{Bytes, CallbackPanicked, Error, Reason, Router, ServedBy};
use futures_util::future::join_all;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use support::{Calls, Loaded, Pair, eventually, give, in_time, patient, ready_router, text};
use tokio::sync::{Semaphore, oneshot};

/// A healthy cluster without keys.
async fn empty() -> (Pair, Router) {
    let pair = Pair::start().await;
    let router = ready_router(patient(pair.addresses())).await;
    (pair, router)
}

/// The caller's own error inside.
fn own<E: std::error::Error + 'static>(error: &Error) -> &E {
    let Error::Fallback(inner) = error else { panic!("no error of the callback: {error:?}") };
    inner.downcast_ref().unwrap_or_else(|| panic!("another error: {inner:?}"))
}

/// Nothing of a load is left.
async fn idle(router: &Router) {
    eventually("no load is left", async || {
        let health = router.health();
        (health.flights, health.waiters, health.queued_loads, health.detached_loads) == (0, 0, 0, 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_error_of_its_own_and_frees_the_key() {
    let (_pair, router) = empty().await;
    let before = |_, _| -> std::future::Ready<Loaded> { panic!("before its future") };
    let error = router.get_with_fallback("k", before).await.expect_err("a panic");
    assert_eq!(own::<CallbackPanicked>(&error).message, "before its future");
    let inside = |_, _| async { if true { panic!("inside {}", "its future") } else { Loaded::Ok(None) } };
    let error = router.get_with_fallback("k", inside).await.expect_err("a panic");
    assert_eq!(own::<CallbackPanicked>(&error).message, "inside its future");
    let odd = |_, _| async { if true { std::panic::panic_any(7) } else { Loaded::Ok(None) } };
    let error = router.get_with_fallback("k", odd).await.expect_err("a panic");
    assert_eq!(error.code(), "FALLBACK");
    own::<CallbackPanicked>(&error);
    let value = router.get_with_fallback("k", give("fine")).await.expect("the key is free");
    assert_eq!(value.as_deref(), Some(&b"fine"[..]));
    idle(&router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_reaches_all_who_waited_as_one_and_the_same() {
    let (_pair, router) = empty().await;
    let (calls, gate) = (Calls::default(), Arc::new(Semaphore::new(0)));
    let reads = (0..10).map(|_| {
        let (calls, gate) = (calls.clone(), Arc::clone(&gate));
        let fails = move |_, _| async move {
            calls.add();
            let _open = gate.acquire().await;
            Err::<Option<Bytes>, _>(io::Error::other("the store is down"))
        };
        router.resolve("k").fallback(fails).into_future()
    });
    let open = async {
        eventually("all wait", async || router.health().waiters == 10).await;
        gate.add_permits(1);
    };
    let (errors, ()) = in_time("the failure", async { tokio::join!(join_all(reads), open) }).await;
    assert_eq!(calls.count(), 1);
    let inner: Vec<_> = errors
        .into_iter()
        .map(|e| match e.expect_err("it failed") {
            Error::Fallback(inner) => inner,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(inner.iter().all(|e| Arc::ptr_eq(e, &inner[0])));
    let error: &io::Error = inner[0].downcast_ref().expect("the caller's own error");
    assert_eq!(error.to_string(), "the store is down");
    // The failure is not remembered.
    assert!(router.get_with_fallback("k", give("up again")).await.expect("a new load").is_some());
    idle(&router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_an_answer_and_is_not_written() {
    let (pair, router) = empty().await;
    let outcome = router.resolve(pair.key_a()).fallback(|_, _| async { Loaded::Ok(None) }).await.expect("a read");
    assert_eq!((outcome.served_by, outcome.value, outcome.reason), (ServedBy::None, None, Some(Reason::Absent)));
    // A fill of the same node that comes after it is through.
    router.get_with_fallback(format!("{{{}}}other", pair.key_a()), give("v")).await.expect("a load");
    eventually("a fill", async || router.counters().fills == 1).await;
    assert_eq!(pair.a.count_key("FILL", pair.key_a()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_the_key_and_why() {
    let (pair, router) = empty().await;
    let told = async |key: String| {
        let (tell, told) = oneshot::channel();
        let load = move |key: Bytes, reason: Reason| async move {
            tell.send((key, reason)).expect("the test listens");
            Loaded::Ok(None)
        };
        router.get_with_fallback(key, load).await.expect("a read");
        told.await.expect("it was called")
    };
    assert_eq!(told(pair.key_a()).await, (pair.key_a().into(), Reason::Absent));
    pair.a.on("GET", failsoft_testkit::Behaviour::error("LOADING Redis is loading the dataset in memory"));
    assert_eq!(told(pair.key_a()).await, (pair.key_a().into(), Reason::Loading));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_returns_loses_its_flight_and_then_its_task() {
    let pair = Pair::start().await;
    let router = ready_router(patient(pair.addresses()).load_timeout(Duration::from_millis(200))).await;
    let (alive, ended) = oneshot::channel::<()>();
    let hangs = move |_, _| async move {
        let _alive = alive;
        std::future::pending::<Loaded>().await
    };
    let error = in_time("a hung callback", router.get_with_fallback("k", hangs)).await.expect_err("too late");
    assert!(matches!(error, Error::DeadlineExceeded { limit: "load_timeout" }), "{error:?}");
    // The next caller has a load of its own.
    let value = in_time("the next caller", router.get_with_fallback("k", give("fine"))).await.expect("a read");
    assert_eq!(value.as_deref(), Some(&b"fine"[..]));
    in_time("its task is stopped", ended).await.expect_err("dropped with its task");
    idle(&router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_returns_late_still_fills() {
    let pair = Pair::start().await;
    // The task has a further `load_timeout` before it is stopped.
    let router = ready_router(patient(pair.addresses()).load_timeout(Duration::from_millis(500))).await;
    let (open, opened) = oneshot::channel::<()>();
    let slow = move |_, _| async move {
        opened.await.expect("opened");
        Loaded::Ok(Some(Bytes::from_static(b"late")))
    };
    let error = router.get_with_fallback(pair.key_a(), slow).await.expect_err("too late");
    assert_eq!(error.code(), "DEADLINE_EXCEEDED");
    assert_eq!(router.health().detached_loads, 1);
    open.send(()).expect("it still runs");
    eventually("the fill", async || pair.a.get(pair.key_a()).as_deref() == Some(b"late")).await;
    idle(&router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_asks_for_its_own_key_is_told_so() {
    let (pair, router) = empty().await;
    let other = ready_router(patient(pair.addresses())).await;
    let expect = |error: Error| {
        // Each callback hands on what it got: the innermost error says it.
        let mut error = &error;
        while let Error::Fallback(inner) = error {
            error = inner.downcast_ref().expect("our own error");
        }
        assert!(matches!(error, Error::Reentrant { key } if key == "k"), "{error:?}");
    };
    // Directly.
    let r = router.clone();
    let itself = move |key, _| async move { r.get_with_fallback(key, give("never")).await };
    expect(in_time("directly", router.get_with_fallback("k", itself)).await.expect_err("a circle"));
    // Through another key, and through another router.
    for between in [router.clone(), other] {
        let r = router.clone();
        let outer = move |key: Bytes, _| async move {
            let back = move |_, _| async move { r.get_with_fallback(key, give("never")).await };
            between.get_with_fallback("other", back).await
        };
        expect(in_time("indirectly", router.get_with_fallback("k", outer)).await.expect_err("a circle"));
    }
    // As one of many.
    let r = router.clone();
    let many = move |key, _| async move {
        let none = |_| async { Ok::<_, io::Error>(std::collections::HashMap::new()) };
        r.get_many_with_fallback([Bytes::from_static(b"x"), key], none).await.map(|mut values| values.remove(1))
    };
    expect(in_time("as one of many", router.get_with_fallback("k", many)).await.expect_err("a circle"));
    idle(&router).await;

    // Another key is fine.
    let r = router.clone();
    let nested = move |_, _| async move { r.get_with_fallback("part", give("of it")).await };
    let outcome = in_time("nested", router.resolve("k").fallback(nested).into_future()).await.expect("a read");
    assert_eq!((text(&outcome), outcome.served_by), (Some("of it"), ServedBy::Secondary));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_ask_for_each_others_keys_do_not_wait_for_ever() {
    let (_pair, router) = empty().await;
    let gate = Arc::new(tokio::sync::Barrier::new(2));
    let load = |mine: &'static str, others: &'static str| {
        let (r, gate) = (router.clone(), Arc::clone(&gate));
        let asks = move |_, _| async move {
            gate.wait().await;
            r.get_with_fallback(others, give("never")).await
        };
        router.resolve(mine).fallback(asks).into_future()
    };
    let (one, two) = in_time("two loads", async { tokio::join!(load("one", "two"), load("two", "one")) }).await;
    for result in [one, two] {
        assert_eq!(result.expect_err("a circle").code(), "FALLBACK");
    }
    idle(&router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_takes_nothing_from_the_others() {
    let (_pair, router) = empty().await;
    let (calls, gate) = (Calls::default(), Arc::new(Semaphore::new(0)));
    let gated = || {
        let (calls, gate) = (calls.clone(), Arc::clone(&gate));
        move |_, _| async move {
            calls.add();
            let _open = gate.acquire().await;
            Loaded::Ok(Some(Bytes::from_static(b"v")))
        }
    };
    let (r, load) = (router.clone(), gated());
    let leader = tokio::spawn(async move { r.get_with_fallback("k", load).await });
    eventually("it loads", async || calls.count() == 1).await;
    let (r, load) = (router.clone(), gated());
    let waiter = tokio::spawn(async move { r.resolve("k").fallback(load).await });
    eventually("two wait", async || router.health().waiters == 2).await;
    let hurried = router.resolve("k").fallback(gated()).deadline(Duration::from_millis(20)).await;
    assert!(matches!(hurried, Err(Error::DeadlineExceeded { limit: "deadline" })), "{hurried:?}");
    leader.abort();
    assert!(leader.await.expect_err("cancelled").is_cancelled());
    eventually("one waits", async || router.health().waiters == 1).await;
    gate.add_permits(1);
    let outcome = in_time("the waiter", waiter).await.expect("no panic").expect("a read");
    assert_eq!((text(&outcome), outcome.coalesced, calls.count()), (Some("v"), true, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_callers_go_away_so_does_the_callback() {
    let (pair, router) = empty().await;
    let (alive, ended) = oneshot::channel::<()>();
    let hangs = move |_, _| async move {
        let _alive = alive;
        std::future::pending::<Loaded>().await
    };
    let r = router.clone();
    let leader = tokio::spawn(async move { r.get_with_fallback("k", hangs).await });
    eventually("it loads", async || router.health().flights == 1).await;
    let r = router.clone();
    let waiter = tokio::spawn(async move { r.get_with_fallback("k", give("never")).await });
    eventually("two wait", async || router.health().waiters == 2).await;
    leader.abort();
    waiter.abort();
    in_time("the callback is dropped", ended).await.expect_err("dropped");
    idle(&router).await;
    assert_eq!(pair.a.count("FILL") + pair.b.count("FILL"), 0);
    assert!(router.get_with_fallback("k", give("fine")).await.expect("a new load").is_some());
}
