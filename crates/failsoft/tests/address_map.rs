//! Nodes that announce addresses which cannot be reached: the map leads to the real ones. And IPv6.

mod support;

use failsoft::ServedBy;
use failsoft_testkit::{Behaviour, Standalone, Topology};
use std::net::TcpListener;
use support::{Pair, SLOT_A, never, patient, read, ready_router, router, server, start_cluster, text};

/// Announced by the first and by the second node; nobody is there (RFC 5737, TEST-NET-1).
const NAT_A: &str = "192.0.2.1:7000";
const NAT_B: &str = "192.0.2.1:7001";

/// Two nodes behind NAT.
async fn behind_nat() -> Pair {
    let pair = Pair::start().await;
    let mut topology = Topology::of(&[&pair.a, &pair.b]);
    for (node, port) in topology.nodes.iter_mut().zip([7000, 7001]) {
        (node.host, node.port) = ("192.0.2.1".to_owned(), port);
    }
    pair.a.set_topology(&topology);
    pair.b.set_topology(&topology);
    pair.a.set(pair.key_a(), "a");
    pair.b.set(pair.key_b(), "b");
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn the_map_leads_to_the_real_addresses() {
    let pair = behind_nat().await;
    let map = [(NAT_A, pair.a.address()), (NAT_B, pair.b.address())];
    // The seed may be given by its real address, or by the announced one.
    for seed in [pair.a.address(), NAT_B.to_owned()] {
        let router = ready_router(patient([seed]).address_map(map.clone())).await;
        for (key, value, node) in [(pair.key_a(), "a", NAT_A), (pair.key_b(), "b", NAT_B)] {
            let outcome = router.resolve(&key).fallback(never).await.expect("a read");
            assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some(value)));
            assert_eq!(outcome.node.map(|n| n.to_string()).as_deref(), Some(node), "named as the cluster names it");
            router.set(&key, value, None).await.expect("a set");
        }
        // Redirects name announced addresses, too.
        pair.a.next("GET", Behaviour::error(format!("ASK {SLOT_A} {NAT_B}")));
        pair.b.next("GET", Behaviour::value("asked"));
        assert_eq!(text(&router.resolve(pair.key_a()).fallback(never).await.expect("a read")), Some("asked"));
        router.close().await;
    }
}

/// What a server calls itself when it was told to name no address, or a host name that it has not got.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_names_no_address() {
    let cluster = start_cluster(1, 0).await;
    for kind in ["ip", "unknown-endpoint", "hostname"] {
        cluster.command(0, &["CONFIG", "SET", "cluster-preferred-endpoint-type", kind]).await.expect("a setting");
        let router = router(&cluster).await;
        router.set("k", kind, None).await.expect("a set");
        let outcome = router.resolve("k").fallback(never).await.expect("a read");
        assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some(kind)));
        let addresses: Vec<_> = router.health().nodes.into_iter().map(|n| n.address).collect();
        assert_eq!(addresses, cluster.addresses(), "{kind}");
        router.close().await;
    }
}

#[allow(clippy::print_stdout, reason = "what could not be tested is said")]
#[tokio::test(flavor = "multi_thread")]
async fn ipv6() {
    if let Err(error) = TcpListener::bind("[::1]:0") {
        let refused = patient(["[::1]:7000"]).build().expect("a good address");
        assert_eq!(read(&refused, "k").await.expect("the callback serves").served_by, ServedBy::Secondary);
        println!("this machine has no IPv6 loopback ({error}): only the way without a server was tested");
        return;
    }
    let plain = Standalone::start(&server(), &[("bind", "127.0.0.1 ::1")]).await.expect("a server");
    for seed in [format!("[::1]:{}", plain.node().port()), format!("redis://[::1]:{}", plain.node().port())] {
        let router = ready_router(patient([seed])).await;
        router.set("k", "v", None).await.expect("a set");
        let outcome = router.resolve("k").fallback(never).await.expect("a read");
        assert_eq!(outcome.node.map(|n| n.to_string()), Some(format!("[::1]:{}", plain.node().port())));
        router.close().await;
    }
}
