//! The router: the public calls.

use crate::builder::Builder;
use crate::conductor;
use crate::error::Error;
use crate::health::Health;
use crate::history::{self, LastInvalidation};
use crate::invalidations;
use crate::loads::{self, BoxError, Call, Loading, Question, Values};
use crate::opener::Opener;
use crate::outcome::Outcome;
use crate::reads::{self, Fallback, ReadOptions};
use crate::resolve::{OneKey, Resolve};
use crate::shared::Shared;
use crate::tally::Counters;
use crate::writes;
use crate::writing::{Invalidate, Writing};
use bytes::Bytes;
use failsoft_policy::invalidations::{MAX_BYTES, MAX_KEYS};
use failsoft_policy::{Endpoint, Reason};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The longest key or value: the servers' own default for one string.
pub const MAX_STRING: usize = 512 * 1024 * 1024;

/// How long [`Router::close`] waits at most for values that are being written back, and then for tasks that were
/// cancelled.
const CLOSING: Duration = Duration::from_secs(1);

/// The shortest time to live: the servers count in milliseconds.
const MIN_TTL: Duration = Duration::from_millis(1);
/// The longest one, 36,500 days: servers refuse what their clocks cannot add.
const MAX_TTL: Duration = Duration::from_secs(36_500 * 86_400);

/// Reads through a Redis or Valkey Cluster, and through what the caller gives it when the cluster
/// may not answer. A cheap clone, `Send` and `Sync`; all clones are one router. It ends when it is
/// closed, or when the last clone is dropped.
#[derive(Clone)]
pub struct Router {
    handle: Arc<Handle>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("id", &self.shared().id).finish_non_exhaustive()
    }
}

/// Ends the router with its last clone: the background tasks hold the shared part, not this.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The tasks are aborted, and no caller is left to wait for them.
        drop(self.shared.shut_down());
    }
}

impl Router {
    /// Settings for a router that begins with these nodes: `host:port`, `[v6]:port`, `redis://user:password@host:port` or
    /// `valkey://…`, with TLS `rediss://…` or `valkeys://…`. The default port is 6379. An item may hold
    /// several nodes separated by commas; one reachable node is enough.
    pub fn builder<N: Into<String>>(nodes: impl IntoIterator<Item = N>) -> Builder {
        Builder::new(nodes.into_iter().map(Into::into).collect())
    }

    pub(crate) fn start(opener: Opener, seeds: Vec<Endpoint>) -> Self {
        let shared = Arc::new(Shared::new(opener, seeds));
        shared.spawn(conductor::conduct(Arc::clone(&shared)));
        shared.spawn(loads::keep_limits(Arc::clone(&shared)));
        shared.spawn(invalidations::send_again(Arc::clone(&shared)));
        Self { handle: Arc::new(Handle { shared }) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Reads a key: from its primary, a replica, or `fallback`, in this order. `fallback` is asked
    /// when the primary says that there is no such key, or when no node may answer; it gets the
    /// key and the reason. However many callers ask for a key at once, it runs once. What it returns
    /// is written back if the primary confirmed the miss.
    ///
    /// # Errors
    /// [`Error::Fallback`] with the callback's own error; [`Error::DeadlineExceeded`] if it takes
    /// longer than `load_timeout`; [`Error::Shed`] if it is not asked, to spare a store that can't cope;
    /// [`Error::Reentrant`] if it asks for its own key;
    /// [`Error::InvalidArgument`] for a key over 512 MiB; [`Error::Closed`].
    pub async fn get_with_fallback<F, Fut, E>(&self, key: impl AsRef<[u8]>, fallback: F) -> Result<Option<Bytes>, Error>
    where
        F: FnOnce(Bytes, Reason) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<Bytes>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        check_string("key", key.as_ref().len())?;
        self.value(key.as_ref(), || Some(callbacks(boxed(fallback), None))).await
    }

    /// The value of a key: the hot path. `fallback` is made only when it may be needed.
    #[inline]
    pub(crate) async fn value(
        &self,
        key: &[u8],
        fallback: impl FnOnce() -> Option<Fallback>,
    ) -> Result<Option<Bytes>, Error> {
        reads::value(self.shared(), key, fallback).await
    }

    /// Reads a key and reports how: `.fallback(…)`, `.ttl(…)` and `.deadline(…)` may follow before
    /// `.await`. Without a fallback, a key that the primary does not have is an outcome without a
    /// value, and a key that no node could be asked about is [`Error::Unavailable`].
    pub fn resolve<K: AsRef<[u8]>>(&self, key: K) -> Resolve<'_, OneKey<K>> {
        Resolve::new(self, key)
    }

