//! Many keys in one call: their order, one run of the callback for what is missing, and each key's
//! own fate.

mod support;

use failsoft::{Bytes, Error, MAX_KEYS, Reason, Router, ServedBy};
use failsoft_testkit::{Behaviour, key_in};
use std::collections::HashMap;
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{LONG, Loaded, Pair, eventually, give, in_time, patient, ready_router, text};
use tokio::sync::Semaphore;

type Mapping = Result<HashMap<Bytes, Bytes>, io::Error>;

async fn pair() -> (Pair, Router) {
    let pair = Pair::start().await;
    let router = ready_router(patient(pair.addresses())).await;
    (pair, router)
}

/// What a callback was asked for, run by run.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<Vec<Bytes>>>>);

impl Asked {
    fn runs(&self) -> Vec<Vec<Bytes>> {
        self.0.lock().expect("no panic").clone()
    }

    fn note(&self, keys: &[Bytes]) {
        self.0.lock().expect("no panic").push(keys.to_vec());
    }

    /// Gives every key its own name as its value, but those with `none` in it.
    fn echo(&self) -> impl FnOnce(Vec<Bytes>) -> std::future::Ready<Mapping> + Send + use<> {
        let asked = self.clone();
        move |keys| {
            asked.note(&keys);
            ready(Ok(keys.into_iter().filter(|k| !k.starts_with(b"none")).map(|k| (k.clone(), k)).collect()))
        }
    }
}

