//! `failovers`: many real failovers under load. None is a partition, and none may be taken for one.

use crate::outages::load::{Load, READERS, Seen};
use crate::outages::watch;
use crate::{Problem, dataset, note, table::table};
use clap::Args;
use failsoft::{Router, ServedBy};
use failsoft_testkit::{Cluster, Server};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const PRIMARIES: usize = 3;
/// How long a router may take to know the cluster.
const READY: Duration = Duration::from_secs(10);
/// Load before the fault.
const WARM_UP: Duration = Duration::from_millis(200);
/// How long the promoted node may take to serve as a primary.
const SERVES: Duration = Duration::from_secs(10);
/// Between two looks at `health()`: a verdict stands for longer.
const LOOK: Duration = Duration::from_millis(2);

/// Settings of the `failovers` benchmark.
#[derive(Args)]
pub(crate) struct Options {
    /// The server: a version such as redis-7.0, `path`, or a path [default: FAILSOFT_SERVER, or what is there]
    #[arg(long)]
    server: Option<String>,
    /// How many failovers
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
    /// cluster-node-timeout, in milliseconds
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(100..=60_000))]
    node_timeout: u32,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// One failover. Times are in milliseconds.
#[derive(Serialize)]
struct Round {
    /// `kill` (SIGKILL, started again after the promotion) or `hang` (SIGSTOP until then).
    fault: &'static str,
    reads: usize,
    failed: usize,
    served_by: BTreeMap<&'static str, u64>,
    worst_read: f64,
    /// From the fault until the replica said that it is a primary.
    promoted_after: f64,
    /// From that until the first read that it served as a primary began.
    serves_after: f64,
    /// From the start or SIGCONT of the old primary until the router has it as a replica.
    readmitted_after: f64,
    /// Nodes that were put in quarantine though they are in the majority: all but the broken one.
    quarantined: BTreeSet<String>,
    /// Whether the broken one was.
    broken_quarantined: bool,
}

/// One figure of a round.
type Figure = fn(&Round) -> f64;

#[derive(Serialize)]
struct Report {
    server: String,
    node_timeout_ms: u32,
    failovers: Vec<Round>,
}

/// Breaks one primary after the other, on one cluster, with one router.
pub(crate) fn run(options: &Options) -> Result<String, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = Server::find(options.server.as_deref())?;
    let failovers = runtime.block_on(rounds(options, &server))?;
    let (flavour, version) = server.version();
    let server = format!("{flavour} {version}");
    let report = Report { server, node_timeout_ms: options.node_timeout, failovers };
    if options.json { Ok(serde_json::to_string(&report)?) } else { Ok(report.text()) }
}

async fn rounds(options: &Options, server: &Server) -> Result<Vec<Round>, Problem> {
    let node_timeout = Duration::from_millis(options.node_timeout.into());
    let builder = Cluster::builder().server(server).primaries(PRIMARIES).replicas(1).node_timeout(node_timeout);
    let cluster = builder.start().await?;
    dataset::fill(&cluster.addresses(), &dataset::entries()).await?;
    let router = Router::builder(cluster.addresses()).build()?;
    router.ready(READY).await?;
    let mut rounds = Vec::new();
    for number in 0..options.count as usize {
        let pair = (number % PRIMARIES, cluster.replica_of(number % PRIMARIES, 0));
        let first_owns = cluster.role(pair.0).await? == failsoft_testkit::Role::Primary;
        let (old, new) = if first_owns { pair } else { (pair.1, pair.0) };
        let round = fail_over(&cluster, &router, number / PRIMARIES % 2 == 1, old, new).await;
        let round = round.map_err(|e| format!("failover {}: {e}; {}", number + 1, router.health().to_json()))?;
        note(&format!("{} of {}: {}", number + 1, options.count, serde_json::to_string(&round)?));
        rounds.push(round);
    }
    router.close().await;
    Ok(rounds)
}

