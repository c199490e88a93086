//! Reads with options and an account: what `router.resolve(key)` and `router.resolve_many(keys, fallback)` build.

use crate::error::Error;
use crate::loads::BoxError;
use crate::outcome::Outcome;
use crate::reads::ReadOptions;
use crate::router::{Loader, Router, boxed, callbacks, check_recompute};
use bytes::Bytes;
use failsoft_policy::Reason;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

/// A read that begins when it is awaited: of [`OneKey`] or of [`ManyKeys`](crate::ManyKeys).
#[must_use = "a read begins when it is awaited"]
pub struct Resolve<'r, A> {
    pub(crate) router: &'r Router,
    pub(crate) asked: A,
    pub(crate) options: ReadOptions,
}

/// One key, and who is asked for it when the primary has none.
pub struct OneKey<K> {
    key: K,
    fallback: Option<Loader>,
    recompute: Option<Loader>,
}

impl<'r, A> Resolve<'r, A> {
    pub(crate) fn of(router: &'r Router, asked: A) -> Self {
        Self { router, asked, options: ReadOptions::default() }
    }

    /// The time to live of what this call loads and writes back, instead of `fill_ttl`: 1 ms to 36,500 days.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = Some(ttl);
        self
    }

    /// How old what stands in may be, instead of the budgets of the settings, whether or not all invalidations are known:
    /// the answer of a replica, or a copy in this process. Zero means that nothing stands in; no more than
    /// `invalidation_ttl` counts.
    pub fn staleness_budget(mut self, budget: Duration) -> Self {
        self.options.staleness_budget = Some(budget);
        self
    }

    /// The most time for the whole call, the callback included: then [`Error::DeadlineExceeded`], of many keys for
    /// those that have no answer by then. Loads go on while others wait for them. The cluster side has the shorter of
    /// this and the `deadline` setting; with a callback at most half of this, so that a node that hangs leaves it time.
    /// Zero is a deadline that has passed: nothing is begun.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }
}

impl<'r, K: AsRef<[u8]>> Resolve<'r, OneKey<K>> {
    pub(crate) fn new(router: &'r Router, key: K) -> Self {
        Self::of(router, OneKey { key, fallback: None, recompute: None })
    }

    /// Asked when the primary says that there is no such key, or when no node may answer.
    pub fn fallback<F, Fut, E>(mut self, fallback: F) -> Self
    where
        F: FnOnce(Bytes, Reason) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<Bytes>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.asked.fallback = Some(boxed(fallback));
        self
    }

    /// Asked instead of the fallback when the primary says that there is no such key, and nobody is known to have changed
    /// it: it was never known to be there (`absent`), has `expired`, is gone for reasons that are not known (`unknown`),
    /// or was `evicted` while few read it. Whatever was invalidated, and all reads that no node could answer, go to the
    /// fallback, without which this is [`Error::InvalidArgument`].
    pub fn recompute<F, Fut, E>(mut self, recompute: F) -> Self
    where
        F: FnOnce(Bytes, Reason) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<Bytes>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        (self.asked.recompute, self.options.recompute) = (Some(boxed(recompute)), true);
        self
    }
}

impl<'r, K: AsRef<[u8]> + Send + 'r> IntoFuture for Resolve<'r, OneKey<K>> {
    type Output = Result<Outcome, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'r>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { router, asked: OneKey { key, fallback, recompute }, options } = self;
            check_recompute(options.recompute, fallback.is_some())?;
            let key = Bytes::copy_from_slice(key.as_ref());
            let fallback = fallback.map(|fallback| callbacks(fallback, recompute));
            router.read(&key, options, fallback).await
        })
    }
}

impl<A> fmt::Debug for Resolve<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReadOptions { ttl, deadline, staleness_budget, recompute } = self.options;
        f.debug_struct("Resolve")
            .field("ttl", &ttl)
            .field("deadline", &deadline)
            .field("staleness_budget", &staleness_budget)
            .field("recompute", &recompute)
            .finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for OneKey<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneKey").finish_non_exhaustive()
    }
}
