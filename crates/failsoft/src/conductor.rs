//! The background: takes questions from the policy, sends them to nodes, and hands the answers back to it.

use crate::connection::Attempt;
use crate::endings::Ending;
use crate::events::Watch;
use crate::listening;
use crate::member::Member;
use crate::panics;
use crate::shared::Shared;
use failsoft_policy::cluster::{Cluster, Command};
use failsoft_policy::view::Probe;
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// How often successes are paid into the retry budget, contacts are noted, and lanes are checked.
const TICK: Duration = Duration::from_secs(1);

/// Runs until the router closes. Nothing in it stops silently: a panic is counted and shown, and the work goes on.
pub(crate) async fn conduct(shared: Arc<Shared>) {
    // What has been told stays told.
    let watch = Mutex::new(Watch::new(&shared));
    let panicked = || {
        shared.stalled.store(true, Ordering::Relaxed);
        shared.tally.panicked();
    };
    panics::supervised(|| rounds(&shared, &watch), panicked).await;
}

async fn rounds(shared: &Arc<Shared>, watch: &Mutex<Option<Watch>>) {
    let mut credited = shared.tally.successes();
    let mut tick = shared.now();
    loop {
        let successes = shared.tally.successes();
        let gained = successes - credited;
        credited = successes;
        // This looks at every connection, which is too much for each time something happens.
        let mut contacts = Vec::new();
        if shared.now() >= tick {
            tick = shared.now() + TICK;
            let table = shared.table.load();
            contacts.extend(table.members().filter_map(|m| Some((m.key, m.contact()?, m.used()))));
            for member in table.members().filter(|m| m.is_unchecked()) {
                shared.spawn(check(Arc::clone(shared), Arc::clone(member)));
            }
        }
        let ((commands, listening), next) = shared.conduct(|cluster, now| {
            cluster.handle_successes(gained);
            for Ending { node, blame } in shared.opener.endings.take() {
                cluster.handle_failure(node, blame.reason, blame.since.unwrap_or(now), blame.contact, now);
            }
            for (node, at, used) in contacts {
                cluster.handle_contact(node, at);
                if let Some(at) = used {
                    cluster.handle_use(node, at, now);
                }
            }
            let (mut commands, mut listening) = (Vec::new(), Vec::new());
            let polled = catch_unwind(AssertUnwindSafe(|| {
                while let Some(command) = poll(shared, cluster, now) {
                    commands.push(command);
                }
                while let Some(command) = cluster.listen(now, fastrand::u32(..)) {
                    listening.push(command);
                }
            }));
            let next =
                polled.map(|()| cluster.next_timeout().into_iter().chain(cluster.next_listening_timeout()).min());
            ((commands, listening), next)
        });
        // The policy takes them for sent, even if it panicked at the next one.
        for command in commands {
            carry_out(shared, command);
        }
        for command in listening {
            listening::carry_out(shared, command);
        }
        let next = next.unwrap_or_else(|panic| resume_unwind(panic));
        shared.stalled.store(false, Ordering::Relaxed);
        let look = watch.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|watch| watch.look(shared));
        let until = next.into_iter().chain(look).fold(tick, std::cmp::min);
        tokio::select! {
            () = shared.opener.endings.wake.notified() => {}
            () = tokio::time::sleep_until(shared.opener.clock.std(until)) => {}
        }
    }
}

fn poll(shared: &Shared, cluster: &mut Cluster, now: Instant) -> Option<Command> {
    let command = cluster.poll(now, fastrand::u32(..));
    #[cfg(test)]
    assert!(command.is_some() || !shared.defect.load(Ordering::Relaxed), "a defect");
    #[cfg(not(test))]
    let _ = shared;
    command
}

fn carry_out(shared: &Arc<Shared>, command: Command) {
    match command {
        Command::Close { node } => {
            if let Some(member) = shared.table.load().member(node) {
                member.fail_over();
            }
        }
        Command::Refresh { round, targets, epochs } => {
            shared.spawn(refresh(Arc::clone(shared), round, targets, epochs));
        }
        Command::Probe { node, endpoint, witness } => {
            shared.spawn(probe(Arc::clone(shared), node, endpoint, witness));
        }
    }
}

async fn probe(shared: Arc<Shared>, node: NodeKey, endpoint: Endpoint, witness: Option<Endpoint>) {
    let asked = panics::caught(shared.control.probe(node, &endpoint, witness.as_ref())).await;
    let probe = asked.unwrap_or_else(|_| {
        shared.tally.panicked();
        // Our own defect says nothing of a node that has ever answered: to whatever was sent first of all.
        Probe { node, sent_at: Instant::ZERO, report: Err(Reason::Connection), witness: None }
    });
    let contact = shared.table.load().member(node).and_then(|m| m.contact());
    shared.tell_cluster(|cluster, now| {
        if let Some(at) = contact {
            cluster.handle_contact(node, at);
        }
        cluster.handle_probe(probe, now);
    });
}

/// A node that a redirect named was asked before its id was known: is it the one that has it?
async fn check(shared: Arc<Shared>, member: Arc<Member>) {
    let attempt = Attempt::until(shared.now() + shared.config().attempt_timeout());
    if member.check(attempt).await {
        shared.tell_cluster(|cluster, now| cluster.handle_stranger(member.key, now));
    }
}

