//! Runs callbacks, one for a key at a time, and delivers their result to all callers that wait for it.
//!
//! The policy's loads decide which caller leads, which wait, and what happens to a result; here are
//! the tasks, the panics, and the values.

use crate::error::{CallbackPanicked, Error};
use crate::frame::{self, Frame};
use crate::shared::Shared;
use crate::{fills, panics};
use bytes::Bytes;
use failsoft_policy::Instant;
use failsoft_policy::config::Config;
use failsoft_policy::flight::{Counts, LoadId, LoadKeys, WaiterId};
use failsoft_policy::load::Wanted;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

mod limits;
mod result;

pub(crate) use limits::keep_limits;
use result::Loaded;
pub(crate) use result::{BoxError, Call, Got, Values};

struct Running {
    done: watch::Sender<Option<Loaded>>,
    task: Option<AbortHandle>,
    /// The time to live of what is written back.
    ttl: Duration,
}

struct State {
    policy: failsoft_policy::load::Loads,
    running: BTreeMap<LoadId, Running>,
    /// Results that the policy keeps for late callers.
    results: BTreeMap<LoadId, Loaded>,
    /// Until when the limits are known to be kept; see [`keep_limits`].
    covered: Instant,
    closed: bool,
}

impl State {
    fn take_running(&mut self, loads: &[LoadId]) -> Vec<Running> {
        loads.iter().filter_map(|load| self.running.remove(load)).collect()
    }

    fn take_results(&mut self, loads: &[LoadId]) -> Vec<Loaded> {
        loads.iter().filter_map(|load| self.results.remove(load)).collect()
    }
}

/// See the module.
pub(crate) struct Loads {
    state: Mutex<State>,
    /// Told when a limit is due before those that were covered.
    earlier: Notify,
}

impl Loads {
    pub(crate) fn new(config: &Config) -> Self {
        let state = State {
            policy: failsoft_policy::load::Loads::new(config),
            running: BTreeMap::new(),
            results: BTreeMap::new(),
            covered: Instant::ZERO,
            closed: false,
        };
        Self { state: Mutex::new(state), earlier: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many loads, flights and waiters there are.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().policy.counts()
    }

    /// Stops all callbacks; all waiting callers get `Closed`.
    pub(crate) fn close(&self, config: &Config) {
        let mut state = self.lock();
        state.closed = true;
        state.policy = failsoft_policy::load::Loads::new(config);
        let results = std::mem::take(&mut state.results);
        let running = std::mem::take(&mut state.running);
        drop(state);
        drop(results);
        for running in running.values() {
            running.done.send_replace(Some(Loaded::failed(Error::Closed)));
        }
        stop(running.into_values().collect());
    }

    fn leave(&self, waiter: WaiterId) {
        let mut state = self.lock();
        let over = state.policy.leave(waiter);
        let running = state.take_running(&over);
        drop(state);
        stop(running);
    }
}

/// Outside the lock: what a stopped callback held may call us when it is dropped.
fn stop(running: Vec<Running>) {
    for task in running.into_iter().filter_map(|r| r.task) {
        task.abort();
    }
}

/// Leaves the loads when the caller goes away, or has what it wanted.
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
/// loads yet, and waits for the others. Where another caller's callback went away with its event loop
/// or thread, `call` takes over.
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
        let got = join(shared, &wanted, began, ttl, &mut call).await?;
        let (anew, got): (Vec<_>, Vec<_>) =
            got.into_iter().partition(|got| got.coalesced && got.ending.leaves_it_to(call.is_some()));
        all.extend(got);
        if anew.is_empty() {
            return Ok(all);
        }
        let anew: HashSet<Bytes> = anew.into_iter().map(|got| got.key).collect();
        wanted.retain(|w| anew.contains(&w.key));
    }
}

