//! Readers that never stop: a bounded load on a router, with everything that came of it written down.
#![allow(dead_code, reason = "each test file uses its part")]

use failsoft::{Bytes, Error, Outcome, Reason, Router, ServedBy};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How many keys there are; key `i` has the value `v<i>`, in the cluster and in the store behind it.
pub(crate) const KEYS: usize = 10_000;
/// How many readers there are.
pub(crate) const READERS: usize = 32;
/// How long the store behind the cluster takes.
const STORE: Duration = Duration::from_millis(2);

/// One read that ended.
pub(crate) struct Seen {
    pub(crate) key: String,
    pub(crate) began: Instant,
    pub(crate) result: Result<Outcome, Error>,
}

impl Seen {
    /// An error, or another value than the key's.
    pub(crate) fn failed(&self) -> bool {
        let expected = format!("v{}", &self.key[1..]);
        !matches!(&self.result, Ok(o) if o.value.as_deref() == Some(expected.as_bytes()))
    }

    pub(crate) fn served_by(&self) -> Option<ServedBy> {
        self.result.as_ref().ok().map(|o| o.served_by)
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        self.result.as_ref().ok().and_then(|o| o.reason)
    }

    /// Whether this node had the value, in this role.
    pub(crate) fn by(&self, node: &str, role: ServedBy) -> bool {
        self.result
            .as_ref()
            .is_ok_and(|o| o.served_by == role && o.node.as_ref().is_some_and(|n| n.to_string() == node))
    }
}

/// Readers at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    readers: JoinSet<()>,
}

pub(crate) fn key(i: usize) -> String {
    format!("k{i}")
}

/// Writes all keys.
pub(crate) async fn prepare(router: &Router) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..64 {
        let (router, next) = (router.clone(), Arc::clone(&next));
        writers.spawn(async move {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= KEYS {
                    return;
                }
                router.set(key(i), format!("v{i}"), None).await.expect("a healthy cluster takes writes");
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.expect("a writer");
    }
}

impl Load {
    /// Starts the readers, each with a pause of a millisecond between reads, on the keys that
    /// `chosen` admits.
    pub(crate) fn start(router: &Router, chosen: impl Fn(&str) -> bool) -> Self {
        let keys: Arc<[String]> = (0..KEYS).map(key).filter(|k| chosen(k)).collect();
        assert!(!keys.is_empty(), "no key is chosen");
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let mut readers = JoinSet::new();
        for reader in 0..READERS {
            let (router, keys) = (router.clone(), Arc::clone(&keys));
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            readers.spawn(async move {
                let mut at = reader * 7919;
                while !stop.load(Ordering::Relaxed) {
                    at += 104_729; // a prime: all keys in turn, each reader elsewhere
                    let key = keys[at % keys.len()].clone();
                    let began = Instant::now();
                    let value = format!("v{}", &key[1..]);
                    let result = router
                        .resolve(&key)
                        .fallback(move |_, _| async move {
                            tokio::time::sleep(STORE).await;
                            Ok::<_, Infallible>(Some(Bytes::from(value)))
                        })
                        .await;
                    seen.lock().expect("no reader panics").push(Seen { key, began, result });
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
        Self { stop, seen, readers }
    }

    /// Waits until a read that began after this call is one of these.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) {
        let since = Instant::now();
        let deadline = since + Duration::from_secs(30);
        let mut looked_at = 0;
        loop {
            {
                let seen = self.seen.lock().expect("no reader panics");
                if seen[looked_at..].iter().any(|s| s.began >= since && wanted(s)) {
                    return;
                }
                looked_at = seen.len();
            }
            assert!(Instant::now() < deadline, "no read was {what} within 30 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops the readers and gives all they saw.
    pub(crate) async fn finish(mut self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(reader) = self.readers.join_next().await {
            reader.expect("a reader");
        }
        std::mem::take(&mut *self.seen.lock().expect("no reader panics"))
    }
}

/// Nobody saw an error or a wrong value.
pub(crate) fn assert_none_failed(seen: &[Seen]) {
    let failed: Vec<_> = seen.iter().filter(|s| s.failed()).collect();
    let example = failed.first().map(|s| (&s.key, &s.result));
    assert!(failed.is_empty(), "{} of {} reads failed, such as {example:?}", failed.len(), seen.len());
}
