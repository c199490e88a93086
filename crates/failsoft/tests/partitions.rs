//! Real partitions: nodes and clients on hosts of their own, cut off from each other under load.
//!
//! All in the module `hosts`: where namespaces cannot be had these tests fail, unless they are left out by name. What
//! all languages have in common is in the conformance suite; here is what takes a look at the servers and at the router
//! at the same time. Outcomes and counts only: times are the benchmark's business.

mod load;

mod hosts {
    use super::load::{Load, assert_none_failed, key, prepare};
    use failsoft::{Builder, Error, Health, Router, ServedBy};
    use failsoft_testkit::{Cluster, Inside, Role, Server, slot_of};
    use std::time::{Duration, Instant};
    use tokio::sync::Mutex;

    /// One partition at a time: another one's load would be taken for a fault.
    static ALONE: Mutex<()> = Mutex::const_new(());
    const LONG: Duration = Duration::from_secs(30);
    /// All nodes but the first.
    const OTHERS: [usize; 5] = [1, 2, 3, 4, 5];
    /// The host of the client.
    const CLIENT: usize = 6;

    /// Three primaries and their replicas, a router on one more host, and all keys set.
    struct Scene {
        cluster: Cluster,
        router: Router,
        /// The threads of the router.
        _inside: Inside,
    }

    impl Scene {
        async fn new(settings: impl FnOnce(Builder) -> Builder) -> Scene {
            let server = Server::find(None).expect("a server");
            let builder = Cluster::builder().server(&server).node_timeout(Duration::from_secs(1)).hosts(1);
            let cluster = builder.start().await.expect("a cluster on hosts of its own");
            let inside = cluster.network().expect("hosts").inside(CLIENT).expect("threads on the client's host");
            let router = Router::builder(cluster.addresses()).standin_bytes(0).runtime(inside.handle());
            let router = settings(router).build().expect("a router");
            prepare(&router).await;
            Scene { cluster, router, _inside: inside }
        }

        fn cut(&self, these: &[usize], those: &[usize]) {
            self.cluster.network().expect("hosts").cut(these, those).expect("a cut");
        }

        fn heal(&self) {
            self.cluster.network().expect("hosts").heal().expect("an end of it");
        }

        async fn promoted(&self, node: usize) {
            self.cluster.wait_promoted(node, LONG).await.expect("a promotion");
        }

        fn address(&self, node: usize) -> String {
            self.cluster.node(node).address()
        }

        fn verdict(&self, health: &Health, node: usize) -> &'static str {
            health.node(&self.address(node)).map_or("not listed", |n| n.verdict)
        }

        async fn eventually(&self, what: &str, holds: impl Fn(&Health) -> bool) {
            let deadline = Instant::now() + LONG;
            while !holds(&self.router.health()) {
                assert!(Instant::now() < deadline, "{what}: {}", self.router.health().to_json());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }

        /// Whether a node holds a key, whatever it says of the cluster.
        async fn holds(&self, node: usize, key: &str) -> bool {
            self.count(node, "EXISTS", key).await > 0
        }

        async fn count(&self, node: usize, command: &str, key: &str) -> i64 {
            let answer = self.cluster.command(node, &[command, key]).await;
            let number = answer.map(|value| redis::from_redis_value(value).expect("a number"));
            number.expect("an answer")
        }

        async fn back_as_a_replica(&self, node: usize) {
            let address = self.address(node);
            let back = |h: &Health| {
                let node = h.node(&address);
                node.is_some_and(|n| n.role == "replica" && n.breaker == "closed" && n.verdict == "majority")
            };
            self.eventually("the old primary is back as a replica", back).await;
        }
    }

    fn millis(time: Duration) -> u64 {
        u64::try_from(time.as_millis()).expect("a short time")
    }

    fn of_shard(key: &str) -> bool {
        slot_of(key) < 5461
    }

