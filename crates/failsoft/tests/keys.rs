//! Keys and values of every kind through a real cluster: nothing is changed on the way, and what is
//! no argument is refused.

mod support;

use failsoft::{Error, MAX_STRING, Reason, Router, ServedBy, slot_of};
use failsoft_testkit::Cluster;
use std::time::Duration;
use support::{Calls, eventually, never, router, start_cluster, text};

const MIB: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_values_of_every_kind() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    keys(&cluster, &router).await;
    values(&router).await;
    wrong_type(&cluster, &router).await;
    time_to_live(&cluster, &router).await;
    too_long(&router).await;
    router.close().await;
}

async fn keys(cluster: &Cluster, router: &Router) {
    let long = vec![b'k'; MIB];
    let binary: Vec<u8> = (0..=255).collect();
    let keys: [&[u8]; 9] = [b"", &binary, b"a}b", b"{}x", b"{a", b"{", b"}{", b"\r\n$-1\r\n", &long];
    for key in keys {
        let what = key[..key.len().min(32)].escape_ascii();
        let calls = Calls::default();
        let missing = router.resolve(key).await.expect("a miss");
        assert_eq!((missing.served_by, missing.reason), (ServedBy::None, Some(Reason::Absent)), "{what}");
        let loaded = router.resolve(key).fallback(calls.give("loaded")).await.expect("a load");
        assert_eq!(
            (loaded.served_by, text(&loaded), calls.count()),
            (ServedBy::Secondary, Some("loaded"), 1),
            "{what}"
        );
        eventually("the fill", async || {
            let filled = router.resolve(key).await.expect("a read");
            filled.served_by == ServedBy::Primary && text(&filled) == Some("loaded")
        })
        .await;
        router.set(key, "set", None).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        let read = router.get_with_fallback(key, never).await.expect("a read");
        assert_eq!(read.as_deref(), Some(&b"set"[..]), "{what}");
        // The server agrees on where it lives.
        let owner = cluster.owner_of(slot_of(key).number()).await.expect("an owner");
        let stored = cluster.command(owner, &[b"GET", key]).await.expect("it is there");
        assert_eq!(stored, bulk(b"set"), "{what}");
    }
}

fn bulk(bytes: &[u8]) -> redis::Value {
    redis::Value::BulkString(bytes.to_vec())
}

async fn values(router: &Router) {
    let binary: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for value in [Vec::new(), vec![0], b"\r\n".to_vec(), binary] {
        router.set("value", &value, None).await.expect("a set");
        let read = router.get_with_fallback("value", never).await.expect("a read");
        assert_eq!(read.as_deref(), Some(&value[..]));
    }
    for length in [4 * MIB, 64 * MIB] {
        // Every part is different, so that none can be lost, doubled or swapped.
        let value: Vec<u8> = (0..length as u64 / 8).flat_map(u64::to_be_bytes).collect();
        router.set("large", &value, None).await.expect("a large set");
        let read = router.get_with_fallback("large", never).await.expect("a large read").expect("a value");
        assert!(read == value, "{length} bytes came back as {} others", read.len());
    }
    // A large value out of the callback is written back whole.
    let value: Vec<u8> = (0..4 * MIB as u64 / 8).flat_map(u64::to_le_bytes).collect();
    let given = failsoft::Bytes::from(value.clone());
    let load = move |_, _| async move { Ok::<_, std::io::Error>(Some(given)) };
    let loaded = router.get_with_fallback("large fill", load).await.expect("a load");
    assert!(loaded.as_deref() == Some(&value[..]));
    eventually("the fill", async || {
        router.resolve("large fill").await.expect("a read").value.is_some_and(|v| v == value)
    })
    .await;
}

async fn wrong_type(cluster: &Cluster, router: &Router) {
    let owner = cluster.owner_of(slot_of(b"list").number()).await.expect("an owner");
    cluster.command(owner, &["RPUSH", "list", "one", "two"]).await.expect("a list");
    let calls = Calls::default();
    let outcome = router.resolve("list").fallback(calls.give("loaded")).await.expect("a read");
    assert_eq!((outcome.served_by, outcome.reason), (ServedBy::Secondary, Some(Reason::ErrorReply)));
    assert_eq!((outcome.attempts, calls.count()), (1, 1));
    let error = router.resolve("list").await.expect_err("nobody can say");
    assert!(matches!(error, Error::Unavailable { reason: Reason::ErrorReply, .. }), "{error:?}");
    // A fill of another key is through: had one been sent for the list, it would have been before it.
    let key = "{list}other";
    router.get_with_fallback(key, calls.give("loaded")).await.expect("a load");
    eventually("the other fill", async || router.resolve(key).await.expect("a read").value.is_some()).await;
    let items = cluster.command(owner, &["LRANGE", "list", "0", "-1"]).await.expect("still a list");
    assert_eq!(items, redis::Value::Array(vec![bulk(b"one"), bulk(b"two")]));
}

async fn time_to_live(cluster: &Cluster, router: &Router) {
    router.set("ttl", "v", Some(Duration::from_secs(500))).await.expect("a set");
    let owner = cluster.owner_of(slot_of(b"ttl").number()).await.expect("an owner");
    let pttl = async |key: &str| match cluster.command(owner, &["PTTL", key]).await.expect("PTTL") {
        redis::Value::Int(ms) => ms,
        other => panic!("{other:?}"),
    };
    let left = pttl("ttl").await;
    assert!((400_000..=500_000).contains(&left), "{left} ms");
    router.set("ttl", "v", None).await.expect("a set");
    assert_eq!(pttl("ttl").await, -1, "no expiry");

    let longest = Duration::from_secs(36_500 * 86_400);
    for ttl in [Duration::ZERO, Duration::from_micros(999), longest + Duration::from_nanos(1), Duration::MAX] {
        let set = router.set("ttl", "changed", Some(ttl)).await.expect_err("out of range");
        let read = router.resolve("ttl").ttl(ttl).await.expect_err("out of range");
        for error in [set, read] {
            assert!(matches!(&error, Error::InvalidArgument { argument: "ttl", .. }), "{error:?}");
        }
    }
    assert_eq!(text(&router.resolve("ttl").await.expect("a read")), Some("v"), "untouched");
    for ttl in [Duration::from_millis(1), longest] {
        router.set("edge", "v", Some(ttl)).await.expect("the servers take it");
    }

    // The shortest and the longest deadline are no trouble either.
    let late = router.resolve("ttl").deadline(Duration::ZERO).await;
    assert!(matches!(late, Ok(_) | Err(Error::DeadlineExceeded { limit: "deadline" })), "{late:?}");
    assert!(router.resolve("ttl").deadline(Duration::MAX).await.expect("a read").value.is_some());
    router.ready(Duration::MAX).await.expect("it is ready");
}

async fn too_long(router: &Router) {
    // Zeroed memory that nobody touches costs nothing.
    let long = vec![0; MAX_STRING + 1];
    let outcomes = [
        router.get_with_fallback(&long, never).await.expect_err("a long key"),
        router.resolve(&long[..]).await.expect_err("a long key"),
        router.set(&long, "v", None).await.expect_err("a long key"),
        router.set("k", &long, None).await.expect_err("a long value"),
    ];
    for (error, argument) in outcomes.into_iter().zip(["key", "key", "key", "value"]) {
        let Error::InvalidArgument { argument: named, problem } = &error else { panic!("{error:?}") };
        assert_eq!((*named, error.code()), (argument, "INVALID_ARGUMENT"));
        assert!(problem.contains("536870912"), "{problem}");
    }
}
