//! Histories of real processes on a real cluster that fails, held against the promise of freshness.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program that reports")]

mod check;
mod clock;
mod crew;
mod disturb;
mod event;
mod faults;
mod killed;
mod promise;
mod record;
mod report;
mod run;
mod services;
mod source;
mod stage;
mod store;
mod trace;
mod worker;

use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;

/// Records what real processes read and change through a real cluster that fails, and checks the promise of freshness.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    run: run::Options,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Kills writers inside `writing` around their commits, on a cluster without other faults.
    KilledWriters(killed::Options),
    /// One process of a run; started by the others.
    #[command(hide = true)]
    Worker(worker::Task),
}

/// What every run takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// The server; a name or a path, as FAILSOFT_SERVER takes it.
    #[arg(long)]
    pub(crate) server: Option<String>,
    /// A Python that has the package `failsoft`; without it all workers are in Rust.
    #[arg(long, env = "HISTORIES_PYTHON")]
    pub(crate) python: Option<String>,
    /// What is drawn: keys, faults, how late the store answers. When things happen is the machine's.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.other {
        None => run::run(arguments.run).await,
        Some(Other::KilledWriters(options)) => killed::run(options).await,
        Some(Other::Worker(task)) => worker::run(task).await.map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
