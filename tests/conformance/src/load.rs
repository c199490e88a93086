//! Readers that never stop: a bounded load on one router, with everything that came of it written down.

use crate::driver::Driver;
use crate::protocol::{Account, Answer, Blob, Fallback, Op, Outcome, Read};
use crate::scenario::{LoadShape, Seen, Stop};
use crate::value::shown;
use crate::world::Addresses;
use failsoft_testkit::slot_of;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A read that is not over by then hangs.
const READ: Duration = Duration::from_secs(30);
/// How long a kind of read, or so many of them, may be waited for: longer than a slow machine and lost packets take.
const SEEN: Duration = Duration::from_secs(150);
/// Between two reads of a reader.
const PAUSE: Duration = Duration::from_millis(2);
/// Writes under way at once while the keys are set.
const WRITERS: usize = 64;

/// One read that ended.
struct Done {
    slot: u16,
    began: Instant,
    result: Result<Account, String>,
}

/// Readers at work. They stop when this is dropped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<Mutex<Vec<Done>>>,
    readers: JoinSet<()>,
    labels: BTreeMap<String, Instant>,
}

impl Load {
    /// Sets all keys, unless they are to be absent, then reads them over and over; the callback gives the same values.
    pub(crate) async fn start(driver: &Arc<Driver>, router: &str, shape: &LoadShape) -> Result<Self, String> {
        let slot = shape.slot_of.as_ref().map(|key| key.bytes().map(slot_of)).transpose()?;
        let wanted =
            |key: &String| slot.is_none_or(|slot| slot_of(key) == slot || shard(slot_of(key), 3) != shard(slot, 3));
        let in_slot = shape.slot_of.as_ref().map(|key| key.bytes()).transpose()?;
        let tagged = in_slot.map(|key| String::from_utf8_lossy(&key).into_owned());
        let keys = (0..shape.keys).map(|i| format!("k{i}")).filter(wanted);
        let keys: Vec<_> =
            keys.chain(tagged.iter().flat_map(|tag| (0..20).map(move |i| format!("{{{tag}}}{i}")))).collect();
        for some in keys.chunks(WRITERS).filter(|_| !shape.absent) {
            let sets = some.iter().map(|key| async move {
                let value = Blob([b"loaded:", key.as_bytes()].concat());
                let set = Op::Set { key: Blob(key.clone().into_bytes()), value, ttl_ms: None };
                match driver.send(router, set).result(READ).await? {
                    Outcome::Ok(_) => Ok(()),
                    Outcome::Error(failure) => Err(format!("set {key}: {} ({})", failure.code, failure.message)),
                }
            });
            join_all(sets).await.into_iter().collect::<Result<(), String>>()?;
        }
        let (keys, done) = (Arc::new(keys), Arc::new(Mutex::new(Vec::new())));
        let stop = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for reader in 0..shape.readers {
            let (driver, router) = (Arc::clone(driver), router.to_owned());
            let (keys, done, stop) = (Arc::clone(&keys), Arc::clone(&done), Arc::clone(&stop));
            readers.spawn(async move {
                let mut at = reader * 7919;
                while !stop.load(Ordering::Relaxed) {
                    at += 104_729; // a prime: all keys in turn, each reader elsewhere
                    let read = read(&driver, &router, &keys[at % keys.len()]).await;
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(read);
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Ok(Self { stop, done, readers, labels: BTreeMap::new() })
    }

    /// Gives this moment a name.
    pub(crate) fn label(&mut self, label: &str) {
        self.labels.insert(label.to_owned(), Instant::now());
    }

    /// Waits until a read that began after this call is one of these.
    pub(crate) async fn until(&self, seen: &Seen, addresses: &Addresses) -> Result<(), String> {
        let since = Instant::now();
        let mut looked_at = 0;
        loop {
            {
                let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
                for read in &done[looked_at..] {
                    if read.began >= since && self.matches(read, seen, addresses)? {
                        return Ok(());
                    }
                }
                looked_at = done.len();
            }
            if since.elapsed() > SEEN {
                return Err(format!("no such read within {SEEN:?}; the last one: {}", self.last()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until so many reads have ended from now on.
    pub(crate) async fn reads(&self, count: usize) -> Result<(), String> {
        let ended = || self.done.lock().unwrap_or_else(PoisonError::into_inner).len();
        let (since, before) = (Instant::now(), ended());
        while ended() - before < count {
            if since.elapsed() > SEEN {
                return Err(format!("{} of {count} reads within {SEEN:?}", ended() - before));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Stops the readers. No read may have failed, and the counts have to be right.
    pub(crate) async fn stop(mut self, stop: &Stop, addresses: &Addresses) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(reader) = self.readers.join_next().await {
            reader.map_err(|e| format!("a reader: {e}"))?;
        }
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let failed: Vec<_> = done.iter().filter_map(|read| read.result.as_ref().err()).collect();
        if let Some(example) = failed.first() {
            return Err(format!("{} of {} reads failed, such as: {example}", failed.len(), done.len()));
        }
        if let Some(wanted) = stop.extra_attempts_percent {
            let attempts = |read: &Done| read.result.as_ref().map_or(0, |got| u64::from(got.attempts));
            let extra: u64 = done.iter().map(|read| attempts(read).saturating_sub(1)).sum();
            wanted.check("extra attempts, of a hundred reads", (100 * extra).div_ceil(done.len().max(1) as u64))?;
        }
        for (number, expected) in stop.expect.iter().enumerate() {
            let mut count = 0;
            for read in done.iter() {
                count += u64::from(self.matches(read, &expected.of, addresses)?);
            }
            expected.count.check(&format!("of {} reads, number {number} of `expect`", done.len()), count)?;
        }
        Ok(())
    }

    fn matches(&self, read: &Done, seen: &Seen, addresses: &Addresses) -> Result<bool, String> {
        let Ok(got) = &read.result else { return Ok(false) };
        let node = match &seen.node {
            Some(name) => Some(addresses.get(name).ok_or_else(|| format!("no node {name}"))?),
            None => None,
        };
        let moment = |label: &Option<String>| match label {
            Some(label) => self.labels.get(label).map(Some).ok_or_else(|| format!("no label {label}")),
            None => Ok(None),
        };
        let (after, before) = (moment(&seen.after)?, moment(&seen.before)?);
        let slot = seen.slot_of.as_ref().map(|key| key.bytes().map(slot_of)).transpose()?;
        let reason = got.reason.as_deref().unwrap_or("none");
        Ok(seen.shard.is_none_or(|wanted| wanted == shard(read.slot, 3))
            && slot.is_none_or(|wanted| wanted == read.slot)
            && seen.served_by.as_ref().is_none_or(|wanted| *wanted == got.served_by)
            && seen.not_served_by.as_ref().is_none_or(|other| *other != got.served_by)
            && seen.reason.as_deref().is_none_or(|wanted| wanted == reason)
            && node.is_none_or(|wanted| Some(wanted) == got.node.as_ref())
            && seen.attempts.is_none_or(|wanted| wanted.admits(got.attempts.into()))
            && after.is_none_or(|moment| read.began > *moment)
            && before.is_none_or(|moment| read.began < *moment))
    }

    fn last(&self) -> String {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.last().map_or("none".to_owned(), |read| format!("slot {}: {:?}", read.slot, read.result))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The shard of a slot, as the test kit deals the slots out.
fn shard(slot: u16, primaries: usize) -> usize {
    (0..primaries).rfind(|&p| usize::from(slot) >= p * 16_384 / primaries).unwrap_or(0)
}

async fn read(driver: &Driver, router: &str, key: &str) -> Done {
    let (slot, began) = (slot_of(key), Instant::now());
    let key = key.as_bytes();
    let fallback = Some(Fallback::Slow { ms: 2, then: Box::new(Fallback::Echo {}) });
    let read = Read {
        key: Blob(key.to_vec()),
        fallback,
        recompute: None,
        ttl_ms: None,
        deadline_ms: None,
        staleness_budget_ms: None,
    };
    let result = match driver.send(router, Op::Resolve(read)).result(READ).await {
        Ok(Outcome::Ok(Answer::Outcome(account))) => {
            let wanted = [b"loaded:", key].concat();
            match &account.value {
                Some(value) if value.0 == wanted => Ok(account),
                other => Err(format!("{} is {:?}", shown(key), other.as_ref().map(|v| shown(&v.0)))),
            }
        }
        Ok(other) => Err(format!("{}: {other:?}", shown(key))),
        Err(why) => Err(format!("{}: {why}", shown(key))),
    };
    Done { slot, began, result }
}
