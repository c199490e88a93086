//! A worker in Rust: reads and changes keys until its input ends, and writes down what came of it (`record.rs`).

use crate::clock::now;
use crate::record::Lines;
use crate::services::{builder, name};
use crate::source::{Source, Stored};
use clap::Args;
use failsoft::{Bytes, Error, Router};
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Tasks that read, and those that write.
const READERS: u64 = 24;
const WRITERS: u64 = 6;
const FLUSH: Duration = Duration::from_millis(20);
const SAMPLE: Duration = Duration::from_millis(50);

/// What a worker is told; the worker in Python takes the same.
#[derive(Debug, Args)]
pub(crate) struct Task {
    #[arg(long)]
    pub(crate) process: usize,
    /// The store's socket.
    #[arg(long)]
    pub(crate) store: PathBuf,
    /// Seed nodes, with commas.
    #[arg(long, value_delimiter = ',')]
    pub(crate) nodes: Vec<String>,
    /// The settings as JSON.
    #[arg(long)]
    pub(crate) settings: String,
    #[arg(long)]
    pub(crate) keys: usize,
    #[arg(long)]
    pub(crate) seed: u64,
    /// Reads a second.
    #[arg(long)]
    pub(crate) reads: u64,
    /// Changes a second.
    #[arg(long)]
    pub(crate) writes: u64,
    /// How many of a hundred changes are made inside `writing`.
    #[arg(long)]
    pub(crate) held: u8,
}

#[derive(Debug)]
struct Worker {
    router: Router,
    source: Source,
    lines: Lines,
    keys: usize,
    held: u8,
    next: AtomicU64,
}

pub(crate) async fn run(task: Task) -> Result<(), String> {
    let settings = serde_json::from_str(&task.settings).map_err(|e| e.to_string())?;
    let router = builder(task.nodes, &settings).build().map_err(|e| e.to_string())?;
    let source = Source::connect(&task.store, task.process).await.map_err(|e| e.to_string())?;
    let lines = Lines::default();
    let worker = Arc::new(Worker { router, source, lines, keys: task.keys, held: task.held, next: AtomicU64::new(0) });
    let mut chance = fastrand::Rng::with_seed(task.seed);
    for (tasks, rate, reads) in [(READERS, task.reads, true), (WRITERS, task.writes, false)] {
        for _ in 0..if rate == 0 { 0 } else { tasks } {
            let longest = Duration::from_secs(2 * tasks).div_f64(rate as f64);
            tokio::spawn(Arc::clone(&worker).work(reads, longest, chance.fork()));
        }
    }
    tokio::spawn(Arc::clone(&worker).sample());
    let (mut input, mut nothing) = (tokio::io::stdin(), [0]);
    let ended = tokio::select! {
        // Its end says that the run is over, also when the program that started this one was killed.
        ended = input.read(&mut nothing) => ended.map(drop),
        ended = worker.flush() => ended,
    };
    ended.map_err(|e| e.to_string())
}

impl Worker {
    /// Reads, or changes, one key after the other, with a pause of up to `longest` between them.
    async fn work(self: Arc<Self>, reads: bool, longest: Duration, mut chance: fastrand::Rng) {
        loop {
            tokio::time::sleep(longest.mul_f64(chance.f64())).await;
            if self.lines.is_full() {
                continue;
            }
            // Half of the reads are of an eighth of the keys.
            let key = (self.keys as f64 * chance.f64().powi(if reads { 3 } else { 1 })) as usize;
            if reads {
                self.read(key, &mut chance).await;
            } else if chance.u8(..100) < self.held {
                self.write_held(key, &mut chance).await;
            } else {
                self.write(key).await;
            }
        }
    }

    async fn read(&self, key: usize, chance: &mut fastrand::Rng) {
        let source = self.source.clone();
        let load = move |_, _| async move {
            let (version, at) = source.load(key).await?;
            io::Result::Ok(Some(Bytes::from(format!("{version} {at}"))))
        };
        let budget = [None, None, None, None, None, None, Some(0), Some(700)][chance.usize(..8)];
        let mut read = self.router.resolve(name(key)).fallback(load);
        if let Some(ms) = budget {
            read = read.staleness_budget(Duration::from_millis(ms));
        }
        let start = now();
        let outcome = read.await;
        self.lines.put(|line, end| {
            // Writing to a text cannot fail.
            let _ = match outcome {
                Err(error) => write!(line, "E {key} {start} {end} {}", error.code()),
                Ok(outcome) => {
                    let (version, read_at) = outcome.value.as_deref().and_then(stored).unwrap_or_default();
                    let (source, reason) = (outcome.served_by, outcome.reason.map_or("-", |reason| reason.as_str()));
                    let micros = |time: Option<Duration>| time.map_or(-1, |time| time.as_micros() as i64);
                    let (age, budget) = (micros(outcome.age), budget.map_or(-1, |ms| ms as i64 * 1_000));
                    let joined = u8::from(outcome.coalesced);
                    let node = outcome.node.map_or("-".to_owned(), |node| node.to_string());
                    write!(
                        line,
                        "R {key} {start} {end} {version} {read_at} {source} {reason} {age} {budget} {joined} {node}"
                    )
                }
            };
        });
    }

    /// Changes a key, and says so.
    async fn write(&self, key: usize) {
        let Ok((version, _)) = self.source.commit(key, None).await else { return };
        // It begins here, and not when it is first awaited.
        let invalidation = IntoFuture::into_future(self.router.invalidate([name(key)]));
        let id = self.called(key, version, false);
        self.done(id, invalidation.await);
    }

    /// The same inside `writing`; a transaction takes some time.
    async fn write_held(&self, key: usize, chance: &mut fastrand::Rng) {
        let from = now();
        // One that cannot hold its key leaves the store alone.
        let Ok(writing) = self.router.writing([name(key)]).await else { return };
        let since = now();
        tokio::time::sleep(Duration::from_millis(chance.u64(..20))).await;
        let Ok((version, _)) = self.source.commit(key, Some((from, since))).await else { return };
        tokio::time::sleep(Duration::from_millis(chance.u64(..20))).await;
        let done = writing.done();
        let id = self.called(key, version, true);
        self.done(id, done.await);
    }

    fn called(&self, key: usize, version: u64, held: bool) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lines.put(|line, now| {
            let _ = write!(line, "C {id} {key} {version} {now} {}", u8::from(held));
        });
        id
    }

    fn done(&self, id: u64, result: Result<(), Error>) {
        self.lines.put(|line, now| {
            let _ = write!(line, "D {id} {now} {}", u8::from(result.is_ok()));
        });
    }

    /// Says again and again whether all nodes are heard.
    async fn sample(self: Arc<Self>) {
        loop {
            // Taken before: what it says holds for no later time.
            let health = self.router.health();
            let mut owners = health.nodes.iter().filter(|node| node.slots > 0);
            let heard = health.slots_assigned == 16_384 && owners.all(|node| node.listening == Some("heard"));
            self.lines.heard(heard);
            tokio::time::sleep(SAMPLE).await;
        }
    }

    async fn flush(&self) -> io::Result<()> {
        let mut output = tokio::io::stdout();
        loop {
            output.write_all(self.lines.take().as_bytes()).await?;
            output.flush().await?;
            tokio::time::sleep(FLUSH).await;
        }
    }
}

/// What a value says: its version, and when the store was read for it.
fn stored(value: &[u8]) -> Option<Stored> {
    let (version, at) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    Some((version.parse().ok()?, at.parse().ok()?))
}
