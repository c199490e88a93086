//! Writers that hold their keys around a transaction of their own store, on real servers.

mod support;

use failsoft::{Error, Router, ServedBy, Step, slot_of};
use failsoft_policy::wire::{HOLD_SCRIPT, PUT_SCRIPT, Script, hold_name, lease_name};
use failsoft_testkit::{Cluster, key_in};
use std::time::Duration;
use support::{begin_load, eventually, give, never, patient, ready_router, router, start_cluster};

/// The slot of the keys that these tests write.
const SLOT: u16 = 6_000;

async fn command(cluster: &Cluster, key: &[u8], words: &[&[u8]]) -> redis::Value {
    let owner = cluster.owner_of(slot_of(key).number()).await.expect("an owner");
    cluster.command(owner, words).await.expect("a command")
}

async fn exists(cluster: &Cluster, key: impl AsRef<[u8]>) -> bool {
    command(cluster, key.as_ref(), &[b"EXISTS", key.as_ref()]).await == redis::Value::Int(1)
}

fn names(key: &str) -> [Vec<u8>; 2] {
    let slot = slot_of(key.as_bytes());
    [lease_name(slot, key.as_bytes()), hold_name(slot, key.as_bytes())]
}

fn skipped(router: &Router, cause: &str) -> u64 {
    router.counters().fills_skipped.iter().filter(|c| c.what == cause).map(|c| c.count).sum()
}

