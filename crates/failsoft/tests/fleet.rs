//! One load for a key in several processes (`lease_ttl`), on real servers: a herd, an owner that is killed, and servers that
//! give no leases.
#![allow(clippy::print_stdout, reason = "the other processes tell this one how far they are")]

mod support;

use failsoft::{Bytes, Router, slot_of};
use failsoft_policy::wire::{PROLONG_SCRIPT, RELEASE_SCRIPT, Script, lease_name};
use failsoft_testkit::{Cluster, key_in};
use std::process::Stdio;
use std::time::Duration;
use support::{Calls, LONG, begin_load, eventually, give, in_time, patient, ready_router, server, start_cluster};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// What a process of the fleet is told: nodes, user, milliseconds of `lease_ttl` or nothing, what it does.
const ROLE: &str = "FAILSOFT_TEST_FLEET";
/// The slot of single keys.
const SLOT: u16 = 6_000;
const PROCESSES: usize = 4;
const CALLERS: usize = 2_500;
const KEYS: usize = 100;

/// The other processes are this program once more: this test alone, with a role.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_of_the_fleet() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let [nodes, user, lease_ttl, work] = role.split('|').collect::<Vec<_>>()[..] else { panic!("{role}") };
    // Who waits for another process goes on by itself after half of this: not because the machine is busy.
    let mut builder = patient(nodes.split(',')).load_timeout(LONG * 4);
    if !user.is_empty() {
        builder = builder.username(user).password("right");
    }
    if let Ok(millis) = lease_ttl.parse() {
        builder = builder.lease_ttl(Duration::from_millis(millis));
    }
    let router = ready_router(builder).await;
    let calls = Calls::default();
    match work.split_once(' ') {
        Some(("hang", key)) => {
            let callback = |_: Bytes, _| async {
                println!("LOADS");
                std::future::pending::<support::Loaded>().await
            };
            router.get_with_fallback(key, callback).await.expect("it is killed before");
        }
        _ => {
            println!("READY");
            tokio::io::stdin().read_u8().await.expect("a word");
            let (all_wait, waited) = watch::channel(false);
            let done = Calls::default();
            let reads = (0..CALLERS).map(|n| {
                let (router, calls, done, waited) = (router.clone(), calls.clone(), done.clone(), waited.clone());
                tokio::spawn(async move {
                    let load = move |_, _| async move {
                        calls.add();
                        waited.clone().wait_for(|all| *all).await.expect("they come");
                        support::Loaded::Ok(Some(Bytes::from_static(b"loaded")))
                    };
                    let value = router.get_with_fallback(format!("app:{}", n % KEYS), load).await.expect("a read");
                    assert_eq!(value.as_deref(), Some(&b"loaded"[..]));
                    done.add();
                })
            });
            let reads: Vec<_> = reads.collect();
            // Who comes after the end of a load, and before its value is written back, would begin another one.
            eventually("all wait", async || router.health().waiters + done.count() == CALLERS).await;
            all_wait.send_replace(true);
            for read in reads {
                read.await.expect("no panic");
            }
            let counters = || router.health().counters;
            let skipped = || counters().fills_skipped.iter().map(|cause| cause.count).sum::<u64>();
            eventually("all is written back, or not", async || counters().fills + skipped() == calls.count() as u64)
                .await;
            println!("CALLS {} {}", calls.count(), skipped());
        }
    }
}

fn process(cluster: &Cluster, user: &str, lease_ttl: &str, work: &str) -> Child {
    let role = format!("{}|{user}|{lease_ttl}|{work}", cluster.addresses().join(","));
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["a_process_of_the_fleet", "--exact", "--nocapture"]).env(ROLE, role);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("a process")
}

/// What it says after this word.
async fn said(process: &mut Child, word: &str) -> String {
    let out = process.stdout.as_mut().expect("it is piped");
    let mut line = String::new();
    let mut lines = BufReader::with_capacity(1, out);
    loop {
        line.clear();
        let read = in_time(word, lines.read_line(&mut line)).await.expect("a line");
        assert!(read > 0, "it has ended without {word}");
        // The test's own name may stand before it.
        if let Some((_, rest)) = line.split_once(word) {
            return rest.trim().to_owned();
        }
    }
}

/// The processes begin together; how many callbacks run in each, and how many of their values were not written back.
async fn herd(cluster: &Cluster, user: &str, lease_ttl: &str) -> Vec<(usize, usize)> {
    let mut all: Vec<Child> = (0..PROCESSES).map(|_| process(cluster, user, lease_ttl, "herd")).collect();
    for process in &mut all {
        said(process, "READY").await;
    }
    for process in &mut all {
        process.stdin.as_mut().expect("it is piped").write_all(b"!").await.expect("it reads");
    }
    let mut calls = Vec::new();
    for process in &mut all {
        let said = said(process, "CALLS ").await;
        let (ran, skipped) = said.split_once(' ').expect("two numbers");
        calls.push((ran.parse().expect("a number"), skipped.parse().expect("a number")));
        assert!(in_time("its end", process.wait()).await.expect("it ends").success());
    }
    calls
}

