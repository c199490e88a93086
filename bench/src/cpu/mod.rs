//! `cpu`: what one read costs the client process, for Failsoft and its peers, interleaved in one run.

mod failsoft;
mod fred_peer;
mod measure;
mod raw;
mod redis_peer;
mod report;

pub(crate) use measure::Measure;

use crate::{Problem, dataset, note};
use clap::{Args, ValueEnum};
use failsoft_testkit::{Cluster, Server};
use measure::Measured;
use report::{Report, Row};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How many requests are in flight, one column of the table each.
const IN_FLIGHT: [usize; 3] = [1, 64, 512];

/// Settings of the `cpu` benchmark.
#[derive(Args)]
pub(crate) struct Options {
    /// The server: a version such as redis-7.0, `path`, or a path [default: FAILSOFT_SERVER, or what is there]
    #[arg(long)]
    server: Option<String>,
    /// How often each client is measured at each number in flight
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long one measurement lasts, in milliseconds, after a warm-up of a quarter of it
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    millis: u64,
    /// All clients on one thread, instead of a runtime with two workers
    #[arg(long)]
    current_thread: bool,
    /// The program of bench/c/cpu.c: measures the C library, too
    #[arg(long, value_name = "PROGRAM")]
    c: Option<PathBuf>,
    /// Only these clients
    #[arg(long, value_enum, value_delimiter = ',')]
    clients: Vec<Client>,
    /// Only these numbers in flight
    #[arg(long, value_delimiter = ',', default_values_t = IN_FLIGHT)]
    in_flight: Vec<usize>,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Client {
    /// A blocking socket to one node that writes and reads whole batches: the limit
    Raw,
    /// redis, cluster_async
    Redis,
    /// fred, clustered
    Fred,
    /// Failsoft, get_with_fallback
    Failsoft,
    /// Failsoft's C library, asynchronous, callbacks on its threads; needs --c
    C,
    /// The same, dispatched by the program's own poll loop
    CFd,
}

impl Client {
    fn title(self) -> &'static str {
        match self {
            Client::Raw => "raw socket, one node",
            Client::Redis => "redis 1.8 cluster_async",
            Client::Fred => "fred 10 cluster",
            Client::Failsoft => "failsoft",
            Client::C => "failsoft, C (threads)",
            Client::CFd => "failsoft, C (fd)",
        }
    }

    /// How the C library delivers, if this is one of its clients.
    fn delivery(self) -> Option<&'static str> {
        match self {
            Client::C => Some("threads"),
            Client::CFd => Some("fd"),
            Client::Raw | Client::Redis | Client::Fred | Client::Failsoft => None,
        }
    }

    fn is_peer(self) -> bool {
        matches!(self, Client::Redis | Client::Fred)
    }
}

/// Measures everything and reports.
pub(crate) fn run(options: &Options) -> Result<String, Problem> {
    if options.in_flight.iter().any(|n| !(1..=dataset::KEYS).contains(n)) {
        return Err(format!("--in-flight: 1 to {} are allowed", dataset::KEYS).into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let server = Server::find(options.server.as_deref())?;
    note(&format!("{server}: 3 primaries"));
    let cluster = runtime.block_on(async {
        let cluster = Cluster::builder().server(&server).primaries(3).replicas(0).start().await?;
        dataset::fill(&cluster.addresses(), &dataset::hot_entries()).await?;
        Ok::<_, Problem>(cluster)
    })?;
    let all: Vec<_> = (Client::value_variants().iter().copied())
        .filter(|client| options.c.is_some() || client.delivery().is_none())
        .collect();
    let clients = if options.clients.is_empty() { &all } else { &options.clients };
    let mut rows: Vec<_> = (options.in_flight.iter())
        .flat_map(|&in_flight| clients.iter().map(move |&client| Row { client, in_flight, rounds: Vec::new() }))
        .collect();
    // One round after the other, so that what else the machine does falls on all alike.
    for round in 1..=options.rounds {
        note(&format!("round {round} of {}", options.rounds));
        for row in &mut rows {
            row.rounds.push(in_own_process(options, row, &cluster.addresses())?);
        }
    }
    let (flavour, version) = server.version();
    let report = Report { server: format!("{flavour} {version}"), current_thread: options.current_thread, rows };
    if options.json { report.json() } else { Ok(report.text()) }
}

/// One measurement in a process of its own: its CPU time is then that client's alone.
fn in_own_process(options: &Options, row: &Row, nodes: &[String]) -> Result<Measured, Problem> {
    let client = row.client.to_possible_value().expect("no client is hidden").get_name().to_owned();
    let mut command = match (row.client.delivery(), &options.c) {
        (Some(delivery), Some(program)) => {
            let mut command = Command::new(program);
            command.args(["--delivery", delivery]);
            command
        }
        (Some(_), None) => return Err(format!("{client} needs --c").into()),
        (None, _) => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["measure", "--client", &client]);
            if options.current_thread {
                command.arg("--current-thread");
            }
            command
        }
    };
    command.args(["--in-flight", &row.in_flight.to_string()]);
    command.args(["--millis", &options.millis.to_string(), "--nodes", &nodes.join(",")]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{client} at {} in flight could not be measured ({})", row.in_flight, output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
