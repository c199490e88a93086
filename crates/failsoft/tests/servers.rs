//! Less than everything is enough: each command that a server may refuse, what is lost without it, and nothing else;
//! and the managed services, as scripted nodes. `docs/servers.md` is written from these.

mod support;

use failsoft::{Router, ServedBy};
use failsoft_testkit::{Behaviour, Profile, ScriptedNode, Topology};
use std::time::Duration;
use support::{SLOT_A, SLOT_B, eventually, patient, read, ready_router, scripted, text};

/// Two primaries, each with a replica.
struct Four {
    nodes: [ScriptedNode; 4],
    keys: [String; 2],
}

impl Four {
    async fn start() -> Four {
        let nodes = [scripted().await, scripted().await, scripted().await, scripted().await];
        let keys = [SLOT_A, SLOT_B].map(failsoft_testkit::key_in);
        let four = Four { nodes, keys };
        four.tell(|topology| topology);
        for (node, key) in four.nodes.iter().zip(&four.keys) {
            node.set(key, "stored");
        }
        four
    }

    /// What they say of the cluster.
    fn tell(&self, change: impl Fn(Topology) -> Topology) {
        let [a, b, ra, rb] = &self.nodes;
        let topology = change(Topology::of(&[a, b]).replica(ra, a).replica(rb, b));
        self.nodes.iter().for_each(|node| node.set_topology(&topology));
    }

    fn refuse(&self, commands: &[&str], line: &str) {
        for node in &self.nodes {
            for command in commands {
                node.on(command, Behaviour::error(line));
            }
        }
    }

    async fn router(&self) -> Router {
        let seeds = self.nodes[..2].iter().map(ScriptedNode::address);
        let router = patient(seeds).slot_refresh_interval(Duration::from_secs(1)).build().expect("good settings");
        router.ready(support::LONG).await.expect("a view of the cluster");
        router
    }

    /// All reads come from primaries, and writes arrive.
    async fn is_served(&self, what: &str, router: &Router) {
        for _ in 0..10 {
            for key in &self.keys {
                let outcome = read(router, key).await.expect("a read");
                assert_eq!((outcome.served_by, text(&outcome)), (ServedBy::Primary, Some("stored")), "{what}");
            }
        }
        for (node, key) in self.nodes.iter().zip(&self.keys) {
            router.set(key, "written", None).await.unwrap_or_else(|e| panic!("{what}: a set: {e}"));
            assert_eq!(node.get(key).as_deref(), Some(&b"written"[..]), "{what}");
            node.set(key, "stored");
        }
        let health = router.health();
        assert!(health.refusals.is_empty(), "{what}: {:?}", health.refusals);
        assert!(health.nodes.iter().all(|n| n.trouble.is_none()), "{what}: {}", health.to_json());
    }

    /// `health()` names this, and nothing else, for each primary.
    async fn is_named(&self, what: &str, router: &Router, denied: &[&str]) {
        let named = async || {
            let health = router.health();
            let primaries: Vec<_> = health.nodes.iter().filter(|n| n.role == "primary").collect();
            primaries.len() == 2 && primaries.iter().all(|n| n.denied == denied)
        };
        eventually(&format!("{what}: {denied:?}"), named).await;
    }
}

