//! Runs callbacks, one for a key at a time, and brings their result to all who wait for it.
//!
//! Who leads and who waits is decided by the policy's flights; here are the tasks, the panics, and
//! the values.

use crate::error::{CallbackGone, CallbackPanicked, Error};
use crate::frame::{self, Frame};
use crate::shared::Shared;
use crate::{panics, writes};
use bytes::Bytes;
use failsoft_policy::echo::Echoes;
use failsoft_policy::flight::{Counts, Flights, LoadId, LoadKeys, WaiterId};
use failsoft_policy::{Instant, NodeKey};
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What a callback came back with.
#[derive(Debug)]
pub(crate) enum Values {
    /// One key's value.
    One(Option<Bytes>),
    /// The values of those keys that exist.
    Many(HashMap<Bytes, Bytes>),
}

impl Values {
    /// What keeping them costs.
    fn bytes(&self) -> usize {
        match self {
            Self::One(value) => value.as_ref().map_or(0, Bytes::len),
            Self::Many(values) => values.values().map(Bytes::len).sum(),
        }
    }

    fn get(&self, key: &Bytes) -> Option<Bytes> {
        match self {
            Self::One(value) => value.clone(),
            Self::Many(values) => values.get(key).cloned(),
        }
    }
}

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Loading = Pin<Box<dyn Future<Output = Result<Values, BoxError>> + Send>>;
/// A callback, ready to be run once for the keys it leads.
pub(crate) type Call = Box<dyn FnOnce(Vec<Bytes>) -> Loading + Send>;
type Loaded = Result<Arc<Values>, Error>;

/// A key to be loaded, and the primary that confirmed its absence.
pub(crate) struct Wanted {
    pub(crate) key: Bytes,
    pub(crate) confirmed: Option<NodeKey>,
}

/// What became of one key.
pub(crate) struct Got {
    pub(crate) key: Bytes,
    pub(crate) result: Result<Option<Bytes>, Error>,
    /// Another caller's load served it.
    pub(crate) coalesced: bool,
}

struct Running {
    done: watch::Sender<Option<Loaded>>,
    task: Option<AbortHandle>,
    /// The primaries that confirmed the misses: what may be written back, and where.
    confirmed: BTreeMap<Bytes, NodeKey>,
    ttl: Duration,
}

#[derive(Default)]
struct State {
    flights: Flights,
    running: BTreeMap<LoadId, Running>,
    /// Loads that have just ended, and what they came to.
    echoes: Echoes,
    results: BTreeMap<LoadId, Loaded>,
    closed: bool,
}

impl State {
    fn forget(&mut self, dropped: &[LoadId]) {
        for load in dropped {
            self.results.remove(load);
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Loads {
    state: Mutex<State>,
}

impl Loads {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many loads, flights and waiters there are.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().flights.counts()
    }

    /// Carries out the limits that are due; when the next one is.
    pub(crate) fn expire(&self, shared: &Shared) -> Option<Instant> {
        let mut state = self.lock();
        let expired = state.flights.expire(shared.now());
        for late in expired.timed_out {
            if let Some(running) = state.running.get(&late.load) {
                running.done.send_replace(Some(Err(Error::DeadlineExceeded { limit: "load_timeout" })));
            }
        }
        let aborted: Vec<_> = expired.abort.iter().filter_map(|load| state.running.remove(load)).collect();
        let next = state.flights.next_timeout();
        let mut dropped = Vec::new();
        state.echoes.expire(shared.now(), shared.config().deadline(), &mut dropped);
        state.forget(&dropped);
        drop(state);
        abort(aborted);
        next
    }

    /// Stops all callbacks; all who wait get `Closed`.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.flights = Flights::default();
        state.echoes = Echoes::default();
        state.results.clear();
        let running = std::mem::take(&mut state.running);
        drop(state);
        for running in running.values() {
            running.done.send_replace(Some(Err(Error::Closed)));
        }
        abort(running.into_values().collect());
    }

    fn leave(&self, waiter: WaiterId) {
        let mut state = self.lock();
        let cancelled = state.flights.leave(waiter);
        let stopped = cancelled.iter().filter_map(|load| state.running.remove(load)).collect();
        drop(state);
        abort(stopped);
    }
}

/// Outside the lock: what a stopped callback held may call us when it is dropped.
fn abort(stopped: Vec<Running>) {
    for task in stopped.into_iter().filter_map(|r| r.task) {
        task.abort();
    }
}

/// Leaves the flights when the caller goes away, or has what it wanted.
struct Waiting<'a> {
    shared: &'a Shared,
    waiter: WaiterId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.loads.leave(self.waiter);
    }
}

