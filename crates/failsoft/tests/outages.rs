//! What readers see while their cluster is killed, hung, resharded and switched off.
//!
//! Outcomes and counts only: times are the benchmark's business.

mod load;

use failsoft::{Reason, Router, ServedBy};
use failsoft_testkit::{Cluster, Server, key_in, slot_of};
use load::{Load, READERS, Seen, assert_none_failed, prepare};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// One outage at a time: another one's load would be taken for a fault.
static ALONE: Mutex<()> = Mutex::const_new(());
const PROMOTION: Duration = Duration::from_secs(30);

async fn cluster() -> (Cluster, Router) {
    let server = Server::find(None).expect("a server");
    let node_timeout = Duration::from_secs(2);
    let cluster = Cluster::builder().server(&server).primaries(3).replicas(1).node_timeout(node_timeout);
    let cluster = cluster.start().await.expect("a cluster");
    let router = Router::builder(cluster.addresses()).standin_bytes(0).build().expect("a router");
    prepare(&router).await;
    (cluster, router)
}

/// Slots of the first primary, as the test kit deals them out.
async fn owned_by(cluster: &Cluster, node: usize, key: &str) -> bool {
    cluster.owner_of(slot_of(key)).await.expect("an owner") == node
}

fn of_shard(key: &str) -> bool {
    slot_of(key) < 5461
}

