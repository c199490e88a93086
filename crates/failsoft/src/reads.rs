//! One read, from its first attempt to its end: the same way for every caller.

use crate::absent;
use crate::account::{self, ReadEnd};
use crate::behind;
use crate::copies;
use crate::driver::{self, FirstAttempt, Routed, Unserved};
use crate::error::Error;
use crate::loads::{self, Call, Got};
use crate::near;
use crate::shared::Shared;
use crate::sharing;
use crate::sooner;
use bytes::Bytes;
use failsoft_policy::behind::Behind;
use failsoft_policy::load::Wanted;
use failsoft_policy::miss::{recomputes, with_mark};
use failsoft_policy::route::Bounds;
use failsoft_policy::slot::slot_of;
use failsoft_policy::{Instant, NodeKey, Reason};
use std::sync::Arc;
use std::time::Duration;

/// A caller's callbacks, once it is known why one is asked.
pub(crate) type Fallback = Box<dyn FnOnce(Why) -> Call + Send>;

/// Why a callback is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Why {
    reason: Reason,
    /// How many attempts were sent to nodes before.
    pub(crate) attempts: u32,
    /// The key is read often.
    hot: bool,
    /// Whatever the reason, only `fallback` tells what is right.
    compares: bool,
}

impl Why {
    /// Behind a read that was served.
    pub(crate) fn behind(what: Behind) -> Self {
        let reason = if what == Behind::Refresh { Reason::Expired } else { Reason::Unknown };
        Self { reason, attempts: 0, hot: true, compares: what == Behind::Verify }
    }

    /// The reason, and whether `recompute` is asked if there is one. `marked` says that there was the mark of an
    /// invalidation beside the key.
    pub(crate) fn asked(self, marked: bool) -> (Reason, bool) {
        let reason = if marked { with_mark(self.reason) } else { self.reason };
        (reason, !self.compares && recomputes(reason, self.hot))
    }
}

/// What a read may set for itself; see [`Resolve`](crate::Resolve) for the units and limits.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// The time to live of what the read loads and writes back.
    pub ttl: Option<Duration>,
    /// The most time for the whole call, the callback included; zero has passed before anything begins.
    pub deadline: Option<Duration>,
    /// How old what stands in may be, instead of the settings' budgets.
    pub staleness_budget: Option<Duration>,
    /// The caller has a `recompute` beside its `fallback`.
    pub recompute: bool,
}

impl ReadOptions {
    /// Then nothing is begun.
    fn has_no_time(&self) -> bool {
        self.deadline.is_some_and(|limit| limit.is_zero())
    }

    /// What bounds a call that begins now.
    pub(crate) fn bounds(self, shared: &Shared, now: Instant, callback: bool) -> Bounds {
        let bounds = match self.deadline {
            Some(limit) => Bounds::of_call(shared.config(), now, limit, callback),
            None => shared.bounds(now),
        };
        bounds.no_staler_than(shared.config(), self.staleness_budget)
    }
}

/// Reads the value of a key: the hot path. `fallback` is made only when it may be needed.
#[inline]
pub(crate) async fn value(
    shared: &Arc<Shared>,
    key: &[u8],
    fallback: impl FnOnce() -> Option<Fallback>,
) -> Result<Option<Bytes>, Error> {
    if let Some(hit) = near::hit(shared, key) {
        if let Some(behind) = behind::of_near(shared, key, &hit.copy.value)
            && let Some(fallback) = fallback()
        {
            behind::start(shared, behind, fallback);
        }
        return ReadEnd::Near(hit).into_value(shared);
    }
    let (now, dice) = (shared.now(), fastrand::u32(..));
    let bounds = shared.bounds(now);
    match first_attempt(shared, key, bounds, (now, dice)).await {
        FirstAttempt::Served(served) => {
            if let Some(behind) = behind::of(shared, key, &served, (now, dice))
                && let Some(fallback) = fallback()
            {
                behind::start(shared, behind, fallback);
            }
            Ok(Some(account::value_at_once(served, shared)))
        }
        FirstAttempt::Unserved(unserved) => {
            Box::pin(go_on(shared, key, bounds, unserved, fallback(), ReadOptions::default())).await.into_value(shared)
        }
    }
}