/// Loads these keys for a caller who set out at `began`: runs `call` once for those that nobody
/// loads yet, and waits for the others. Where another caller's callback went away with its event loop or thread, `call` takes over.
pub(crate) async fn load(
    shared: &Arc<Shared>,
    mut wanted: Vec<Wanted>,
    began: Instant,
    ttl: Option<Duration>,
    call: Call,
) -> Result<Vec<Got>, Error> {
    let mut call = Some(call);
    let mut all = Vec::with_capacity(wanted.len());
    loop {
        let confirmed: BTreeMap<Bytes, NodeKey> =
            wanted.iter().filter_map(|w| Some((w.key.clone(), w.confirmed?))).collect();
        let got = round(shared, wanted, began, ttl, &mut call).await?;
        let (gone, got): (Vec<_>, Vec<_>) = got.into_iter().partition(|got| call.is_some() && is_gone(&got.result));
        all.extend(got);
        if gone.is_empty() {
            return Ok(all);
        }
        // Each turn spends a caller's callback, so there are at most as many as callers.
        wanted = gone.into_iter().map(|g| Wanted { confirmed: confirmed.get(&g.key).copied(), key: g.key }).collect();
    }
}

fn is_gone<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Fallback(error)) if error.is::<CallbackGone>())
}

/// Joins the flights once, and waits for what comes of it. Takes `call` if it is to be run.
async fn round(
    shared: &Arc<Shared>,
    mut wanted: Vec<Wanted>,
    began: Instant,
    ttl: Option<Duration>,
    call: &mut Option<Call>,
) -> Result<Vec<Got>, Error> {
    let frames = frame::current();
    let parent = frame::innermost(frames.as_ref(), shared);
    let mut got = Vec::with_capacity(wanted.len());
    let (waiter, lead, awaited) = {
        let mut state = shared.loads.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        wanted.retain(|w| match state.echoes.find(&w.key, began).and_then(|load| state.results.get(&load)) {
            Some(result) => {
                got.push(of_key(w.key.clone(), result, true));
                false
            }
            None => true,
        });
        let keys: Vec<Bytes> = wanted.iter().map(|w| w.key.clone()).collect();
        let limit = shared.config().load_timeout();
        let joined = state.flights.join(&keys, parent, shared.now(), limit);
        let join = joined.map_err(|e| Error::Reentrant { key: e.key })?;
        if let Some(lead) = &join.lead {
            let confirmed = wanted.iter().filter_map(|w| Some((w.key.clone(), w.confirmed?))).collect();
            let ttl = ttl.unwrap_or(shared.config().fill_ttl());
            let done = watch::Sender::new(None);
            state.running.insert(lead.load, Running { done, task: None, confirmed, ttl });
        }
        let ours = join.lead.iter().map(|lead| (lead, false));
        let all = ours.chain(join.waits.iter().map(|theirs| (theirs, true)));
        let awaited: Vec<(LoadKeys, bool, watch::Receiver<_>)> = all
            .filter_map(|(load, coalesced)| {
                Some((load.clone(), coalesced, state.running.get(&load.load)?.done.subscribe()))
            })
            .collect();
        (join.waiter, join.lead, awaited)
    };
    let _waiting = Waiting { shared, waiter };
    let leads = lead.is_some();
    if let (Some(lead), Some(call)) = (lead, call.take_if(|_| leads)) {
        start(shared, lead, frames, call);
    }
    for (load, coalesced, mut done) in awaited {
        let result = match done.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Err(Error::Internal("a load ended without a result"))),
            Err(_) => Err(Error::Internal("a load was lost")),
        };
        got.extend(load.keys.into_iter().map(|key| of_key(key, &result, coalesced)));
    }
    Ok(got)
}

