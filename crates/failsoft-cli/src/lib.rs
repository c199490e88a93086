//! The `failsoft` command as a function: the binary, the Python package and the npm package carry the same.

mod args;
mod bench;
mod clock;
mod demo;
mod failure;
mod get;
mod invalidate;
mod latency;
mod lines;
mod output;
mod shell;
mod stop;
mod target;

use crate::{
    args::{Args, Command},
    failure::Failure,
    output::say,
};
use clap::Parser as _;
use std::{ffi::OsString, time::Duration};

/// How long tasks that are still running may take to notice the end: a search for a server runs programs.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);

/// Runs the command and returns its exit code. The first argument is the program's name, as in
/// [`std::env::args_os`]. It writes to the process's standard output and error, and brings its own
/// tokio runtime, so it must not be called from inside one.
///
/// The codes: 0, it went well; 1, `get`: there is no such key, `invalidate`: some keys are not complete, `demo`: a
/// read failed; 2, an error, which
/// is said on standard error; 130 and 143, stopped by Ctrl-C or SIGTERM.
pub fn run<I, T>(args: I) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(problem) => {
            // `--help` and `--version` come this way, too. A closed output leaves nobody to tell.
            let _ = problem.print();
            return if problem.use_stderr() { failure::CODE } else { 0 };
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(Failure::from).and_then(|runtime| {
        let done = runtime.block_on(async {
            match args.command {
                Command::Get(args) => get::run(args).await,
                Command::Invalidate(args) => invalidate::run(args).await,
                Command::Bench(args) => bench::run(args).await,
                Command::Demo(args) => demo::run(args).await,
            }
        });
        runtime.shutdown_timeout(SHUTDOWN_LIMIT);
        done
    });
    done.unwrap_or_else(|failure| {
        say!("failsoft: {failure}");
        failure::CODE
    })
}
