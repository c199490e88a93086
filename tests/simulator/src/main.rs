//! `make simulate`: runs ranges of seeds, and shrinks what fails.
#![allow(clippy::print_stdout, reason = "it is a program that reports")]

use clap::Parser;
use failsoft_simulator::{Ran, has_fault, run, shrink, trace};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How many failing seeds are shrunk and shown.
const SHOWN: usize = 3;

/// Runs simulated outages; the last line says how many seeds failed.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// How many threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,
    /// Only seeds with a fault of this kind, as plans show it: `AnotherCluster`.
    #[arg(long)]
    fault: Option<String>,
    /// Shows all that happens in the run of the first seed instead.
    #[arg(long)]
    trace: bool,
    /// Ends with the first seed that fails, and says only which it is and what went wrong.
    #[arg(long)]
    first: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic in a run is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    if arguments.first {
        return first(arguments.start, arguments.seeds);
    }
    if arguments.trace {
        trace(arguments.start).iter().for_each(|line| println!("{line}"));
        println!("{}", run(arguments.start).problem.unwrap_or_else(|| "nothing went wrong".into()));
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let (sum, failed) = run_all(&arguments);
    for &seed in failed.iter().take(SHOWN) {
        show(seed);
    }
    let (first, last) = (arguments.start, arguments.start + arguments.seeds.saturating_sub(1));
    println!(
        "seeds {first} to {last}: {} runs, {} events, {} reads, {} promotions, {} clusters whole in the end",
        sum.seeds, sum.events, sum.reads, sum.promotions, sum.whole
    );
    println!("virtual time {:.0} s, real time {:.1} s", sum.time as f64 / 1e9, began.elapsed().as_secs_f64());
    println!("{} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first seed that fails; none of so many is a success.
fn first(start: u64, seeds: u64) -> ExitCode {
    match (start..start + seeds).find_map(|seed| Some((seed, run(seed).problem?))) {
        Some((seed, problem)) => {
            println!("seed {seed} failed: {problem}");
            ExitCode::FAILURE
        }
        None => {
            println!("0 of {seeds} failed");
            ExitCode::SUCCESS
        }
    }
}

/// The sum of all runs, and the seeds that failed.
fn run_all(arguments: &Arguments) -> (Ran, Vec<u64>) {
    let next = AtomicU64::new(0);
    let found: Mutex<(Ran, Vec<u64>)> = Mutex::default();
    std::thread::scope(|threads| {
        for _ in 0..arguments.jobs {
            threads.spawn(|| {
                let (mut sum, mut failed) = (Ran::default(), Vec::new());
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= arguments.seeds {
                        break;
                    }
                    let seed = arguments.start + turn;
                    if arguments.fault.as_ref().is_some_and(|kind| !has_fault(seed, kind)) {
                        continue;
                    }
                    let ran = run(seed);
                    sum.add(&ran);
                    if ran.problem.is_some() {
                        failed.push(seed);
                    }
                }
                let mut found = found.lock().expect("runs catch their panics");
                found.0.add(&sum);
                found.1.append(&mut failed);
            });
        }
    });
    let (sum, mut failed) = found.into_inner().expect("runs catch their panics");
    failed.sort_unstable();
    (sum, failed)
}

fn show(seed: u64) {
    let Some(shrunk) = shrink(seed) else { return };
    println!("seed {seed} failed: {}", shrunk.problem);
    shrunk.plan.iter().for_each(|line| println!("  {line}"));
    println!("  the end of it:");
    shrunk.trace.iter().for_each(|line| println!("  {}", line.chars().take(220).collect::<String>()));
    println!("  again with: make simulate SEEDS=1 START={seed}\n");
}