/// The near copy that serves such a read now, if there is one.
#[inline]
pub(crate) fn near(shared: &Shared, key: &[u8], options: &ReadOptions) -> Option<near::Hit> {
    if options.has_no_time() { None } else { near::hit(shared, key).filter(|_| !behind::passes_on(shared)) }
}

/// The first attempt, or that of an equal read.
#[inline]
async fn first_attempt(shared: &Shared, key: &[u8], bounds: Bounds, begun: (Instant, u32)) -> FirstAttempt {
    if sharing::is_on(shared) {
        return Box::pin(sharing::first_attempt(shared, key, bounds, begun)).await;
    }
    driver::first_attempt(shared, key, bounds, begun).await
}

/// Reads a key with options.
pub(crate) async fn read_with(
    shared: &Arc<Shared>,
    key: &[u8],
    options: ReadOptions,
    fallback: Option<Fallback>,
) -> ReadEnd {
    if options.has_no_time() {
        return past_deadline();
    }
    if let Some(hit) = near::hit(shared, key) {
        if let Some(behind) = behind::of_near(shared, key, &hit.copy.value)
            && let Some(fallback) = fallback
        {
            behind::start(shared, behind, fallback);
        }
        return ReadEnd::Near(hit);
    }
    let (now, dice, callback) = (shared.now(), fastrand::u32(..), fallback.is_some());
    let bounds = options.bounds(shared, now, callback);
    let whole = async {
        match first_attempt(shared, key, bounds, (now, dice)).await {
            FirstAttempt::Served(served) => {
                if let Some(behind) = behind::of(shared, key, &served, (now, dice))
                    && let Some(fallback) = fallback
                {
                    behind::start(shared, behind, fallback);
                }
                ReadEnd::AtOnce(served)
            }
            FirstAttempt::Unserved(unserved) => go_on(shared, key, bounds, unserved, fallback, options).await,
        }
    };
    let Some(limit) = options.deadline else { return Box::pin(whole).await };
    match tokio::time::timeout(limit, Box::pin(whole)).await {
        Ok(end) => end,
        Err(_) => copies::or_stale(shared, key, past_deadline(), callback, bounds.staleness),
    }
}

/// Everything after the first attempt.
pub(crate) async fn go_on(
    shared: &Arc<Shared>,
    key: &[u8],
    bounds: Bounds,
    unserved: Unserved,
    fallback: Option<Fallback>,
    options: ReadOptions,
) -> ReadEnd {
    let callback = fallback.is_some();
    let end = by_nodes_and_callback(shared, key, bounds, unserved, fallback, options).await;
    copies::or_stale(shared, key, end, callback, bounds.staleness)
}

async fn by_nodes_and_callback(
    shared: &Arc<Shared>,
    key: &[u8],
    bounds: Bounds,
    unserved: Unserved,
    fallback: Option<Fallback>,
    options: ReadOptions,
) -> ReadEnd {
    let began = unserved.begun;
    let missed = match route(shared, key, bounds, fallback.is_some(), unserved).await {
        Side::Over(end) => return end,
        Side::Load(missed) => missed,
    };
    let Some(fallback) = fallback else { return defect("a load without a callback") };
    if absent::is_absent(shared, key) {
        return ReadEnd::Missing { reason: missed.reason, attempts: missed.attempts };
    }
    let lease_by = options.deadline.map(|_| bounds.deadline);
    let (times, asked) = ((began, lease_by), bounds.staleness);
    match shared.config().soft_load_timeout().filter(|_| copies::serving(shared, key, asked).is_some()) {
        Some(soft) => sooner::load(shared, key, times, missed, options.ttl, fallback, (soft, asked)).await,
        None => load(shared, key, times, missed, options.ttl, fallback).await,
    }
}

