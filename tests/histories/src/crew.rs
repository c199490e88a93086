//! The workers: started, suspended, killed and replaced; what they write down goes to whoever checks.

use crate::clock::now;
use crate::event::Event;
use crate::record::Record;
use crate::services::{promise, settings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

/// A worker's program, service and pace.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    /// The words that start it, before those of its task.
    pub(crate) program: Vec<String>,
    pub(crate) service: &'static str,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// How many of a hundred changes are made inside `writing`.
    pub(crate) held: u8,
}

#[derive(Debug)]
struct Member {
    process: usize,
    child: Child,
}

#[derive(Debug)]
pub(crate) struct Crew {
    nodes: Vec<String>,
    store: PathBuf,
    keys: usize,
    chance: fastrand::Rng,
    events: Sender<Event>,
    started: usize,
    posts: Vec<Post>,
    members: Vec<Member>,
    readers: JoinSet<Result<(), String>>,
}

/// The worker in Rust is this very program.
pub(crate) fn rust() -> Result<Vec<String>, String> {
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    Ok(vec![me.to_string_lossy().into_owned(), "worker".to_owned()])
}

/// The worker in Python, with the interpreter that has the package.
pub(crate) fn python(interpreter: &str) -> Vec<String> {
    vec![interpreter.to_owned(), concat!(env!("CARGO_MANIFEST_DIR"), "/worker.py").to_owned()]
}

impl Crew {
    pub(crate) fn new(nodes: Vec<String>, store: PathBuf, keys: usize, seed: u64, events: Sender<Event>) -> Self {
        let chance = fastrand::Rng::with_seed(seed);
        let (posts, members, readers) = (Vec::new(), Vec::new(), JoinSet::new());
        Self { nodes, store, keys, chance, events, started: 0, posts, members, readers }
    }

    /// Starts a worker; its place among the others.
    pub(crate) async fn add(&mut self, post: Post) -> Result<usize, String> {
        let member = self.start(&post).await?;
        self.posts.push(post);
        self.members.push(member);
        Ok(self.members.len() - 1)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Somebody who reads for this service; the first worker if nobody does.
    pub(crate) fn reader_of(&self, service: &str) -> usize {
        self.posts.iter().position(|post| post.service == service && post.reads > 0).unwrap_or(0)
    }

    /// What is said of a worker in faults.
    pub(crate) fn describe(&self, place: usize) -> String {
        format!("process {} ({})", self.members[place].process, self.posts[place].service)
    }

    /// SIGSTOP or SIGCONT. It may have ended by itself, which its records tell.
    pub(crate) fn suspend(&self, place: usize, stop: bool) {
        if let Some(pid) = self.members[place].child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), if stop { Signal::SIGSTOP } else { Signal::SIGCONT });
        }
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self, place: usize) -> Result<(), String> {
        self.members[place].child.kill().await.map_err(|e| e.to_string())
    }

    /// SIGKILL, and another one takes its place.
    pub(crate) async fn replace(&mut self, place: usize) -> Result<(), String> {
        self.kill(place).await?;
        let post = self.posts[place].clone();
        self.members[place] = self.start(&post).await?;
        Ok(())
    }

    /// All end, and all that they wrote down is told.
    pub(crate) async fn dismiss(mut self) -> Result<(), String> {
        for place in 0..self.members.len() {
            self.suspend(place, false);
            // The end of its input ends it.
            drop(self.members[place].child.stdin.take());
        }
        while let Some(read) = self.readers.join_next().await {
            read.map_err(|e| e.to_string())??;
        }
        Ok(())
    }

    async fn start(&mut self, post: &Post) -> Result<Member, String> {
        let process = self.started;
        self.started += 1;
        let settings = settings(post.service);
        let promise = promise(&settings);
        let _ = self.events.send(Event::Started { process, promise, at: now() }).await;
        let (path, words) = post.program.split_first().ok_or("no program")?;
        let mut command = Command::new(path);
        command.args(words).arg("--store").arg(&self.store).args(["--nodes", &self.nodes.join(",")]);
        command.args(["--settings", &serde_json::Value::from(settings).to_string()]);
        let numbers = [
            ("--process", process as u64),
            ("--keys", self.keys as u64),
            ("--seed", self.chance.u64(..1 << 50)),
            ("--reads", post.reads),
            ("--writes", post.writes),
            ("--held", u64::from(post.held)),
        ];
        for (name, number) in numbers {
            command.args([name, &number.to_string()]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("{path}: {e}"))?;
        let output = child.stdout.take().ok_or("no pipe")?;
        self.readers.spawn(tell(process, output, self.events.clone()));
        Ok(Member { process, child })
    }
}

/// Hands on what a worker writes down, and says when that is over.
async fn tell(process: usize, output: ChildStdout, events: Sender<Event>) -> Result<(), String> {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    loop {
        line.clear();
        output.read_line(&mut line).await.map_err(|e| e.to_string())?;
        // One that was killed may have left half a line.
        let Some(line) = line.strip_suffix('\n') else { break };
        let record = Record::parse(process, line)?;
        // Nobody checks any more.
        let Ok(()) = events.send(Event::Record { process, record }).await else { return Ok(()) };
    }
    let _ = events.send(Event::Ended { process, at: now() }).await;
    Ok(())
}