    /// Writes a value; without a `ttl` (1 ms to 36,500 days) it does not expire. While a writer holds the key
    /// ([`Self::writing`]), of this process or another one, it is deleted instead.
    ///
    /// # Errors
    /// [`Error::WriteRefused`] with the cause: the slot's owner may not be written to now, or says
    /// no. After `timeout` or `connection` it is unknown whether the value was written.
    pub async fn set(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        let (key, value) = (key.as_ref(), value.as_ref());
        check_string("key", key.len())?;
        check_string("value", value.len())?;
        check_ttl(ttl)?;
        self.shared().check_open()?;
        writes::set(self.shared(), key, value, ttl).await
    }

    /// Invalidates keys: to be called after what they stand for has changed in the secondary store. From then on no
    /// read of this process gets anything older: not from a node, not from a load that is under way, and not from one
    /// whose value would be written back. When it returns, the keys are deleted, with the leases of all loads under way
    /// in any process, and each is marked as invalidated beside its own place and in another shard. Many keys are sent
    /// together; at most 1,000,000. `.hold(…)` may follow before `.await`.
    ///
    /// A caller who goes away does not stop it.
    ///
    /// # Errors
    /// [`Error::InvalidationIncomplete`] with the steps that were not acknowledged within `deadline`: they are sent again
    /// in the background for `invalidation_ttl`, and also when a slot goes over to another owner.
    /// [`Error::InvalidArgument`] for more keys than that, or more than 64 MiB of them; [`Error::Closed`].
    pub fn invalidate<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Invalidate<'_> {
        Invalidate::new(self, check_invalidated(keys))
    }

    /// Holds keys around a transaction of the caller's own store, which may end at any moment between its commit and an
    /// invalidation: `let writing = router.writing(["user:42"]).await?;`, then the transaction, then
    /// `writing.done().await?`. The keys are deleted before it begins, and nothing that anybody loads until it is done is
    /// written back. Should this process end in between, the hold lasts for the setting `hold` (10 s): if the transaction
    /// was over by then, nothing older than what it wrote is read from the cluster afterwards.
    ///
    /// # Errors
    /// Those of [`Self::invalidate`], before the transaction, if a key could not be held or deleted.
    pub async fn writing<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<Writing, Error> {
        Writing::begin(self.shared(), check_invalidated(keys)?).await
    }

    /// When and by whom a key was last invalidated, as far as there is a record of it: from the mark beside the key or the
    /// one in the slot of its echo, which stand for `invalidation_ttl`; from what this process made or heard of in that
    /// time; or from the log, which has the newest invalidations only. `None` if there is no record.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if nobody can say: none of the nodes that would have a mark could be asked.
    /// [`Error::InvalidArgument`]; [`Error::Closed`].
    pub async fn last_invalidation(&self, key: impl AsRef<[u8]>) -> Result<Option<LastInvalidation>, Error> {
        check_string("key", key.as_ref().len())?;
        history::last(self.shared(), key.as_ref()).await
    }

    /// Whether it is known that nobody has invalidated this key for `max_age`: what was read of it in that time, by whom
    /// ever, is as good as it was then. It is not if one has, if one of this process is not acknowledged yet, or if one may
    /// have been missed: the node of the key and those that tell its echoes were not heard for all that time. They are only
    /// while this process reads from them, or asks this. What completed within the last `trust_window` may not be known
    /// yet; for longer than `invalidation_ttl` nothing is. No node is asked.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]; [`Error::Closed`].
    pub async fn within_staleness_budget(&self, key: impl AsRef<[u8]>, max_age: Duration) -> Result<bool, Error> {
        check_string("key", key.as_ref().len())?;
        history::is_untouched(self.shared(), key.as_ref(), max_age)
    }

    /// Waits until a first view of the cluster has come, or a server without cluster mode has said what it is. Reads
    /// need not wait for it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if none comes within `timeout`; [`Error::Closed`].
    pub async fn ready(&self, timeout: Duration) -> Result<(), Error> {
        let shared = self.shared();
        let until = shared.now() + timeout;
        loop {
            shared.check_open()?;
            let (known, changes) = shared.with_cluster(|cluster, _| (cluster.is_known(), shared.changes()));
            if known {
                return Ok(());
            }
            if shared.now() >= until {
                return Err(Error::Unavailable { reason: Reason::Connection, said: shared.control.a_refusal() });
            }
            shared.wait(changes, until).await;
        }
    }

    /// What the router knows of the cluster and of itself, now. Sends no request.
    pub fn health(&self) -> Health {
        Health::of(self.shared())
    }

    /// What the router counted since it was built.
    pub fn counters(&self) -> Counters {
        self.shared().tally.counters()
    }

    /// Ends the router: every read that waits gets [`Error::Closed`], callbacks and background tasks
    /// are cancelled and waited for, but no longer than a second: a callback that blocks its thread
    /// cannot be cancelled. Values that are just being written back, and invalidations, have `attempt_timeout` to arrive, but
    /// no longer than another second. Later calls get `Closed`; closing twice is fine.
    pub async fn close(&self) {
        let shared = self.shared();
        // A short program reads once and closes: what it loaded must still be written back, what it changed be told.
        let limit = shared.config().attempt_timeout().min(CLOSING);
        let _ = tokio::time::timeout(limit, async { tokio::join!(shared.fills.done(), shared.gate.done()) }).await;
        let mut tasks = shared.shut_down();
        let all = async { while tasks.join_next().await.is_some() {} };
        // What is left after the limit is cancelled as soon as it yields.
        let _ = tokio::time::timeout(CLOSING, all).await;
    }

    /// A read with its options and its account.
    pub(crate) async fn read(
        &self,
        key: &[u8],
        options: ReadOptions,
        fallback: Option<Fallback>,
    ) -> Result<Outcome, Error> {
        check_string("key", key.len())?;
        check_ttl(options.ttl)?;
        reads::read_with(self.shared(), key, options, fallback).await.into_outcome(self.shared())
    }
}

