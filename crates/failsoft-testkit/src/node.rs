//! One server with its port and folder; it may be running, hung or dead.

use std::{
    fmt, fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use redis::Value;

use crate::{
    Error, Server, client, poll,
    port::Port,
    process::{self, Process},
    settings::Settings,
};

/// What a node is in its own view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It owns its slots.
    Primary,
    /// It copies a primary.
    Replica,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Primary => "primary",
            Role::Replica => "replica",
        })
    }
}

/// A server of a cluster, or a single one. Its address stays the same all its life.
#[derive(Debug)]
pub struct Node {
    place: Place,
    port: Port,
    folder: PathBuf,
    settings: Arc<Settings>,
    state: Mutex<State>,
}

/// Where a server runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: Ipv4Addr,
    /// The words that start a program there, before its own.
    pub(crate) words: Vec<String>,
}

impl Place {
    /// This process's own host.
    pub(crate) fn here() -> Place {
        Place { address: Ipv4Addr::LOCALHOST, words: Vec::new() }
    }
}

#[derive(Debug, Default)]
struct State {
    process: Option<Process>,
    id: String,
}

impl State {
    /// The process, unless it has ended (it may do so by itself, or be told to by a command).
    fn live(&mut self) -> Option<&mut Process> {
        let process = self.process.as_mut()?;
        process.ended().is_none().then_some(process)
    }
}

impl Node {
    /// `127.0.0.1:port`, or with the address of its host.
    pub fn address(&self) -> String {
        self.socket().to_string()
    }

    /// The address of its host.
    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.place.address
    }

    fn socket(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.place.address, self.port())
    }

    /// The client port; with TLS on, the TLS port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The process id; nothing while it is not running.
    pub fn pid(&self) -> Option<u32> {
        self.state().live().map(|process| process.pid())
    }

    /// The node id (40 hex digits); empty without cluster mode.
    pub fn id(&self) -> String {
        self.state().id.clone()
    }

    /// The last 20 lines of the server's log.
    pub fn log_tail(&self) -> String {
        process::log_tail(&self.folder)
    }

    /// Whether the process is there and not hung.
    pub fn is_running(&self) -> bool {
        self.state().live().is_some_and(|process| !process.is_hung())
    }

    /// A node that is not started yet, with a folder of its own in `parent`.
    pub(crate) fn new(place: Place, settings: Arc<Settings>, parent: &Path) -> Result<Node, Error> {
        let port = Port::reserve()?;
        let folder = parent.join(port.number().to_string());
        let node = Node { place, port, folder, settings, state: Mutex::default() };
        node.make_folder()?;
        Ok(node)
    }

    /// Starts the process; `wait_ready` says when it answers.
    pub(crate) fn start(&self) -> Result<(), Error> {
        let mut state = self.state();
        if state.live().is_some() {
            return Err(Error::Config(format!("{} is running already", self.address())));
        }
        state.process = Some(Process::start(&self.place.words, self.server().path(), &self.folder)?);
        Ok(())
    }

    /// Waits until the server on the port answers and is the process that was started: not another
    /// one that took the port in between.
    pub(crate) async fn wait_ready(&self, deadline: Instant) -> Result<(), Error> {
        loop {
            let answer = self.info("server").await;
            if let Some(status) = self.state().process.as_mut().and_then(Process::ended) {
                let what = format!("the server for {} {}", self.address(), process::in_words(status));
                return Err(Error::Start { what, log: self.log_tail() });
            }
            match answer {
                Ok(info) if field(&info, "process_id").and_then(|pid| pid.parse().ok()) == self.pid() => break,
                // Waiting does not help against a password that is missing or wrong.
                Err(error @ Error::Command { .. }) if refused(&error) => return Err(error),
                // Our server can never get this port any more; its own error comes with the next look.
                Ok(_) => {}
                Err(error) if Instant::now() >= deadline => {
                    let what = format!("{} did not answer in time: {error}", self.address());
                    return Err(Error::Start { what, log: self.log_tail() });
                }
                Err(_) => {}
            }
            if Instant::now() >= deadline {
                let what = format!("another server answers on {}", self.address());
                return Err(Error::Start { what, log: self.log_tail() });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if self.settings.cluster.is_some() {
            let id = self.text(&["CLUSTER", "MYID"]).await?;
            self.state().id = id;
        }
        Ok(())
    }

    /// SIGKILL, without waiting for the end.
    pub(crate) fn kill(&self) -> Result<Option<Process>, Error> {
        let mut process = self.state().process.take();
        if let Some(process) = &mut process {
            process.kill()?;
        }
        Ok(process)
    }

    pub(crate) fn hang(&self, hang: bool) -> Result<(), Error> {
        match self.state().live() {
            Some(process) => process.hang(hang),
            None => Err(Error::NotRunning { node: self.address() }),
        }
    }

    /// Gives the process up without ending it.
    pub(crate) fn forget(&self) {
        std::mem::forget(self.state().process.take());
    }

    /// Removes all it knew: the next start is a new node.
    pub(crate) fn wipe(&self) -> Result<(), Error> {
        fs::remove_dir_all(&self.folder).map_err(Error::io(self.folder.display().to_string()))?;
        self.make_folder()
    }

    pub(crate) async fn ask<A: AsRef<[u8]>>(&self, words: &[A], limit: Duration) -> Result<Value, Error> {
        if self.pid().is_none() {
            return Err(Error::NotRunning { node: self.address() });
        }
        client::ask(self.socket(), &self.settings, words, limit).await
    }

    /// A command whose reply is text.
    pub(crate) async fn text<A: AsRef<[u8]>>(&self, words: &[A]) -> Result<String, Error> {
        let value = self.ask(words, client::LIMIT).await?;
        redis::from_redis_value(value).map_err(|error| Error::Reply { node: self.address(), what: error.to_string() })
    }

    pub(crate) async fn info(&self, section: &str) -> Result<String, Error> {
        self.text(&["INFO", section]).await
    }

    pub(crate) async fn role(&self) -> Result<Role, Error> {
        match field(&self.info("replication").await?, "role") {
            Some("master") => Ok(Role::Primary),
            Some("slave") => Ok(Role::Replica),
            other => Err(Error::Reply { node: self.address(), what: format!("INFO replication: role is {other:?}") }),
        }
    }

    pub(crate) async fn wait_role(&self, role: Role, limit: Duration) -> Result<(), Error> {
        let what = format!("{} as {role}", self.address());
        poll::until(&what, limit, || async { Ok((self.role().await? == role).then_some(())) }).await
    }

    /// The user and password of the kit's own commands.
    pub(crate) fn auth(&self) -> Option<(&str, &str)> {
        self.settings.auth.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }

    pub(crate) fn server(&self) -> &Server {
        self.settings.server.as_ref().expect("a server is chosen before nodes are made")
    }

    fn make_folder(&self) -> Result<(), Error> {
        let what = || self.folder.display().to_string();
        fs::create_dir(&self.folder).map_err(Error::io(what()))?;
        let text = self.settings.file(self.socket(), &self.folder)?;
        fs::write(self.folder.join("server.conf"), text).map_err(Error::io(what()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(error: &Error) -> bool {
    let text = error.to_string();
    ["NOAUTH", "WRONGPASS", "NOPERM", "AuthenticationFailed"].iter().any(|code| text.contains(code))
}

/// The value of `name:value` in the text of INFO or CLUSTER INFO.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}