/// In whatever words.
const WORDS: &[&str] = &[
    "ERR unknown command 'X', with args beginning with: ",
    "ERR unknown subcommand 'X'. Try CLUSTER HELP.",
    "NOPERM User app has no permissions to run the 'x' command",
    "ERR command is not allowed",
    "unsupported command 'x'",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_command_may_be_missing() {
    // Refused, named, and what is missing then in the account of a primary.
    let rows: &[(&[&str], &[&str])] = &[
        (&["CLUSTER SHARDS"], &[]),
        (&["CLUSTER SLOTS"], &[]),
        (&["CLUSTER SHARDS", "CLUSTER SLOTS"], &["CLUSTER SLOTS"]),
        (&["CLUSTER MYID"], &["CLUSTER MYID"]),
        (&["CLUSTER INFO"], &["CLUSTER INFO"]),
        (&["INFO"], &["INFO"]),
        (&["CLUSTER NODES"], &["CLUSTER NODES"]),
        (&["HELLO"], &["HELLO"]),
        (&["ROLE"], &[]),
        (&["READONLY"], &[]),
        (
            &["CLUSTER MYID", "CLUSTER SHARDS", "CLUSTER NODES", "CLUSTER INFO", "INFO", "ROLE"],
            &["INFO", "CLUSTER INFO", "CLUSTER MYID", "CLUSTER NODES"],
        ),
        (
            &["CLUSTER MYID", "CLUSTER SLOTS", "CLUSTER NODES", "CLUSTER INFO", "INFO", "ROLE"],
            &["INFO", "CLUSTER INFO", "CLUSTER MYID", "CLUSTER NODES"],
        ),
        (
            &["CLUSTER MYID", "CLUSTER SHARDS", "CLUSTER SLOTS", "CLUSTER INFO", "INFO", "ROLE", "HELLO"],
            &["INFO", "CLUSTER INFO", "CLUSTER MYID", "CLUSTER SLOTS", "HELLO"],
        ),
    ];
    for (row, (refused, denied)) in rows.iter().enumerate() {
        let four = Four::start().await;
        let line = WORDS[row % WORDS.len()];
        let what = format!("{refused:?} refused with {line:?}");
        four.refuse(refused, line);
        let router = four.router().await;
        // A write waits for proof for a moment, not longer.
        eventually(&what, async || router.health().nodes.iter().filter(|n| n.validated).count() == 2).await;
        four.is_served(&what, &router).await;
        four.is_named(&what, &router, denied).await;
        // Each command is needed for what it alone tells.
        let primary = router.health().node(&four.nodes[0].address()).expect("known").clone();
        assert_eq!(primary.evicted.is_none(), denied.contains(&"INFO"), "{what}");
        assert_eq!(primary.current_epoch.is_none(), denied.contains(&"CLUSTER INFO"), "{what}");
        router.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_words_are_the_same_word() {
    for line in WORDS {
        let four = Four::start().await;
        four.refuse(&["CLUSTER SHARDS", "CLUSTER MYID", "INFO"], line);
        let router = four.router().await;
        eventually(line, async || router.health().nodes.iter().filter(|n| n.validated).count() == 2).await;
        four.is_served(line, &router).await;
        router.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn managed_services() {
    for &profile in Profile::ALL {
        let what = format!("{profile:?}");
        let four = Four::start().await;
        if profile == Profile::Dragonfly {
            four.tell(|mut topology| {
                topology.nodes.iter_mut().for_each(|node| node.epoch = 0);
                topology
            });
        }
        four.nodes.iter().for_each(|node| node.imitate(profile));
        let router = four.router().await;
        eventually(&what, async || router.health().nodes.iter().filter(|n| n.validated).count() == 2).await;
        four.is_served(&what, &router).await;
        let denied: &[&str] = match profile {
            Profile::AzureManagedRedis | Profile::RedisEnterprise => &["CLUSTER MYID"],
            _ => &[],
        };
        four.is_named(&what, &router, denied).await;

        // A primary that lost its connections is read from again, by what this service allows to be asked.
        four.nodes[0].refuse_connections(true).await.expect("closes");
        eventually(&what, async || read(&router, &four.keys[0]).await.expect("a read").served_by != ServedBy::Primary)
            .await;
        four.nodes[0].refuse_connections(false).await.expect("listens");
        eventually(&what, async || read(&router, &four.keys[0]).await.expect("a read").served_by == ServedBy::Primary)
            .await;
        router.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_no_cluster_mode_says_so_in_its_own_words() {
    for (line, hello) in [
        ("ERR Cluster is disabled. Enabled via passing --cluster_mode=emulated|yes.", false),
        ("ERR command is not allowed", false),
        ("NOPERM this user has no permissions to run the 'cluster' command", true),
    ] {
        let node = scripted().await;
        node.standalone();
        node.set("k", "stored");
        node.on("CLUSTER", Behaviour::error(line));
        if hello {
            // All that is left to know it by is what it says in HELLO.
            node.on("INFO", Behaviour::error(line));
        }
        let router = ready_router(patient([node.address()])).await;
        assert_eq!(router.health().kind, "standalone", "{line}");
        assert_eq!(read(&router, "k").await.expect("a read").served_by, ServedBy::Primary, "{line}");
        eventually(line, async || router.set("k", "written", None).await.is_ok()).await;
        router.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_ready_is_asked_everything_again() {
    let four = Four::start().await;
    four.refuse(&["CLUSTER"], "ERR Cluster is not yet configured");
    let seeds = four.nodes[..2].iter().map(ScriptedNode::address);
    let router = patient(seeds).build().expect("good settings");
    eventually("the refusal is told", async || {
        router.health().refusals.values().any(|why| why.contains("not yet configured"))
    })
    .await;
    four.nodes.iter().for_each(ScriptedNode::clear_rules);
    router.ready(support::LONG).await.expect("a view of the cluster");
    eventually("served", async || read(&router, &four.keys[0]).await.expect("a read").served_by == ServedBy::Primary)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_asked_again_each_time_but_is_again_later() {
    let four = Four::start().await;
    four.refuse(&["CLUSTER SHARDS", "INFO"], "NOPERM no");
    let router = four.router().await;
    // Asked once, and again after four intervals.
    let asked = |command: &str| four.nodes.iter().map(|n| n.count(command)).max().unwrap_or_default();
    eventually("some rounds", async || router.health().refreshes >= 4).await;
    assert!(asked("CLUSTER SHARDS") <= 2, "{}", asked("CLUSTER SHARDS"));
    assert!(asked("INFO") <= 2, "{}", asked("INFO"));
    four.is_named("denied", &router, &["INFO"]).await;
    four.nodes.iter().for_each(ScriptedNode::clear_rules);
    four.is_named("the rights were given", &router, &[]).await;
    router.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_map_reads_are_served_by_the_callback_and_health_has_the_words() {
    let four = Four::start().await;
    four.refuse(&["CLUSTER"], "ERR command is not allowed");
    let seeds = four.nodes[..2].iter().map(ScriptedNode::address);
    let router = patient(seeds).build().expect("good settings");
    eventually("told", async || router.health().refusals.values().any(|w| w.contains("is not allowed"))).await;
    assert_eq!(read(&router, &four.keys[0]).await.expect("a read").served_by, ServedBy::Secondary);
    assert_eq!(router.health().kind, "unknown", "INFO says that it is a cluster, so it is not taken for one shard");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_stand_in_where_readonly_is_allowed() {
    for (refused, by) in [(false, ServedBy::Replica), (true, ServedBy::Secondary)] {
        let four = Four::start().await;
        if refused {
            four.refuse(&["READONLY"], "ERR command is not allowed");
        }
        four.nodes[2].set(&four.keys[0], "stored");
        let router = four.router().await;
        eventually("known", async || router.health().nodes.iter().all(|n| n.offset.is_some())).await;
        four.nodes[0].refuse_connections(true).await.expect("closes");
        eventually(&format!("READONLY refused: {refused}"), async || {
            read(&router, &four.keys[0]).await.expect("a read").served_by == by
        })
        .await;
        router.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_info_is_refused_role_tells_offsets_and_without_it_nobody_does() {
    for (refused, offsets) in [(&["INFO"][..], true), (&["INFO", "ROLE"], false), (&["INFO", "ROLE", "HELLO"], false)] {
        let four = Four::start().await;
        four.refuse(refused, "NOPERM no");
        let router = four.router().await;
        let told = async || {
            let nodes = router.health().nodes;
            nodes.len() == 4 && nodes.iter().all(|n| n.denied.contains(&"INFO") && n.offset.is_some() == offsets)
        };
        eventually(&format!("{refused:?}"), told).await;
        four.is_served(&format!("{refused:?}"), &router).await;
        router.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_being_moved_needs_asking() {
    for (refused, by) in [(false, ServedBy::Primary), (true, ServedBy::Secondary)] {
        let four = Four::start().await;
        if refused {
            four.refuse(&["ASKING"], "ERR command is not allowed");
        }
        let [a, b, ..] = &four.nodes;
        b.set(&four.keys[0], "moved");
        a.on_key("GET", &four.keys[0], Behaviour::error(format!("ASK {SLOT_A} {}", b.address())));
        let router = four.router().await;
        let outcome = read(&router, &four.keys[0]).await.expect("a read");
        assert_eq!(outcome.served_by, by, "ASKING refused: {refused}");
        router.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_ping_is_an_answer() {
    let four = Four::start().await;
    // Where it is listened to it is never silent for so long.
    four.refuse(&["PING", "CLIENT TRACKING"], "NOPERM no");
    let router = patient([four.nodes[0].address()]).build().expect("good settings");
    router.ready(support::LONG).await.expect("a view of the cluster");
    eventually("a set", async || router.set(&four.keys[0], "first", None).await.is_ok()).await;
    let silent = async || {
        let health = router.health();
        health.node(&four.nodes[0].address()).is_some_and(|n| n.contact_ms.is_some_and(|ms| ms > 1100))
    };
    eventually("silent for more than a second", silent).await;
    router.set(&four.keys[0], "second", None).await.expect("a set");
    assert_eq!(four.nodes[0].get(&four.keys[0]).as_deref(), Some(&b"second"[..]));
    assert!(four.nodes[0].count("PING") > 0, "it was asked");
}