/// A callback for one key.
pub(crate) type Loader = Box<dyn FnOnce(Bytes, Reason) -> Loading + Send>;

/// A caller's callback in the form of all.
pub(crate) fn boxed<F, Fut, E>(callback: F) -> Loader
where
    F: FnOnce(Bytes, Reason) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<Bytes>, E>> + Send + 'static,
    E: Into<BoxError>,
{
    Box::new(move |key, reason| {
        Box::pin(async move { callback(key, reason).await.map(Values::One).map_err(Into::into) })
    })
}

/// A caller's callbacks as the loads run them.
pub(crate) fn callbacks(fallback: Loader, recompute: Option<Loader>) -> Fallback {
    Box::new(move |why| {
        Call::once(move |Question { mut keys, marked }| {
            let (reason, recomputes) = why.asked(marked);
            let callback = recompute.filter(|_| recomputes).unwrap_or(fallback);
            callback(keys.pop().unwrap_or_default(), reason)
        })
    })
}

/// A `recompute` is not asked for every key, so it takes a `fallback` beside it.
pub(crate) fn check_recompute(recompute: bool, fallback: bool) -> Result<(), Error> {
    if recompute && !fallback {
        let problem = "there is no fallback beside it, which is asked for keys that were invalidated".to_owned();
        return Err(Error::InvalidArgument { argument: "recompute", problem });
    }
    Ok(())
}

pub(crate) fn check_string(argument: &'static str, length: usize) -> Result<(), Error> {
    if length <= MAX_STRING {
        return Ok(());
    }
    let problem = format!("{length} bytes; at most {MAX_STRING} are allowed");
    Err(Error::InvalidArgument { argument, problem })
}

/// The keys of a call, each once: no more than can be known one by one.
pub(crate) fn check_invalidated<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Result<Vec<Bytes>, Error> {
    let (mut all, mut known, mut bytes) = (Vec::new(), HashSet::new(), 0);
    for key in keys {
        let key = key.as_ref();
        if known.contains(key) {
            continue;
        }
        bytes += key.len();
        let too_many = [(all.len() + 1, MAX_KEYS, "keys"), (bytes, MAX_BYTES, "bytes of keys")];
        if let Some((_, most, what)) = too_many.iter().find(|(count, most, _)| count > most) {
            let problem = format!("more than {most} {what} in one call");
            return Err(Error::InvalidArgument { argument: "keys", problem });
        }
        let key = Bytes::copy_from_slice(key);
        known.insert(key.clone());
        all.push(key);
    }
    Ok(all)
}

pub(crate) fn check_ttl(ttl: Option<Duration>) -> Result<(), Error> {
    if let Some(ttl) = ttl.filter(|ttl| !(MIN_TTL..=MAX_TTL).contains(ttl)) {
        let problem = format!("{ttl:?} is out of range; 1 ms to 36,500 days are allowed; leave it out for the default");
        return Err(Error::InvalidArgument { argument: "ttl", problem });
    }
    Ok(())
}