    /// The window in which two nodes take writes for the same slots: ours go to the old one only as long as nothing
    /// is known of the new one.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_written_to_an_old_primary_once_a_higher_epoch_was_seen() {
        let _alone = ALONE.lock().await;
        let scene = Scene::new(|b| b.slot_refresh_interval(Duration::from_millis(300))).await;
        let (old, new) = (scene.address(0), scene.address(3));
        let load = Load::start(&scene.router, |_| true);
        load.until("served by the primary", |s| s.by(&old, ServedBy::Primary)).await;
        // It does not notice that it is alone.
        scene.cluster.command(0, &["CONFIG", "SET", "cluster-node-timeout", "60000"]).await.expect("a setting");
        scene.cut(&[0], &OTHERS);
        let epoch = |h: &Health| h.nodes.iter().filter_map(|n| n.current_epoch.max(Some(n.epoch))).max();
        let before = epoch(&scene.router.health());

        // A key of its own for each write, and what the router knew when it set out.
        let mut writes = Vec::new();
        let (mut number, mut after_the_vote) = (0, 0);
        while after_the_vote < 50 {
            number += 1;
            let name = format!("w{number}");
            if !of_shard(&name) {
                continue;
            }
            let health = scene.router.health();
            let (informed, voted) = (epoch(&health) > before, scene.verdict(&health, 0) == "minority");
            let written = scene.router.set(&name, "x", None).await;
            after_the_vote += usize::from(voted && written.is_ok());
            writes.push((name, informed, written.is_ok()));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(scene.cluster.role(0).await.expect("a role"), Role::Primary, "it still takes itself for one");
        let mut unaware = 0;
        for (name, informed, written) in &writes {
            let there = scene.holds(0, name).await;
            assert!(!(there && *informed), "{name} was written to the old primary by a router that knew better");
            unaware += usize::from(there && *written);
        }
        assert!(unaware > 0, "there was no window: the old primary took none of our writes");
        load.until("served by the promoted replica", |s| s.by(&new, ServedBy::Primary)).await;
        scene.heal();
        scene.back_as_a_replica(0).await;
        assert_none_failed(&load.finish().await);
        scene.router.close().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_client_in_the_minority_lives_on_its_store_and_returns() {
        let _alone = ALONE.lock().await;
        let scene = Scene::new(|b| b).await;
        let (old, new) = (scene.address(0), scene.address(3));
        let load = Load::start(&scene.router, |_| true);
        load.until("served by the primary", |s| s.by(&old, ServedBy::Primary)).await;
        scene.cut(&[0, 4, CLIENT], &[1, 2, 3, 5]);
        let cut_off = |h: &Health| [0, 4].iter().all(|&node| scene.verdict(h, node) == "minority");
        scene.eventually("both nodes that it reaches are in the minority", cut_off).await;
        let voted = Instant::now();
        let health = scene.router.health();
        assert!(health.down && health.ballots.iter().all(|b| !b.majority), "{}", health.to_json());
        load.until("served by the store", |s| of_shard(&s.key) && s.served_by() == Some(ServedBy::Secondary)).await;
        let own = (0..).map(key).find(|k| of_shard(k)).expect("a key of the shard");
        let refused = scene.router.set(&own, "x", None).await;
        assert!(matches!(refused, Err(Error::WriteRefused { .. })), "{refused:?}");
        scene.promoted(3).await;
        let healed = Instant::now();
        scene.heal();
        load.until("served by the promoted replica", |s| s.by(&new, ServedBy::Primary)).await;
        scene.eventually("a majority is in reach", |h| !h.down && !h.isolated).await;
        scene.back_as_a_replica(0).await;
        let seen = load.finish().await;
        assert_none_failed(&seen);
        let by_a_node = |s: &&super::load::Seen| s.result.as_ref().is_ok_and(|o| o.node.is_some());
        let quarantined = seen.iter().filter(|s| (voted..healed).contains(&s.began)).filter(by_a_node).count();
        assert_eq!(quarantined, 0, "reads by nodes in the minority");
        scene.router.close().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_was_away_while_the_epoch_rose_twice() {
        let _alone = ALONE.lock().await;
        let scene = Scene::new(|b| b).await;
        let (old, new, other) = (scene.address(0), scene.address(3), scene.address(4));
        let load = Load::start(&scene.router, |_| true);
        load.until("served by the primary", |s| s.by(&old, ServedBy::Primary)).await;
        // The client still reaches it, and it goes on answering whoever asks.
        scene.cluster.command(0, &["CONFIG", "SET", "cluster-node-timeout", "60000"]).await.expect("a setting");
        scene.cut(&[0], &[1, 2, 3, 4, 5, CLIENT]);
        scene.promoted(3).await;
        load.until("served by the promoted replica", |s| s.by(&new, ServedBy::Primary)).await;
        scene.cluster.failover(4).await.expect("a failover by hand");
        load.until("served by the second promoted replica", |s| s.by(&other, ServedBy::Primary)).await;
        // Only the client meets it again: it is two epochs behind, and says that all is well.
        scene.heal();
        scene.cut(&[0], &OTHERS);
        let met = Instant::now();
        let heard =
            |h: &Health| h.node(&old).is_some_and(|n| n.contact_ms.is_some_and(|ms| ms < millis(met.elapsed())));
        scene.eventually("it is heard", heard).await;
        for _ in 0..32 {
            load.until("served by the promoted replica", |s| s.by(&new, ServedBy::Primary)).await;
        }
        // Whatever is known of it by then: it gets no reads.
        let health = scene.router.health();
        let node = health.node(&old).expect("it is known");
        assert_ne!(node.breaker, "closed", "{node:?}");
        let healed = Instant::now();
        scene.heal();
        scene.back_as_a_replica(0).await;
        let seen = load.finish().await;
        assert_none_failed(&seen);
        let by_old = |s: &&super::load::Seen| s.by(&old, ServedBy::Primary) || s.by(&old, ServedBy::Replica);
        let believed = seen.iter().filter(|s| (met..healed).contains(&s.began)).filter(by_old).count();
        assert_eq!(believed, 0, "reads by the old primary, two epochs behind");
        scene.router.close().await;
    }

    /// Both ends believe in connections that one of them has lost: the end of the old process was never heard.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_was_restarted_unheard() {
        let _alone = ALONE.lock().await;
        let scene = Scene::new(|b| b).await;
        let (old, new) = (scene.address(0), scene.address(3));
        let load = Load::start(&scene.router, |_| true);
        load.until("served by the primary", |s| s.by(&old, ServedBy::Primary)).await;
        scene.cut(&[0], &[CLIENT]);
        load.until("served by the replica", |s| s.by(&new, ServedBy::Replica)).await;
        scene.cluster.kill(0).await.expect("a kill");
        scene.promoted(3).await;
        scene.cluster.restart(0).await.expect("a restart");
        scene.heal();
        load.until("served by the promoted replica", |s| s.by(&new, ServedBy::Primary)).await;
        scene.back_as_a_replica(0).await;
        assert_none_failed(&load.finish().await);
        scene.router.close().await;
    }

    /// In each direction, between the client and every node.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn three_packets_of_ten_are_lost() {
        let _alone = ALONE.lock().await;
        let scene = Scene::new(|b| b).await;
        let load = Load::start(&scene.router, |_| true);
        load.until("served by a primary", |s| s.served_by() == Some(ServedBy::Primary)).await;
        let network = scene.cluster.network().expect("hosts");
        network.lose(&[CLIENT], &[0, 1, 2, 3, 4, 5], 30).expect("a bad wire");
        let before = scene.router.health().counters;
        let total = |counts: &[failsoft::Count]| counts.iter().map(|c| c.count).sum::<u64>();
        scene.eventually("enough reads", |h| total(&h.counters.reads) > total(&before.reads) + 10_000).await;
        let after = scene.router.health().counters;
        let seen = load.finish().await;
        assert_none_failed(&seen);
        // What a node was asked: every attempt but those of the callback.
        let asked = |c: &failsoft::Counters| total(&c.attempts) - c.attempts_with(failsoft::Status::SecondaryFallback);
        let (reads, asked) = (total(&after.reads) - total(&before.reads), asked(&after) - asked(&before));
        assert!(asked < reads + reads / 5, "{asked} attempts for {reads} reads");
        scene.router.close().await;
    }
}