/// Reads until somebody has filled the key.
async fn is_filled(router: &Router, key: &str) {
    eventually("it is filled", async || {
        let outcome = router.resolve(key).fallback(give("of the store")).await.expect("a read");
        outcome.served_by == ServedBy::Primary
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_loaded_while_a_writer_is_inside_is_kept_nowhere() {
    let cluster = start_cluster(3, 0).await;
    let said = cluster.command(0, &["SCRIPT", "LOAD", HOLD_SCRIPT.text]).await.expect("a script");
    assert_eq!(said, redis::Value::BulkString(HOLD_SCRIPT.sha.into()));
    cluster.command(0, &["SCRIPT", "FLUSH"]).await.expect("a flush");
    let (writer, reader) = (router(&cluster).await, router(&cluster).await);
    let key = key_in(SLOT);
    let [lease, hold] = names(&key);
    writer.set(&key, "old", None).await.expect("a set");
    // A load that has set out, and comes back when the writer is inside.
    let early = key_in(SLOT + 1);
    let (under_way, open) = begin_load(&reader, &early).await;

    let writing = writer.writing([&key, &early]).await.expect("a hold");
    assert!(exists(&cluster, &hold).await && !exists(&cluster, &key).await);
    open.send(()).expect("it waits");
    under_way.await.expect("no panic");
    eventually("it is too late", async || skipped(&reader, "lease_gone") == 1).await;
    for (held, router) in [&reader, &writer].into_iter().enumerate() {
        let value = router.get_with_fallback(&key, give("meanwhile")).await.expect("a load");
        assert_eq!(value.as_deref(), Some(&b"meanwhile"[..]));
        eventually("it is counted", async || skipped(router, "held") == 1).await;
        assert!(!exists(&cluster, &key).await && !exists(&cluster, &lease).await, "{held}");
    }
    writing.done().await.expect("an end");
    assert!(!exists(&cluster, &hold).await && !exists(&cluster, &early).await);
    is_filled(&reader, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_lifts_its_own_hold_alone() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let key = key_in(SLOT);
    let [_, hold] = names(&key);
    let one = router.writing([&key]).await.expect("a hold");
    let other = router.writing([&key]).await.expect("a hold");
    one.done().await.expect("an end");
    router.get_with_fallback(&key, give("meanwhile")).await.expect("a load");
    eventually("it is counted", async || skipped(&router, "held") == 1).await;
    assert!(exists(&cluster, &hold).await);
    // Dropped, it ends as well.
    drop(other);
    eventually("it is lifted", async || !exists(&cluster, &hold).await).await;
    is_filled(&router, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hold_of_a_writer_that_is_gone_ends_by_itself() {
    let cluster = start_cluster(3, 0).await;
    let short = Duration::from_secs(1);
    let (writer, reader) = (ready_router(patient(cluster.addresses()).hold(short)).await, router(&cluster).await);
    let key = key_in(SLOT);
    let [_, hold] = names(&key);
    let writing = writer.writing([&key]).await.expect("a hold");
    writer.close().await;
    drop(writing);
    assert!(exists(&cluster, &hold).await, "nobody lifted it");
    reader.get_with_fallback(&key, give("meanwhile")).await.expect("a load");
    eventually("it is counted", async || skipped(&reader, "held") == 1).await;
    eventually("it is over", async || !exists(&cluster, &hold).await).await;
    is_filled(&reader, &key).await;
    assert!(matches!(writer.writing([&key]).await, Err(Error::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_can_leave_a_hold() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let key = key_in(SLOT);
    let [_, hold] = names(&key);
    router.invalidate([&key]).hold(Duration::from_secs(2)).await.expect("an invalidation");
    let redis::Value::Int(lasts) = command(&cluster, &hold, &[b"PTTL", &hold]).await else { panic!("no number") };
    assert!((1..=2_000).contains(&lasts), "{lasts}");
    router.get_with_fallback(&key, give("meanwhile")).await.expect("a load");
    eventually("it is counted", async || skipped(&router, "held") == 1).await;
    is_filled(&router, &key).await;
    assert!(!exists(&cluster, &hold).await);
    for hold in [Duration::ZERO, Duration::from_secs(3_601)] {
        let refused = router.invalidate([&key]).hold(hold).await;
        assert!(matches!(refused, Err(Error::InvalidArgument { argument: "hold", .. })), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_begins_without_its_hold() {
    let cluster = start_cluster(3, 0).await;
    let builder = patient(cluster.addresses()).attempt_timeout(Duration::from_millis(200));
    let router = ready_router(builder.deadline(Duration::from_millis(600))).await;
    let key = key_in(SLOT);
    let [_, hold] = names(&key);
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    cluster.hang(owner).expect("it hangs");
    let error = router.writing([&key, &key_in(1)]).await.expect_err("nobody holds it");
    let Error::InvalidationIncomplete { pending } = &error else { panic!("{error}") };
    assert_eq!(pending.iter().map(|p| &p.key[..]).collect::<Vec<_>>(), [key.as_bytes()], "the other key is held");
    assert!(pending[0].pending.steps().any(|(step, _)| step == Step::Hold), "{error}");
    cluster.resume(owner).expect("it goes on");
    eventually("all is told", async || router.health().invalidations_owed == 0).await;
    let [_, other] = names(&key_in(1));
    eventually("nothing is held", async || !exists(&cluster, &other).await).await;
    // What it was sent while it hung may have come after all, and ends by itself.
    command(&cluster, &hold, &[b"DEL", &hold]).await;
    is_filled(&router, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_taken_also_where_a_slot_is_moved_by_hand() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let key = key_in(SLOT);
    router.set(&key, "old", None).await.expect("a set");
    let from = cluster.owner_of(SLOT).await.expect("an owner");
    let migration = cluster.begin_migration(SLOT, from, (from + 1) % 3).await.expect("a migration");
    let writing = router.writing([&key]).await.expect("a hold");
    migration.finish().await.expect("it ends");
    let [_, hold] = names(&key);
    assert!(exists(&cluster, &hold).await && !exists(&cluster, &key).await);
    eventually("it is known of the new owner", async || {
        router.get_with_fallback(&key, give("meanwhile")).await.expect("a load");
        skipped(&router, "held") > 0
    })
    .await;
    assert!(!exists(&cluster, &key).await);
    writing.done().await.expect("an end");
    assert!(!exists(&cluster, &hold).await);
    is_filled(&router, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_under_a_writers_hold_deletes_the_key_instead() {
    let cluster = start_cluster(3, 0).await;
    let Script { text, sha } = PUT_SCRIPT;
    let said = cluster.command(0, &["SCRIPT", "LOAD", text]).await.expect("a script");
    assert_eq!(said, redis::Value::BulkString(sha.into()));
    let (ours, theirs) = (router(&cluster).await, router(&cluster).await);
    let key = key_in(SLOT);
    ours.set(&key, "before", None).await.expect("a set");
    let writing = theirs.writing([&key]).await.expect("a hold");
    ours.set(&key, "during", Some(Duration::from_secs(60))).await.expect("a set");
    assert_eq!(ours.get_with_fallback(&key, give("loaded")).await.expect("a read").as_deref(), Some(&b"loaded"[..]));
    assert_eq!((ours.counters().sets, ours.counters().sets_held), (2, 1));
    writing.done().await.expect("its end");
    ours.set(&key, "after", Some(Duration::from_secs(60))).await.expect("a set");
    let outcome = ours.resolve(&key).fallback(never).await.expect("a read");
    assert_eq!(outcome.value.as_deref(), Some(&b"after"[..]));
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    let lives = cluster.command(owner, &["PTTL", &key]).await.expect("a command");
    assert!(matches!(lives, redis::Value::Int(1..=60_000)), "{lives:?}");
}