/// Waits until the router's health shows something.
async fn eventually(what: &str, router: &Router, holds: impl Fn(&Router) -> bool) {
    let deadline = Instant::now() + PROMOTION;
    while !holds(router) {
        assert!(Instant::now() < deadline, "{what}: {}", router.health().to_json());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Reads of other shards are served by their primaries all the while, but for the moment between the
/// failure's detection and the promotion, when every node of the cluster says that it is down.
fn assert_others_untouched(seen: &[Seen]) {
    let others: Vec<_> = seen.iter().filter(|s| !of_shard(&s.key)).collect();
    assert!(!others.is_empty(), "the load is on all shards");
    let served = |s: &Seen| s.served_by() == Some(ServedBy::Primary) || s.reason() == Some(Reason::ClusterDown);
    let moved: Vec<_> = others.iter().filter(|s| !served(s)).collect();
    let example = moved.first().map(|s| &s.result);
    assert!(moved.is_empty(), "{} of {} reads of healthy shards, such as {example:?}", moved.len(), others.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_is_killed() {
    let _alone = ALONE.lock().await;
    let (cluster, router) = cluster().await;
    assert!(owned_by(&cluster, 0, &key_in(0)).await && of_shard(&key_in(0)));
    let promoted = cluster.node(3).address();
    let load = Load::start(&router, |_| true);
    load.until("served by the primary", |s| of_shard(&s.key) && s.served_by() == Some(ServedBy::Primary)).await;
    cluster.kill(0).await.expect("a kill");
    load.until("served by the replica", |s| s.by(&promoted, ServedBy::Replica)).await;
    cluster.wait_promoted(3, PROMOTION).await.expect("a promotion");
    load.until("served by the promoted replica", |s| s.by(&promoted, ServedBy::Primary)).await;
    let killed = cluster.node(0).address();
    let settled = |router: &Router| router.health().nodes.iter().all(|n| n.breaker == "closed" || n.address == killed);
    eventually("all other nodes get their reads again", &router, settled).await;
    let after = Instant::now();
    for _ in 0..READERS {
        load.until("served in one attempt", |s| of_shard(&s.key) && s.reason().is_none()).await;
    }
    let seen = load.finish().await;
    assert_none_failed(&seen);
    assert_others_untouched(&seen);
    let strays = seen.iter().filter(|s| s.began > after && s.served_by() != Some(ServedBy::Primary)).count();
    assert_eq!(strays, 0, "once the promoted replica serves as the primary, all reads go there");
    router.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_hangs_and_comes_back() {
    let _alone = ALONE.lock().await;
    let (cluster, router) = cluster().await;
    let (old, promoted) = (cluster.node(0).address(), cluster.node(3).address());
    let load = Load::start(&router, |_| true);
    load.until("served by the primary", |s| s.by(&old, ServedBy::Primary)).await;
    let hung_at = Instant::now();
    cluster.hang(0).expect("a hang");
    load.until("served by the replica", |s| s.by(&promoted, ServedBy::Replica)).await;
    cluster.wait_promoted(3, PROMOTION).await.expect("a promotion");
    // The old primary still hangs.
    load.until("served by the promoted replica", |s| s.by(&promoted, ServedBy::Primary)).await;
    let resumed_at = Instant::now();
    cluster.resume(0).expect("a resume");
    let back =
        |router: &Router| router.health().node(&old).is_some_and(|n| n.role == "replica" && n.breaker == "closed");
    eventually("the old primary comes back as a replica", &router, back).await;
    let seen = load.finish().await;
    assert_none_failed(&seen);
    assert_others_untouched(&seen);
    let paid = seen.iter().filter(|s| s.reason() == Some(Reason::Timeout)).count();
    assert!(paid <= READERS, "{paid} reads waited for the hung node; a reader has one in flight, and none pays twice");
    let believed = seen.iter().filter(|s| s.began > resumed_at && s.by(&old, ServedBy::Primary)).count();
    assert_eq!(believed, 0, "the old primary is not believed after {:?}", resumed_at - hung_at);
    router.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_moved_by_hand() {
    let _alone = ALONE.lock().await;
    let (cluster, router) = cluster().await;
    let (source, target) = (cluster.node(0).address(), cluster.node(1).address());
    let slot = (0..).map(load::key).map(slot_of_key).find(|&s| s < 5461).expect("a slot with a key");
    let load = Load::start(&router, move |key| slot_of(key) == slot || !of_shard(key));
    load.until("served by the source", |s| s.by(&source, ServedBy::Primary)).await;
    let migration = cluster.begin_migration(slot, 0, 1).await.expect("a migration");
    while migration.move_keys(100).await.expect("keys to move") > 0 {}
    // All keys are at the target, and the slot is still the source's: each read is sent on by an ASK.
    let asked = |s: &Seen| s.by(&target, ServedBy::Primary) && s.result.as_ref().is_ok_and(|o| o.attempts == 2);
    for _ in 0..3 {
        load.until("sent on", asked).await;
    }
    assert_eq!(router.health().moved_patches, 0, "an ASK leaves the map as it is");
    migration.finish().await.expect("the slot's new owner");
    let settled = |s: &Seen| {
        slot_of(&s.key) == slot && s.by(&target, ServedBy::Primary) && s.result.as_ref().is_ok_and(|o| o.attempts == 1)
    };
    load.until("served by the target at once", settled).await;
    let seen = load.finish().await;
    assert_none_failed(&seen);
    let strays = seen.iter().filter(|s| s.served_by() != Some(ServedBy::Primary)).count();
    assert_eq!(strays, 0, "no read goes to the store, or to a replica, because a slot moves");
    router.close().await;
}

fn slot_of_key(key: String) -> u16 {
    slot_of(key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_hang_and_come_back() {
    let _alone = ALONE.lock().await;
    let (cluster, router) = cluster().await;
    let load = Load::start(&router, |_| true);
    load.until("served by a primary", |s| s.served_by() == Some(ServedBy::Primary)).await;
    cluster.hang_all().expect("a hang");
    for shard in 0..3_u16 {
        let ours = move |s: &Seen| slot_of(&s.key) / 5462 == shard;
        load.until("served by the store at once", |s| {
            ours(s) && s.served_by() == Some(ServedBy::Secondary) && s.result.as_ref().is_ok_and(|o| o.attempts == 0)
        })
        .await;
    }
    cluster.resume_all().expect("a resume");
    for shard in 0..3_u16 {
        let ours = move |s: &Seen| slot_of(&s.key) / 5462 == shard;
        load.until("served by a primary again", |s| ours(s) && s.served_by() == Some(ServedBy::Primary)).await;
    }
    let seen = load.finish().await;
    assert_none_failed(&seen);
    router.close().await;
}
