//! The load: 32 readers with a pause between reads, and a record of every read.

use crate::Problem;
use crate::dataset::Entry;
use failsoft::{Error, Outcome, Router, ServedBy};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How many readers there are.
pub(crate) const READERS: usize = 32;
/// What each of them waits between two reads.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the store behind the cluster takes.
pub(crate) const STORE: Duration = Duration::from_millis(2);
/// The load ends by itself after this, whatever happens to the rest of the run.
const LIMIT: Duration = Duration::from_secs(90);
/// Consecutive reads of one reader are this far apart: a prime, so that every reader meets every key.
const STRIDE: usize = 7919;

/// One read that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) slot: u16,
    /// None: an error, or a wrong value.
    pub(crate) good: Option<Good>,
}

/// What a read that did not fail came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Good {
    pub(crate) served_by: ServedBy,
    /// The index of the node that served it.
    pub(crate) node: Option<usize>,
    pub(crate) attempts: u32,
}

impl Seen {
    pub(crate) fn latency(&self) -> Duration {
        self.ended - self.began
    }
}

/// Readers at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    readers: JoinSet<Vec<Seen>>,
}

impl Load {
    /// Starts the readers; `addresses` are the nodes in the order of their indices.
    pub(crate) fn start(router: &Router, entries: &Arc<[Entry]>, addresses: &Arc<[String]>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for number in 0..READERS {
            let (router, entries, addresses) = (router.clone(), Arc::clone(entries), Arc::clone(addresses));
            readers.spawn(read(router, entries, addresses, Arc::clone(&stop), number));
        }
        Self { stop, readers }
    }

    /// Stops the readers; everything they saw, in the order in which it ended.
    pub(crate) async fn finish(mut self) -> Result<Vec<Seen>, Problem> {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = Vec::new();
        while let Some(reader) = self.readers.join_next().await {
            seen.extend(reader?);
        }
        seen.sort_by_key(|read| read.ended);
        Ok(seen)
    }
}

async fn read(
    router: Router,
    entries: Arc<[Entry]>,
    addresses: Arc<[String]>,
    stop: Arc<AtomicBool>,
    number: usize,
) -> Vec<Seen> {
    let until = Instant::now() + LIMIT;
    let (mut seen, mut at) = (Vec::new(), number * entries.len() / READERS);
    while !stop.load(Ordering::Relaxed) && Instant::now() < until {
        at = (at + STRIDE) % entries.len();
        let entry = &entries[at];
        let stored = entry.value.clone();
        let began = Instant::now();
        let result = router
            .resolve(&entry.key)
            .fallback(move |_, _| async move {
                tokio::time::sleep(STORE).await;
                Ok::<_, Infallible>(Some(stored))
            })
            .await;
        let ended = Instant::now();
        let slot = failsoft::slot_of(&entry.key).number();
        seen.push(Seen { began, ended, slot, good: good(entry, result, &addresses) });
        tokio::time::sleep(PAUSE).await;
    }
    seen
}

fn good(entry: &Entry, result: Result<Outcome, Error>, addresses: &[String]) -> Option<Good> {
    let outcome = result.ok().filter(|outcome| entry.is(outcome.value.as_deref()))?;
    let node = outcome.node.map(|node| node.to_string());
    let node = node.and_then(|node| addresses.iter().position(|address| *address == node));
    Some(Good { served_by: outcome.served_by, node, attempts: outcome.attempts })
}
