//! The fallback as a shell command: key and reason in its environment, the value on its standard output.

use failsoft::{Bytes, MAX_STRING, Reason};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    ffi::{OsStr, OsString},
    fmt, io,
    os::unix::ffi::OsStrExt as _,
    process::{ExitStatus, Stdio},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};

/// The exit code that says: there is no such key.
const NO_SUCH_KEY: i32 = 100;
/// How much of the end of standard error an error shows, in bytes.
const TAIL: usize = 2_000;

/// Why a command gave no value.
#[derive(Debug)]
pub(crate) enum ShellError {
    /// It could not be run.
    Io(io::Error),
    /// It ended with an error; the end of what it said.
    Failed { status: ExitStatus, tail: String },
    /// It printed more than a server can hold.
    TooLong,
}

impl fmt::Display for ShellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the command could not be run: {error}"),
            Self::Failed { status, tail } if tail.is_empty() => write!(f, "the command ended with {status}"),
            Self::Failed { status, tail } => write!(f, "the command ended with {status}: {tail}"),
            Self::TooLong => write!(f, "the command printed more than {MAX_STRING} bytes"),
        }
    }
}

impl std::error::Error for ShellError {}

impl From<io::Error> for ShellError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs it. Dropping the future kills it, and what it started.
pub(crate) async fn load(command: OsString, key: Bytes, reason: Reason) -> Result<Option<Bytes>, ShellError> {
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .env("FAILSOFT_KEY", OsStr::from_bytes(&key))
        .env("FAILSOFT_REASON", reason.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, to be ended as a whole.
        .process_group(0)
        .spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let mut group = Group { child };
    let (value, tail, status) = tokio::try_join!(whole(out), last_part(err), async { Ok(group.child.wait().await?) })?;
    match status.code() {
        Some(0) => Ok(Some(value)),
        Some(NO_SUCH_KEY) => Ok(None),
        _ => Err(ShellError::Failed { status, tail }),
    }
}

/// The shell and its children, as long as it has not been waited for.
struct Group {
    child: Child,
}

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id it has been waited for, and its number may be somebody else's by now.
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It fails only if the group is gone.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn whole(out: Option<impl AsyncRead + Unpin>) -> Result<Bytes, ShellError> {
    let mut value = Vec::new();
    if let Some(out) = out {
        out.take(MAX_STRING as u64 + 1).read_to_end(&mut value).await?;
    }
    if value.len() > MAX_STRING { Err(ShellError::TooLong) } else { Ok(value.into()) }
}

async fn last_part(err: Option<impl AsyncRead + Unpin>) -> Result<String, ShellError> {
    let Some(mut err) = err else { return Ok(String::new()) };
    let mut tail = Vec::new();
    let mut part = [0; 4096];
    loop {
        let length = err.read(&mut part).await?;
        if length == 0 {
            return Ok(String::from_utf8_lossy(&tail).trim().to_owned());
        }
        tail.extend_from_slice(&part[..length]);
        tail.drain(..tail.len().saturating_sub(TAIL));
    }
}
