//! `outages`: what readers see while a cluster is killed, hung, resharded and switched off; times, beside the bounds.

mod faults;
mod figures;
pub(crate) mod load;
mod report;
pub(crate) mod watch;

use crate::{Problem, note};
use clap::{Args, ValueEnum};
use failsoft_testkit::Server;
use report::Report;

/// Settings of the `outages` benchmark.
#[derive(Args)]
pub(crate) struct Options {
    /// The server: a version such as redis-7.0, `path`, or a path [default: FAILSOFT_SERVER, or what is there]
    #[arg(long)]
    server: Option<String>,
    /// Only these faults
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// One JSON object instead of the tables
    #[arg(long)]
    json: bool,
}

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// SIGKILL of a primary
    Kill,
    /// SIGSTOP of a primary for 5 s, then SIGCONT
    Hang,
    /// A slot moved by hand, with ASK held open for 3 s
    Slot,
    /// SIGSTOP of all six nodes for 5 s, then SIGCONT
    AllHang,
}

/// Breaks a fresh cluster in each way, and reports.
pub(crate) fn run(options: &Options) -> Result<String, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = Server::find(options.server.as_deref())?;
    let faults = if options.faults.is_empty() { Fault::value_variants() } else { &options.faults };
    let mut runs = Vec::new();
    for &fault in faults {
        note(&format!("{server}: {}", report::title(fault)));
        let account = runtime.block_on(faults::run(fault, &server))?;
        runs.push((fault, figures::Figures::of(&account)));
    }
    let (flavour, version) = server.version();
    let report = Report { server: format!("{flavour} {version}"), runs };
    if options.json { report.json() } else { Ok(report.text()) }
}
