//! Real clusters: they start complete, and every fault shows.

#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

mod common;

use std::time::{Duration, Instant};

use common::{LONG, Raw, server, small};
use failsoft_testkit::{Cluster, Error, Role, Standalone, key_in, slot_of};
use redis::Value;

#[tokio::test]
async fn a_cluster_starts_complete() {
    let cluster = Cluster::builder().server(&server()).primaries(3).replicas(2).start().await.unwrap();
    assert_eq!(cluster.addresses().len(), 9);
    for index in 0..9 {
        let expected = if index < 3 { Role::Primary } else { Role::Replica };
        assert_eq!(cluster.role(index).await.unwrap(), expected, "node {index}");
        assert_eq!(cluster.node(index).id().len(), 40);
    }
    for primary in 0..3 {
        for replica in 0..2 {
            let info = cluster.info(cluster.replica_of(primary, replica), "replication").await.unwrap();
            assert!(info.contains(&format!("master_port:{}", cluster.node(primary).port())), "{info}");
        }
    }
    assert_eq!(cluster.owner_of(0).await.unwrap(), 0);
    assert_eq!(cluster.owner_of(8000).await.unwrap(), 1);
    assert_eq!(cluster.owner_of(16_383).await.unwrap(), 2);

    // The server is the judge of slots.
    for key in ["", "a", "a}b", "{}x", "{a", "{user}.name", "foo{{bar}}zap"] {
        let slot = cluster.command(0, &["CLUSTER", "KEYSLOT", key]).await.unwrap();
        assert_eq!(slot, Value::Int(slot_of(key).into()), "{key:?}");
    }

    let key = key_in(0);
    cluster.command(0, &["SET", &key, "v"]).await.unwrap();
    assert_eq!(cluster.command_calls(0, "get").await.unwrap(), 0);
    assert_eq!(cluster.command(0, &["GET", &key]).await.unwrap(), Value::BulkString(b"v".to_vec()));
    assert_eq!(cluster.command_calls(0, "get").await.unwrap(), 1);
    let moved = cluster.command(1, &["GET", &key]).await.unwrap_err();
    let Error::Command { node, source, .. } = &moved else { panic!("{moved}") };
    assert_eq!((node, source.code()), (&cluster.node(1).address(), Some("MOVED")));
}

#[tokio::test]
async fn a_killed_primary_is_replaced_by_its_replica_and_comes_back_as_one() {
    let cluster = small().await;
    let (id, pid) = (cluster.node(0).id(), cluster.node(0).pid());
    cluster.kill(0).await.unwrap();
    assert_eq!(cluster.node(0).pid(), None);
    assert!(matches!(cluster.command(0, &["PING"]).await, Err(Error::NotRunning { .. })));

    cluster.wait_promoted(3, LONG).await.unwrap();
    cluster.wait_until_ok().await.unwrap();
    assert_eq!(cluster.owner_of(0).await.unwrap(), 3);

    cluster.restart(0).await.unwrap();
    cluster.wait_until_ok().await.unwrap();
    assert_eq!(cluster.role(0).await.unwrap(), Role::Replica);
    assert_eq!(cluster.node(0).id(), id);
    assert_ne!(cluster.node(0).pid(), pid);
    assert!(matches!(cluster.restart(0).await, Err(Error::Config(_))), "it is running already");
}

#[tokio::test]
async fn a_hung_node_is_an_error_and_goes_on_afterwards() {
    let cluster = small().await;
    cluster.hang(1).unwrap();
    assert!(matches!(cluster.command(1, &["PING"]).await, Err(Error::Timeout { .. })));
    cluster.wait_promoted(4, LONG).await.unwrap();
    cluster.resume(1).unwrap();
    cluster.wait_until_ok().await.unwrap();
    assert_eq!(cluster.role(1).await.unwrap(), Role::Replica);

    cluster.failover(1).await.unwrap();
    cluster.wait_until_ok().await.unwrap();
    assert_eq!(cluster.owner_of(8000).await.unwrap(), 1);

    cluster.hang_all().unwrap();
    assert!(cluster.owner_of(8000).await.is_err());
    cluster.resume_all().unwrap();
    cluster.wait_until_ok().await.unwrap();
}

#[tokio::test]
async fn a_migration_held_open_shows_ask() {
    // Spawned, because faults are given from tasks of their own.
    tokio::spawn(migrate()).await.unwrap();
}

