//! The thin binary: all of it is in the library, so that other packages can carry the same command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(failsoft_cli::run(std::env::args_os()))
}
