//! Serves a copy instead of a load that takes long, and lets the load go on without its caller.

use crate::account::ReadEnd;
use crate::copies;
use crate::error::Error;
use crate::frame;
use crate::reads::{self, Fallback, Missed};
use crate::shared::Shared;
use bytes::Bytes;
use failsoft_policy::{Instant, Reason};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Stops a load with its caller, unless it was left to itself.
struct Leader(Option<AbortHandle>);

impl Drop for Leader {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

/// Loads a key as [`reads::load`] does; after `soft` its caller gets a copy, if one may stand in for a caller who asks for
/// no more than that age.
pub(crate) async fn load(
    shared: &Arc<Shared>,
    key: &[u8],
    times: (Instant, Option<Instant>),
    missed: Missed,
    ttl: Option<Duration>,
    fallback: Fallback,
    (soft, asked): (Duration, Option<Duration>),
) -> ReadEnd {
    let attempts = missed.attempts;
    let (tell, mut told) = oneshot::channel();
    let load = {
        let (shared, key) = (Arc::clone(shared), Bytes::copy_from_slice(key));
        async move { drop(tell.send(reads::load(&shared, &key, times, missed, ttl, fallback).await)) }
    };
    let task = match frame::current() {
        Some(frame) => shared.spawn(frame::scope(frame, load)),
        None => shared.spawn(load),
    };
    let mut leader = Leader(task);
    let in_time = tokio::time::timeout(soft, &mut told).await;
    if let Ok(end) = in_time {
        return end.unwrap_or_else(|_| closed(attempts));
    }
    if let Some(copy) = copies::serving(shared, key, asked) {
        leader.0 = None;
        return copies::stale(shared, copy, Reason::SlowSource, attempts);
    }
    told.await.unwrap_or_else(|_| closed(attempts))
}

/// A load's task is dropped without a word only when the router is closed.
fn closed(attempts: u32) -> ReadEnd {
    ReadEnd::Failed { error: Error::Closed, reason: None, attempts }
}
