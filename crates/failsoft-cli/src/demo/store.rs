//! "The database" behind the cluster: it can produce every key, takes its time, and counts.

use super::keys::value_of;
use failsoft::Bytes;
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// See the module. A cheap clone; all clones are one store.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    loads: u64,
    /// Of each key.
    loads_of: HashMap<Bytes, u64>,
    running: HashMap<Bytes, u64>,
    most_at_once: u64,
}

/// A load under way; it counts as over when this is dropped, cancelled loads, too.
struct Running {
    store: Store,
    key: Bytes,
}

impl Store {
    /// The value of a key, when that has passed.
    pub(super) async fn load(self, key: Bytes, takes: impl Future<Output = ()>) -> Result<Option<Bytes>, Infallible> {
        let running = self.begin(key);
        takes.await;
        Ok(Some(value_of(&running.key)))
    }

    /// How many loads there were.
    pub(super) fn loads(&self) -> u64 {
        self.counts().loads
    }

    /// How many loads of this key there were.
    pub(super) fn loads_of(&self, key: &str) -> u64 {
        self.counts().loads_of.get(key.as_bytes()).copied().unwrap_or(0)
    }

    /// The most loads of one key that ran at the same time.
    pub(super) fn most_at_once(&self) -> u64 {
        self.counts().most_at_once
    }

    fn begin(self, key: Bytes) -> Running {
        let mut counts = self.counts();
        counts.loads += 1;
        *counts.loads_of.entry(key.clone()).or_default() += 1;
        let running = counts.running.entry(key.clone()).or_default();
        *running += 1;
        let running = *running;
        counts.most_at_once = counts.most_at_once.max(running);
        drop(counts);
        Running { store: self, key }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut counts = self.store.counts();
        if let Some(running) = counts.running.get_mut(&self.key) {
            *running -= 1;
            if *running == 0 {
                counts.running.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    #[tokio::test(start_paused = true)]
    async fn loads_of_one_key_are_counted_while_they_overlap() {
        let store = Store::default();
        let load =
            |key: &'static str| store.clone().load(Bytes::from_static(key.as_bytes()), sleep(Duration::from_millis(5)));
        let (a, b, c) = tokio::join!(load("a"), load("a"), load("b"));
        assert_eq!((a, b, c), (Ok(Some(value_of(b"a"))), Ok(Some(value_of(b"a"))), Ok(Some(value_of(b"b")))));
        assert_eq!(timeout(Duration::from_millis(1), load("c")).await.ok(), None);
        let _ = load("c").await;
        assert_eq!((store.loads(), store.most_at_once()), (5, 2), "the cancelled load of c was over");
    }
}
