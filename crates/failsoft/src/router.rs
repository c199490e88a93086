//! The router: the public calls.

use crate::builder::Builder;
use crate::conductor;
use crate::driver::{self, First, Routed};
use crate::error::Error;
use crate::health::Health;
use crate::loads::{self, BoxError, Call, Values};
use crate::member::{Member, Opener};
use crate::outcome::Outcome;
use crate::resolve::Resolve;
use crate::shared::Shared;
use crate::tally::Counters;
use crate::writes;
use bytes::Bytes;
use failsoft_policy::load::Wanted;
use failsoft_policy::route::{Bounds, Source};
use failsoft_policy::{Endpoint, Kind, Reason, ServedBy};
use std::sync::Arc;
use std::time::Duration;

/// The longest key or value: the servers' own default for one string.
pub const MAX_STRING: usize = 512 * 1024 * 1024;

/// How long [`Router::close`] waits for tasks that were cancelled.
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
        // The tasks are aborted; nobody is left who would wait for them.
        drop(self.shared.shut_down());
    }
}

/// What a call may set for itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) ttl: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
}

/// A callback, once it is known that it is to be asked why.
pub(crate) type Fallback = Box<dyn FnOnce(Reason) -> Call + Send>;

impl Router {
    /// Settings for a router that begins with these nodes: `host:port`, `[v6]:port`,
    /// `redis://user:password@host:port` or `rediss://…`. One is enough.
    pub fn builder<N: Into<String>>(nodes: impl IntoIterator<Item = N>) -> Builder {
        Builder::new(nodes.into_iter().map(Into::into).collect())
    }

    pub(crate) fn start(opener: Opener, seeds: Vec<Endpoint>) -> Self {
        let shared = Arc::new(Shared::new(opener, seeds));
        shared.spawn(conductor::conduct(Arc::clone(&shared)));
        shared.spawn(loads::keep_limits(Arc::clone(&shared)));
        Self { handle: Arc::new(Handle { shared }) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Reads a key: from its primary, a replica, or `fallback`, in this order. `fallback` is asked
    /// when the primary says that there is no such key, or when no node may answer; it is told the
    /// key and why. However many callers ask for a key at once, it runs once. What it gives is
    /// written back if the primary confirmed the miss.
    ///
    /// # Errors
    /// [`Error::Fallback`] with the callback's own error; [`Error::DeadlineExceeded`] if it takes
    /// longer than `load_timeout`; [`Error::Reentrant`] if it asks for its own key;
    /// [`Error::InvalidArgument`] for a key over 512 MiB; [`Error::Closed`].
    pub async fn get_with_fallback<F, Fut, E>(&self, key: impl AsRef<[u8]>, fallback: F) -> Result<Option<Bytes>, Error>
    where
        F: FnOnce(Bytes, Reason) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<Bytes>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        check_string("key", key.as_ref().len())?;
        self.value(key.as_ref(), || Some(boxed(fallback))).await
    }

    /// The value of a key: the hot path. `fallback` is made only when it may be needed.
    #[inline]
    pub(crate) async fn value(
        &self,
        key: &[u8],
        fallback: impl FnOnce() -> Option<Fallback>,
    ) -> Result<Option<Bytes>, Error> {
        let shared = &**self.shared();
        let now = shared.now();
        let bounds = shared.bounds(now);
        match driver::first(shared, key, bounds, now).await {
            First::Served { value, source, reason, .. } => {
                driver::count_served(shared, source, reason);
                Ok(Some(value))
            }
            unserved @ First::Unserved { .. } => {
                let rest = self.rest(key, bounds, unserved, fallback(), None);
                Box::pin(rest).await.map(|outcome| outcome.value)
            }
        }
    }

    /// Reads a key and tells how: `.fallback(…)`, `.ttl(…)` and `.deadline(…)` may follow before
    /// `.await`. Without a fallback, a key that the primary does not have is an outcome without a
    /// value, and one that nobody could ask about is [`Error::Unavailable`].
    pub fn resolve<K: AsRef<[u8]>>(&self, key: K) -> Resolve<'_, K> {
        Resolve::new(self, key)
    }

    /// Writes a value; without a `ttl` (1 ms to 36,500 days) it does not expire.
    ///
    /// # Errors
    /// [`Error::WriteRefused`] with the cause: the slot's owner may not be written to now, or says
    /// no. After `timeout` or `connection` nobody can say whether it was written.
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

