//! The command as a process, with an environment that names no cluster.

use std::process::{Command, Output, Stdio};

/// The command with these arguments, not started yet.
pub fn failsoft(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_failsoft"));
    command.args(args).env_remove("FAILSOFT_NODES").stdin(Stdio::null());
    command
}

/// What became of it.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Done {
    /// Standard output as one JSON object, which has to be all of it.
    #[allow(dead_code, reason = "not every test file reads JSON")]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs it to its end.
pub fn done(command: &mut Command) -> Done {
    let Output { status, stdout, stderr } = command.output().expect("the command starts");
    Done { code: status.code(), out: stdout, err: String::from_utf8_lossy(&stderr).into_owned() }
}
