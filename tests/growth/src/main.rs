//! `failsoft-growth table` computes what fleets of routers cost clusters of several sizes, `router` what a cluster
//! costs one router, and `measure` what a question costs a real server, which the table builds on.

use clap::{Parser, Subcommand};
use failsoft_growth::fleet::{Fleet, Load, load};
use failsoft_growth::listening::{Listeners, load as listeners_load};
use failsoft_growth::measure::{Problem, measure};
use failsoft_growth::measure_listeners::{Listened, measure_listeners};
use failsoft_growth::router_cost::router_cost;
use failsoft_growth::world::Fault;
use failsoft_testkit::Server;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What a fleet of routers puts on the servers of a large cluster.
#[derive(Parser)]
#[command(name = "failsoft-growth", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Clone, Copy)]
enum Command {
    /// The load of fleets on clusters, in calm, in a failover and in a partition
    Table {
        /// How many routers are run for each row; the more, the surer the last column
        #[arg(long, default_value_t = 24)]
        sample: usize,
    },
    /// The load of those who listen on one primary, while nothing, little or much is invalidated
    Listening {
        /// How many routers are run for each row
        #[arg(long, default_value_t = 24)]
        sample: usize,
    },
    /// What a cluster of 6, 200 and 2,000 nodes costs one router: memory, and time for a read
    Router,
    /// What a question costs a real server of a cluster of 6, 200 and 2,000 nodes
    Measure,
    /// What 200 and 1,000 listeners cost a real server
    MeasureListeners,
}

/// Primaries, each with one replica, and routers.
const SIZES: [(usize, usize); 5] = [(3, 100), (3, 1_000), (100, 1_000), (300, 3_000), (1_000, 10_000)];

fn main() -> ExitCode {
    let result = match Arguments::parse().command.unwrap_or(Command::Table { sample: 24 }) {
        Command::Table { sample } => {
            table(sample);
            Ok(())
        }
        Command::Listening { sample } => {
            listening(sample);
            Ok(())
        }
        Command::Router => {
            router();
            Ok(())
        }
        Command::Measure => costs(),
        Command::MeasureListeners => costs_of_listeners(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            say(&format!("error: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn table(sample: usize) {
    say("| primaries | routers | | probes/s | views/s | KB/s | mean | worst second | busiest server |");
    say("|---|---|---|---|---|---|---|---|---|");
    for (primaries, routers) in SIZES {
        let lost = |primaries| Fault::Lost { primaries, refused: false };
        let faults = [("calm", Fault::None), ("failover", lost(1)), ("partition", lost((primaries / 10).max(1)))];
        for (name, fault) in faults {
            let Load { probes, views, bytes, mean, worst, hottest } = load(Fleet { routers, sample }, primaries, fault);
            say(&format!(
                "| {primaries} | {routers} | {name} | {probes:.1} | {views:.2} | {:.0} | {:.2}% | {:.2}% | {:.2}% |",
                bytes / 1e3,
                mean * 100.0,
                worst * 100.0,
                hottest * 100.0
            ));
        }
    }
}

fn listening(sample: usize) {
    say("| routers | | invalidations/s | listen | heard | probes/s | told/s | mean | worst ten seconds |");
    say("|---|---|---|---|---|---|---|---|---|");
    for routers in [100, 1_000, 10_000] {
        for (in_use, invalidations) in [(false, 0), (true, 0), (true, 1), (true, 10), (true, 100)] {
            let load = listeners_load(Listeners { routers, sample, in_use, invalidations });
            say(&format!(
                "| {routers} | {} | {invalidations} | {:.0}% | {:.0}% | {:.0} | {:.0} | {:.2}% | {:.2}% |",
                if in_use { "in use" } else { "idle" },
                load.listen * 100.0,
                load.heard * 100.0,
                load.probes,
                load.told,
                load.mean * 100.0,
                load.worst * 100.0
            ));
        }
    }
}

fn router() {
    let _counting = dhat::Profiler::builder().testing().build();
    for primaries in [3, 100, 1_000] {
        let cost = router_cost(primaries, || dhat::HeapStats::get().curr_bytes);
        say(&format!(
            "{primaries} primaries: {} KiB, {} ns for the first step of a read, {} µs for all routes",
            cost.bytes / 1024,
            cost.step.as_nanos(),
            cost.routes.as_micros()
        ));
    }
}

fn costs() -> Result<(), Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = Server::find(None)?;
    say(&format!("{server}"));
    for primaries in [3, 100, 1_000] {
        for (question, cost) in runtime.block_on(measure(&server, primaries))? {
            let (nodes, name) = (2 * primaries, question.name());
            say(&format!("{nodes} nodes: {name}: {:.0} µs, {:.0} bytes", cost.micros, cost.bytes));
        }
    }
    Ok(())
}

fn costs_of_listeners() -> Result<(), Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = Server::find(None)?;
    say(&format!("{server}"));
    for Listened { listeners, probe, told, told_together, rung } in runtime.block_on(measure_listeners(&server))? {
        say(&format!(
            "{listeners} listeners: a probe {probe:.1} µs; a bell {told:.2} µs for each of them, one of many together \
             {told_together:.2} µs; ringing it {rung:.0} µs"
        ));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn say(line: &str) {
    println!("{line}");
}
