//! Invalidations on real servers: what they delete and leave, and what this process reads until they are acknowledged.

mod support;

use failsoft::{Bytes, Durability, Error, Reason, Router, ServedBy, Step, slot_of};
use failsoft_policy::wire::{INVALIDATE_SCRIPT, MARK_SCRIPT, Script, echo_slot, lease_name, mark_name};
use failsoft_testkit::{Cluster, Flavour, key_in};
use std::time::Duration;
use support::{begin_load, eventually, give, in_time, patient, ready_router, router, server, start_cluster};

/// The slot of the keys that these tests invalidate.
const SLOT: u16 = 6_000;

async fn command(cluster: &Cluster, key: &[u8], words: &[&[u8]]) -> redis::Value {
    let owner = cluster.owner_of(slot_of(key).number()).await.expect("an owner");
    cluster.command(owner, words).await.expect("a command")
}

async fn stored(cluster: &Cluster, key: impl AsRef<[u8]>) -> Option<String> {
    match command(cluster, key.as_ref(), &[b"GET", key.as_ref()]).await {
        redis::Value::BulkString(value) => Some(String::from_utf8(value).expect("text")),
        redis::Value::Nil => None,
        other => panic!("{other:?}"),
    }
}

/// The marks of a key: in its own slot, and in that of its echo.
async fn marks(cluster: &Cluster, key: &str) -> [Option<String>; 2] {
    let slot = slot_of(key.as_bytes());
    let [own, echo] = [slot, echo_slot(slot)].map(|slot| mark_name(slot, key.as_bytes()));
    [stored(cluster, &own).await, stored(cluster, &echo).await]
}

