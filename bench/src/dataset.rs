//! The keys and values that every benchmark reads, and how they get into a cluster.

use crate::Problem;
use bytes::Bytes;
use failsoft::Router;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How many keys there are.
pub(crate) const KEYS: usize = 10_000;
/// The length of every value, in bytes.
pub(crate) const VALUE: usize = 100;
/// So many of them are read where CPU time is measured: few enough that they stay in the processor's cache, as the
/// key that a program has just made does. The benchmark's own cache misses would count as the client's.
pub(crate) const HOT_KEYS: usize = 1_000;
/// Writes under way at once while a cluster is filled.
const WRITERS: usize = 64;
/// How long a new cluster may take to be known to the writers.
const READY: Duration = Duration::from_secs(10);
/// Every tenth key hashes to the slot of this tag, so that one slot that moves is a share of the load.
const TAG: &str = "moving";

/// A key and the only right answer to it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
}

impl Entry {
    /// Whether this is the key's value.
    #[inline]
    pub(crate) fn is(&self, value: Option<&[u8]>) -> bool {
        value == Some(&*self.value)
    }
}

/// All entries, the same in every process.
pub(crate) fn entries() -> Arc<[Entry]> {
    (0..KEYS).map(entry).collect()
}

/// The entries for measuring CPU time.
pub(crate) fn hot_entries() -> Arc<[Entry]> {
    (0..HOT_KEYS).map(entry).collect()
}

/// The slot of every tenth key.
pub(crate) fn tagged_slot() -> u16 {
    failsoft::slot_of(TAG.as_bytes()).number()
}

fn entry(number: usize) -> Entry {
    let key = if number.is_multiple_of(10) { format!("key:{number}{{{TAG}}}") } else { format!("key:{number}") };
    let value = format!("{number:.>VALUE$}");
    Entry { key: key.into(), value: value.into() }
}

/// Writes all entries to the cluster.
pub(crate) async fn fill(nodes: &[String], entries: &Arc<[Entry]>) -> Result<(), Problem> {
    let router = Router::builder(nodes).build()?;
    router.ready(READY).await?;
    let mut writers = JoinSet::new();
    for first in 0..WRITERS {
        let (router, entries) = (router.clone(), Arc::clone(entries));
        writers.spawn(async move {
            for entry in entries.iter().skip(first).step_by(WRITERS) {
                router.set(&entry.key, &entry.value, None).await?;
            }
            Ok::<(), failsoft::Error>(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    router.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_keys_is_in_the_slot_that_moves() {
        let entries = entries();
        let tagged = entries.iter().filter(|e| failsoft::slot_of(&e.key).number() == tagged_slot()).count();
        assert!((KEYS / 10..KEYS / 10 + 10).contains(&tagged), "{tagged}");
        assert!(entries.iter().all(|e| e.value.len() == VALUE));
    }
}
