//! Kills the servers, and removes the network, when this process dies without doing so itself.
//!
//! A small shell waits for the end of a pipe that only this process writes to. The kernel closes it
//! whatever ended the process: a panic, SIGKILL, the out-of-memory killer.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use crate::Error;

/// Each line it reads is the new list of process ids; the last one counts. It ignores what a terminal
/// sends, because it has to outlive this process.
const SCRIPT: &str = r#"trap '' HUP INT TERM
pids=
while read -r line; do
  [ "$line" = leave ] && exit 0
  pids=$line
done
for pid in $pids; do kill -9 "$pid"; done
[ -z "$1" ] || rm -rf "$1"
shift
for name in "$@"; do ip netns delete "$name"; done"#;

/// The shell that watches, one for each group of servers and for each network.
#[derive(Debug)]
pub(crate) struct Watchdog {
    child: Child,
    pipe: Mutex<Option<ChildStdin>>,
}

impl Watchdog {
    /// Starts one for servers; `folder` is removed by it, too.
    pub(crate) fn start(folder: &Path) -> Result<Watchdog, Error> {
        Watchdog::spawn(folder, &[])
    }

    /// Starts one that removes these network namespaces.
    pub(crate) fn of_namespaces(names: &[String]) -> Result<Watchdog, Error> {
        Watchdog::spawn(Path::new(""), names)
    }

    fn spawn(folder: &Path, namespaces: &[String]) -> Result<Watchdog, Error> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "failsoft-watchdog"])
            .arg(folder)
            .args(namespaces)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group: Ctrl-C in a terminal goes to every process of the group.
            .process_group(0)
            .spawn()
            .map_err(Error::io("start of the watchdog (/bin/sh)"))?;
        let pipe = Mutex::new(child.stdin.take());
        Ok(Watchdog { child, pipe })
    }

    /// Says which processes are to be killed with this one.
    pub(crate) fn guard(&self, pids: &[u32]) -> Result<(), Error> {
        let list: Vec<_> = pids.iter().map(u32::to_string).collect();
        self.say(&list.join(" "))
    }

    /// Tells it to go and leave the servers running.
    pub(crate) fn leave(&self) -> Result<(), Error> {
        self.say("leave")
    }

    fn say(&self, line: &str) -> Result<(), Error> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pipe) = pipe.as_mut() else { return Ok(()) };
        pipe.write_all(format!("{line}\n").as_bytes()).map_err(Error::io("the watchdog's pipe"))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.pipe.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // It ends by itself now; waiting for it leaves no zombie.
        let _ = self.child.wait();
    }
}
