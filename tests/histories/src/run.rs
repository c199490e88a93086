//! A run: workers of three services read and change keys while nodes and processes fail, until there were enough operations.

use crate::check::{Checker, Verdict};
use crate::crew::{Crew, Post, python, rust};
use crate::event::{Counts, Event};
use crate::faults::{self, Fault};
use crate::report::report;
use crate::stage::Stage;
use crate::{Common, disturb, services, store};
use clap::Args;
use failsoft_testkit::{Cluster, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

/// Events on their way to the checker.
const EVENTS: usize = 16_384;
/// Long enough for a failover to lose something, and short enough for many of them.
const NODE_TIMEOUT: Duration = Duration::from_millis(1_500);

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Reads and invalidations until the run ends.
    #[arg(long, default_value_t = 100_000)]
    operations: u64,
    #[arg(long, default_value_t = 96)]
    keys: usize,
    /// Reads a second, of all processes together.
    #[arg(long, default_value_t = 7_000)]
    rate: u64,
    /// Changes a second, of all processes together.
    #[arg(long, default_value_t = 200)]
    writes: u64,
    /// Tells of each fault when it is done.
    #[arg(long)]
    tell: bool,
}

/// The checker in a task of its own.
pub(crate) struct Checking {
    pub(crate) progress: Arc<Progress>,
    task: JoinHandle<Checker>,
}

#[derive(Debug, Default)]
pub(crate) struct Progress {
    operations: AtomicU64,
    hopeless: AtomicBool,
    changed: Notify,
}

impl Progress {
    /// Until there were so many operations, or it makes no sense to go on.
    pub(crate) async fn reach(&self, operations: u64) {
        while self.operations.load(Ordering::Relaxed) < operations && !self.hopeless.load(Ordering::Relaxed) {
            self.changed.notified().await;
        }
    }
}

impl Checking {
    pub(crate) fn start(keys: usize) -> (Self, Sender<Event>) {
        let (events, told) = channel(EVENTS);
        let progress = Arc::new(Progress::default());
        let task = tokio::spawn(check(told, keys, Arc::clone(&progress)));
        (Self { progress, task }, events)
    }

    /// Once nobody tells it anything any more.
    pub(crate) async fn finish(self) -> Result<(Counts, Verdict), String> {
        Ok(self.task.await.map_err(|e| e.to_string())?.finish())
    }
}

async fn check(mut told: Receiver<Event>, keys: usize, progress: Arc<Progress>) -> Checker {
    let mut checker = Checker::new(keys);
    let mut batch = Vec::new();
    while told.recv_many(&mut batch, 1_024).await > 0 {
        batch.drain(..).for_each(|event| checker.take(event));
        checker.advance();
        progress.operations.store(checker.counts.operations(), Ordering::Relaxed);
        progress.hopeless.store(checker.is_hopeless(), Ordering::Relaxed);
        progress.changed.notify_one();
    }
    checker
}

pub(crate) async fn run(options: Options) -> Result<bool, String> {
    let began = Instant::now();
    let Common { server, python: interpreter, seed } = options.common;
    let mut chance = fastrand::Rng::with_seed(seed);
    let (server, cluster) = cluster(server).await?;
    let folder = TempDir::new().map_err(|e| e.to_string())?;
    let (checking, events) = Checking::start(options.keys);
    let socket = folder.path().join("store");
    let serving = store::serve(&socket, options.keys, chance.u64(..), events.clone()).map_err(|e| e.to_string())?;
    let mut crew = Crew::new(cluster.addresses(), socket, options.keys, chance.u64(..), events.clone());
    for post in posts(options.rate, options.writes, interpreter.as_deref())? {
        crew.add(post).await?;
    }
    let stage = Stage::new(cluster, options.keys, options.tell, events.clone());
    drop(events);
    let stop = AtomicBool::new(false);
    let reached = async {
        checking.progress.reach(options.operations).await;
        stop.store(true, Ordering::Relaxed);
        std::future::pending::<()>().await
    };
    tokio::select! {
        // It ends with a fault that is over, so that what may come of it is known.
        ended = faults::run(&stage, Fault::of(&server), &stop, chance.fork()) => ended.map_err(|e| e.to_string())?,
        ended = disturb::run(&stage, &mut crew, chance.fork()) => ended?,
        () = reached => {}
    }
    crew.dismiss().await?;
    // Nobody tells anything any more.
    drop(serving);
    let done = stage.done();
    drop(stage);
    let (counts, verdict) = checking.finish().await?;
    println!("{server}, seed {seed}, {:.0} s", began.elapsed().as_secs_f64());
    Ok(report(&counts, &done, &verdict))
}

pub(crate) async fn cluster(server: Option<String>) -> Result<(Server, Cluster), String> {
    let find = move || Server::find(server.as_deref());
    let server = tokio::task::spawn_blocking(find).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let cluster = Cluster::builder().server(&server).node_timeout(NODE_TIMEOUT).start().await;
    Ok((server, cluster.map_err(|e| e.to_string())?))
}

/// Three who read and write, in two languages if both are there, and one who writes inside `writing` alone.
fn posts(reads: u64, writes: u64, interpreter: Option<&str>) -> Result<Vec<Post>, String> {
    let [careful, sparing, unfilled] = services::NAMES;
    let rust = rust()?;
    let other = interpreter.map_or_else(|| rust.clone(), python);
    let post = |program: &[String], service, share, held| Post {
        program: program.to_vec(),
        service,
        reads: reads * share / 10,
        writes: writes / 4,
        held,
    };
    Ok(vec![
        post(&rust, careful, 4, 20),
        post(&rust, sparing, 3, 20),
        post(&other, careful, 2, 20),
        post(&other, unfilled, 1, 0),
        post(&rust, sparing, 0, 100),
    ])
}
