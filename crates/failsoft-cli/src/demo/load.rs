//! The readers: they never stop asking, and check every value.

use super::{
    board::Board,
    keys::{self, IN_MOVED_SLOT, Key, value_of},
    store::Store,
};
use crate::failure::Failure;
use failsoft::{Error, Outcome, Router, ServedBy};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::Barrier,
    task::{JoinError, JoinSet},
    time::sleep,
};

/// How many readers there are.
pub(super) const READERS: usize = 32;
/// The pause of a reader between two reads.
const PAUSE: Duration = Duration::from_millis(1);
/// What the store takes for a key.
const LOAD_TIME: Duration = Duration::from_millis(2);
/// How many callers ask for one key at once.
pub(super) const HERD: usize = 1_000;
/// What the store takes for a herd's key, counted from when the whole herd waits for it.
const HERD_LOAD_TIME: Duration = Duration::from_millis(50);
/// How long a machine that is busy otherwise may need to bring a herd together.
const HERD_GATHERS_WITHIN: Duration = Duration::from_secs(2);
/// A read must end by itself well before this: it is more than `deadline` and `load_timeout` together.
const LONGEST_READ: Duration = Duration::from_secs(12);

/// The readers at work. Dropping it ends them.
pub(super) struct Load {
    shared: Arc<Shared>,
    readers: JoinSet<()>,
}

struct Shared {
    keys: Vec<Key>,
    stop: AtomicBool,
    /// Whether every other read is for the slot that is moved.
    moved_slot: AtomicBool,
    /// How many keys were picked in the first round, in which each is read once.
    first_round: AtomicUsize,
}

impl Load {
    pub(super) fn start(router: &Router, store: &Store, board: &Arc<Board>) -> Self {
        let shared = Arc::new(Shared {
            keys: keys::all(),
            stop: AtomicBool::new(false),
            moved_slot: AtomicBool::new(false),
            first_round: AtomicUsize::new(0),
        });
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            let (router, store, board) = (router.clone(), store.clone(), Arc::clone(board));
            let shared = Arc::clone(&shared);
            readers.spawn(async move {
                while !shared.stop.load(Relaxed) {
                    let key = shared.pick();
                    read(&router, &store, &board, key.name.as_str(), &key.value, sleep(LOAD_TIME)).await;
                    sleep(PAUSE).await;
                }
            });
        }
        Self { shared, readers }
    }

    /// Whether every other read is for the slot that is moved.
    pub(super) fn prefer_moved_slot(&self, prefer: bool) {
        self.shared.moved_slot.store(prefer, Relaxed);
    }

    /// Whether each key has been asked for: what was missing is in the cluster then, or on its way.
    pub(super) fn has_asked_for_all(&self) -> bool {
        self.shared.first_round_is_over()
    }

    /// Ends the readers; each finishes its read.
    pub(super) async fn finish(mut self, board: &Board) -> Result<(), Failure> {
        self.shared.stop.store(true, Relaxed);
        let all = async {
            while self.readers.join_next().await.transpose().map_err(ended_early)?.is_some() {}
            Ok(())
        };
        let result = tokio::time::timeout(LONGEST_READ, all).await;
        if let Ok(result) = result {
            return result;
        }
        for _ in 0..self.readers.len() {
            board.read(LONGEST_READ, Err(format!("a read has not ended within {LONGEST_READ:?}")));
        }
        Ok(())
    }
}

/// A thousand callers of one key that is not in the cluster.
pub(super) async fn herd(router: &Router, store: &Store, board: &Arc<Board>, key: &'static str) -> Result<(), Failure> {
    let (barrier, value) = (Arc::new(Barrier::new(HERD)), value_of(key.as_bytes()));
    let mut callers = JoinSet::new();
    for _ in 0..HERD {
        let (router, store, board) = (router.clone(), store.clone(), Arc::clone(board));
        let (barrier, value) = (Arc::clone(&barrier), value.clone());
        callers.spawn(async move {
            barrier.wait().await;
            let takes = gathered(router.clone());
            read(&router, &store, &board, key, &value, takes).await;
        });
    }
    while callers.join_next().await.transpose().map_err(ended_early)?.is_some() {}
    Ok(())
}

/// The time of a herd's load. It begins when all wait for it: on a machine that cannot bring a thousand
/// callers to one load within its 50 ms, the late ones would find it ended, and begin another one.
async fn gathered(router: Router) {
    let deadline = Instant::now() + HERD_GATHERS_WITHIN;
    while router.health().waiters < HERD && Instant::now() < deadline {
        sleep(PAUSE).await;
    }
    sleep(HERD_LOAD_TIME).await;
}

impl Shared {
    fn first_round_is_over(&self) -> bool {
        self.first_round.load(Relaxed) > self.keys.len()
    }

    fn pick(&self) -> &Key {
        if !self.first_round_is_over()
            && let Some(key) = self.keys.get(self.first_round.fetch_add(1, Relaxed))
        {
            return key;
        }
        let among = if self.moved_slot.load(Relaxed) && fastrand::bool() { IN_MOVED_SLOT } else { self.keys.len() };
        &self.keys[fastrand::usize(..among)]
    }
}

/// One read, checked and counted.
async fn read<T>(router: &Router, store: &Store, board: &Board, key: &str, value: &[u8], takes: T)
where
    T: Future<Output = ()> + Send + 'static,
{
    let started = Instant::now();
    let store = store.clone();
    let result = router.resolve(key).fallback(move |key, _reason| store.load(key, takes)).await;
    board.read(started.elapsed(), check(result, key, value));
}

fn check(result: Result<Outcome, Error>, key: &str, value: &[u8]) -> Result<ServedBy, String> {
    match result {
        Ok(outcome) if outcome.value.as_deref() == Some(value) => Ok(outcome.served_by),
        Ok(Outcome { value: Some(_), served_by, .. }) => Err(format!("{key}: a wrong value from {served_by}")),
        Ok(Outcome { value: None, served_by, .. }) => Err(format!("{key}: no value, by the word of {served_by}")),
        Err(error) => Err(format!("{key}: {error}")),
    }
}

fn ended_early(error: JoinError) -> Failure {
    Failure::new(format!("a reader ended early: {error}"))
}
