//! `failsoft bench`: a bounded load on a cluster.

use crate::{
    args::BenchArgs,
    clock::cpu_time,
    failure::Failure,
    latency::Latency,
    output::{self, say, thousands},
    stop::Stop,
    target,
};
use failsoft::{Bytes, Error, Reason, Router, ServedBy};
use futures_util::future::{join_all, try_join_all};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// How long a key that `--fill` wrote lives.
const FILL_TTL: Duration = Duration::from_secs(3600);
/// How many writes `--fill` has in flight.
const FILL_IN_FLIGHT: u64 = 64;

/// What came of it, and what `--json` prints.
#[derive(Serialize)]
struct Report {
    reads: u64,
    errors: u64,
    seconds: f64,
    reads_per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    p99_9_ms: f64,
    max_ms: f64,
    /// Processor time of this process for one read, in microseconds.
    cpu_us_per_read: f64,
    served_by: BTreeMap<&'static str, u64>,
    readers: u32,
    in_flight: u32,
    keys: u64,
    version: &'static str,
}

pub(crate) async fn run(args: BenchArgs) -> Result<u8, Failure> {
    let mut stop = Stop::listen()?;
    tokio::select! {
        code = stop.wait() => Ok(code),
        done = measure(&args) => done.map(|()| 0),
    }
}

async fn measure(args: &BenchArgs) -> Result<(), Failure> {
    let router = target::connect(&args.target).await?;
    if router.ready(Duration::ZERO).await.is_err() {
        return Err(unreached(&router));
    }
    if args.fill {
        say!("writing {} keys of {} bytes", thousands(args.keys), thousands(args.value_bytes.into()));
        fill(&router, args.keys, args.value_bytes).await?;
    }
    let report = load(&router, args).await?;
    router.close().await;
    if args.json { output::json(&report) } else { show(&report) }
}

/// The error where no cluster can be measured: the nodes that were asked, and what each said.
fn unreached(router: &Router) -> Failure {
    let said: Vec<_> = router.health().refusals.into_iter().map(|(node, why)| format!("{node}: {why}")).collect();
    let said = if said.is_empty() { "none has answered yet".to_owned() } else { said.join("; ") };
    Failure::new(format!("no node gives a view of the cluster, so there is nothing to measure: {said}"))
}

/// Writes all keys, a bounded number at once.
async fn fill(router: &Router, keys: u64, value_bytes: u32) -> Result<(), Failure> {
    let value = "x".repeat(value_bytes as usize);
    let (value, next) = (value.as_str(), AtomicU64::new(0));
    let writers = (0..FILL_IN_FLIGHT).map(|_| async {
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= keys {
                return Ok(());
            }
            router
                .set(name(number), value, Some(FILL_TTL))
                .await
                .map_err(|error| Failure::new(format!("--fill, after {} of {keys} keys: {error}", number.min(keys))))?;
        }
    });
    try_join_all(writers).await.map(drop)
}

async fn load(router: &Router, args: &BenchArgs) -> Result<Report, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let before = router.counters();
    let (started, cpu) = (Instant::now(), cpu_time());
    let mut readers = JoinSet::new();
    for _ in 0..args.readers {
        readers.spawn(reader(router.clone(), args.in_flight, args.keys, Arc::clone(&stop)));
    }
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    stop.store(true, Relaxed);
    let (mut latency, mut reads, mut errors) = (Latency::new(), 0, 0);
    while let Some(done) = readers.join_next().await {
        let seen = done.map_err(|error| Failure::new(format!("a reader ended early: {error}")))?;
        latency.merge(&seen.latency);
        reads += seen.reads;
        errors += seen.errors;
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_time().saturating_sub(cpu));
    let after = router.counters();
    let words = ServedBy::ALL.iter().map(|source| source.as_str());
    let served_by = words.map(|word| (word, after.reads_served_by(word) - before.reads_served_by(word)));
    Ok(Report {
        reads,
        errors,
        seconds,
        reads_per_second: reads as f64 / seconds,
        p50_ms: latency.quantile_ms(0.5),
        p95_ms: latency.quantile_ms(0.95),
        p99_ms: latency.quantile_ms(0.99),
        p99_9_ms: latency.quantile_ms(0.999),
        max_ms: latency.max_ms(),
        cpu_us_per_read: cpu.as_secs_f64() * 1e6 / reads.max(1) as f64,
        served_by: served_by.collect(),
        readers: args.readers,
        in_flight: args.in_flight,
        keys: args.keys,
        version: env!("CARGO_PKG_VERSION"),
    })
}

struct Seen {
    latency: Latency,
    reads: u64,
    errors: u64,
}

/// One task with that many reads in flight: they share its wake-ups, as the requests of one server do.
async fn reader(router: Router, in_flight: u32, keys: u64, stop: Arc<AtomicBool>) -> Seen {
    // Never waited for: the lanes are one task.
    let seen = Mutex::new(Seen { latency: Latency::new(), reads: 0, errors: 0 });
    join_all((0..in_flight).map(|_| async {
        while !stop.load(Relaxed) {
            let started = Instant::now();
            let result: Result<_, Error> = router.get_with_fallback(name(fastrand::u64(..keys)), nothing).await;
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.latency.add(started.elapsed());
            seen.reads += 1;
            seen.errors += u64::from(result.is_err());
        }
    }))
    .await;
    seen.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The fallback of a load that measures the cluster: no key exists elsewhere.
async fn nothing(_key: Bytes, _reason: Reason) -> Result<Option<Bytes>, Infallible> {
    Ok(None)
}

fn name(number: u64) -> String {
    format!("failsoft-bench:{number}")
}

fn show(report: &Report) -> Result<(), Failure> {
    let sources = report.served_by.iter().filter(|(_, count)| **count > 0);
    let sources: Vec<_> = sources.map(|(source, count)| format!("{source} {}", thousands(*count))).collect();
    output::line(&format!(
        "reads       {} in {:.1} s, {} a second ({} readers with {} in flight each)\n\
         errors      {}\n\
         latency ms  p50 {:.3}  p95 {:.3}  p99 {:.3}  p99.9 {:.3}  max {:.3}\n\
         served by   {}\n\
         CPU         {:.2} µs a read, of this process",
        thousands(report.reads),
        report.seconds,
        thousands(report.reads_per_second as u64),
        report.readers,
        report.in_flight,
        thousands(report.errors),
        report.p50_ms,
        report.p95_ms,
        report.p99_ms,
        report.p99_9_ms,
        report.max_ms,
        if sources.is_empty() { "nobody".to_owned() } else { sources.join(", ") },
        report.cpu_us_per_read,
    ))
}
