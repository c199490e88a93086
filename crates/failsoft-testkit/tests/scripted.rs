//! The scripted node: healthy without a script, and every behaviour byte for byte.

#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

mod common;

use std::time::{Duration, Instant};

use common::Raw;
use failsoft_testkit::{Behaviour, ScriptedNode, Topology, key_in};
use tokio::net::TcpStream;

async fn node() -> (ScriptedNode, Raw) {
    let node = ScriptedNode::start().await.unwrap();
    let client = Raw::connect(&node.address()).await;
    (node, client)
}

async fn reader(node: &ScriptedNode) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{}/?protocol=resp3", node.address())).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test]
async fn without_a_script_it_is_a_healthy_node() {
    let (node, mut client) = node().await;
    client.ask("GET k", "$-1\r\n").await;
    node.set("k", "v");
    client.ask("get k", "$1\r\nv\r\n").await;
    client.ask("SET k w NX PX 1000", "$-1\r\n").await;
    client.ask("SET n w NX PX 60000", "+OK\r\n").await;
    client.ask("SET k x XX", "+OK\r\n").await;
    client.ask("SET k x PX 0", "-ERR invalid expire time in 'set' command\r\n").await;
    client.ask("SET k x WRONG", "-ERR syntax error\r\n").await;
    client.ask("DEL k", ":1\r\n").await;
    client.ask("EXISTS n", ":1\r\n").await;
    client.ask("SET gone x PX 1", "+OK\r\n").await;
    while node.get("gone").is_some() {
        tokio::task::yield_now().await;
    }
    client.ask("GET gone", "$-1\r\n").await;
    for command in ["AUTH user password", "CLIENT SETNAME me", "READONLY", "ASKING", "SELECT 0"] {
        client.ask(command, "+OK\r\n").await;
    }
    client.ask("PING", "+PONG\r\n").await;
    client.ask("WAIT 1 100", ":0\r\n").await;
    client.ask("CLUSTER MYID", &format!("$40\r\n{}\r\n", node.id())).await;
    client.ask("CLUSTER KEYSLOT 123456789", ":12739\r\n").await;
    client.ask("FLY", "-ERR unknown command 'FLY'\r\n").await;
    client.ask("GET", "-ERR wrong number of arguments for 'get' command\r\n").await;
    client.ask("QUIT", "+OK\r\n").await;
    client.expect_closed().await;
}

#[tokio::test]
async fn a_client_library_takes_it_for_a_server() {
    let (node, _) = node().await;
    let mut connection = reader(&node).await;
    let text = |words: &'static str| {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        command
    };
    let nodes: String = text("CLUSTER NODES").query_async(&mut connection).await.unwrap();
    let (id, port) = (node.id(), node.port());
    let bus = port + 10_000;
    assert_eq!(nodes, format!("{id} 127.0.0.1:{port}@{bus} myself,master - 0 0 1 connected 0-16383\n"));
    let info: redis::InfoDict = text("INFO replication").query_async(&mut connection).await.unwrap();
    assert_eq!(info.get::<String>("role").as_deref(), Some("master"));
    assert_eq!(info.get::<String>("redis_version"), None, "of another section");

    node.set_info("loading", "1");
    node.set_info("cluster_state", "fail");
    let info: redis::InfoDict = text("INFO persistence").query_async(&mut connection).await.unwrap();
    assert_eq!(info.get::<String>("loading").as_deref(), Some("1"));
    let info: redis::InfoDict = text("CLUSTER INFO").query_async(&mut connection).await.unwrap();
    assert_eq!(info.get::<String>("cluster_state").as_deref(), Some("fail"));
    assert_eq!(info.get::<u32>("cluster_slots_ok"), Some(16_384));

    node.resp2_only();
    let mut old = Raw::connect(&node.address()).await;
    old.send("HELLO 3").await;
    assert!(old.line().await.starts_with("-ERR unknown command 'HELLO'"));
    old.ask("GET none", "$-1\r\n").await;
}

#[tokio::test]
async fn several_nodes_make_a_cluster() {
    let (a, b, c) = (ScriptedNode::start().await.unwrap(), ScriptedNode::start().await.unwrap(), node().await.0);
    let topology = Topology::of(&[&a, &b]).replica(&c, &a);
    for node in [&a, &b, &c] {
        node.set_topology(&topology);
        node.set(key_in(1), "v");
    }
    let (low, high) = (key_in(1), key_in(16_000));
    let mut client = Raw::connect(&b.address()).await;
    client.ask(&format!("GET {low}"), &format!("-MOVED 1 {}\r\n", a.address())).await;
    client.ask("ASKING", "+OK\r\n").await;
    client.ask(&format!("GET {low}"), "$1\r\nv\r\n").await;
    client.ask(&format!("GET {high}"), "$-1\r\n").await;
    let mut client = Raw::connect(&c.address()).await;
    client.ask(&format!("GET {low}"), &format!("-MOVED 1 {}\r\n", a.address())).await;
    client.ask("READONLY", "+OK\r\n").await;
    client.ask(&format!("GET {low}"), "$1\r\nv\r\n").await;
    client.ask(&format!("SET {low} w"), &format!("-MOVED 1 {}\r\n", a.address())).await;

    // The redis crate reads CLUSTER SLOTS and finds every shard by it.
    let slots: redis::Value = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut reader(&c).await).await.unwrap();
    let redis::Value::Array(shards) = slots else { panic!("{slots:?}") };
    let redis::Value::Array(first) = &shards[0] else { panic!("{shards:?}") };
    assert_eq!(first[..2], [redis::Value::Int(0), redis::Value::Int(8191)]);
    assert_eq!((shards.len(), first.len()), (2, 4), "the first shard has a replica");
    let shards: redis::Value = redis::cmd("CLUSTER").arg("SHARDS").query_async(&mut reader(&c).await).await.unwrap();
    let shards = format!("{shards:?}");
    assert!([&a, &b, &c].iter().all(|node| shards.contains(&node.id())) && shards.contains("replica"), "{shards}");

    c.set_topology(&Topology::new().primary(&a, 0..=99, 1).primary(&b, 50..=99, 2).flag(&a, "fail"));
    let text: String = redis::cmd("CLUSTER").arg("NODES").query_async(&mut reader(&c).await).await.unwrap();
    assert!(text.contains(" master,fail - 0 0 1 disconnected 0-99\n"), "{text}");
    client.ask(&format!("GET {}", key_in(60)), &format!("-MOVED 60 {}\r\n", b.address())).await;
    client.ask(&format!("GET {}", key_in(100)), "-CLUSTERDOWN Hash slot not served\r\n").await;
}

