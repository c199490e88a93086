//! The benchmarks' command line: `cpu` measures Failsoft beside its peers, `outages`, `failovers` and `partitions` what readers see of faults.

mod cpu;
mod dataset;
mod failovers;
mod outages;
mod partitions;
mod table;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Whatever kept a measurement from being made; it goes to the user as it is.
type Problem = Box<dyn std::error::Error + Send + Sync>;

/// Failsoft and its peers side by side, against real local clusters.
#[derive(Parser)]
#[command(name = "failsoft-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// CPU time of the client process for one GET of 100 bytes, of Failsoft and its peers
    Cpu(cpu::Options),
    /// What 32 readers see while primaries are killed and hung, a slot moves, and all nodes hang
    Outages(outages::Options),
    /// Many real failovers under load: how many reads fail, and whether any is taken for a partition
    Failovers(failovers::Options),
    /// What readers see while nodes and clients are cut off from each other, on hosts of their own (needs root)
    Partitions(partitions::Options),
    /// One measurement of `cpu`, in a process of its own
    #[command(hide = true)]
    Measure(cpu::Measure),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Cpu(options) => cpu::run(&options),
        Command::Outages(options) => outages::run(&options),
        Command::Failovers(options) => failovers::run(&options),
        Command::Partitions(options) => partitions::run(&options),
        Command::Measure(measure) => measure.run(),
    };
    match result {
        Ok(report) => {
            say(&report);
            ExitCode::SUCCESS
        }
        Err(problem) => {
            note(&format!("error: {problem}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn say(report: &str) {
    println!("{}", report.trim_end());
}

/// A line about the run itself: not part of the report.
#[expect(clippy::print_stderr, reason = "progress and errors go where the report does not")]
fn note(line: &str) {
    eprintln!("{line}");
}
