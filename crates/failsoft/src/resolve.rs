//! One read with its options and its account: what `router.resolve(key)` builds.

use crate::error::Error;
use crate::loads::BoxError;
use crate::outcome::Outcome;
use crate::reads::{Fallback, Options};
use crate::router::{Router, boxed};
use bytes::Bytes;
use failsoft_policy::Reason;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

/// A read that begins when it is awaited.
#[must_use = "a read begins when it is awaited"]
pub struct Resolve<'r, K> {
    router: &'r Router,
    key: K,
    options: Options,
    fallback: Option<Fallback>,
}

impl<'r, K: AsRef<[u8]>> Resolve<'r, K> {
    pub(crate) fn new(router: &'r Router, key: K) -> Self {
        Self { router, key, options: Options::default(), fallback: None }
    }

    /// Asked when the primary says that there is no such key, or when no node may answer.
    pub fn fallback<F, Fut, E>(mut self, fallback: F) -> Self
    where
        F: FnOnce(Bytes, Reason) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<Bytes>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.fallback = Some(boxed(fallback));
        self
    }

    /// The time to live of a value that this call loads and writes back, instead of `fill_ttl`: 1 ms
    /// to 36,500 days.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = Some(ttl);
        self
    }

    /// The most time for the whole call, the callback included: then [`Error::DeadlineExceeded`].
    /// The load goes on while others wait for it. The cluster side has the shorter of this and the
    /// `deadline` setting; with a fallback at most half of this, so that a node that hangs leaves it time. Zero
    /// is a deadline that has passed: nothing is begun.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }
}

impl<'r, K: AsRef<[u8]> + Send + 'r> IntoFuture for Resolve<'r, K> {
    type Output = Result<Outcome, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'r>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { router, key, options, fallback } = self;
            let key = Bytes::copy_from_slice(key.as_ref());
            router.read(&key, options, fallback).await
        })
    }
}

impl<K> fmt::Debug for Resolve<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolve").field("ttl", &self.options.ttl).field("deadline", &self.options.deadline).finish()
    }
}