async fn fleet_router(cluster: &Cluster) -> Router {
    ready_router(patient(cluster.addresses()).lease_ttl(Duration::from_secs(2))).await
}

async fn lease_of(cluster: &Cluster, key: &str) -> Option<String> {
    let slot = slot_of(key.as_bytes());
    let owner = cluster.owner_of(slot.number()).await.expect("an owner");
    match cluster.command(owner, &[&b"GET"[..], &lease_name(slot, key.as_bytes())]).await.expect("GET") {
        redis::Value::BulkString(token) => Some(String::from_utf8(token).expect("text")),
        redis::Value::Nil => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_herd_loads_each_key_once_in_all_processes_with_leases_and_once_in_each_without() {
    let cluster = start_cluster(3, 0).await;
    let with = herd(&cluster, "", "10000").await;
    // A value that could not be written back, as this machine was too busy perhaps, is loaded once more.
    let (ran, skipped) = with.iter().fold((0, 0), |sum, calls| (sum.0 + calls.0, sum.1 + calls.1));
    assert!((KEYS..=KEYS + skipped).contains(&ran), "{with:?}");
    for node in 0..3 {
        cluster.command(node, &["FLUSHALL"]).await.expect("a flush");
    }
    let without = herd(&cluster, "", "").await;
    assert!(without.iter().all(|(ran, _)| (1..=KEYS).contains(ran)), "{without:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_leases_are_impossible_each_process_loads_each_key_once() {
    let scriptless = "on >right ~* -@all +get +set +readonly +cluster|slots +exists +del";
    let builder = Cluster::builder().server(&server()).primaries(3).replicas(0).user("scriptless", scriptless);
    let cluster = builder.start().await.expect("a cluster");
    let calls = herd(&cluster, "scriptless", "10000").await;
    assert_eq!(calls.into_iter().map(|(ran, _)| ran).collect::<Vec<_>>(), [KEYS; PROCESSES]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_owner_of_a_lease_is_killed_another_process_takes_over_and_all_are_served() {
    let cluster = start_cluster(3, 0).await;
    let key = key_in(SLOT);
    let mut owner = process(&cluster, "", "2000", &format!("hang {key}"));
    said(&mut owner, "LOADS").await;
    let routers = [fleet_router(&cluster).await, fleet_router(&cluster).await];
    let calls = Calls::default();
    let reads: Vec<_> = (0..200)
        .map(|n| {
            let (router, key, load) = (routers[n % 2].clone(), key.clone(), calls.give("loaded"));
            tokio::spawn(async move { router.get_with_fallback(&key, load).await })
        })
        .collect();
    eventually("both wait", async || routers.iter().all(|router| router.health().waiters == 100)).await;
    assert_eq!(calls.count(), 0, "it loads");
    owner.kill().await.expect("a kill");
    for read in reads {
        let value = in_time("a read", read).await.expect("no panic").expect("a value");
        assert_eq!(value.as_deref(), Some(&b"loaded"[..]));
    }
    assert_eq!(calls.count(), 1);
    eventually("its lease is used up", async || lease_of(&cluster, &key).await.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_gets_what_the_owner_has_loaded_however_long_that_takes() {
    // With the rights that are documented, and no others.
    let script = if server().at_least(7, 0) { "+script|load" } else { "+script" };
    let rights = format!(
        "on >right &* ~* -@all +get +set +readonly +cluster|slots +evalsha {script} +exists +del +time +zcount +pexpire"
    );
    let builder = Cluster::builder().server(&server()).primaries(3).replicas(0).user("documented", &rights);
    let cluster = builder.start().await.expect("a cluster");
    for Script { text, sha } in [PROLONG_SCRIPT, RELEASE_SCRIPT] {
        let said = cluster.command(0, &["SCRIPT", "LOAD", text]).await.expect("a script");
        assert_eq!(said, redis::Value::BulkString(sha.into()));
    }
    let one_second = |load_timeout| {
        let builder = patient(cluster.addresses()).username("documented").password("right");
        ready_router(builder.lease_ttl(Duration::from_secs(1)).load_timeout(load_timeout))
    };
    let (ours, theirs) = (one_second(LONG).await, one_second(LONG * 4).await);
    let key = key_in(SLOT);
    let (load, open) = begin_load(&ours, &key).await;
    let token = lease_of(&cluster, &key).await.expect("a lease");
    assert!(token.len() == 17 && token.starts_with('2'), "{token}");
    let waits = tokio::spawn({
        let (router, key) = (theirs.clone(), key.clone());
        async move { router.resolve(&key).fallback(support::never).await.expect("a value") }
    });
    // It is prolonged: the same one stands after more than its time to live.
    let begun = tokio::time::Instant::now();
    eventually("it lasts", async || {
        assert_eq!(lease_of(&cluster, &key).await.as_ref(), Some(&token));
        begun.elapsed() > Duration::from_secs(2)
    })
    .await;
    open.send(()).expect("it waits");
    load.await.expect("no panic");
    let outcome = in_time("the read", waits).await.expect("no panic");
    assert_eq!(
        (support::text(&outcome), outcome.served_by.as_str(), outcome.coalesced),
        (Some("old"), "primary", true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_comes_to_nothing_lets_the_next_one_go_on_at_once() {
    let cluster = start_cluster(3, 0).await;
    let minute =
        || ready_router(patient(cluster.addresses()).lease_ttl(Duration::from_secs(60)).load_timeout(LONG * 4));
    let (ours, theirs) = (minute().await, minute().await);
    for what in ["absent", "failed", "cancelled"] {
        let key = format!("{{{}}}{what}", key_in(SLOT));
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (open, opened) = tokio::sync::oneshot::channel::<()>();
        let (router, of) = (ours.clone(), key.clone());
        let read = tokio::spawn(async move {
            let load = move |_, _| async move {
                begun.send(()).expect("somebody waits");
                opened.await.ok();
                if what == "failed" { Err("no store") } else { Ok(None::<Bytes>) }
            };
            router.get_with_fallback(&of, load).await.map(drop).map_err(drop)
        });
        has_begun.await.expect("it begins");
        let next = tokio::spawn({
            let (router, key) = (theirs.clone(), key.clone());
            async move { router.get_with_fallback(&key, give("loaded")).await.expect("a value") }
        });
        eventually("it waits", async || theirs.health().waiters == 1).await;
        match what {
            "cancelled" => read.abort(),
            _ => drop(open.send(())),
        }
        assert_eq!(in_time(what, next).await.expect("no panic").as_deref(), Some(&b"loaded"[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_frees_those_who_wait_and_stops_the_owners_fill() {
    let cluster = start_cluster(3, 0).await;
    let (ours, theirs, third) =
        (fleet_router(&cluster).await, fleet_router(&cluster).await, fleet_router(&cluster).await);
    let key = key_in(SLOT);
    let (load, open) = begin_load(&ours, &key).await;
    let waits = tokio::spawn({
        let (router, key) = (theirs.clone(), key.clone());
        async move { router.get_with_fallback(&key, give("new")).await.expect("a value") }
    });
    eventually("it waits", async || theirs.health().waiters == 1).await;
    third.invalidate([&key]).await.expect("an invalidation");
    assert_eq!(in_time("the read", waits).await.expect("no panic").as_deref(), Some(&b"new"[..]));
    open.send(()).expect("it waits");
    load.await.expect("no panic");
    eventually("it is not written", async || !ours.counters().fills_skipped.is_empty()).await;
    let value = third.get_with_fallback(&key, give("newest")).await.expect("a value");
    assert_eq!(value.as_deref(), Some(&b"new"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_for_many_keys_waits_while_others_load_all_of_them() {
    let cluster = start_cluster(3, 0).await;
    let (ours, theirs) = (fleet_router(&cluster).await, fleet_router(&cluster).await);
    let (one, open_one) = begin_load(&ours, "one").await;
    let (two, open_two) = begin_load(&ours, "two").await;
    let read = |keys: &'static [&'static str]| {
        let router = theirs.clone();
        tokio::spawn(async move {
            let load = |keys: Vec<Bytes>| async {
                Ok::<_, &str>(keys.into_iter().map(|key| (key, Bytes::from_static(b"new"))).collect())
            };
            router.get_many_with_fallback(keys, load).await.expect("values")
        })
    };
    let waits = read(&["one", "two"]);
    eventually("it waits", async || theirs.health().waiters == 1).await;
    let [old, new] = [&b"old"[..], b"new"].map(|value| Some(Bytes::from_static(value)));
    open_one.send(()).expect("it waits");
    one.await.expect("no panic");
    open_two.send(()).expect("it waits");
    two.await.expect("no panic");
    assert_eq!(in_time("a batch", waits).await.expect("no panic"), [old.clone(), old]);

    // With a key of its own it calls its callback, once for all.
    let (three, open_three) = begin_load(&ours, "three").await;
    assert_eq!(in_time("a batch", read(&["three", "four"])).await.expect("no panic"), [new.clone(), new]);
    open_three.send(()).expect("it waits");
    three.await.expect("no panic");
}
