//! Starts callbacks as tasks of their own, and carries out what follows from their end.

use super::result::Found;
use super::{Call, Loaded, Question, Queued, Running, Values, tell_shed};
use crate::error::{CallbackPanicked, Error};
use crate::frame::{self, Frame};
use crate::shared::Shared;
use crate::{fills, leases, panics, tending};
use bytes::Bytes;
use failsoft_policy::copies::{self, Held};
use failsoft_policy::fleet::Next;
use failsoft_policy::flight::LoadId;
use failsoft_policy::lease::Missing;
use failsoft_policy::load::{Begin, Finished};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Ends a load that never came to an end of its own: its task was dropped with its runtime.
struct Unfinished {
    shared: Arc<Shared>,
    load: LoadId,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(next) = finish(&self.shared, self.load, Loaded::gone()) else { return };
        if SPAWNING.get() {
            // Whoever spawns holds the lock of the tasks, and starts it afterwards.
            self.shared.loads.lock().unstarted.push_back(next);
        } else {
            start_all(&self.shared, [next]);
        }
    }
}

thread_local! {
    /// Whether a task is being spawned: where the runtime is gone it is dropped at once, inside `spawn`.
    static SPAWNING: Cell<bool> = const { Cell::new(false) };
}

/// Starts these loads, and those that begin in their places if they end at once.
pub(super) fn start_all(shared: &Arc<Shared>, loads: impl IntoIterator<Item = LoadId>) {
    let mut ahead: VecDeque<LoadId> = loads.into_iter().collect();
    while let Some(load) = ahead.pop_front() {
        let turn = {
            let mut state = shared.loads.lock();
            let missing = state.policy.leases(load);
            let queued = state.running.get_mut(&load).and_then(|running| running.queued.take());
            queued.map(|queued| (queued, missing))
        };
        ahead.extend(match turn {
            Some((queued, missing)) => start(shared, load, queued, missing),
            None => finish(shared, load, Loaded::gone()),
        });
    }
}

/// Starts a load. The load that begins in its place, if it has ended already.
fn start(shared: &Arc<Shared>, load: LoadId, queued: Queued, missing: Vec<Missing>) -> Option<LoadId> {
    let Queued { keys, outer, call } = queued;
    let frame = Frame::inside(shared, load, outer);
    let unfinished = Unfinished { shared: Arc::clone(shared), load };
    let task = frame::scope(frame, async move {
        let loaded = run(&unfinished.shared, load, (keys, missing), call).await;
        // The guard finds the load ended already.
        let next = finish(&unfinished.shared, load, loaded);
        start_all(&unfinished.shared, next);
    });
    SPAWNING.set(true);
    let task = shared.spawn(task);
    SPAWNING.set(false);
    let mut state = shared.loads.lock();
    let next = state.unstarted.pop_front();
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
    next
}

