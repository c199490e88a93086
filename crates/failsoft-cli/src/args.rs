//! The arguments, as the help shows them.

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, value_parser};
use std::ffi::OsString;

/// Reads from a Redis or Valkey Cluster that degrade and never fail.
#[derive(Debug, Parser)]
#[command(name = "failsoft", version, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One read, with its account: which source answered, and why
    Get(GetArgs),
    /// Deletes keys so that no router serves or writes back what is older
    Invalidate(InvalidateArgs),
    /// Load on a cluster, with a latency histogram
    Bench(BenchArgs),
    /// A real local cluster under load, broken in every way, while every read is served
    Demo(DemoArgs),
}

/// Which cluster, and how to talk to it.
#[derive(Debug, ClapArgs)]
pub(crate) struct TargetArgs {
    /// A node to begin with: host:port, [v6]:port, redis://user:password@host:port or rediss://…
    ///
    /// One is enough; it can be given several times.
    #[arg(long = "node", value_name = "NODE", env = "FAILSOFT_NODES", value_delimiter = ',', required = true)]
    #[arg(hide_env_values = true, action = ArgAction::Append)]
    pub(crate) nodes: Vec<String>,
    /// Any setting of the router, durations in milliseconds: attempt_timeout_ms=100
    ///
    /// Without a value, such as password=, it is off, if it can be.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) settings: Vec<(String, String)>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Exit codes: 0 found, 1 not found, 2 error.")]
pub(crate) struct GetArgs {
    /// The key
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Run by `sh -c` when the key is not there or no node may answer; prints the value
    ///
    /// It finds the key in FAILSOFT_KEY and why it is asked in FAILSOFT_REASON. Its standard output is the
    /// value, byte for byte. It ends with 0 for a value, with 100 if the key does not exist, with anything
    /// else for an error.
    #[arg(long, value_name = "CMD")]
    pub(crate) fallback_cmd: Option<OsString>,
    /// One JSON object on standard output instead of the value; `value_base64` for a value that is no UTF-8
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Exit codes: 0 all are invalidated, 1 steps of some are pending, 2 error.")]
pub(crate) struct InvalidateArgs {
    /// The keys; `-` stands for the lines of standard input
    ///
    /// A line is a key, byte for byte; empty ones are skipped. What has come is sent together, at most 1,000
    /// keys at a time. What is pending is told by key and step, with the cause: `key`, the key may still be there;
    /// `echo`, it is deleted, but other routers may not hear of it. Nothing is sent again when the command has
    /// ended: run it again for these keys.
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<OsString>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// JSON objects on standard output, one a line: {key, pending {step: cause}} for each key that is not
    /// complete (`key_base64` if it is no UTF-8), and last {invalidated, incomplete, took_ms}
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Tasks that read
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(1..=256))]
    pub(crate) readers: u32,
    /// Reads that each of them keeps in flight
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = value_parser!(u32).range(1..=256))]
    pub(crate) in_flight: u32,
    /// How long to read
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// How many different keys: failsoft-bench:0 and so on
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=10_000_000))]
    pub(crate) keys: u64,
    /// The size of the values that --fill writes
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(0..=64 << 20))]
    pub(crate) value_bytes: u32,
    /// Write all keys first; they expire an hour later
    #[arg(long)]
    pub(crate) fill: bool,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Exit codes: 0 no read failed, 1 a read failed, 2 error.")]
pub(crate) struct DemoArgs {
    /// Servers that own slots
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=16))]
    pub(crate) primaries: u32,
    /// Replicas of each of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(0..=4))]
    pub(crate) replicas: u32,
    /// About how long to run; longer where the cluster takes its time, at most twice that and a minute
    #[arg(long, value_name = "S", default_value_t = 40, value_parser = value_parser!(u64).range(15..=600))]
    pub(crate) seconds: u64,
    /// The server to run: a path with a slash, `path`, or redis-7.0, valkey-9.1, … [default: what is found]
    #[arg(long, value_name = "SERVER")]
    pub(crate) server: Option<String>,
    /// Leave the cluster up at the end, until Ctrl-C
    #[arg(long)]
    pub(crate) keep: bool,
    /// Progress on standard error, and last one JSON object on standard output
    ///
    /// reads, failed (errors and wrong values), worst_ms, p99_ms, served_by {source: count}, loads (runs of
    /// the fallback), loads_per_key_max (the most loads of one key at the same time; of the herds' keys: all
    /// their loads), phases [{name, reads, failed, worst_ms, p99_ms, served_by}], server, version.
    #[arg(long)]
    pub(crate) json: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a setting looks like key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }
}
