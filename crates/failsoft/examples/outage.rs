//! One outage, read by read: a primary is killed, a key of it is invalidated meanwhile by another router, the store
//! becomes slow, and the replica is promoted. Prints who served three keys, why, and how old that was: the story in
//! docs/freshness.md.
//!
//! `cargo run -p failsoft --example outage` takes a minute and a half. It starts a cluster of its own, with the server that
//! FAILSOFT_SERVER names, or the one that is found.

use failsoft::{Bytes, Error, Reason, Router};
use failsoft_testkit::{Cluster, Server, slot_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type Problem = Box<dyn std::error::Error + Send + Sync>;

const NODE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often each key is read.
const PAUSE: Duration = Duration::from_millis(20);
/// What is done, counted from the start of the watch; before that the keys are read for a while.
const WARM: Duration = Duration::from_secs(5);
const KILLED: Duration = Duration::from_secs(1);
const INVALIDATED: Duration = Duration::from_secs(3);
const SLOW: Duration = Duration::from_secs(4);
const END: Duration = Duration::from_secs(72);

#[derive(Clone)]
struct Store {
    slow: Arc<AtomicBool>,
}

impl Store {
    async fn load(self) -> Result<Option<Bytes>, std::io::Error> {
        let takes =
            if self.slow.load(Ordering::Relaxed) { Duration::from_millis(700) } else { Duration::from_millis(5) };
        tokio::time::sleep(takes).await;
        Ok(Some(Bytes::from_static(b"from the store")))
    }
}

#[tokio::main]
async fn main() -> Result<(), Problem> {
    let cluster = Cluster::builder().server(&Server::find(None)?).primaries(3).replicas(1).node_timeout(NODE_TIMEOUT);
    let cluster = cluster.start().await?;
    let router = Router::builder(cluster.addresses()).soft_load_timeout(Duration::from_millis(200)).build()?;
    let other = Router::builder(cluster.addresses()).build()?;
    router.ready(Duration::from_secs(10)).await?;
    other.ready(Duration::from_secs(10)).await?;
    // Three keys of the first primary.
    let mut keys = (0..).map(|n| format!("page:{n}")).filter(|key| slot_of(key) < 5461);
    let [read, changed, new] = std::array::from_fn(|_| keys.next().unwrap_or_default());
    for key in [&read, &changed, &new] {
        router.set(key, b"from the cluster", None).await?;
    }
    let start = Instant::now() + WARM;
    let store = Store { slow: Arc::default() };
    let watch = |key: &str, from| tokio::spawn(watch(router.clone(), key.to_owned(), store.clone(), (start, from)));
    let readers = [
        ("read all the time", watch(&read, Duration::ZERO)),
        ("the same, and invalidated", watch(&changed, Duration::ZERO)),
        ("read from the outage on", watch(&new, WARM + KILLED + Duration::from_millis(500))),
    ];
    let at = |after: Duration| tokio::time::sleep_until((start + after).into());
    at(KILLED).await;
    cluster.kill(0).await?;
    say(start, "the primary is killed");
    at(INVALIDATED).await;
    let told = tokio::spawn(async move {
        let result = other.invalidate([changed]).await;
        say(
            start,
            &format!("invalidate by another router ended: {}", result.err().map_or("ok".into(), |e| e.to_string())),
        );
        other
    });
    at(SLOW).await;
    store.slow.store(true, Ordering::Relaxed);
    say(start, "the store takes 700 ms from now on");
    cluster.wait_promoted(cluster.replica_of(0, 0), Duration::from_secs(30)).await?;
    say(start, "the replica is promoted");
    at(END).await;
    for (what, reader) in readers {
        print(&format!("\n{what}:"));
        reader.await??.iter().for_each(Run::show);
    }
    told.await?.close().await;
    router.close().await;
    Ok(())
}

/// Reads that were served the same way, one after the other.
struct Run {
    from: f64,
    to: f64,
    how: String,
    reads: u32,
    ages: (Duration, Duration),
}

impl Run {
    fn show(&self) {
        let Self { from, to, how, reads, ages: (least, most) } = self;
        print(&format!("{from:7.2} s to {to:5.2} s  {how:34} {reads:4} reads, age {least:.0?} to {most:.0?}"));
    }
}

/// Reads a key again and again, and tells how it was served.
async fn watch(
    router: Router,
    key: String,
    store: Store,
    (start, from): (Instant, Duration),
) -> Result<Vec<Run>, Error> {
    tokio::time::sleep(from).await;
    let mut runs: Vec<Run> = Vec::new();
    while start.elapsed() < END {
        let load = store.clone();
        let outcome = router.resolve(&key).fallback(move |_: Bytes, _: Reason| load.load()).await?;
        let (how, age) = (
            format!("{} {}", outcome.served_by, outcome.reason.map_or("", Reason::as_str)),
            outcome.age.unwrap_or_default(),
        );
        let at = start.elapsed().as_secs_f64();
        match runs.last_mut().filter(|run| run.how == how) {
            Some(run) => {
                (run.to, run.reads) = (at, run.reads + 1);
                run.ages = (run.ages.0.min(age), run.ages.1.max(age));
            }
            None => runs.push(Run { from: at, to: at, how, reads: 1, ages: (age, age) }),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(runs)
}

fn say(start: Instant, what: &str) {
    print(&format!("{:7.2} s  {what}", start.elapsed().as_secs_f64()));
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn print(line: &str) {
    println!("{line}");
}