/// Asks all targets at once; each view counts as soon as it is there.
async fn refresh(shared: Arc<Shared>, round: u64, targets: Vec<Endpoint>, epochs: bool) {
    let mut asked = JoinSet::new();
    for target in targets {
        let shared = Arc::clone(&shared);
        asked.spawn(async move {
            match shared.control.view(&target, epochs).await {
                Ok(view) => shared.tell_cluster(|cluster, now| cluster.handle_view(round, view, now)),
                Err(trouble) => {
                    let error = trouble.error_reply();
                    shared.with_cluster(|cluster, _| cluster.handle_no_view(error.as_ref()));
                }
            }
        });
    }
    while let Some(ended) = asked.join_next().await {
        // The nodes that were asked then count as silent.
        if ended.is_err_and(|e| e.is_panic()) {
            shared.tally.panicked();
        }
    }
    let known = shared.tell_cluster(|cluster, now| {
        cluster.handle_refresh_done(round, now);
        cluster.endpoints().map(|(_, e)| e.clone()).collect::<Vec<_>>()
    });
    shared.control.keep_only(&known);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::opener::Opener;
    use crate::{EventKind, Router, ServedBy, writes};
    use bytes::Bytes;
    use failsoft_policy::config::Config;
    use failsoft_testkit::ScriptedNode;
    use std::convert::Infallible;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;
    use tokio::runtime::Handle;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_in_a_probe_or_a_refresh_stops_neither() {
        let node = ScriptedNode::start().await.expect("a node");
        node.set("k", "v");
        let told = Arc::new(AtomicU64::new(0));
        let panicked = Arc::clone(&told);
        let builder = Router::builder([node.address()]).slot_refresh_interval(Duration::from_secs(1));
        let builder = builder.observer(move |event| {
            if event.kind == EventKind::Panicked {
                panicked.fetch_add(event.count, Relaxed);
            }
        });
        let router = builder.build().expect("good settings");
        router.ready(Duration::from_secs(20)).await.expect("a view");
        let read = async || {
            let outcome = router.resolve("k").fallback(async |_, _| Ok::<_, Infallible>(Some(Bytes::new()))).await;
            outcome.expect("a read").served_by
        };
        assert_eq!(read().await, ServedBy::Primary);
        router.shared().control.defects.store(4, Relaxed);
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        let (mut panicked, mut refreshed) = (false, None);
        while !(panicked
            && told.load(Relaxed) == 4
            && refreshed.is_some_and(|before| router.health().refreshes > before + 1))
        {
            assert!(tokio::time::Instant::now() < end, "it stopped: {}", router.health().to_json());
            assert_eq!(read().await, ServedBy::Primary, "our own defect is not the node's");
            if !panicked && router.counters().panics == 4 {
                (panicked, refreshed) = (true, Some(router.health().refreshes));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let probed = node.count("INFO");
        node.wait_for("INFO", probed + 1).await.expect("probes go on");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_conductor_that_panics_every_time_still_asks_for_views_and_says_so() {
        let node = ScriptedNode::start().await.expect("a node");
        node.set("k", "v");
        let builder = Router::builder([node.address()]).slot_refresh_interval(Duration::from_secs(1));
        let router = builder.build().expect("good settings");
        router.ready(Duration::from_secs(20)).await.expect("a view");
        assert!(!router.health().stalled);
        router.shared().defect.store(true, Relaxed);
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        let mut refreshed = None;
        while refreshed.is_none_or(|before| router.health().refreshes <= before + 1) {
            assert!(tokio::time::Instant::now() < end, "it stopped: {}", router.health().to_json());
            if refreshed.is_none() && router.health().stalled && router.counters().panics > 1 {
                refreshed = Some(router.health().refreshes);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let outcome = router.resolve("k").await.expect("a read");
        assert_eq!(outcome.served_by, ServedBy::Primary);
        router.shared().defect.store(false, Relaxed);
        while router.health().stalled {
            assert!(tokio::time::Instant::now() < end, "it does not recover");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_set_that_waits_for_proof_of_its_node_waits_for_no_tick() {
        let node = ScriptedNode::start().await.expect("a node");
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: node.port() };
        let (clock, runtime, endings) = (Clock::new(), Handle::current(), Arc::default());
        let mut config = Config::default();
        // Longer than a busy machine takes.
        for (key, text) in
            [("attempt_timeout_ms", "5000"), ("deadline_ms", "20000"), ("slot_refresh_interval_ms", "3600000")]
        {
            config.set_text(key, text).expect("in range");
        }
        let opener = Opener { config, tls: None, clock, runtime, endings, observer: None };
        let shared = Arc::new(Shared::new(opener, vec![endpoint]));
        // A conductor that has neither tick nor timers: it runs only when it is woken. Its first probe fails although the
        // node has answered meanwhile, so that nothing is wrong with it, and nothing is due for long; but it has no proof.
        let conductor = {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let mut failed = false;
                loop {
                    let commands =
                        shared.conduct(|cluster, now| std::iter::from_fn(|| cluster.poll(now, 0)).collect::<Vec<_>>());
                    for command in commands {
                        match command {
                            Command::Probe { node, .. } if !failed => {
                                failed = true;
                                let report = Err(Reason::Connection);
                                let probe = Probe { node, sent_at: Instant::ZERO, report, witness: None };
                                shared.with_cluster(|cluster, now| {
                                    cluster.handle_contact(node, now);
                                    cluster.handle_probe(probe, now);
                                });
                            }
                            command => carry_out(&shared, command),
                        }
                    }
                    shared.opener.endings.wake.notified().await;
                }
            })
        };
        while !shared.with_cluster(|cluster, _| cluster.is_known()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        writes::set(&shared, b"k", b"v", None).await.expect("it is written");
        assert_eq!(node.count("PUT"), 1);
        conductor.abort();
        drop(shared.shut_down());
    }
}