fn never(keys: Vec<Bytes>) -> std::future::Ready<Mapping> {
    panic!("the callback was asked for {keys:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn values_come_in_the_order_of_the_keys_and_the_callback_runs_once() {
    let (_pair, router) = pair().await;
    for i in 0..50 {
        router.set(format!("hit:{i}"), format!("value:{i}"), None).await.expect("a set");
    }
    let keys: Vec<String> = (0..50)
        .flat_map(|i| [format!("hit:{i}"), format!("miss:{i}"), format!("none:{i}"), format!("hit:{i}")])
        .collect();
    let asked = Asked::default();
    let values = router.get_many_with_fallback(&keys, asked.echo()).await.expect("all");
    let expected: Vec<Option<Bytes>> = (0..50)
        .flat_map(|i| [Some(format!("value:{i}")), Some(format!("miss:{i}")), None, Some(format!("value:{i}"))])
        .map(|v| v.map(Bytes::from))
        .collect();
    assert_eq!(values, expected);
    let missing: Vec<Bytes> =
        (0..50).flat_map(|i| [format!("miss:{i}"), format!("none:{i}")]).map(Bytes::from).collect();
    assert_eq!(asked.runs(), [missing], "once, with exactly the missing keys");
    eventually("the fills", async || router.counters().fills == 50).await;

    let outcomes = router.resolve_many(["hit:1", "miss:1", "none:1", "hit:1"], asked.echo()).await.expect("all");
    let told: Vec<_> = outcomes.iter().map(|o| o.as_ref().expect("a read")).map(|o| (o.served_by, o.reason)).collect();
    let absent = Some(Reason::Absent);
    let primary = (ServedBy::Primary, None);
    assert_eq!(told, [primary, primary, (ServedBy::None, absent), primary], "what was loaded is there now");
    assert_eq!(router.counters().loads, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_asked_is_nothing_done() {
    let (pair, router) = pair().await;
    assert_eq!(router.get_many_with_fallback(Vec::<Bytes>::new(), never).await.expect("nothing"), []);
    router.set("k", "v", None).await.expect("a set");
    assert_eq!(router.get_many_with_fallback(["k", "k"], never).await.expect("hits").len(), 2);
    assert_eq!(pair.a.count("GET") + pair.b.count("GET"), 1, "duplicates are read once");
    assert_eq!(pair.a.count("MGET") + pair.b.count("MGET"), 0);
    assert_eq!(router.counters().loads, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_keys_are_refused() {
    let pair = Pair::start().await;
    // A busy machine takes its time for so many leases.
    let router = ready_router(patient(pair.addresses()).load_timeout(LONG)).await;
    let error =
        router.get_many_with_fallback((0..=MAX_KEYS).map(|i| i.to_string()), never).await.expect_err("one too many");
    assert!(
        matches!(&error, Error::InvalidArgument { argument: "keys", problem } if problem.contains("65536")),
        "{error:?}"
    );
    assert_eq!(pair.a.count("GET") + pair.b.count("GET"), 0);
    // As many as are allowed.
    let values = (0..MAX_KEYS).map(|i| i.to_string());
    let none = |_| ready(Mapping::Ok(HashMap::new()));
    let values = in_time("many keys", router.get_many_with_fallback(values, none)).await.expect("all");
    assert_eq!(values, vec![None; MAX_KEYS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_fails_fails_its_keys_alone() {
    let (_pair, router) = pair().await;
    router.set("hit", "v", None).await.expect("a set");
    let fails = || |_| ready(Mapping::Err(io::Error::other("the store is down")));
    let outcomes = router.resolve_many(["hit", "miss", "hit", "other"], fails()).await.expect("an outcome each");
    for (at, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(outcome) => assert_eq!((at % 2, text(outcome)), (0, Some("v"))),
            Err(Error::Fallback(inner)) => assert_eq!((at % 2, inner.is::<io::Error>()), (1, true)),
            Err(other) => panic!("{other:?}"),
        }
    }
    let error = router.get_many_with_fallback(["hit", "miss"], fails()).await.expect_err("one failed");
    assert_eq!(error.code(), "FALLBACK");
    let panics = |_| -> std::future::Ready<Mapping> { panic!("on purpose") };
    let outcomes = router.resolve_many(["hit", "miss"], panics).await.expect("an outcome each");
    assert!(outcomes[0].is_ok() && matches!(outcomes[1], Err(Error::Fallback(_))), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_one_deadline_and_a_time_to_live() {
    let (pair, router) = pair().await;
    router.set("hit", "v", None).await.expect("a set");
    let hangs = |_| std::future::pending::<Mapping>();
    let late = router.resolve_many(["hit", "miss"], hangs).deadline(Duration::from_millis(500));
    let outcomes = in_time("the deadline", late).await.expect("an outcome each");
    assert_eq!(text(outcomes[0].as_ref().expect("it had its answer")), Some("v"));
    assert!(matches!(outcomes[1], Err(Error::DeadlineExceeded { limit: "deadline" })), "{:?}", outcomes[1]);
    eventually("nothing loads on", async || router.health().flights == 0).await;
    let before = pair.a.count("GET") + pair.b.count("GET");
    let refused = router.resolve_many(["hit"], never).ttl(Duration::ZERO).await.expect_err("no time to live");
    assert!(matches!(refused, Error::InvalidArgument { argument: "ttl", .. }), "{refused:?}");
    assert_eq!(pair.a.count("GET") + pair.b.count("GET"), before);
    let asked = Asked::default();
    let kept = router.resolve_many(["miss"], asked.echo()).ttl(Duration::from_secs(3600));
    kept.await.expect("an outcome")[0].as_ref().expect("a read");
    eventually("the fill", async || router.counters().fills == 1).await;
    let received = [pair.a.received(), pair.b.received()].concat();
    let fill = received.iter().find(|words| words[0] == "FILL" && words[1] == "miss").expect("a fill");
    let ttl: u64 = std::str::from_utf8(&fill[6]).expect("digits").parse().expect("a number");
    assert!((3_240_000..=3_960_000).contains(&ttl), "an hour with its jitter, not {ttl} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_loads_already_is_waited_for() {
    let (_pair, router) = pair().await;
    let gate = Arc::new(Semaphore::new(0));
    let (r, opened) = (router.clone(), Arc::clone(&gate));
    let single = tokio::spawn(async move {
        let load = move |_, _| async move {
            let _open = opened.acquire().await;
            Loaded::Ok(Some(Bytes::from_static(b"single")))
        };
        r.get_with_fallback("shared", load).await
    });
    eventually("one loads", async || router.health().flights == 1).await;
    let (r, asked) = (router.clone(), Asked::default());
    let echo = asked.echo();
    let many = tokio::spawn(async move { r.resolve_many(["mine", "shared", "none"], echo).await });
    // Its own keys are loaded before it waits for those of others.
    eventually("its callback", async || asked.runs().len() == 1).await;
    assert_eq!(asked.runs(), [["mine", "none"]]);
    // And who comes for one of those it loads waits for it, not for what it waits for.
    gate.add_permits(1);
    let outcomes = in_time("both", many).await.expect("no panic").expect("all");
    let told: Vec<_> = outcomes.iter().map(|o| o.as_ref().expect("a read")).map(|o| (text(o), o.coalesced)).collect();
    assert_eq!(told, [(Some("mine"), false), (Some("single"), true), (None, false)]);
    assert_eq!(single.await.expect("no panic").expect("a read").as_deref(), Some(&b"single"[..]));
    assert_eq!(router.counters().loads, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_shard_is_served_by_the_callback_and_the_other_by_its_node() {
    let (pair, router) = pair().await;
    let keys: Vec<String> = (0..20).map(|i| key_in(i * 800)).collect();
    for key in &keys {
        router.set(key, "v", None).await.expect("a set");
    }
    pair.a.on("GET", Behaviour::error("LOADING Redis is loading the dataset in memory"));
    let asked = Asked::default();
    let outcomes = in_time("half of it", router.resolve_many(&keys, asked.echo())).await.expect("all");
    for (i, outcome) in outcomes.iter().enumerate() {
        let outcome = outcome.as_ref().expect("a read");
        let expected =
            if i * 800 < 8192 { (ServedBy::Secondary, Some(keys[i].as_str())) } else { (ServedBy::Primary, Some("v")) };
        assert_eq!((outcome.served_by, text(outcome)), expected);
    }
    assert_eq!(asked.runs().len(), 1);
    assert!(router.get_with_fallback(&keys[0], give("v")).await.expect("single").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_more_keys_than_a_node_takes_at_a_time_comes_from_the_nodes() {
    let pair = Pair::start().await;
    let router = ready_router(patient(pair.addresses()).max_in_flight(8)).await;
    let keys: Vec<String> = (0..600).map(|i| format!("k{i}")).collect();
    for key in &keys {
        pair.a.set(key, "v");
        pair.b.set(key, "v");
    }
    let batch = || in_time("a batch", router.get_many_with_fallback(&keys, never));
    // Several at once share the room.
    let (one, other) = tokio::join!(batch(), batch());
    for values in [one, other] {
        assert!(values.expect("all").iter().all(|v| v.as_deref() == Some(b"v")));
    }
    assert_eq!(router.counters().loads, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_batch_missed_is_written_back() {
    let (pair, router) = pair().await;
    let keys: Vec<String> = (0..1_500).map(|i| format!("k{i}")).collect();
    let asked = Asked::default();
    router.get_many_with_fallback(&keys, asked.echo()).await.expect("all");
    eventually("the fills", async || router.counters().fills == 1_500).await;
    assert_eq!(router.counters().fills_skipped, []);
    assert_eq!(pair.a.count("FILL") + pair.b.count("FILL"), 1_500);
    // All of them found out together that the nodes did not know the scripts.
    let texts = pair.a.count("SCRIPT LOAD") + pair.b.count("SCRIPT LOAD");
    assert!((4..150).contains(&texts), "{texts} times a script was sent");
    router.get_many_with_fallback(&keys, never).await.expect("all are there now");
}