async fn migrate() {
    let cluster = small().await;
    let (slot, port) = (5, cluster.node(1).port());
    let tag = key_in(slot);
    for name in ["stays", "moves"] {
        cluster.command(0, &["SET", &format!("{{{tag}}}{name}"), name]).await.unwrap();
    }

    let migration = cluster.begin_migration(slot, 0, 1).await.unwrap();
    assert!(migration.move_key(format!("{{{tag}}}moves")).await.unwrap());
    assert!(!migration.move_key(format!("{{{tag}}}never there")).await.unwrap());

    let mut source = Raw::connect(&cluster.node(0).address()).await;
    source.ask(&format!("GET {{{tag}}}stays"), "$5\r\nstays\r\n").await;
    source.ask(&format!("GET {{{tag}}}moves"), &format!("-ASK {slot} 127.0.0.1:{port}\r\n")).await;
    let mut target = Raw::connect(&cluster.node(1).address()).await;
    target.ask("ASKING", "+OK\r\n").await;
    target.ask(&format!("GET {{{tag}}}moves"), "$5\r\nmoves\r\n").await;
    assert_eq!(cluster.owner_of(slot).await.unwrap(), 0);

    migration.finish().await.unwrap();
    cluster.wait_until_ok().await.unwrap();
    assert_eq!(cluster.owner_of(slot).await.unwrap(), 1);
    target.ask(&format!("GET {{{tag}}}stays"), "$5\r\nstays\r\n").await;
    source.ask(&format!("GET {{{tag}}}stays"), &format!("-MOVED {slot} 127.0.0.1:{port}\r\n")).await;

    let migration = cluster.begin_migration(6, 0, 2).await.unwrap();
    migration.cancel().await.unwrap();
    source.ask(&format!("GET {}", key_in(6)), "$-1\r\n").await;
    assert!(cluster.begin_migration(16_384, 0, 1).await.is_err());
    assert!(cluster.begin_migration(1, 0, 0).await.is_err());
}

#[tokio::test]
async fn a_replaced_cluster_has_the_addresses_and_nothing_else() {
    let builder = Cluster::builder().server(&server()).primaries(2).replicas(0);
    let cluster = builder.config("cluster-require-full-coverage", "no").start().await.unwrap();
    let key = key_in(3);
    cluster.command(0, &["SET", &key, "old"]).await.unwrap();
    let (addresses, ids) = (cluster.addresses(), cluster.nodes().iter().map(|node| node.id()).collect::<Vec<_>>());

    cluster.replace().await.unwrap();
    assert_eq!(cluster.addresses(), addresses);
    assert!(cluster.nodes().iter().all(|node| !ids.contains(&node.id())));
    assert_eq!(cluster.command(0, &["GET", &key]).await.unwrap(), Value::Nil);

    cluster.kill_all().await.unwrap();
    assert!(cluster.nodes().iter().all(|node| node.pid().is_none()));
    cluster.restart_all().await.unwrap();
    cluster.wait_until_ok().await.unwrap();
    let setting = cluster.command(0, &["CONFIG", "GET", "cluster-require-full-coverage"]).await.unwrap();
    assert_eq!(redis::from_redis_value::<Vec<String>>(setting).unwrap()[1], "no");
}

#[tokio::test]
async fn one_server_without_cluster_mode() {
    let single = Standalone::start(&server(), &[("maxmemory", "10mb")]).await.unwrap();
    single.command(&["SET", "k", "v"]).await.unwrap();
    let disabled = single.command(&["CLUSTER", "INFO"]).await.unwrap_err().to_string();
    assert!(disabled.contains("cluster support disabled"), "{disabled}");
    single.hang().unwrap();
    assert!(matches!(single.command(&["PING"]).await, Err(Error::Timeout { .. })));
    single.resume().unwrap();
    single.kill().await.unwrap();
    assert!(matches!(single.hang(), Err(Error::NotRunning { .. })));
    single.restart().await.unwrap();
    assert_eq!(single.command(&["GET", "k"]).await.unwrap(), Value::Nil);

    // A server may end by itself.
    assert!(single.command(&["SHUTDOWN", "NOSAVE"]).await.is_err());
    let deadline = Instant::now() + LONG;
    while single.node().pid().is_some() {
        assert!(Instant::now() < deadline, "it still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    single.restart().await.unwrap();
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let builder = || Cluster::builder().server(&server());
    let error = builder().primaries(0).start().await.unwrap_err().to_string();
    assert!(error.contains("at least 1 primary"), "{error}");
    let error = builder().primaries(60).replicas(1).start().await.unwrap_err().to_string();
    assert!(error.contains("at most 100"), "{error}");
    let error = builder().node_timeout(Duration::ZERO).start().await.unwrap_err().to_string();
    assert!(error.contains("node_timeout"), "{error}");
    let error = Standalone::start(&server(), &[("no-such-setting", "1")]).await.unwrap_err();
    let Error::Start { log, .. } = &error else { panic!("{error}") };
    assert!(log.contains("no-such-setting"), "{log}");
    let error = builder().tls("/no/such/folder").start().await.unwrap_err().to_string();
    assert!(error.contains("/no/such/folder"), "{error}");
}
