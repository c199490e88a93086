//! `partitions`: what readers see while nodes and clients are cut off from each other, packets get lost, answers are late.

use crate::outages::load::{Load, READERS, Seen};
use crate::outages::watch;
use crate::{Problem, dataset, note, table::table};
use clap::{Args, ValueEnum};
use failsoft::{Router, ServedBy};
use failsoft_testkit::{Cluster, Proxy, Server};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a router may take to know the cluster.
const READY: Duration = Duration::from_secs(10);
/// Load before the fault, and in the fault once it has shown what it does.
const CALM: Duration = Duration::from_secs(2);
/// How long a bad wire lasts.
const BAD_WIRE: Duration = Duration::from_secs(10);
/// How long a verdict or a return may take: a calm router looks around every 15 s.
const LONG: Duration = Duration::from_secs(40);
/// Between two looks at `health()`.
const LOOK: Duration = Duration::from_millis(2);
/// The host of the client, after those of the six nodes.
const CLIENT: usize = 6;
const LATE: Duration = Duration::from_millis(200);

/// Longer than any read takes, in microseconds.
const WORST: u64 = 60_000_000;

/// Settings of the `partitions` benchmark.
#[derive(Args)]
pub(crate) struct Options {
    /// The server: a version such as redis-7.0, `path`, or a path [default: FAILSOFT_SERVER, or what is there]
    #[arg(long)]
    server: Option<String>,
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<What>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// A primary is cut off from the other nodes and does not notice; the client hears both
    BothSides,
    /// A primary, a replica of another shard and the client are cut off from the rest
    Inside,
    /// A primary is cut off from everybody
    Outside,
    /// 30% of the packets between the client and the nodes are lost, in each direction
    Loss,
    /// Every answer comes 200 ms late
    Late,
}

/// The moments that count.
#[derive(Clone, Copy, Default)]
struct Moments {
    promoted: Option<Instant>,
    /// The nodes that are cut off are in quarantine.
    voted: Option<Instant>,
    healed: Option<Instant>,
    /// The old primary is trusted as a replica.
    back: Option<Instant>,
}

/// What came of it.
struct Account {
    what: What,
    began: Instant,
    moments: Moments,
    /// Every read from then on.
    seen: Vec<Seen>,
}

/// One line of the report.
type Figure = fn(&Account) -> String;

/// Does each to a fresh cluster, and reports.
pub(crate) fn run(options: &Options) -> Result<String, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = Server::find(options.server.as_deref())?;
    let all = if options.only.is_empty() { What::value_variants() } else { &options.only };
    let mut accounts = Vec::new();
    for &what in all {
        note(&format!("{server}: {what:?}"));
        accounts.push(runtime.block_on(one(what, &server))?);
    }
    let (flavour, version) = server.version();
    let head = format!("{flavour} {version}, 3 primaries and 3 replicas, node timeout 2 s; {READERS} readers\n\n");
    Ok(head + &table(&rows(&accounts)) + "\n" + &accounts.iter().map(sources).collect::<String>())
}

async fn one(what: What, server: &Server) -> Result<Account, Problem> {
    let builder = Cluster::builder().server(server).node_timeout(NODE_TIMEOUT);
    let cluster = if what == What::Late { builder.start().await? } else { builder.hosts(1).start().await? };
    dataset::fill(&cluster.addresses(), &dataset::entries()).await?;
    let mut proxies = Vec::new();
    let inside = cluster.network().ok().map(|network| network.inside(CLIENT)).transpose()?;
    let router = match &inside {
        Some(inside) => Router::builder(cluster.addresses()).runtime(inside.handle()),
        None => {
            for address in cluster.addresses() {
                proxies.push(Proxy::start(&address).await?);
            }
            let pairs: Vec<_> = cluster.addresses().into_iter().zip(proxies.iter().map(Proxy::address)).collect();
            Router::builder(cluster.addresses()).address_map(pairs)
        }
    };
    let router = router.build()?;
    router.ready(READY).await?;
    let load = Load::start(&router, &dataset::entries(), &Arc::from(cluster.addresses()));
    tokio::time::sleep(CALM).await;
    let began = Instant::now();
    let moments = match what {
        What::BothSides => {
            cluster.command(0, &["CONFIG", "SET", "cluster-node-timeout", "60000"]).await?;
            cut(&cluster, &router, what, &[1, 2, 3, 4, 5]).await?
        }
        What::Inside => cut(&cluster, &router, what, &[1, 2, 3, 5]).await?,
        What::Outside => cut(&cluster, &router, what, &[1, 2, 3, 4, 5, CLIENT]).await?,
        What::Loss => {
            cluster.network()?.lose(&[CLIENT], &[0, 1, 2, 3, 4, 5], 30)?;
            tokio::time::sleep(BAD_WIRE).await;
            Moments::default()
        }
        What::Late => {
            proxies.iter().for_each(|proxy| proxy.delay(Duration::ZERO, LATE));
            tokio::time::sleep(BAD_WIRE).await;
            Moments::default()
        }
    };
    let mut seen = load.finish().await?;
    seen.retain(|read| read.began >= began);
    router.close().await;
    Ok(Account { what, began, moments, seen })
}

