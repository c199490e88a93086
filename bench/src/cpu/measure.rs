//! One measurement, in a process of its own: CPU time and reads of one client at one number in flight.

use super::{Client, failsoft, fred_peer, raw, redis_peer};
use crate::{
    Problem,
    dataset::{self, Entry},
};
use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Consecutive reads of one reader are this far apart: a prime, so that every reader meets every key.
const STRIDE: usize = 379;

/// What to measure.
#[derive(Args)]
pub(crate) struct Measure {
    #[arg(long, value_enum)]
    client: Client,
    #[arg(long)]
    in_flight: usize,
    #[arg(long)]
    millis: u64,
    #[arg(long, value_delimiter = ',')]
    nodes: Vec<String>,
    #[arg(long)]
    current_thread: bool,
}

/// What came out.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Measured {
    /// Reads, each of them a verified hit.
    pub(crate) reads: u64,
    /// CPU time of the process, in microseconds for each read: its own code ...
    pub(crate) user: f64,
    /// ... and the kernel's on its behalf.
    pub(crate) system: f64,
    /// Reads in a second.
    pub(crate) per_second: f64,
}

impl Measured {
    /// User and system together, in microseconds for each read.
    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// A client under measurement. A clone shares its connections.
pub(crate) trait Reader: Clone + Send + 'static {
    /// Reads one entry; an error unless the server had its value.
    fn read(&mut self, entry: &Entry) -> impl Future<Output = Result<(), Problem>> + Send;
}

impl Measure {
    /// Measures; the result as JSON.
    pub(crate) fn run(&self) -> Result<String, Problem> {
        let entries = dataset::hot_entries();
        let measured = match self.client {
            Client::Raw => {
                let mut raw = raw::Raw::connect(&self.nodes[0], &entries)?;
                self.phases(|duration| raw.run(self.in_flight, duration))
            }
            Client::Redis => self.readers(redis_peer::connect(&self.nodes), &entries),
            Client::Fred => self.readers(fred_peer::connect(&self.nodes), &entries),
            Client::Failsoft => self.readers(failsoft::connect(&self.nodes), &entries),
            Client::C | Client::CFd => return Err("the C library is measured by a program of its own".into()),
        };
        Ok(serde_json::to_string(&measured?)?)
    }

    /// So many tasks, each of which reads one entry after the other.
    fn readers<R: Reader>(
        &self,
        connect: impl Future<Output = Result<R, Problem>>,
        entries: &Arc<[Entry]>,
    ) -> Result<Measured, Problem> {
        let runtime = self.runtime()?;
        let reader = runtime.block_on(connect)?;
        self.phases(|duration| runtime.block_on(read_for(&reader, self.in_flight, duration, entries)))
    }

    /// The same runtime for all clients.
    fn runtime(&self) -> Result<Runtime, Problem> {
        let mut builder = if self.current_thread { Builder::new_current_thread() } else { Builder::new_multi_thread() };
        Ok(builder.worker_threads(2).enable_all().build()?)
    }

    /// A warm-up, then the measurement.
    fn phases(&self, mut run: impl FnMut(Duration) -> Result<u64, Problem>) -> Result<Measured, Problem> {
        let duration = Duration::from_millis(self.millis);
        run(duration / 4)?;
        let (user, system) = cpu_time()?;
        let began = Instant::now();
        let reads = run(duration)?;
        let elapsed = began.elapsed();
        let (user_after, system_after) = cpu_time()?;
        let each = |micros: i64| micros as f64 / reads as f64;
        Ok(Measured {
            reads,
            user: each(user_after - user),
            system: each(system_after - system),
            per_second: reads as f64 / elapsed.as_secs_f64(),
        })
    }
}

/// User and system time of this process so far, in microseconds.
fn cpu_time() -> Result<(i64, i64), Problem> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time().num_microseconds(), usage.system_time().num_microseconds()))
}

/// How many reads so many readers make in that time.
async fn read_for<R: Reader>(
    reader: &R,
    readers: usize,
    duration: Duration,
    entries: &Arc<[Entry]>,
) -> Result<u64, Problem> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for number in 0..readers {
        let (mut reader, entries, stop) = (reader.clone(), Arc::clone(entries), Arc::clone(&stop));
        tasks.spawn(async move {
            let (mut reads, mut at) = (0, number);
            while !stop.load(Ordering::Relaxed) {
                at = (at + STRIDE) % entries.len();
                reader.read(&entries[at]).await?;
                reads += 1;
            }
            Ok::<u64, Problem>(reads)
        });
    }
    tokio::time::sleep(duration).await;
    stop.store(true, Ordering::Relaxed);
    let mut reads = 0;
    while let Some(ended) = tasks.join_next().await {
        reads += ended??;
    }
    Ok(reads)
}