/// Joins the loads once, and waits for the result. Takes `call` if this caller has to run it.
async fn join(
    shared: &Arc<Shared>,
    wanted: &[Wanted],
    began: Instant,
    ttl: Option<Duration>,
    call: &mut Option<Call>,
) -> Result<Vec<Got>, Error> {
    let frames = frame::current();
    let parents = frame::held_up(frames.as_ref(), shared);
    let mut got = Vec::with_capacity(wanted.len());
    let (waiter, lead, awaited) = {
        let mut state = shared.loads.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let joined = state.policy.join(wanted, &parents, began, shared.now());
        let joined = joined.map_err(|e| Error::Reentrant { key: e.key })?;
        for answered in joined.answered {
            let lost = Loaded::failed(Error::Internal("the result of a load was lost"));
            let loaded = state.results.get(&answered.load).unwrap_or(&lost);
            got.extend(answered.keys.into_iter().map(|key| loaded.key(key, true)));
        }
        if let Some(lead) = &joined.lead {
            let running =
                Running { done: watch::Sender::new(None), task: None, ttl: ttl.unwrap_or(shared.config().fill_ttl()) };
            state.running.insert(lead.load, running);
        }
        let ours = joined.lead.iter().map(|lead| (lead, false));
        let all = ours.chain(joined.waits.iter().map(|theirs| (theirs, true)));
        let awaited: Vec<(LoadKeys, bool, watch::Receiver<_>)> = all
            .filter_map(|(load, coalesced)| {
                Some((load.clone(), coalesced, state.running.get(&load.load)?.done.subscribe()))
            })
            .collect();
        if state.policy.next_timeout().is_some_and(|next| next < state.covered) {
            shared.loads.earlier.notify_one();
        }
        (joined.waiter, joined.lead, awaited)
    };
    let _waiting = Waiting { shared, waiter };
    if let Some(lead) = lead
        && let Some(call) = Call::take(call)
    {
        start(shared, lead, frames, call);
    }
    for (load, coalesced, mut done) in awaited {
        let loaded = match done.wait_for(Option::is_some).await {
            Ok(loaded) => loaded.clone(),
            Err(_) => None,
        };
        let loaded = loaded.unwrap_or_else(|| Loaded::failed(Error::Internal("a load was lost")));
        got.extend(load.keys.into_iter().map(|key| loaded.key(key, coalesced)));
    }
    Ok(got)
}

/// Ends a load that never came to an end of its own: its task was dropped with its runtime.
struct Unfinished {
    shared: Arc<Shared>,
    load: LoadId,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        finish(&self.shared, self.load, Loaded::gone());
    }
}

fn start(shared: &Arc<Shared>, lead: LoadKeys, outer: Option<Arc<Frame>>, call: Call) {
    let load = lead.load;
    if !shared.loads.lock().policy.begin(load) {
        return;
    }
    shared.tally.load();
    let frame = Frame::inside(shared, load, outer);
    let unfinished = Unfinished { shared: Arc::clone(shared), load };
    let task = shared.spawn(frame::scope(frame, async move {
        let loaded = match panics::caught(async move { call.run(lead.keys).await }).await {
            Ok(Ok(values)) => Loaded::values(values),
            Ok(Err(error)) => Loaded::of_callback(error),
            Err(message) => Loaded::failed(Error::Fallback(Arc::new(CallbackPanicked { message }))),
        };
        // The guard finds the load ended already.
        finish(&unfinished.shared, load, loaded);
    }));
    let mut state = shared.loads.lock();
    let over = match state.running.get_mut(&load) {
        Some(running) => {
            running.task.clone_from(&task);
            false
        }
        // It has ended, or was stopped before its task was known here.
        None => true,
    };
    drop(state);
    if let (true, Some(task)) = (over, task) {
        task.abort();
    }
}

fn finish(shared: &Arc<Shared>, load: LoadId, loaded: Loaded) {
    let (finished, running, dropped) = {
        let mut state = shared.loads.lock();
        let finished = state.policy.finish(load, loaded.ending, shared.now());
        let running = state.running.remove(&load);
        let dropped = finished.as_ref().map(|finished| state.take_results(&finished.dropped));
        if finished.as_ref().is_some_and(|finished| finished.kept) {
            state.results.insert(load, loaded.clone());
        }
        if state.policy.next_timeout().is_some_and(|next| next < state.covered) {
            shared.loads.earlier.notify_one();
        }
        (finished, running, dropped)
    };
    drop(dropped);
    let (Some(finished), Some(running)) = (finished, running) else { return };
    if let Ok(values) = &loaded.result {
        // Before the waiters get the result: one of them may close the router at once, which waits
        // for the fills that are under way.
        let values = finished.fills.into_iter().filter_map(|(key, node)| Some((values.get(&key)?, key, node)));
        fills::offer(shared, values, running.ttl);
    }
    if finished.waiters > 0 {
        running.done.send_replace(Some(loaded));
    }
}

#[cfg(test)]
mod tests;
