//! The conformance suite: runs every scenario against every binding and prints the table.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program that reports")]

mod check;
mod client;
mod driver;
mod load;
mod protocol;
mod real;
mod run;
mod scenario;
mod suite;
mod table;
mod value;
mod world;

use clap::Parser;
use driver::Program;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the scenarios against the bindings.
#[derive(Debug, Parser)]
struct Arguments {
    /// A binding and how its driver is started: `NAME=PROGRAM ARGUMENT…`; the Rust one is always there.
    #[arg(long = "driver", value_name = "NAME=COMMAND")]
    drivers: Vec<String>,
    /// A server for the scenarios on real clusters; the first one runs them all, further ones the
    /// outages. A name or a path, as FAILSOFT_SERVER takes it.
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// Only scenarios with this text in their name or theme.
    #[arg(long)]
    only: Option<String>,
    /// Where the scenarios are.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))]
    scenarios: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match work(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn work(arguments: Arguments) -> Result<bool, String> {
    let mut scenarios = scenario::load(&arguments.scenarios)?;
    if let Some(part) = &arguments.only {
        scenarios.retain(|s| s.name.contains(part) || s.theme.contains(part));
    }
    if scenarios.is_empty() {
        return Err("no scenario is left to run".to_owned());
    }
    let rust = rust_driver()?;
    let mut programs = vec![rust];
    for driver in &arguments.drivers {
        let (name, words) = driver.split_once('=').ok_or_else(|| format!("--driver {driver}: NAME=COMMAND"))?;
        let words = words.split_whitespace().map(str::to_owned).collect();
        programs.push(Program { name: name.to_owned(), words, env: Vec::new() });
    }
    let table = suite::run(&scenarios, &programs, &arguments.servers).await?;
    let bindings: Vec<_> = programs.into_iter().map(|program| program.name).collect();
    println!("{}", table.text(&bindings));
    // As the scripts have it: where everything is required, what was not checked is a failure.
    let required = std::env::var("FAILSOFT_REQUIRE").is_ok_and(|value| value == "all");
    Ok(table.failed().is_empty() && (!required || table.not_checked() == 0))
}

/// It is built beside this program.
fn rust_driver() -> Result<Program, String> {
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let path = me.with_file_name("conformance-driver-rust").to_string_lossy().into_owned();
    Ok(Program { name: "rust".to_owned(), words: vec![path], env: Vec::new() })
}