async fn fail_over(cluster: &Cluster, router: &Router, hang: bool, old: usize, new: usize) -> Result<Round, Problem> {
    let (stop, stopped) = oneshot::channel();
    let watched = tokio::spawn(quarantined(router.clone(), stopped));
    let load = Load::start(router, &dataset::entries(), &Arc::from(cluster.addresses()));
    tokio::time::sleep(WARM_UP).await;
    let began = Instant::now();
    if hang {
        cluster.hang(old)?
    } else {
        cluster.kill(old).await?
    }
    let promoted = watch::promoted(cluster, new).await?;
    let address = cluster.node(new).address();
    let serves = |router: &Router| {
        let health = router.health();
        health.node(&address).is_some_and(|n| n.role == "primary" && n.breaker == "closed")
    };
    while !serves(router) {
        if promoted.elapsed() > SERVES {
            return Err(format!("{address} was promoted and not believed within {SERVES:?}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
    let back = Instant::now();
    if hang {
        cluster.resume(old)?
    } else {
        cluster.restart(old).await?
    }
    let broken = cluster.node(old).address();
    let readmitted = watch::readmitted(router, &broken).await?;
    cluster.wait_until_ok().await?;
    let seen = load.finish().await?;
    // The other end is gone only if the task has ended.
    let _ = stop.send(());
    let mut quarantined = watched.await?;
    let broken_quarantined = quarantined.remove(&broken);
    let by_new =
        |r: &&Seen| r.began >= began && r.good.is_some_and(|g| g.node == Some(new) && g.served_by == ServedBy::Primary);
    let first = seen.iter().filter(by_new).map(|r| r.began).min();
    let first = first.ok_or_else(|| format!("no read was served by {address} as a primary"))?;
    let mut served_by = BTreeMap::new();
    for good in seen.iter().filter(|r| r.ended >= began).filter_map(|r| r.good) {
        *served_by.entry(good.served_by.as_str()).or_default() += 1;
    }
    Ok(Round {
        fault: if hang { "hang" } else { "kill" },
        reads: seen.len(),
        failed: seen.iter().filter(|r| r.good.is_none()).count(),
        served_by,
        worst_read: millis(seen.iter().map(Seen::latency).max().unwrap_or_default()),
        promoted_after: millis(promoted - began),
        serves_after: millis(first.saturating_duration_since(promoted)),
        readmitted_after: millis(readmitted - back),
        quarantined,
        broken_quarantined,
    })
}

/// Every node that was in quarantine at any look.
async fn quarantined(router: Router, mut stopped: oneshot::Receiver<()>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    while stopped.try_recv().is_err() {
        let nodes = router.health().nodes.into_iter();
        found.extend(nodes.filter(|n| n.verdict == "minority").map(|n| n.address));
        tokio::time::sleep(LOOK).await;
    }
    found
}

impl Report {
    fn text(&self) -> String {
        let rounds = &self.failovers;
        let sum = |of: fn(&Round) -> usize| rounds.iter().map(of).sum::<usize>();
        let mut text = format!(
            "{}, 3 primaries and 3 replicas, node timeout {} ms; {READERS} readers; {} failovers\n\n",
            self.server,
            self.node_timeout_ms,
            rounds.len()
        );
        text += &format!("  reads: {}, {} failed (bound: 0)\n", sum(|r| r.reads), sum(|r| r.failed));
        text += &format!("  majority nodes put in quarantine: {} (bound: 0)\n", sum(|r| r.quarantined.len()));
        text += &format!("  broken nodes put in quarantine: {}\n", sum(|r| r.broken_quarantined.into()));
        let mut sources = BTreeMap::<_, u64>::new();
        for (source, count) in rounds.iter().flat_map(|r| &r.served_by) {
            *sources.entry(*source).or_default() += count;
        }
        text += &format!("  served from the fault on: {sources:?}\n\n");
        let mut rows = vec![["ms", "median", "worst"].map(str::to_owned).to_vec()];
        let figures: [(&str, Figure); 4] = [
            ("fault until the promotion", |r| r.promoted_after),
            ("promotion until the first read by the promoted primary", |r| r.serves_after),
            ("start or SIGCONT until the router has it as a replica", |r| r.readmitted_after),
            ("worst read", |r| r.worst_read),
        ];
        for (name, of) in figures {
            let mut all: Vec<_> = rounds.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            let (median, worst) = (all[all.len() / 2], all[all.len() - 1]);
            rows.push(vec![name.to_owned(), format!("{median:.1}"), format!("{worst:.1}")]);
        }
        text + &table(&rows)
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
