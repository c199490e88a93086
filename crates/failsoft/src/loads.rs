//! Runs callbacks, one for a key at a time, and delivers their result to all callers that wait for it.
//!
//! The policy's loads decide which caller leads, which wait, and what happens to a result; here are
//! the tasks, the panics, and the values.

use crate::error::Error;
use crate::frame::{self, Frame};
use crate::shared::Shared;
use crate::tending;
use bytes::Bytes;
use failsoft_policy::Instant;
use failsoft_policy::config::Config;
use failsoft_policy::flight::{Counts, LoadId, LoadKeys, WaiterId};
use failsoft_policy::load::Wanted;
use failsoft_policy::store::{ShedCause, StoreStatus};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

mod limits;
mod result;
mod run;

pub(crate) use limits::keep_limits;
use result::Loaded;
pub(crate) use result::{BoxError, Call, Got, Loading, Question, Values};
use run::start_all;

struct Running {
    done: watch::Sender<Option<Loaded>>,
    /// What is run when it begins.
    queued: Option<Queued>,
    task: Option<AbortHandle>,
    /// The time to live of what is written back.
    ttl: Duration,
}

/// A load that has not begun.
struct Queued {
    keys: Vec<Bytes>,
    /// The load inside whose callback it was asked for.
    outer: Option<Arc<Frame>>,
    call: Call,
}

struct State {
    policy: failsoft_policy::load::Loads,
    running: BTreeMap<LoadId, Running>,
    /// Results that the policy keeps for late callers.
    results: BTreeMap<LoadId, Loaded>,
    /// Loads that begin in the place of one that ended while its task was being spawned.
    unstarted: VecDeque<LoadId>,
    /// Until when the limits are known to be kept; see [`keep_limits`].
    covered: Instant,
    closed: bool,
}

impl State {
    fn take_running(&mut self, loads: &[LoadId]) -> Vec<Running> {
        loads.iter().filter_map(|load| self.running.remove(load)).collect()
    }

    /// Those that the breaker of the store took out of the line.
    fn take_shed(&mut self) -> Vec<Running> {
        let shed = self.policy.shed();
        self.take_running(&shed)
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
    /// What the policy allows reads in the cluster.
    max_retries: AtomicU32,
    shares_reads: AtomicBool,
}

impl Loads {
    pub(crate) fn new(config: &Config) -> Self {
        let state = State {
            policy: failsoft_policy::load::Loads::new(config, fastrand::u32(..)),
            running: BTreeMap::new(),
            results: BTreeMap::new(),
            unstarted: VecDeque::new(),
            covered: Instant::ZERO,
            closed: false,
        };
        let max_retries = AtomicU32::new(config.max_retries());
        let shares_reads = AtomicBool::new(false);
        Self { state: Mutex::new(state), earlier: Notify::new(), max_retries, shares_reads }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many loads, flights and waiters there are, and how many loads wait in line.
    pub(crate) fn counts(&self) -> (Counts, usize) {
        let state = self.lock();
        (state.policy.counts(), state.policy.queued())
    }

    /// How many retries a read may make on its primary now.
    pub(crate) fn max_retries(&self) -> u32 {
        self.max_retries.load(Relaxed)
    }

    /// Whether equal reads share their requests now, if the setting does not say so.
    #[inline]
    pub(crate) fn shares_reads(&self) -> bool {
        self.shares_reads.load(Relaxed)
    }

    /// After whatever may change these.
    fn adapt(&self, state: &State) {
        self.shares_reads.store(state.policy.shares_reads(), Relaxed);
        self.max_retries.store(state.policy.max_retries(), Relaxed);
    }

    /// The store as its calls show it.
    pub(crate) fn store(&self, now: Instant) -> StoreStatus {
        self.lock().policy.store(now)
    }

    /// These keys were changed: who asks for one from now on gets nothing of a load that began before.
    pub(crate) fn detach<'a>(&self, keys: impl IntoIterator<Item = &'a Bytes>) {
        let mut state = self.lock();
        keys.into_iter().for_each(|key| state.policy.detach(key));
    }

    /// Stops all callbacks; all waiting callers get `Closed`.
    pub(crate) fn close(&self, config: &Config) {
        let mut state = self.lock();
        state.closed = true;
        state.policy = failsoft_policy::load::Loads::new(config, fastrand::u32(..));
        let results = std::mem::take(&mut state.results);
        let running = std::mem::take(&mut state.running);
        drop(state);
        drop(results);
        for running in running.values() {
            running.done.send_replace(Some(Loaded::failed(Error::Closed)));
        }
        stop(running.into_values().collect());
    }
}

/// Outside the lock: what a callback holds may call us when it is dropped.
fn stop(running: Vec<Running>) {
    for task in running.into_iter().filter_map(|r| r.task) {
        task.abort();
    }
}

/// Outside the lock, for the same reason.
fn tell_shed(shared: &Shared, loads: Vec<Running>) {
    for running in loads {
        shared.tally.shed();
        running.done.send_replace(Some(Loaded::shed(ShedCause::BreakerOpen)));
    }
}

/// Leaves the loads when the caller goes away, or has what it wanted.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    waiter: WaiterId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.loads.lock();
        let over = state.policy.leave(self.waiter);
        let (running, released) = (state.take_running(&over), state.policy.released());
        drop(state);
        stop(running);
        tending::release(self.shared, released);
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
    let (waiter, begin, awaited) = {
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
        if let Some((keys, cause)) = joined.shed {
            shared.tally.shed();
            let shed = Loaded::shed(cause);
            got.extend(keys.into_iter().map(|key| shed.key(key, false)));
        }
        if let Some(lead) = &joined.lead {
            let queued = Call::take(call).map(|call| Queued { keys: lead.keys.clone(), outer: frames, call });
            let (done, ttl) = (watch::Sender::new(None), ttl.unwrap_or(shared.config().fill_ttl()));
            state.running.insert(lead.load, Running { done, queued, task: None, ttl });
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
        (joined.waiter, joined.begin, awaited)
    };
    let _waiting = Waiting { shared, waiter };
    start_all(shared, begin);
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

#[cfg(test)]
mod tests;