fn of_key(key: Bytes, result: &Loaded, coalesced: bool) -> Got {
    let result = result.as_ref().map(|values| values.get(&key)).map_err(Clone::clone);
    Got { key, result, coalesced }
}

/// Ends a load that never came to an end of its own: its task was dropped with its runtime.
struct Unfinished {
    shared: Arc<Shared>,
    load: LoadId,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        finish(&self.shared, self.load, Err(Error::Fallback(Arc::new(CallbackGone))));
    }
}

fn start(shared: &Arc<Shared>, lead: LoadKeys, outer: Option<Arc<Frame>>, call: Call) {
    shared.tally.load();
    let load = lead.load;
    let frame = Frame::inside(shared, load, outer);
    let unfinished = Unfinished { shared: Arc::clone(shared), load };
    let task = shared.spawn(frame::scope(frame, async move {
        let result = match panics::caught(async move { call(lead.keys).await }).await {
            Ok(Ok(values)) => Ok(Arc::new(values)),
            Ok(Err(error)) => Err(Error::Fallback(error.into())),
            Err(message) => Err(Error::Fallback(Arc::new(CallbackPanicked { message }))),
        };
        // The guard finds the load ended already.
        finish(&unfinished.shared, load, result);
    }));
    let mut state = shared.loads.lock();
    let ended = match state.running.get_mut(&load) {
        Some(running) => {
            running.task.clone_from(&task);
            false
        }
        // It has ended, or was cancelled before it was known here.
        None => true,
    };
    drop(state);
    if let (true, Some(task)) = (ended, task) {
        task.abort();
    }
    // The conductor keeps the limit of the load.
    shared.wake.notify_one();
}

fn finish(shared: &Arc<Shared>, load: LoadId, result: Loaded) {
    let (completed, running) = {
        let mut state = shared.loads.lock();
        let (completed, running) = (state.flights.complete(load), state.running.remove(&load));
        // Those who set out before now may still come and ask for it.
        if let Some(ended) = completed.as_ref().filter(|c| !c.late && !is_gone(&result)) {
            let bytes = result.as_ref().map_or(0, |values| values.bytes());
            let mut dropped = Vec::new();
            if state.echoes.remember(load, ended.keys.clone(), bytes, shared.now(), &mut dropped) {
                state.results.insert(load, result.clone());
            }
            state.forget(&dropped);
        }
        (completed, running)
    };
    let (Some(completed), Some(running)) = (completed, running) else { return };
    if let Ok(values) = &result {
        // Before the waiters hear of it: one of them may close the router at once, which waits for
        // the fills that are under way.
        for key in completed.keys {
            if let (Some(value), Some(&confirmed)) = (values.get(&key), running.confirmed.get(&key)) {
                writes::fill(shared, key, value, running.ttl, confirmed);
            }
        }
    }
    if !completed.late {
        running.done.send_replace(Some(result));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Router;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn who_set_out_before_a_load_ended_gets_its_result() {
        let router = Router::builder(["127.0.0.1:1"]).build().expect("good settings");
        let runs = Arc::new(AtomicUsize::new(0));
        let get = async |began| {
            let runs = Arc::clone(&runs);
            let call: Call = Box::new(move |_| {
                runs.fetch_add(1, Ordering::Relaxed);
                Box::pin(async { Ok(Values::One(Some(Bytes::from_static(b"v")))) })
            });
            let wanted = vec![Wanted { key: Bytes::from_static(b"k"), confirmed: None }];
            let got = load(router.shared(), wanted, began, None, call).await.expect("an open router");
            (got[0].result.clone().expect("a value"), got[0].coalesced)
        };
        let began = router.shared().now();
        assert_eq!(get(began).await, (Some(Bytes::from_static(b"v")), false));
        assert_eq!(get(began).await, (Some(Bytes::from_static(b"v")), true));
        assert_eq!(runs.load(Ordering::Relaxed), 1, "the second set out before the first one's load had ended");
        assert!(!get(router.shared().now()).await.1);
        assert_eq!(runs.load(Ordering::Relaxed), 2, "the third set out after it");
    }
}