    /// Waits until a first view of the cluster has come. Reads need not wait for it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if none comes within `timeout`; [`Error::Closed`].
    pub async fn ready(&self, timeout: Duration) -> Result<(), Error> {
        let shared = self.shared();
        let until = shared.now() + timeout;
        loop {
            shared.check_open()?;
            let (kind, changes) = shared.with_cluster(|cluster, _| (cluster.kind(), shared.changes()));
            if kind != Kind::Unknown {
                return Ok(());
            }
            if shared.now() >= until {
                return Err(Error::Unavailable { reason: Reason::Connection });
            }
            shared.wait(changes, until).await;
        }
    }

    /// What the router knows of the cluster and of itself, now. Asks nobody.
    pub fn health(&self) -> Health {
        Health::of(self.shared())
    }

    /// What the router counted since it was built.
    pub fn counters(&self) -> Counters {
        self.shared().tally.counters()
    }

    /// Ends the router: every read that waits gets [`Error::Closed`], callbacks and background tasks
    /// are cancelled and waited for, but no longer than a second: a callback that blocks its thread
    /// cannot be cancelled. Values that are just being written back have `attempt_timeout` to arrive.
    /// Later calls get `Closed`; closing twice is fine.
    pub async fn close(&self) {
        let shared = self.shared();
        // A short program reads once and closes: what it loaded is not to be lost.
        let _ = tokio::time::timeout(shared.config().attempt_timeout(), shared.fills.done()).await;
        let mut tasks = shared.shut_down();
        let all = async { while tasks.join_next().await.is_some() {} };
        // What is left after the limit is cancelled as soon as it yields.
        let _ = tokio::time::timeout(CLOSING, all).await;
    }

    /// A whole read, with its account.
    pub(crate) async fn read(
        &self,
        key: &[u8],
        options: Options,
        fallback: Option<Fallback>,
    ) -> Result<Outcome, Error> {
        check_string("key", key.len())?;
        check_ttl(options.ttl)?;
        let shared = &**self.shared();
        let now = shared.now();
        let Some(deadline) = options.deadline else {
            let bounds = shared.bounds(now);
            let first = driver::first(shared, key, bounds, now).await;
            return Box::pin(self.rest(key, bounds, first, fallback, options.ttl)).await;
        };
        let bounds = Bounds::of_call(shared.config(), now, deadline, fallback.is_some());
        let whole = async {
            let first = driver::first(shared, key, bounds, now).await;
            self.rest(key, bounds, first, fallback, options.ttl).await
        };
        match tokio::time::timeout(deadline, Box::pin(whole)).await {
            Ok(result) => result,
            Err(_) => {
                shared.tally.read(None, Some(Reason::Deadline));
                Err(Error::DeadlineExceeded { limit: "deadline" })
            }
        }
    }

    /// Everything after the first attempt.
    pub(crate) async fn rest(
        &self,
        key: &[u8],
        bounds: Bounds,
        first: First,
        fallback: Option<Fallback>,
        ttl: Option<Duration>,
    ) -> Result<Outcome, Error> {
        let shared = self.shared();
        let (routed, attempts, began) = match first {
            First::Served { value, node, source, reason } => return Ok(served(shared, value, source, &node, reason)),
            First::Unserved { step, begun, ended } => {
                let routed = driver::route(shared, key, bounds, fallback.is_some(), (step, begun), ended).await;
                let (routed, attempts) = routed.inspect_err(|_| shared.tally.read(None, None))?;
                (routed, attempts, begun)
            }
        };
        let (reason, confirmed) = match routed {
            Routed::Load { reason, confirmed } => (reason, confirmed),
            other => return settled(shared, other, attempts),
        };
        let Some(fallback) = fallback else { return Err(Error::Internal("a load without a callback")) };
        let wanted = vec![Wanted { key: Bytes::copy_from_slice(key), confirmed }];
        let got = match loads::load(shared, wanted, began, ttl, fallback(reason)).await {
            Ok(got) => got.into_iter().next(),
            Err(error) => {
                shared.tally.read(None, Some(reason));
                return Err(error);
            }
        };
        let got = got.ok_or(Error::Internal("a load without its key"))?;
        loaded(shared, got.result, got.coalesced, reason, attempts)
    }
}