/// Cuts the nodes in question off from `rest`, until a replica has the first one's place and the router knows what it
/// can know; then it heals.
async fn cut(cluster: &Cluster, router: &Router, what: What, rest: &[usize]) -> Result<Moments, Problem> {
    let lost = lost(what);
    let client = (what == What::Inside).then_some(CLIENT);
    let these: Vec<_> = lost.iter().copied().chain(client).collect();
    let network = cluster.network()?;
    network.cut(&these, rest)?;
    let addresses: Vec<_> = lost.iter().map(|&node| cluster.node(node).address()).collect();
    let voted = async {
        // Who is out of reach for the router, too, is simply dead to it.
        if what == What::Outside { Ok(None) } else { quarantined(router, &addresses).await.map(Some) }
    };
    let (promoted, voted) = tokio::join!(watch::promoted(cluster, 3), voted);
    let (promoted, voted) = (promoted?, voted?);
    tokio::time::sleep(CALM).await;
    let healed = Instant::now();
    network.heal()?;
    let back = watch::readmitted(router, &addresses[0]).await?;
    tokio::time::sleep(CALM).await;
    Ok(Moments { promoted: Some(promoted), voted, healed: Some(healed), back: Some(back) })
}

/// The nodes that are cut off: the first is the primary whose place is taken.
fn lost(what: What) -> &'static [usize] {
    if what == What::Inside { &[0, 4] } else { &[0] }
}

async fn quarantined(router: &Router, addresses: &[String]) -> Result<Instant, Problem> {
    let until = Instant::now() + LONG;
    loop {
        let health = router.health();
        let out = |address: &String| health.node(address).is_some_and(|node| node.verdict == "minority");
        if addresses.iter().all(out) {
            return Ok(Instant::now());
        }
        if Instant::now() >= until {
            return Err(format!("{addresses:?} were not in quarantine within {LONG:?}: {}", health.to_json()).into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn rows(accounts: &[Account]) -> Vec<Vec<String>> {
    let names = accounts.iter().map(|account| format!("{:?}", account.what));
    let mut rows = vec![std::iter::once(String::new()).chain(names).collect()];
    let figures: [(&str, Figure); 13] = [
        ("reads", |a| a.seen.len().to_string()),
        ("failed reads (bound: 0)", |a| a.seen.iter().filter(|r| r.good.is_none()).count().to_string()),
        ("replica promoted after, ms", |a| ms(Some(a.began), a.moments.promoted)),
        ("lost nodes in quarantine after, ms", |a| ms(Some(a.began), a.moments.voted)),
        ("the same, after the promotion, ms", |a| ms(a.moments.promoted, a.moments.voted)),
        ("reads by the old primary from the promotion to the vote", |a| {
            by_lost(a, a.moments.promoted, a.moments.voted)
        }),
        ("reads by lost nodes from the vote to the healing (bound: 0)", |a| {
            by_lost(a, a.moments.voted, a.moments.healed)
        }),
        ("old primary back as a replica after the healing, ms", |a| ms(a.moments.healed, a.moments.back)),
        ("first slots read from their primary again after the healing, ms", |a| ms(a.moments.healed, primary_again(a))),
        ("attempts after the first, of 100 reads", |a| {
            let extra = |r: &Seen| r.good.map_or(0, |g| g.attempts.saturating_sub(1));
            let extra: u32 = a.seen.iter().map(extra).sum();
            format!("{:.2}", 100.0 * f64::from(extra) / a.seen.len().max(1) as f64)
        }),
        ("p50, ms", |a| quantile(a, 0.5)),
        ("p99, ms", |a| quantile(a, 0.99)),
        ("worst, ms", |a| quantile(a, 1.0)),
    ];
    rows.extend(figures.iter().map(|(name, of)| {
        let figures = accounts.iter().map(of);
        std::iter::once((*name).to_owned()).chain(figures).collect()
    }));
    rows
}

fn sources(account: &Account) -> String {
    let mut sources = BTreeMap::<_, u64>::new();
    for good in account.seen.iter().filter_map(|read| read.good) {
        *sources.entry(good.served_by.as_str()).or_default() += 1;
    }
    let parts: Vec<_> = sources.iter().map(|(source, count)| format!("{source} {count}")).collect();
    format!("  {:?} served by: {}\n", account.what, parts.join(", "))
}

fn ms(from: Option<Instant>, to: Option<Instant>) -> String {
    // A vote may come before the promotion: then nothing was read from both.
    let signed = |from: Instant, to: Instant| match to.checked_duration_since(from) {
        Some(after) => after.as_secs_f64() * 1000.0,
        None => -(from - to).as_secs_f64() * 1000.0,
    };
    from.zip(to).map_or("-".to_owned(), |(from, to)| format!("{:.0}", signed(from, to)))
}

fn by_lost(account: &Account, from: Option<Instant>, to: Option<Instant>) -> String {
    let Some((from, to)) = from.zip(to) else { return "-".to_owned() };
    let lost = lost(account.what);
    let by = |read: &&Seen| read.good.and_then(|g| g.node).is_some_and(|node| lost.contains(&node));
    account.seen.iter().filter(|r| r.began >= from && r.began < to).filter(by).count().to_string()
}

/// When a read of the first shard was first served by its new primary, after the healing.
fn primary_again(account: &Account) -> Option<Instant> {
    let healed = account.moments.healed?;
    let by_new = |read: &&Seen| read.good.is_some_and(|g| g.node == Some(3) && g.served_by == ServedBy::Primary);
    account.seen.iter().filter(|read| read.began >= healed).filter(by_new).map(|read| read.began).min()
}

fn quantile(account: &Account, quantile: f64) -> String {
    let mut latencies = Histogram::<u64>::new_with_bounds(1, WORST, 3).expect("good bounds");
    account.seen.iter().for_each(|read| latencies.saturating_record(read.latency().as_micros() as u64));
    format!("{:.1}", latencies.value_at_quantile(quantile) as f64 / 1000.0)
}
