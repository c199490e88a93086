//! `max_concurrent_loads`: how many callbacks run at once, and who waits.

mod support;

use failsoft::{Bytes, Error, Router};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Loaded, Pair, eventually, give, in_time, patient, ready_router};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

type Read = JoinHandle<Result<Option<Bytes>, Error>>;

/// Callbacks that wait until they may end, and say when they begin.
#[derive(Clone)]
struct Store {
    begun: Arc<Mutex<Vec<Bytes>>>,
    gate: Arc<Semaphore>,
}

impl Store {
    fn new() -> Self {
        Self { begun: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    fn begun(&self) -> Vec<Bytes> {
        self.begun.lock().expect("no panic").clone()
    }

    async fn load(self, key: Bytes) -> Loaded {
        self.begun.lock().expect("no panic").push(key.clone());
        self.gate.acquire().await.expect("open").forget();
        Ok(Some(key))
    }

    /// A read of a key that the cluster does not have.
    fn read(&self, router: &Router, key: &'static str) -> Read {
        let (store, router) = (self.clone(), router.clone());
        tokio::spawn(async move { router.get_with_fallback(key, |key, _| store.load(key)).await })
    }

    /// Reads these in turn: each has begun, or waits, before the next one comes.
    async fn read_in_turn(&self, router: &Router, keys: &[&'static str]) -> Vec<Read> {
        let mut reads = Vec::new();
        for key in keys {
            reads.push(self.read(router, key));
            eventually("its turn", async || self.begun().len() + router.health().queued_loads == reads.len()).await;
        }
        reads
    }
}

async fn router(pair: &Pair, most: u32) -> Router {
    ready_router(patient(pair.addresses()).max_concurrent_loads(most)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn those_beyond_the_limit_begin_in_order_as_others_end() {
    let (pair, store) = (Pair::start().await, Store::new());
    let router = router(&pair, 2).await;
    let reads = store.read_in_turn(&router, &["a", "b", "c", "d", "e"]).await;
    assert_eq!(store.begun(), ["a", "b"]);
    assert_eq!(router.health().queued_loads, 3);
    for begun in 3..=5 {
        store.gate.add_permits(1);
        eventually("the next one", async || store.begun().len() == begun).await;
    }
    assert_eq!(store.begun(), ["a", "b", "c", "d", "e"]);
    store.gate.add_permits(2);
    for (read, key) in reads.into_iter().zip(["a", "b", "c", "d", "e"]) {
        let value = in_time("a read", read).await.expect("no panic").expect("a value");
        assert_eq!(value, Some(key.into()));
    }
    assert_eq!(router.counters().loads, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_line_is_not_loaded() {
    let (pair, store) = (Pair::start().await, Store::new());
    let router = router(&pair, 1).await;
    let reads = store.read_in_turn(&router, &["a", "b", "c"]).await;
    reads[1].abort();
    eventually("it has left", async || router.health().queued_loads == 1).await;
    store.gate.add_permits(2);
    eventually("the line is empty", async || router.health().flights == 0).await;
    assert_eq!(store.begun(), ["a", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_cancelled_gives_its_place_on() {
    let (pair, store) = (Pair::start().await, Store::new());
    let router = router(&pair, 1).await;
    let reads = store.read_in_turn(&router, &["a", "b"]).await;
    reads[0].abort();
    eventually("the next one", async || store.begun() == ["a", "b"]).await;
    assert_eq!(router.health().queued_loads, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_in_line_counts_towards_load_timeout() {
    let (pair, store) = (Pair::start().await, Store::new());
    let limit = Duration::from_millis(200);
    let router = ready_router(patient(pair.addresses()).max_concurrent_loads(1).load_timeout(limit)).await;
    for read in store.read_in_turn(&router, &["a", "b"]).await {
        let error = in_time("its limit", read).await.expect("no panic").expect_err("too late");
        assert!(matches!(error, Error::DeadlineExceeded { limit: "load_timeout" }), "{error:?}");
    }
    // The hung callback is stopped after a further limit; only then is there room.
    let there_is_room = async {
        loop {
            if let Ok(value) = router.get_with_fallback("c", give("fine")).await {
                return value;
            }
        }
    };
    assert_eq!(in_time("the next caller", there_is_room).await.as_deref(), Some(&b"fine"[..]));
    assert_eq!(store.begun(), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_callback_asks_for_does_not_wait_behind_it() {
    let (pair, store) = (Pair::start().await, Store::new());
    let router = router(&pair, 1).await;
    let (inner, inside) = (router.clone(), store.clone());
    let outer = move |key, _| async move {
        inside.load(key).await.expect("a value");
        // One that waits in line, and one that nobody loads yet.
        let waits = inner.get_with_fallback("b", give("never run")).await?;
        let new = inner.get_with_fallback("c", give("inside")).await?;
        Ok::<_, Error>(waits.zip(new).map(|(waits, new)| [waits, new].concat().into()))
    };
    let reader = router.clone();
    let read = tokio::spawn(async move { reader.get_with_fallback("a", outer).await });
    eventually("it runs", async || store.begun() == ["a"]).await;
    let behind = store.read(&router, "b");
    eventually("it waits", async || router.health().queued_loads == 1).await;
    store.gate.add_permits(1);
    eventually("it is needed", async || store.begun() == ["a", "b"]).await;
    store.gate.add_permits(1);
    let value = in_time("the outer read", read).await.expect("no panic").expect("a value");
    assert_eq!(value.as_deref(), Some(&b"binside"[..]));
    let value = in_time("who waited", behind).await.expect("no panic").expect("a value");
    assert_eq!(value.as_deref(), Some(&b"b"[..]));
}
