//! Equal reads under way share one request (`coalesce` = `reads`, or while the store is slow): the first one sends it, and
//! the others wait for its value. If none comes of it, each goes on for itself.

use crate::driver::{self, FirstAttempt, Served};
use crate::shared::Shared;
use bytes::Bytes;
use failsoft_policy::Instant;
use failsoft_policy::route::Bounds;
use failsoft_policy::sharing::{Coalesce, joins};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The requests under way of a router, by key; no more than reads are under way.
pub(crate) struct Requests {
    always: bool,
    by_key: Mutex<HashMap<Bytes, Request>>,
}

struct Request {
    sent_at: Instant,
    value: watch::Receiver<Option<Served>>,
}

impl Requests {
    pub(crate) fn new(coalesce: Coalesce) -> Self {
        Self { always: coalesce == Coalesce::Reads, by_key: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, Request>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key was changed: who asks for it from now on does not wait for what was asked for before.
    pub(crate) fn detach(&self, key: &[u8]) {
        self.lock().remove(key);
    }
}

/// Whether equal reads share their requests now.
#[inline]
pub(crate) fn is_on(shared: &Shared) -> bool {
    shared.requests.always || shared.loads.shares_reads()
}

/// The first attempt of a read: another one's, if that is under way.
pub(crate) async fn first_attempt(
    shared: &Shared,
    key: &[u8],
    bounds: Bounds,
    (now, dice): (Instant, u32),
) -> FirstAttempt {
    let (mut leads, theirs) = {
        let mut requests = shared.requests.lock();
        match requests.get(key).filter(|request| joins(shared.config(), request.sent_at, now)) {
            Some(request) => (None, Some(request.value.clone())),
            None => {
                let (tell, value) = watch::channel(None);
                let key = Bytes::copy_from_slice(key);
                requests.insert(key.clone(), Request { sent_at: now, value });
                (Some(Leads { shared, key, tell }), None)
            }
        }
    };
    if let Some(mut theirs) = theirs {
        // An error means that no value came of it.
        if let Ok(served) = theirs.wait_for(Option::is_some).await
            && let Some(served) = &*served
        {
            return FirstAttempt::Served(served.shared());
        }
    }
    let first = driver::first_attempt(shared, key, bounds, (now, dice)).await;
    if let (Some(leads), FirstAttempt::Served(served)) = (&mut leads, &first) {
        leads.tell.send_replace(Some(served.shared()));
    }
    first
}

/// Who has sent a request that others may wait for. Whatever becomes of it, they go on when it is over.
struct Leads<'a> {
    shared: &'a Shared,
    key: Bytes,
    tell: watch::Sender<Option<Served>>,
}

impl Drop for Leads<'_> {
    fn drop(&mut self) {
        let mut requests = self.shared.requests.lock();
        // It may be another one's by now.
        if requests.get(&self.key).is_some_and(|request| request.value.same_channel(&self.tell.subscribe())) {
            requests.remove(&self.key);
        }
    }
}
