//! Writers that are killed at random moments around their commits, inside `writing`: once the hold has run out, nothing that
//! is read of the cluster is older than the commit.

use crate::Common;
use crate::crew::{Crew, Post, python, rust};
use crate::report::report;
use crate::run::{Checking, cluster};
use crate::stage::{Done, pause};
use crate::{services, store};
use clap::Args;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// So many that a key is mostly left alone until after its hold.
const KEYS: usize = 480;
/// Writers at a time.
const WRITERS: usize = 4;
/// Longer than a hold and all that is promised after it.
const AFTERWARDS: Duration = Duration::from_secs(4);

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// How many writers are killed.
    #[arg(long, default_value_t = 1_000)]
    count: usize,
}

pub(crate) async fn run(options: Options) -> Result<bool, String> {
    let began = Instant::now();
    let Common { server, python: interpreter, seed } = options.common;
    let mut chance = fastrand::Rng::with_seed(seed);
    let (server, cluster) = cluster(server).await?;
    let folder = TempDir::new().map_err(|e| e.to_string())?;
    let (checking, events) = Checking::start(KEYS);
    let socket = folder.path().join("store");
    let serving = store::serve(&socket, KEYS, chance.u64(..), events.clone()).map_err(|e| e.to_string())?;
    let mut crew = Crew::new(cluster.addresses(), socket, KEYS, chance.u64(..), events);
    let [careful, sparing, _] = services::NAMES;
    let rust = rust()?;
    let other = interpreter.as_deref().map_or_else(|| rust.clone(), python);
    for (program, service, reads) in [(&rust, careful, 2_000), (&rust, sparing, 1_500), (&other, careful, 1_000)] {
        crew.add(Post { program: program.clone(), service, reads, writes: 0, held: 0 }).await?;
    }
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let post = Post { program: rust.clone(), service: sparing, reads: 0, writes: 80, held: 100 };
        writers.push(crew.add(post).await?);
    }
    for killed in 0..options.count {
        // Each lives for some transactions, and ends anywhere in one.
        pause(&mut chance, 60, 140).await;
        crew.replace(writers[killed % WRITERS]).await?;
    }
    for writer in writers {
        crew.kill(writer).await?;
    }
    tokio::time::sleep(AFTERWARDS).await;
    crew.dismiss().await?;
    // Nobody tells anything any more.
    drop(serving);
    let (counts, verdict) = checking.finish().await?;
    println!("{server}, seed {seed}, {:.0} s", began.elapsed().as_secs_f64());
    let faults = BTreeMap::from([("writer killed", options.count as u64)]);
    Ok(report(&counts, &Done { faults, in_vain: Vec::new() }, &verdict))
}
