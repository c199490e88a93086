//! One server process: started, signalled, reaped, its log read.

use std::{
    fs::{self, OpenOptions},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, poll};

const LOG: &str = "server.log";
/// The kernel ends a killed process at once, unless it is busy giving back much memory.
const REAP_LIMIT: Duration = Duration::from_secs(10);

/// A running (or stopped) server. Dropping it kills and reaps it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    hung: bool,
}

impl Process {
    /// Runs the server in its folder, where its configuration file is. `before` are words that start it in
    /// another place; they have to become the server, so that its process id is the one we know.
    pub(crate) fn start(before: &[String], server: &Path, folder: &Path) -> Result<Process, Error> {
        let path = folder.join(LOG);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(Error::io(path.display().to_string()))?;
        let errors = log.try_clone().map_err(Error::io(path.display().to_string()))?;
        let mut command = match before {
            [] => Command::new(server),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(server);
                command
            }
        };
        let child = command
            .arg("server.conf")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // Its own group: Ctrl-C in a terminal is for the program that uses the cluster.
            .process_group(0)
            .spawn()
            .map_err(Error::io(format!("start of {}", server.display())))?;
        Ok(Process { child, hung: false })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_hung(&self) -> bool {
        self.hung
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Stops it (SIGSTOP) or lets it go on (SIGCONT).
    pub(crate) fn hang(&mut self, hang: bool) -> Result<(), Error> {
        let signal = if hang { Signal::STOP } else { Signal::CONT };
        // The child is not reaped yet, so its process id cannot belong to anyone else.
        kill_process(Pid::from_child(&self.child), signal).map_err(|error| Error::Io {
            what: format!("{signal:?} to process {}", self.pid()),
            source: error.into(),
        })?;
        self.hung = hang;
        Ok(())
    }

    /// Sends SIGKILL, which ends a stopped process, too.
    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        self.child.kill().map_err(Error::io(format!("SIGKILL to process {}", self.pid())))
    }

    /// Waits until a killed process is gone.
    pub(crate) async fn reap(mut self) -> Result<(), Error> {
        let what = format!("the end of process {}", self.pid());
        let child = Mutex::new(&mut self.child);
        poll::until(&what, REAP_LIMIT, || async {
            let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
            child.try_wait().map_err(Error::io("wait"))
        })
        .await
        .map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has been reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of the log in a server's folder.
pub(crate) fn log_tail(folder: &Path) -> String {
    let text = fs::read(folder.join(LOG)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// An exit in words: a code, or the signal.
pub(crate) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