/// Takes the leases, and runs the callback for the keys that are still missing.
async fn run(
    shared: &Arc<Shared>,
    load: LoadId,
    (mut keys, mut missing): (Vec<Bytes>, Vec<Missing>),
    call: Call,
) -> Loaded {
    let (mut found, mut keeping) = (Found::default(), None);
    let refreshes = missing.iter().any(|missing| missing.over.is_some());
    let mut taken = BTreeMap::new();
    while !missing.is_empty() {
        let leases = leases::take(shared, std::mem::take(&mut missing)).await;
        found.values.extend(leases.found);
        found.marked.extend(leases.marked);
        taken.extend(leases.came.taken.iter().cloned());
        let (next, released) = {
            let mut state = shared.loads.lock();
            let next = state.policy.leased(load, leases.came, shared.now(), fastrand::u32(..));
            (next, state.policy.released())
        };
        tending::release(shared, released);
        match next {
            Some(Next::Wait { until, missing: again }) => {
                found.waited = true;
                tokio::time::sleep_until(shared.opener.clock.std(until)).await;
                missing = again;
            }
            Some(Next::Run(ours)) => keeping = Some(ours),
            None => {}
        }
    }
    if refreshes && !found.values.is_empty() {
        // There is nothing to do. For who has joined it because the key is gone by now, this is no answer.
        return Loaded::gone();
    }
    keys.retain(|key| !found.values.contains_key(key));
    match shared.loads.lock().policy.begin(load, !keys.is_empty(), shared.now()) {
        Begin::Run => {}
        Begin::Over => return Loaded::gone(),
        Begin::Shed(cause) => {
            shared.tally.shed();
            return Loaded::shed(cause).and_found(found);
        }
    }
    if keys.is_empty() {
        return Loaded::none().and_found(found);
    }
    shared.tally.load();
    let (began, asked) = (shared.now(), keys.clone());
    let marked = keys.first().is_some_and(|key| found.marked.contains(key));
    let callback = panics::caught(async move { call.run(Question { keys, marked }).await });
    let loaded = match tending::keep(shared, keeping, callback).await {
        Ok(Ok(values)) => {
            copy(shared, &asked, &values, |key| copies::of_load(began, taken.get(key)));
            Loaded::values(values).that_took(shared.now().since(began))
        }
        Ok(Err(error)) => Loaded::of_callback(error),
        Err(message) => Loaded::failed(Error::Fallback(Arc::new(CallbackPanicked { message }))),
    };
    loaded.and_found(found)
}

/// Keeps copies of what a callback gave for these keys, as far as they may be kept, or that they do not exist.
fn copy(shared: &Shared, keys: &[Bytes], values: &Values, held: impl Fn(&Bytes) -> Option<Held>) {
    for key in keys {
        match (values.get(key), held(key)) {
            (Some(value), Some(held)) => shared.copies.keep(key, &value, held),
            (None, Some(held)) => {
                shared.copies.forget(key);
                if let Some(absent) = &shared.absent {
                    absent.remember(key, held);
                }
            }
            (_, None) => shared.copies.forget(key),
        }
    }
}

/// A load has ended. The load that begins in its place.
fn finish(shared: &Arc<Shared>, load: LoadId, loaded: Loaded) -> Option<LoadId> {
    let (finished, running, dropped, released, shed, next) = {
        let mut state = shared.loads.lock();
        let now = shared.now();
        let finished = state.policy.finish(load, loaded.ending, now);
        let shed = state.take_shed();
        shared.loads.adapt(&state);
        let next = state.policy.release(load, now);
        let running = state.running.remove(&load);
        let dropped = finished.as_ref().map(|finished| state.take_results(&finished.dropped));
        if finished.as_ref().is_some_and(|finished| finished.kept) {
            state.results.insert(load, loaded.clone());
        }
        if state.policy.next_timeout().is_some_and(|next| next < state.covered) {
            shared.loads.earlier.notify_one();
        }
        (finished, running, dropped, state.policy.released(), shed, next)
    };
    drop(dropped);
    tell_shed(shared, shed);
    tending::release(shared, released);
    if let (Some(finished), Some(running)) = (finished, running) {
        deliver(shared, finished, running, loaded);
    }
    next
}

fn deliver(shared: &Arc<Shared>, finished: Finished, running: Running, loaded: Loaded) {
    if let Ok(values) = &loaded.result {
        // Before the waiters get the result: one of them may close the router at once, which waits
        // for the fills that are under way.
        let mut absent = Vec::new();
        let there = finished.fills.into_iter().filter_map(|(key, lease)| match values.get(&key) {
            Some(value) => Some((value, key, lease)),
            None => {
                absent.extend(lease.ok().filter(|lease| lease.kept).map(|lease| (key, lease)));
                None
            }
        });
        fills::offer(shared, there, (running.ttl, loaded.took));
        tending::release(shared, absent);
    }
    if finished.waiters > 0 {
        running.done.send_replace(Some(loaded));
    }
}
