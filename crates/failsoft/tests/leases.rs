//! What a loaded value needs to be written back, on real servers: the lease that its load took, at the process that gave it.

mod support;

use failsoft::{Router, slot_of};
use failsoft_policy::wire::{FILL_SCRIPT, LEASE_SCRIPT, Script, lease_name};
use failsoft_testkit::{Cluster, key_in};
use std::time::Duration;
use support::{begin_load, eventually, give, patient, ready_router, router, server, start_cluster};

/// The slot of the keys that these tests load.
const SLOT: u16 = 6_000;

async fn stored(cluster: &Cluster, key: impl AsRef<[u8]>) -> Option<String> {
    let owner = cluster.owner_of(slot_of(key.as_ref()).number()).await.expect("an owner");
    match cluster.command(owner, &[b"GET", key.as_ref()]).await.expect("GET") {
        redis::Value::BulkString(value) => Some(String::from_utf8(value).expect("text")),
        redis::Value::Nil => None,
        other => panic!("{other:?}"),
    }
}

fn skipped(router: &Router, cause: &str) -> u64 {
    router.counters().fills_skipped.iter().filter(|c| c.what == cause).map(|c| c.count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_known_by_the_hash_of_its_text_and_is_sent_again_when_it_is_forgotten() {
    let cluster = start_cluster(3, 0).await;
    for Script { text, sha } in [LEASE_SCRIPT, FILL_SCRIPT] {
        let said = cluster.command(0, &["SCRIPT", "LOAD", text]).await.expect("a script");
        assert_eq!(said, redis::Value::BulkString(sha.into()));
    }
    let router = router(&cluster).await;
    for round in 0..2 {
        for slot in [1, SLOT, 12_000] {
            let key = format!("{{{}}}{round}", key_in(slot));
            router.get_with_fallback(&key, give("loaded")).await.expect("a load");
            eventually(&key, async || stored(&cluster, &key).await.as_deref() == Some("loaded")).await;
            assert_eq!(
                stored(&cluster, lease_name(slot_of(key.as_bytes()), key.as_bytes())).await,
                None,
                "it is used up"
            );
        }
        for node in 0..3 {
            cluster.command(node, &["SCRIPT", "FLUSH"]).await.expect("a flush");
        }
    }
    assert_eq!((router.counters().fills, router.counters().fills_skipped), (6, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_loaded_before_a_set_is_not_written_after_it() {
    let cluster = start_cluster(3, 0).await;
    let (ours, theirs) = (router(&cluster).await, router(&cluster).await);
    let key = key_in(SLOT);
    let (read, open) = begin_load(&ours, &key).await;
    theirs.set(&key, "new", None).await.expect("a set");
    // Somebody takes it away again, so that its being there is not what stops the fill.
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    cluster.command(owner, &["DEL", &key]).await.expect("a deletion");
    open.send(()).expect("it waits");
    read.await.expect("no panic");
    eventually("it is counted", async || skipped(&ours, "lease_gone") == 1).await;
    assert_eq!(stored(&cluster, &key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_lease_and_the_first_to_fill_wins() {
    let cluster = start_cluster(3, 0).await;
    let (ours, theirs) = (router(&cluster).await, router(&cluster).await);
    let key = key_in(SLOT);
    let (one, open_one) = begin_load(&ours, &key).await;
    let (other, open_other) = begin_load(&theirs, &key).await;
    let lease = stored(&cluster, lease_name(slot_of(key.as_bytes()), key.as_bytes())).await.expect("a lease");
    assert!(lease.len() == 17 && lease.starts_with('1'), "{lease}");
    for (load, open) in [(one, open_one), (other, open_other)] {
        open.send(()).expect("it waits");
        load.await.expect("no panic");
        eventually("it is written", async || stored(&cluster, &key).await.as_deref() == Some("old")).await;
    }
    eventually("the second is not", async || skipped(&ours, "lease_gone") + skipped(&theirs, "lease_gone") == 1).await;
    assert_eq!(ours.counters().fills + theirs.counters().fills, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_did_not_give_the_lease_is_not_written_to() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let key = key_in(SLOT);
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    let (read, open) = begin_load(&router, &key).await;
    let lease = lease_name(slot_of(key.as_bytes()), key.as_bytes());
    let token = stored(&cluster, &lease).await.expect("a lease");
    cluster.kill(owner).await.expect("a kill");
    cluster.restart(owner).await.expect("a restart");
    cluster.wait_until_ok().await.expect("a whole cluster");
    // As if it had come back with what it had before a deletion: by id, epoch and token it is the same.
    cluster.command(owner, &[&b"SET"[..], &lease, token.as_bytes()]).await.expect("a lease");
    eventually("it is read from again", async || {
        router.set("{warm}", "v", None).await.is_ok() && router.health().nodes.iter().all(|n| n.breaker == "closed")
    })
    .await;
    open.send(()).expect("it waits");
    read.await.expect("no panic");
    eventually("it is counted", async || !router.counters().fills_skipped.is_empty()).await;
    assert_eq!((stored(&cluster, &key).await, skipped(&router, "lease_gone")), (None, 0), "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_back_into_a_slot_that_is_being_moved() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let key = key_in(SLOT);
    let from = cluster.owner_of(SLOT).await.expect("an owner");
    let (read, open) = begin_load(&router, &key).await;
    let migration = cluster.begin_migration(SLOT, from, (from + 1) % 3).await.expect("a migration");
    open.send(()).expect("it waits");
    read.await.expect("no panic");
    router.get_with_fallback(&key, give("meanwhile")).await.expect("a load");
    eventually("both are counted", async || router.counters().fills_skipped.iter().map(|c| c.count).sum::<u64>() == 2)
        .await;
    migration.finish().await.expect("it ends");
    assert_eq!((stored(&cluster, &key).await, router.counters().fills), (None, 0));
    eventually("afterwards it is", async || {
        router.get_with_fallback(&key, give("after")).await.expect("a read");
        stored(&cluster, &key).await.as_deref() == Some("after")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_that_are_documented_are_those_that_it_takes() {
    let script = if server().at_least(7, 0) { "+script|load" } else { "+script" };
    let documented = format!("-@all +get +set +readonly +cluster|slots +evalsha {script} +exists +del +time +zcount");
    let users = [
        ("whole", format!("~app:* ~failsoft:l:* ~failsoft:h:* ~failsoft:i:* {documented}"), None),
        ("markless", format!("~app:* ~failsoft:l:* ~failsoft:h:* {documented}"), Some("denied")),
        ("scriptless", "~* -@all +get +set +readonly +cluster|slots +exists +del".to_owned(), Some("denied")),
        ("keyless", format!("~app:* {documented}"), Some("denied")),
    ];
    let mut builder = Cluster::builder().server(&server()).primaries(3).replicas(0);
    for (user, rights, _) in &users {
        builder = builder.user(user, &format!("on >right &* {rights}"));
    }
    let cluster = builder.start().await.expect("a cluster");
    for (user, _, refused) in &users {
        let builder = patient(cluster.addresses()).username(*user).password("right");
        let router = ready_router(builder.slot_refresh_interval(Duration::from_secs(1))).await;
        let key = format!("app:{user}");
        eventually("a set", async || router.set(&format!("{key}:set"), "v", None).await.is_ok()).await;
        let value = router.get_with_fallback(&key, give("loaded")).await.expect("a load");
        assert_eq!(value.as_deref(), Some(&b"loaded"[..]), "{user}");
        match refused {
            None => eventually(user, async || stored(&cluster, &key).await.as_deref() == Some("loaded")).await,
            Some(cause) => {
                eventually(user, async || skipped(&router, cause) == 1).await;
                assert_eq!(stored(&cluster, &key).await, None, "{user}");
            }
        }
        router.close().await;
    }
}