async fn read(router: &Router, key: &str) -> (Option<Bytes>, ServedBy, Option<Reason>) {
    let outcome = router.resolve(key).fallback(give("of the store")).await.expect("a read");
    (outcome.value, outcome.served_by, outcome.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_with_its_lease_and_leaves_a_mark_here_and_in_another_shard() {
    let cluster = start_cluster(3, 0).await;
    for Script { text, sha } in [INVALIDATE_SCRIPT, MARK_SCRIPT] {
        let said = cluster.command(0, &["SCRIPT", "LOAD", text]).await.expect("a script");
        assert_eq!(said, redis::Value::BulkString(sha.into()));
        cluster.command(0, &["SCRIPT", "FLUSH"]).await.expect("a flush");
    }
    let router = router(&cluster).await;
    let key = key_in(SLOT);
    let lease = lease_name(slot_of(key.as_bytes()), key.as_bytes());
    router.set(&key, "v", None).await.expect("a set");
    command(&cluster, &lease, &[b"SET", &lease, b"token"]).await;
    router.invalidate([&key]).await.expect("an invalidation");
    assert_eq!((stored(&cluster, &key).await, stored(&cluster, &lease).await), (None, None));
    let [own, echo] = marks(&cluster, &key).await.map(|mark| mark.expect("a mark"));
    let words: Vec<Vec<&str>> = [&own, &echo].map(|mark| mark.split(' ').collect()).into();
    for mark in &words {
        let &["1", id, micros, epoch] = &mark[..] else { panic!("{mark:?}") };
        assert_eq!((id.len(), id), (16, words[0][1]), "both are of one invalidation");
        assert!(micros.parse::<u64>().is_ok_and(|micros| micros > 1_700_000_000_000_000), "{micros}");
        assert!(epoch.parse::<u64>().is_ok(), "{epoch}");
    }
    let mark = mark_name(slot_of(key.as_bytes()), key.as_bytes());
    let redis::Value::Int(lives) = command(&cluster, &mark, &[b"PTTL", &mark]).await else { panic!("no number") };
    assert!((1..=60_000).contains(&lives), "{lives}");
    let health = router.health();
    assert_eq!((health.invalidations, health.invalidations_owed, health.counters.invalidations), (1, 0, 1));
    assert_eq!(read(&router, &key).await.1, ServedBy::Secondary);
    eventually("it is filled", async || read(&router, &key).await.1 == ServedBy::Primary).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_was_under_way_serves_nobody_who_asks_later_and_is_not_written_back() {
    let cluster = start_cluster(3, 0).await;
    let (ours, theirs) = (router(&cluster).await, router(&cluster).await);
    let key = key_in(SLOT);
    for invalidates in [&ours, &theirs] {
        let (early, open) = begin_load(&ours, &key).await;
        invalidates.invalidate([&key]).await.expect("an invalidation");
        if std::ptr::eq(invalidates, &ours) {
            let later = in_time("a load of its own", ours.get_with_fallback(&key, give("new"))).await;
            assert_eq!(later.expect("a read").as_deref(), Some(&b"new"[..]));
            eventually("it is filled", async || stored(&cluster, &key).await.as_deref() == Some("new")).await;
            ours.invalidate([&key]).await.expect("an invalidation");
        }
        open.send(()).expect("it waits");
        early.await.expect("no panic");
        let skipped = || ours.counters().fills_skipped.iter().map(|c| c.count).sum::<u64>();
        let so_far = if std::ptr::eq(invalidates, &ours) { 1 } else { 2 };
        eventually("it is counted", async || skipped() == so_far).await;
        assert_eq!(stored(&cluster, &key).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn until_its_node_has_acknowledged_it_a_key_is_read_from_the_callback_alone() {
    let cluster = start_cluster(3, 0).await;
    let builder = patient(cluster.addresses()).attempt_timeout(Duration::from_millis(200));
    let router = ready_router(builder.deadline(Duration::from_millis(600))).await;
    let key = key_in(SLOT);
    router.set(&key, "old", None).await.expect("a set");
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    cluster.hang(owner).expect("it hangs");
    let error = router.invalidate([&key]).await.expect_err("nobody acknowledges it");
    let Error::InvalidationIncomplete { pending } = &error else { panic!("{error}") };
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].key, key);
    assert!(pending[0].pending.steps().any(|(step, _)| step == Step::Key), "{error}");
    assert_eq!(router.health().invalidations_owed, 1);
    let fresh = (Some(Bytes::from_static(b"of the store")), ServedBy::Secondary, Some(Reason::Invalidated));
    assert_eq!(read(&router, &key).await, fresh);
    let alone = router.resolve(&key).await.expect("a miss without a callback");
    assert_eq!((alone.served_by, alone.reason), (ServedBy::None, Some(Reason::Invalidated)));
    cluster.resume(owner).expect("it goes on");
    eventually("it is told", async || router.health().invalidations_owed == 0).await;
    assert_eq!(stored(&cluster, &key).await, None);
    eventually("it is announced", async || marks(&cluster, &key).await[1].is_some()).await;
    eventually("it is read from its node again", async || read(&router, &key).await.1 == ServedBy::Primary).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_its_caller_has_gone() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let key = key_in(SLOT);
    router.set(&key, "old", None).await.expect("a set");
    drop(tokio::time::timeout(Duration::ZERO, router.invalidate([&key])).await);
    eventually("it is told", async || router.health().counters.invalidations == 1).await;
    assert_eq!(stored(&cluster, &key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_is_closed_says_so_to_who_waits() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    cluster.hang(owner).expect("it hangs");
    let keys: Vec<String> = (0..2_000).map(|n| format!("{{{}}}{n}", key_in(SLOT))).collect();
    let waits = IntoFuture::into_future(router.invalidate(&keys));
    let (ended, ()) = tokio::join!(waits, router.close());
    assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
    cluster.resume(owner).expect("it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_its_echo_is_missing_a_key_is_filled_and_stays() {
    // The nodes take the one that hangs for failed after a while; the key's own shard goes on all the same.
    let cluster = Cluster::builder()
        .server(&server())
        .primaries(3)
        .replicas(0)
        .config("cluster-require-full-coverage", "no")
        .start()
        .await
        .expect("a cluster");
    let builder = patient(cluster.addresses()).attempt_timeout(Duration::from_millis(200));
    let router = ready_router(builder.deadline(Duration::from_millis(600))).await;
    let key = key_in(SLOT);
    let other = cluster.owner_of(echo_slot(slot_of(key.as_bytes())).number()).await.expect("an owner");
    assert_ne!(cluster.owner_of(SLOT).await.expect("an owner"), other);
    cluster.hang(other).expect("it hangs");
    let error = router.invalidate([&key]).await.expect_err("nobody acknowledges its echo");
    let Error::InvalidationIncomplete { pending } = &error else { panic!("{error}") };
    assert_eq!(pending[0].pending.steps().map(|(step, _)| step).collect::<Vec<_>>(), [Step::Echo]);
    eventually("it is filled", async || read(&router, &key).await.1 == ServedBy::Primary).await;
    let before = router.health().counters.invalidations_incomplete;
    eventually("it is announced in vain", async || router.health().counters.invalidations_incomplete > before + 1)
        .await;
    assert_eq!(read(&router, &key).await.1, ServedBy::Primary, "it was not deleted again");
    cluster.resume(other).expect("it goes on");
    eventually("it is announced", async || marks(&cluster, &key).await[1].is_some()).await;
    assert_eq!(read(&router, &key).await.1, ServedBy::Primary);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_slot_that_is_moved_by_hand_it_reaches_both_nodes() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let from = cluster.owner_of(SLOT).await.expect("an owner");
    let to = (from + 1) % 3;
    let keys: Vec<String> = (0..4).map(|n| format!("{{{}}}{n}", key_in(SLOT))).collect();
    // What is left of an earlier one may not stand in the way of the move.
    router.invalidate(&keys).await.expect("an invalidation");
    for key in &keys {
        router.set(key, "old", None).await.expect("a set");
    }
    let migration = cluster.begin_migration(SLOT, from, to).await.expect("a migration");
    // Two have gone over already.
    for key in &keys[..2] {
        assert!(migration.move_key(key).await.expect("a move"));
    }
    router.invalidate(&keys).await.expect("an invalidation");
    for key in &keys {
        assert_eq!(read(&router, key).await.1, ServedBy::Secondary, "{key} is at neither");
    }
    migration.finish().await.expect("it ends");
    for key in &keys {
        assert_eq!(stored(&cluster, key).await, None);
        assert!(marks(&cluster, key).await.iter().all(Option::is_some), "{key}");
    }
    eventually("afterwards it is filled", async || read(&router, &keys[0]).await.1 == ServedBy::Primary).await;
}

/// Valkey 9 moves a slot as a whole, and until then takes what is written on its way.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_slot_that_is_moved_at_once_it_is_sent_again() {
    let server = server();
    if server.version().0 != Flavour::Valkey || !server.at_least(9, 0) {
        return;
    }
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let from = cluster.owner_of(SLOT).await.expect("an owner");
    let to = (from + 1) % 3;
    let keys: Vec<String> = (0..200).map(|n| format!("{{{}}}{n}", key_in(SLOT))).collect();
    for key in &keys {
        router.set(key, "old", None).await.expect("a set");
    }
    let (slot, id) = (SLOT.to_string(), cluster.node(to).id());
    let words = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &slot, &slot, "NODE", &id];
    cluster.command(from, &words).await.expect("a migration");
    for keys in keys.chunks(10) {
        router.invalidate(keys).await.expect("an invalidation");
        for key in keys {
            assert_eq!(read(&router, key).await.0.as_deref(), Some(&b"of the store"[..]), "{key}");
        }
    }
    eventually("it has moved", async || cluster.owner_of(SLOT).await.ok() == Some(to)).await;
    for key in &keys {
        assert_eq!(read(&router, key).await.0.as_deref(), Some(&b"of the store"[..]), "{key}");
    }
    eventually("its new owner is told", async || {
        router.get_with_fallback(&keys[0], give("of the store")).await.expect("a read");
        let health = router.health();
        health.counters.invalidations > 200 && health.invalidations_owed == 0
    })
    .await;
    eventually("it is filled", async || read(&router, &keys[0]).await.1 == ServedBy::Primary).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failover_loses_is_sent_again_and_never_read_here() {
    let cluster = start_cluster(3, 1).await;
    let router = ready_router(patient(cluster.addresses()).invalidate_durability(Durability::Primary)).await;
    let key = key_in(SLOT);
    let owner = cluster.owner_of(SLOT).await.expect("an owner");
    let replica = cluster.replica_of(owner, 0);
    router.set(&key, "old", None).await.expect("a set");
    eventually("it is copied", async || {
        let offset = async |node| cluster.info_field(node, "replication", "master_repl_offset").await.expect("INFO");
        offset(owner).await == offset(replica).await
    })
    .await;
    cluster.part(owner, replica).await.expect("they part");
    router.invalidate([&key]).await.expect("its primary acknowledges it");
    cluster.kill(owner).await.expect("a kill");
    // The replica has the old value, and is promoted with it.
    while cluster.owner_of(SLOT).await.ok() != Some(replica) {
        let (value, served_by, _) = read(&router, &key).await;
        assert_eq!((value.as_deref(), served_by), (Some(&b"of the store"[..]), ServedBy::Secondary));
    }
    eventually("it is sent again", async || {
        let (value, ..) = read(&router, &key).await;
        assert_eq!(value.as_deref(), Some(&b"of the store"[..]));
        router.health().counters.invalidations == 2
    })
    .await;
    eventually("it is filled", async || read(&router, &key).await.1 == ServedBy::Primary).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_memory_takes_it() {
    let cluster = Cluster::builder().server(&server()).primaries(3).replicas(0).start().await.expect("a cluster");
    let router = router(&cluster).await;
    let key = key_in(SLOT);
    let configure = async |name: &str, value: &str| {
        for node in 0..3 {
            cluster.command(node, &["CONFIG", "SET", name, value]).await.expect("a setting");
        }
    };
    // One that evicts takes what has a time to live, marks among it.
    for policy in ["noeviction", "volatile-ttl"] {
        configure("maxmemory", "0").await;
        configure("maxmemory-policy", policy).await;
        router.set(&key, "old", None).await.expect("a set");
        configure("maxmemory", "1").await;
        router.set(&key, "new", None).await.expect_err("no memory");
        router.invalidate([&key]).await.expect(policy);
        assert_eq!(stored(&cluster, &key).await, None, "{policy}");
        if policy == "noeviction" {
            assert!(marks(&cluster, &key).await.iter().all(Option::is_some));
        }
        // Nor is there room for a lease.
        assert_eq!(read(&router, &key).await.1, ServedBy::Secondary, "{policy}");
        let held = router.writing([&key]).await.expect(policy);
        held.done().await.expect(policy);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_that_are_documented_are_those_that_it_takes() {
    let script = if server().at_least(7, 0) { "+script|load" } else { "+script" };
    let commands = "-@all +get +set +readonly +cluster|slots +del";
    let users = [
        ("whole", format!("~app:* ~failsoft:* {commands} +time +wait +evalsha {script}")),
        ("scriptless", format!("~app:* ~failsoft:* {commands}")),
    ];
    let mut builder = Cluster::builder().server(&server()).primaries(3).replicas(0);
    for (user, rights) in &users {
        builder = builder.user(user, &format!("on >right &* {rights}"));
    }
    let cluster = builder.start().await.expect("a cluster");
    for (user, _) in &users {
        let builder = patient(cluster.addresses()).username(*user).password("right");
        let router = ready_router(builder.slot_refresh_interval(Duration::from_secs(1))).await;
        let key = format!("app:{user}");
        eventually("a set", async || router.set(&key, "v", None).await.is_ok()).await;
        router.invalidate([&key]).await.expect(user);
        assert_eq!(stored(&cluster, &key).await, None, "{user}");
        assert!(marks(&cluster, &key).await.iter().all(Option::is_some), "{user}");
        router.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_go_together_and_bad_ones_are_refused() {
    let cluster = start_cluster(3, 0).await;
    let router = router(&cluster).await;
    let keys: Vec<String> = (0..20_000).map(|n| format!("many:{n}")).collect();
    for key in keys.iter().step_by(4_001) {
        router.set(key, "v", None).await.expect("a set");
    }
    router.invalidate(keys.iter().chain(&keys[..10])).await.expect("an invalidation");
    assert_eq!(router.health().counters.invalidations, 20_000, "each once");
    for key in keys.iter().step_by(4_001) {
        assert_eq!(stored(&cluster, key).await, None);
    }
    let none: [&str; 0] = [];
    router.invalidate(none).await.expect("nothing to do");
    let refused = router.invalidate((0..=1_000_000).map(|n: u32| n.to_string()));
    assert!(matches!(refused.await, Err(Error::InvalidArgument { argument: "keys", .. })));
    let refused = router.invalidate((0..65).map(|n: u8| vec![n; 1 << 20])).await;
    assert!(matches!(refused, Err(Error::InvalidArgument { argument: "keys", .. })), "65 MiB of names");
    assert_eq!(router.health().invalidations, 20_000, "none of a call that is refused is known");
    router.close().await;
    assert!(matches!(router.invalidate(["k"]).await, Err(Error::Closed)));
}
