//! A worker's connection to the store: any number of requests side by side.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{mpsc, oneshot};

/// A version, and when the store had it.
pub(crate) type Stored = (u64, u64);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    answers: HashMap<u64, oneshot::Sender<Stored>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Source {
    requests: mpsc::UnboundedSender<String>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Source {
    pub(crate) async fn connect(path: &Path, process: usize) -> io::Result<Self> {
        let (input, mut output) = UnixStream::connect(path).await?.into_split();
        let (requests, mut to_write) = mpsc::unbounded_channel::<String>();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        output.write_all(format!("P {process}\n").as_bytes()).await?;
        tokio::spawn(async move {
            while let Some(line) = to_write.recv().await
                && output.write_all(line.as_bytes()).await.is_ok()
            {}
        });
        tokio::spawn(hand_out(input, Arc::clone(&waiting)));
        Ok(Self { requests, waiting })
    }

    /// What the store has of a key.
    pub(crate) async fn load(&self, key: usize) -> io::Result<Stored> {
        self.ask(|id| format!("L {id} {key}\n")).await
    }

    /// A new version of it; `held` is from when and since when the key is held, inside `writing`.
    pub(crate) async fn commit(&self, key: usize, held: Option<(u64, u64)>) -> io::Result<Stored> {
        let (from, since) = held.unwrap_or_default();
        self.ask(|id| format!("C {id} {key} {from} {since}\n")).await
    }

    async fn ask(&self, line: impl FnOnce(u64) -> String) -> io::Result<Stored> {
        let (sender, answer) = oneshot::channel();
        let line = {
            let mut waiting = lock(&self.waiting);
            waiting.next += 1;
            let id = waiting.next;
            waiting.answers.insert(id, sender);
            line(id)
        };
        let gone = || io::Error::from(io::ErrorKind::ConnectionAborted);
        self.requests.send(line).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

async fn hand_out(input: OwnedReadHalf, waiting: Arc<Mutex<Waiting>>) {
    let mut lines = BufReader::new(input).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut numbers = line.split(' ').map_while(|word| word.parse::<u64>().ok());
        if let (Some(id), Some(version), Some(at)) = (numbers.next(), numbers.next(), numbers.next())
            && let Some(sender) = lock(&waiting).answers.remove(&id)
        {
            // Its load may have been given up.
            let _ = sender.send((version, at));
        }
    }
    // Who waits hears that nothing comes any more.
    lock(&waiting).answers.clear();
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
