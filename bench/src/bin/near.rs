//! What a near hit costs: nanoseconds for each read that the near cache serves, of one key and of many, from one thread and
//! two. And how long it goes on after another client, which is no router, has changed the key.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use failsoft::{Bytes, Reason, Router, ServedBy};
use failsoft_testkit::{Cluster, Server};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::time::{Duration, Instant};

const READS: u32 = 2_000_000;
const ROUNDS: usize = 5;
const CHANGES: usize = 1_000;

fn never(_: Bytes, _: Reason) -> Ready<Result<Option<Bytes>, Infallible>> {
    ready(Ok(None))
}

/// Reads a key until a near copy serves it.
async fn warm(router: &Router, key: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while router.resolve(key).await.expect("a read").served_by != ServedBy::Near {
        assert!(Instant::now() < until, "{key} is not served near");
    }
}

/// Nanoseconds for each of so many reads in turn.
async fn measure(router: &Router, keys: &[String]) -> f64 {
    let before = router.health().counters.reads_served_by("near");
    let began = Instant::now();
    for n in 0..READS as usize {
        let value = router.get_with_fallback(&keys[n % keys.len()], never).await.expect("a read");
        assert!(value.is_some(), "it was set");
    }
    let nanos = began.elapsed().as_nanos() as f64 / f64::from(READS);
    let near = router.health().counters.reads_served_by("near") - before;
    assert!(near > u64::from(READS) / 100 * 99, "{near} of {READS} were served near");
    nanos
}

fn report(what: &str, mut rounds: Vec<f64>) {
    rounds.sort_by(f64::total_cmp);
    let (median, least, most) = (rounds[rounds.len() / 2], rounds[0], rounds[rounds.len() - 1]);
    println!("{what:<28} {median:>7.1} ns ({least:.1} to {most:.1})");
}

/// For how long a key is served as it was before, after another client was told that its change is done: the median, 99 of
/// 100, and the longest, in microseconds.
async fn measure_changes(cluster: &Cluster, router: &Router, key: &str) -> [f64; 3] {
    let owner = cluster.owner_of(failsoft::slot_of(key.as_bytes()).number()).await.expect("an owner");
    let mut times = Vec::new();
    for n in 0..CHANGES {
        warm(router, key).await;
        let value = format!("changed:{n}");
        cluster.command(owner, &["SET", key, &value]).await.expect("a set");
        let told = Instant::now();
        while router.get_with_fallback(key, never).await.expect("a read").is_none_or(|read| read != value) {
            assert!(told.elapsed() < Duration::from_secs(10), "it is never seen");
        }
        times.push(told.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    [times[times.len() / 2], times[times.len() * 99 / 100], times[times.len() - 1]]
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let server = Server::find(None).expect("a server");
    let cluster = Cluster::builder().server(&server).primaries(3).replicas(0).start().await.expect("a cluster");
    let router = Router::builder(cluster.addresses()).near_cache_bytes(64 << 20).build().expect("settings");
    router.ready(Duration::from_secs(30)).await.expect("a view");
    let keys: Vec<String> = (0..1_000).map(|n| format!("key:{n}")).collect();
    for key in &keys {
        router.set(key, [b'x'; 100], None).await.expect("a set");
        warm(&router, key).await;
    }
    println!("near hits, values of 100 bytes, {READS} reads a round, median of {ROUNDS} (least to most)");
    for (what, keys) in [("one key", &keys[..1]), ("1,000 keys", &keys[..])] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            for key in keys {
                warm(&router, key).await;
            }
            rounds.push(measure(&router, keys).await);
        }
        report(what, rounds);
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        for key in &keys {
            warm(&router, key).await;
        }
        let both: Vec<_> = (0..2)
            .map(|_| {
                let (router, keys) = (router.clone(), keys.clone());
                tokio::spawn(async move { measure(&router, &keys).await })
            })
            .collect();
        for one in both {
            rounds.push(one.await.expect("no panic"));
        }
    }
    report("1,000 keys, two at a time", rounds);
    let [median, most, longest] = measure_changes(&cluster, &router, &keys[0]).await;
    println!(
        "{CHANGES} changes by another client: the old value for {median:.0} us (median), {most:.0} (99 of 100), \
         {longest:.0} (longest)"
    );
}