/// A key that the cluster did not serve, for its callback.
pub(crate) struct Missed {
    pub(crate) reason: Reason,
    pub(crate) attempts: u32,
    /// The primary that confirmed the miss.
    pub(crate) confirmed: Option<NodeKey>,
}

/// How the cluster side of a read ended.
pub(crate) enum Side {
    Over(ReadEnd),
    Load(Missed),
}

/// The cluster side of a read, from the first attempt on.
pub(crate) async fn route(shared: &Shared, key: &[u8], bounds: Bounds, callback: bool, unserved: Unserved) -> Side {
    let (routed, attempts) = match driver::route(shared, key, bounds, callback, unserved).await {
        Ok(routed) => routed,
        Err(error) => return Side::Over(ReadEnd::Failed { error, reason: None, attempts: 0 }),
    };
    Side::Over(match routed {
        Routed::Load { reason, confirmed } => return Side::Load(Missed { reason, attempts, confirmed }),
        Routed::Value { value, served_by, node, reason, current_at } => {
            ReadEnd::Node { value, served_by, node, reason, current_at, attempts }
        }
        Routed::Stale { copy, reason } => ReadEnd::Stale { copy, reason, attempts },
        Routed::Missing(reason) => ReadEnd::Missing { reason, attempts },
        Routed::Unavailable(reason) => ReadEnd::Failed {
            error: Error::Unavailable { reason, said: shared.control.a_refusal() },
            reason: Some(reason),
            attempts,
        },
        Routed::DeadlineExceeded => past_deadline(),
    })
}

/// Loads a key, for a caller who set out at the first of these times, and whose leases have to be there by the other.
pub(crate) async fn load(
    shared: &Arc<Shared>,
    key: &[u8],
    (began, lease_by): (Instant, Option<Instant>),
    missed: Missed,
    ttl: Option<Duration>,
    fallback: Fallback,
) -> ReadEnd {
    let since = shared.look_at_cluster(|cluster| cluster.joins_since(slot_of(key), shared.now()));
    let (key_of, confirmed) = (Bytes::copy_from_slice(key), missed.confirmed);
    let wanted = vec![Wanted { key: key_of, confirmed, lease_by, over: None, since }];
    let hot = shared.memory.is_hot(key, shared.now());
    let why = Why { reason: missed.reason, attempts: missed.attempts, hot, compares: false };
    match loads::load(shared, wanted, began, ttl, fallback(why)).await {
        Ok(got) => match got.into_iter().next() {
            Some(got) => missed.got(got),
            None => defect("a load without its key"),
        },
        Err(error) => missed.failed(error),
    }
}

impl Missed {
    /// What the load came to.
    pub(crate) fn got(&self, Got { result, coalesced, found, marked, .. }: Got) -> ReadEnd {
        let (attempts, node) = (self.attempts, self.confirmed);
        match result {
            Ok(Some(value)) if found => ReadEnd::Found { value, node, coalesced, attempts },
            Ok(value) => {
                let reason = if marked { with_mark(self.reason) } else { self.reason };
                ReadEnd::Loaded { value, reason, coalesced, attempts }
            }
            Err(error) => self.failed(error),
        }
    }

    /// There is no load, or no end of it.
    pub(crate) fn failed(&self, error: Error) -> ReadEnd {
        ReadEnd::Failed { error, reason: Some(self.reason), attempts: self.attempts }
    }
}

/// The caller's own deadline has passed.
pub(crate) fn past_deadline() -> ReadEnd {
    let error = Error::DeadlineExceeded { limit: "deadline" };
    ReadEnd::Failed { error, reason: Some(Reason::Deadline), attempts: 0 }
}

fn defect(what: &'static str) -> ReadEnd {
    ReadEnd::Failed { error: Error::Internal(what), reason: None, attempts: 0 }
}
