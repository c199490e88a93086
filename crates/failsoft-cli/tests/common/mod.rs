//! The command as a process, with an environment that names no cluster.
#![allow(dead_code, reason = "each test file uses its part")]

use std::process::{Command, Output, Stdio};

/// The command with these arguments, not started yet.
pub(crate) fn failsoft(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_failsoft"));
    command.args(args).env_remove("FAILSOFT_NODES").stdin(Stdio::null());
    command
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Done {
    /// Standard output as one JSON object, which has to be all of it.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs it to its end.
pub(crate) fn done(command: &mut Command) -> Done {
    let Output { status, stdout, stderr } = command.output().expect("the command starts");
    Done { code: status.code(), out: stdout, err: String::from_utf8_lossy(&stderr).into_owned() }
}
