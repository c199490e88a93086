//! What the integration tests share: clusters, routers, callbacks, and waiting for what is to happen.
#![allow(dead_code, reason = "each test file uses its part")]

use failsoft::{Builder, Bytes, Error, Outcome, Reason, Router};
use failsoft_testkit::{Cluster, ScriptedNode, Server, Topology, key_in};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than anything here takes: what lasts until then hangs.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// What the callbacks of these tests give back.
pub(crate) type Loaded = Result<Option<Bytes>, Infallible>;

pub(crate) fn server() -> Server {
    Server::find(None).expect("these tests need a server")
}

/// A cluster that notices a dead node after 2 s.
pub(crate) async fn start_cluster(primaries: usize, replicas: usize) -> Cluster {
    let builder = Cluster::builder().server(&server()).primaries(primaries).replicas(replicas);
    builder.start().await.expect("a cluster")
}

/// Settings with enough time for a busy machine, where a test is not about time. No copies stand in: which values are
/// copied is a matter of chance.
pub(crate) fn patient<N: Into<String>>(nodes: impl IntoIterator<Item = N>) -> Builder {
    let builder = Router::builder(nodes).attempt_timeout(Duration::from_secs(4)).deadline(Duration::from_secs(16));
    builder.connect_timeout(Duration::from_secs(4)).standin_bytes(0)
}

/// A patient router that knows the cluster.
pub(crate) async fn router(cluster: &Cluster) -> Router {
    ready_router(patient(cluster.addresses())).await
}

/// Builds, and waits until every slot has an owner that gets reads.
pub(crate) async fn ready_router(builder: Builder) -> Router {
    let router = builder.build().expect("good settings");
    router.ready(LONG).await.expect("a view of the cluster");
    eventually("all slots served", async || router.health().slots_ok == 16_384).await;
    router
}

/// Two scripted primaries, each with half of the slots.
pub(crate) struct Pair {
    pub(crate) a: ScriptedNode,
    pub(crate) b: ScriptedNode,
}

/// A slot of the first of the pair, and one of the second.
pub(crate) const SLOT_A: u16 = 1;
pub(crate) const SLOT_B: u16 = 16_000;

/// Found once: a key for a slot takes thousands of tries.
static KEYS: LazyLock<[String; 2]> = LazyLock::new(|| [SLOT_A, SLOT_B].map(key_in));

impl Pair {
    pub(crate) async fn start() -> Pair {
        let (a, b) = (scripted().await, scripted().await);
        let topology = Topology::of(&[&a, &b]);
        a.set_topology(&topology);
        b.set_topology(&topology);
        Pair { a, b }
    }

    pub(crate) fn addresses(&self) -> [String; 2] {
        [self.a.address(), self.b.address()]
    }

    /// A key of the first node.
    pub(crate) fn key_a(&self) -> String {
        KEYS[0].clone()
    }

    /// A key of the second node.
    pub(crate) fn key_b(&self) -> String {
        KEYS[1].clone()
    }
}

pub(crate) async fn scripted() -> ScriptedNode {
    ScriptedNode::start().await.expect("a scripted node")
}

/// Polls until it holds; fails the test if it does not within [`LONG`].
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {LONG:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for something that must not hang.
pub(crate) async fn in_time<T>(what: &str, future: impl IntoFuture<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("{what}: still not done after {LONG:?}"))
}

/// A callback that must not be called: it fails the read.
pub(crate) fn never(key: Bytes, reason: Reason) -> Ready<Loaded> {
    panic!("the callback was asked for {key:?} because of {reason}")
}

/// Counts the runs of callbacks.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// A callback with this value.
    pub(crate) fn give(&self, value: &'static str) -> impl FnOnce(Bytes, Reason) -> Ready<Loaded> + Send + use<> {
        let calls = self.clone();
        move |_, _| {
            calls.add();
            ready(Ok(Some(Bytes::from_static(value.as_bytes()))))
        }
    }
}

/// A callback with this value, not counted.
pub(crate) fn give(value: &'static str) -> impl FnOnce(Bytes, Reason) -> Ready<Loaded> + Send + use<> {
    Calls::default().give(value)
}

/// A read with a callback that gives `loaded`.
pub(crate) async fn read(router: &Router, key: impl AsRef<[u8]> + Send) -> Result<Outcome, Error> {
    router.resolve(key).fallback(give("loaded")).await
}

/// The value of an outcome as text.
pub(crate) fn text(outcome: &Outcome) -> Option<&str> {
    outcome.value.as_deref().map(|v| std::str::from_utf8(v).expect("text"))
}

/// A load of `old` that has begun, and what lets it end.
pub(crate) async fn begin_load(router: &Router, key: &str) -> (JoinHandle<()>, oneshot::Sender<()>) {
    let (begun, has_begun) = oneshot::channel();
    let (open, opened) = oneshot::channel();
    let load = move |_, _| async move {
        begun.send(()).expect("somebody waits");
        opened.await.expect("it is let go");
        Loaded::Ok(Some(Bytes::from_static(b"old")))
    };
    let (router, key) = (router.clone(), key.to_owned());
    let read = tokio::spawn(async move {
        let value = router.get_with_fallback(&key, load).await.expect("a load");
        assert_eq!(value.as_deref(), Some(&b"old"[..]), "it is served in any case");
    });
    has_begun.await.expect("it begins");
    (read, open)
}
