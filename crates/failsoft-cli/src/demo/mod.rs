//! `failsoft demo`: a real local cluster under load, broken in every way, and the account of it.

mod board;
mod keys;
mod lines;
mod load;
mod picture;
mod report;
mod scenario;
mod store;
mod view;

use self::{
    board::Board,
    load::Load,
    picture::Stage,
    report::Report,
    scenario::Scenario,
    store::Store,
    view::{View, print},
};
use crate::{
    args::DemoArgs,
    failure::Failure,
    output::{self, say},
    stop::Stop,
};
use failsoft::Router;
use failsoft_testkit::{Cluster, Server};
use futures_util::future::try_join_all;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// The exit code when a read failed.
const READS_FAILED: u8 = 1;
const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many writes are in flight while the keys are written.
const WRITERS: usize = 64;

pub(crate) async fn run(args: DemoArgs) -> Result<u8, Failure> {
    let mut stop = Stop::listen()?;
    let limit = Duration::from_secs(args.seconds * 2 + 60);
    // Whatever ends first, dropping the rest stops all that was started.
    let played = tokio::select! {
        code = stop.wait() => {
            say!("failsoft: stopped; the cluster is gone");
            return Ok(code);
        }
        played = tokio::time::timeout(limit, play(&args)) => played,
    };
    let (cluster, report) = played.map_err(|_| Failure::new(format!("the demo took longer than {limit:?}")))??;
    let code = if report.failed == 0 { 0 } else { READS_FAILED };
    if args.keep {
        say!("the cluster stays up until Ctrl-C: {}", cluster.addresses().join(" "));
    }
    if args.json {
        output::json(&report)?;
    } else {
        output::line(&report.text())?;
    }
    if args.keep {
        stop.wait().await;
    }
    Ok(code)
}

/// The whole demo, the end of which leaves the cluster up.
async fn play(args: &DemoArgs) -> Result<(Cluster, Report), Failure> {
    let choice = args.server.clone();
    // It runs programs and waits for them.
    let server = tokio::task::spawn_blocking(move || Server::find(choice.as_deref())).await;
    let server = server.map_err(|error| Failure::new(format!("the search for a server ended early: {error}")))??;
    let (flavour, version) = server.version();
    let named = format!("{flavour} {version}");
    let (primaries, replicas) = (args.primaries as usize, args.replicas as usize);
    let title = format!("{named}, primaries: {primaries}, replicas: {}", primaries * replicas);
    print(&format!("starting {title}"), args.json)?;
    let cluster = Cluster::builder().server(&server).primaries(primaries).replicas(replicas);
    let cluster = cluster.node_timeout(NODE_TIMEOUT).start().await?;
    print(&format!("up: {}", cluster.addresses().join(" ")), args.json)?;
    let router = Router::builder(cluster.addresses()).client_name("failsoft-demo").build()?;
    fill(&router).await?;

    let (store, board) = (Store::default(), Arc::new(Board::new(Duration::from_secs(args.seconds))));
    let load = Load::start(&router, &store, &board);
    let mut view = View::new(args.json, cluster.nodes().len());
    let scenario =
        Scenario { cluster: &cluster, router: &router, store: &store, board: &board, load: &load, primaries, replicas };
    let loads = || store.loads();
    let stage = Stage { cluster: &cluster, router: &router, board: &board, title: &title, loads: &loads };
    let played = tokio::select! {
        played = scenario.play() => played,
        Err(failure) = view.show(&stage) => Err(failure),
    };
    // The terminal first: whatever follows is said on it.
    view.end(&board)?;
    let finished = load.finish(&board).await;
    router.close().await;
    for failure in board.failures() {
        say!("failed read, {failure}");
    }
    let herd_loads = played?;
    finished?;
    let loads_per_key = store.most_at_once().max(herd_loads);
    Ok((cluster, Report::new(&board.phases(), store.loads(), loads_per_key, named)))
}

/// Writes most of the keys; the rest are misses at first.
async fn fill(router: &Router) -> Result<(), Failure> {
    let (all, next) = (keys::all(), AtomicUsize::new(0));
    let writers = (0..WRITERS).map(|_| async {
        while let Some(key) = all[..keys::FILLED].get(next.fetch_add(1, Relaxed)) {
            router.set(&key.name, &key.value, None).await?;
        }
        Ok::<_, failsoft::Error>(())
    });
    let written = try_join_all(writers).await;
    written.map(drop).map_err(|error| Failure::new(format!("the keys could not be written: {error}")))
}