/// The outcome of a read that its first attempt served, counted.
pub(crate) fn served(shared: &Shared, value: Bytes, source: Source, node: &Member, reason: Option<Reason>) -> Outcome {
    driver::count_served(shared, source, reason);
    outcome_of_node(shared, value, source_name(source), node.key, reason, 1)
}

/// The outcome of a read that the cluster alone settled, counted.
pub(crate) fn settled(shared: &Shared, routed: Routed, attempts: u32) -> Result<Outcome, Error> {
    match routed {
        Routed::Value { value, served_by, node, reason } => {
            shared.tally.read(Some(served_by), reason);
            Ok(outcome_of_node(shared, value, served_by, node, reason, attempts))
        }
        Routed::Missing(reason) => {
            shared.tally.read(Some(ServedBy::None), Some(reason));
            Ok(without_node(None, ServedBy::None, reason, attempts, false))
        }
        Routed::Unavailable(reason) => {
            shared.tally.read(None, Some(reason));
            Err(Error::Unavailable { reason })
        }
        Routed::DeadlineExceeded => {
            shared.tally.read(None, Some(Reason::Deadline));
            Err(Error::DeadlineExceeded { limit: "deadline" })
        }
        Routed::Load { .. } => Err(Error::Internal("a load is not settled")),
    }
}

/// The outcome of a read that the callback was asked for, counted.
pub(crate) fn loaded(
    shared: &Shared,
    result: Result<Option<Bytes>, Error>,
    coalesced: bool,
    reason: Reason,
    attempts: u32,
) -> Result<Outcome, Error> {
    let served_by = match &result {
        Ok(Some(_)) => Some(ServedBy::Secondary),
        Ok(None) => Some(ServedBy::None),
        Err(_) => None,
    };
    shared.tally.read(served_by, Some(reason));
    let value = result?;
    Ok(without_node(value, served_by.unwrap_or(ServedBy::None), reason, attempts, coalesced))
}

fn outcome_of_node(
    shared: &Shared,
    value: Bytes,
    served_by: ServedBy,
    node: failsoft_policy::NodeKey,
    reason: Option<Reason>,
    attempts: u32,
) -> Outcome {
    let (endpoint, current_at, now) =
        shared.with_cluster(|cluster, now| (cluster.endpoint(node).cloned(), cluster.current_at(node), now));
    let age = match served_by {
        ServedBy::Replica => current_at.map_or(Duration::ZERO, |at| now.since(at)),
        ServedBy::Primary | ServedBy::Secondary | ServedBy::None => Duration::ZERO,
    };
    Outcome { value: Some(value), served_by, reason, age, attempts, coalesced: false, node: endpoint }
}

fn without_node(value: Option<Bytes>, served_by: ServedBy, reason: Reason, attempts: u32, coalesced: bool) -> Outcome {
    Outcome { value, served_by, reason: Some(reason), age: Duration::ZERO, attempts, coalesced, node: None }
}

fn source_name(source: Source) -> ServedBy {
    match source {
        Source::Primary => ServedBy::Primary,
        Source::Replica => ServedBy::Replica,
    }
}

/// A caller's callback as the loads run it.
pub(crate) fn boxed<F, Fut, E>(fallback: F) -> Fallback
where
    F: FnOnce(Bytes, Reason) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<Bytes>, E>> + Send + 'static,
    E: Into<BoxError>,
{
    Box::new(move |reason| {
        Box::new(move |mut keys: Vec<Bytes>| {
            Box::pin(async move {
                let key = keys.pop().unwrap_or_default();
                fallback(key, reason).await.map(Values::One).map_err(Into::into)
            })
        })
    })
}

pub(crate) fn check_string(argument: &'static str, length: usize) -> Result<(), Error> {
    if length <= MAX_STRING {
        return Ok(());
    }
    let problem = format!("{length} bytes; at most {MAX_STRING} are allowed");
    Err(Error::InvalidArgument { argument, problem })
}

pub(crate) fn check_ttl(ttl: Option<Duration>) -> Result<(), Error> {
    if ttl.is_some_and(|ttl| !(MIN_TTL..=MAX_TTL).contains(&ttl)) {
        let problem = "1 ms to 36,500 days are allowed; leave it out for the default".to_owned();
        return Err(Error::InvalidArgument { argument: "ttl", problem });
    }
    Ok(())
}
