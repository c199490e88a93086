//! One driver process: requests go to its input, its lines are sorted into replies and events.

use crate::protocol::{self, FromDriver, Op, Outcome, Request};
use std::collections::{BTreeMap, HashMap};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

/// How long a driver may take to say hello: an interpreter has to start.
const HELLO: Duration = Duration::from_secs(30);

/// Callbacks of one router so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Callbacks {
    pub(crate) started: u64,
    pub(crate) cancelled: u64,
    pub(crate) reasons: Vec<String>,
}

#[derive(Default)]
struct State {
    pending: HashMap<u64, oneshot::Sender<Outcome>>,
    callbacks: HashMap<String, Callbacks>,
    /// Why it ended.
    ended: Option<String>,
}

/// A call under way.
pub(crate) struct Pending {
    pub(crate) id: u64,
    result: oneshot::Receiver<Outcome>,
}

impl Pending {
    /// Its result; an error says that the driver is gone, or that the call took longer than `limit`.
    pub(crate) async fn result(self, limit: Duration) -> Result<Outcome, String> {
        match tokio::time::timeout(limit, self.result).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err("the driver ended".to_owned()),
            Err(_) => Err(format!("the call had no result after {limit:?}")),
        }
    }
}

/// How a binding's driver is started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

impl Program {
    /// The same program, started by the words before it.
    pub(crate) fn behind(&self, words: &[String]) -> Self {
        Self { words: [words, &self.words].concat(), ..self.clone() }
    }
}

pub(crate) struct Driver {
    pub(crate) name: String,
    /// How it was started.
    pub(crate) program: Program,
    /// What it cannot do, and why.
    pub(crate) cannot: BTreeMap<String, String>,
    requests: mpsc::UnboundedSender<Request>,
    state: Arc<Mutex<State>>,
    next: AtomicU64,
    /// Killed when this is dropped.
    _child: Child,
}

impl Driver {
    pub(crate) async fn start(program: &Program) -> Result<Self, String> {
        let fail = |what: String| format!("the driver {}: {what}", program.name);
        let (path, arguments) = program.words.split_first().ok_or_else(|| fail("no program".to_owned()))?;
        let mut child = Command::new(path)
            .args(arguments)
            .envs(program.env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| fail(format!("{path}: {e}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(fail("no pipes".to_owned()));
        };
        let mut lines = BufReader::new(output).lines();
        let first = tokio::time::timeout(HELLO, lines.next_line()).await;
        let first = first.map_err(|_| fail("said nothing".to_owned()))?.map_err(|e| fail(e.to_string()))?;
        let first = first.ok_or_else(|| fail("ended at once".to_owned()))?;
        let hello = serde_json::from_str(&first).map_err(|e| fail(format!("{e}: {first}")))?;
        let FromDriver::Hello { binding, protocol: protocol::VERSION, cannot } = hello else {
            return Err(fail(format!("expected a hello of protocol {}, got {first}", protocol::VERSION)));
        };
        if binding != program.name {
            return Err(fail(format!("calls itself {binding}")));
        }
        let (requests, to_write) = mpsc::unbounded_channel();
        let state = Arc::new(Mutex::new(State::default()));
        tokio::spawn(write(input, to_write));
        tokio::spawn(read(lines, Arc::clone(&state)));
        Ok(Self {
            name: binding,
            program: program.clone(),
            cannot,
            requests,
            state,
            next: AtomicU64::new(1),
            _child: child,
        })
    }

    pub(crate) fn send(&self, router: &str, op: Op) -> Pending {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, result) = oneshot::channel();
        let mut state = lock(&self.state);
        // Without an entry the receiver says that the driver ended.
        if state.ended.is_none() {
            state.pending.insert(id, sender);
        }
        drop(state);
        // If this fails the reader has seen the end, too.
        let _ = self.requests.send(Request { id, router: router.to_owned(), op });
        Pending { id, result }
    }

    pub(crate) fn callbacks(&self, router: &str) -> Callbacks {
        lock(&self.state).callbacks.get(router).cloned().unwrap_or_default()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(mut input: ChildStdin, mut requests: mpsc::UnboundedReceiver<Request>) -> std::io::Result<()> {
    while let Some(request) = requests.recv().await {
        let mut line = serde_json::to_string(&request).map_err(std::io::Error::other)?;
        line.push('\n');
        input.write_all(line.as_bytes()).await?;
    }
    Ok(())
}

async fn read(mut lines: Lines<BufReader<ChildStdout>>, state: Arc<Mutex<State>>) {
    let why = loop {
        let line = match lines.next_line().await {
            Ok(Some(line)) => line,
            Ok(None) => break "it ended".to_owned(),
            Err(e) => break e.to_string(),
        };
        match serde_json::from_str(&line) {
            Ok(said) => sort(said, &mut lock(&state)),
            Err(e) => break format!("{e}: {line}"),
        }
    };
    let mut state = lock(&state);
    state.ended = Some(why);
    state.pending.clear();
}

fn sort(said: FromDriver, state: &mut State) {
    match said {
        FromDriver::Hello { .. } => {}
        FromDriver::Reply { id, result } => {
            if let Some(pending) = state.pending.remove(&id) {
                // Whoever asked may have given up.
                let _ = pending.send(result);
            }
        }
        FromDriver::Started { router, reason, keys: _ } => {
            let callbacks = state.callbacks.entry(router).or_default();
            callbacks.started += 1;
            callbacks.reasons.extend(reason);
        }
        FromDriver::Cancelled { router } => state.callbacks.entry(router).or_default().cancelled += 1,
    }
}