#[tokio::test]
async fn replies_of_every_shape() {
    let (node, mut client) = node().await;
    for (behaviour, wire) in [
        (Behaviour::reply(":42\r\n"), ":42\r\n"),
        (Behaviour::error("MOVED 1 ?:0"), "-MOVED 1 ?:0\r\n"),
        (Behaviour::error("LOADING two\r\nlines"), "-LOADING two  lines\r\n"),
        (Behaviour::value("v"), "$1\r\nv\r\n"),
        (Behaviour::Nil, "$-1\r\n"),
        (Behaviour::Array, "*2\r\n$2\r\nan\r\n$5\r\narray\r\n"),
        (Behaviour::Normal, "$6\r\nstored\r\n"),
    ] {
        node.set("k", "stored");
        node.on("GET", behaviour);
        client.ask("GET k", wire).await;
    }
    node.on("GET", Behaviour::Garbage);
    client.send("GET k").await;
    client.expect("\0").await;

    node.on("SET", Behaviour::error("OOM command not allowed"));
    let mut client = Raw::connect(&node.address()).await;
    client.ask("SET k w", "-OOM command not allowed\r\n").await;
    assert_eq!(node.get("k").unwrap(), "stored", "a scripted answer has no effect");
}

#[tokio::test]
async fn a_silent_connection_stays_open_and_is_heard() {
    for (behaviour, first) in [
        (Behaviour::Silence, ""),
        (Behaviour::HalfReplyThenSilence, "$10\r\nhalf "),
        (Behaviour::HugeHeader, "$536870912\r\n"),
    ] {
        let (node, mut client) = node().await;
        node.next("GET", behaviour);
        client.ask("GET k", first).await;
        client.send("PING").await;
        node.wait_for("PING", 1).await.unwrap();
        assert!(client.is_quiet().await);
        Raw::connect(&node.address()).await.ask("GET k", "$-1\r\n").await;
    }
}

#[tokio::test]
async fn answers_come_late_in_drops_or_not_at_all() {
    let (node, mut client) = node().await;
    node.set("k", "v");
    node.on_key("GET", "k", Behaviour::Normal.after(Duration::from_millis(300)));
    let started = Instant::now();
    // Each waits from when it came: one after the other they would take minutes.
    for _ in 0..500 {
        client.send("GET k").await;
    }
    client.send("PING").await;
    for _ in 0..500 {
        client.expect("$1\r\nv\r\n").await;
    }
    client.expect("+PONG\r\n").await;
    assert!(started.elapsed() >= Duration::from_millis(300));

    node.on_key("GET", "k", Behaviour::Drip { bytes: "$1\r\nv\r\n".into(), every: Duration::from_millis(10) });
    let started = Instant::now();
    client.ask("GET k", "$1\r\nv\r\n").await;
    assert!(started.elapsed() >= Duration::from_millis(70));

    node.on_key("GET", "k", Behaviour::Close);
    client.send("PING").await;
    client.send("GET k").await;
    client.expect("+PONG\r\n").await;
    client.expect_closed().await;
}

#[tokio::test]
async fn a_node_that_refuses_is_gone_until_it_listens_again() {
    let (node, mut client) = node().await;
    node.refuse_connections(true).await.unwrap();
    client.expect_closed().await;
    assert!(TcpStream::connect(node.address()).await.is_err());
    node.refuse_connections(false).await.unwrap();
    Raw::connect(&node.address()).await.ask("PING", "+PONG\r\n").await;

    let address = node.address();
    let mut client = Raw::connect(&address).await;
    client.ask("PING", "+PONG\r\n").await;
    drop(node);
    client.expect_closed().await;
}

#[tokio::test]
async fn it_tells_what_it_got() {
    let (node, mut client) = node().await;
    client.ask("GET a", "$-1\r\n").await;
    client.ask("get b", "$-1\r\n").await;
    client.ask("CLUSTER MYID", &format!("$40\r\n{}\r\n", node.id())).await;
    assert_eq!((node.count("GET"), node.count_key("GET", "b"), node.count_key("GET", "c")), (2, 1, 0));
    assert_eq!((node.count("cluster myid"), node.count("CLUSTER"), node.count("*")), (1, 1, 3));
    assert_eq!(node.received()[1], ["get", "b"]);
    node.clear_received();
    assert_eq!(node.count("*"), 0);

    let waiting = node.wait_for("GET", 2);
    let asking = async {
        client.ask("GET a", "$-1\r\n").await;
        client.ask("GET a", "$-1\r\n").await;
    };
    let (waited, ()) = tokio::join!(waiting, asking);
    waited.unwrap();
}

#[tokio::test]
async fn nonsense_is_answered_and_the_connection_closed() {
    let (_node, mut client) = node().await;
    client.write(b"GET k\r\n").await;
    assert!(client.line().await.starts_with("-ERR Protocol error"));
    client.expect_closed().await;
}
