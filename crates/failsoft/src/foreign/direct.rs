//! A read that is sent from its caller's own thread, and whose value goes straight from the node's connection to the
//! caller's channel. With any other result of the first attempt, a task continues from there.

use super::channel::{Ending, Final};
use super::{Caller, Key, Parent, Pending, UnderWay, run, spawn};
use crate::account::ReadEnd;
use crate::behind::{self, Behind};
use crate::connection::{Outcome, Sent, Sink};
use crate::driver::{self, FirstAttempt, Served, Target, Unserved};
use crate::frame::Frame;
use crate::near;
use crate::reads::{self, ReadOptions};
use crate::router::Router;
use crate::sharing;
use failsoft_policy::Instant;
use failsoft_policy::route::{Bounds, Step};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;
use tokio::task::AbortHandle;

/// What is asked for. There is no deadline in it: that takes a timer, and so a task from the beginning.
pub(super) struct Asked {
    pub(super) key: Key,
    pub(super) ttl: Option<Duration>,
    /// How old what stands in may be, if the caller says so.
    pub(super) staleness_budget: Option<Duration>,
    /// It has a `recompute` beside its `fallback`.
    pub(super) recompute: bool,
    /// The caller has a callback.
    pub(super) callback: bool,
    /// It ends with an outcome instead of the bare value.
    pub(super) account: bool,
}

/// The first attempt, under way.
struct DirectRead {
    asked: Asked,
    bounds: Bounds,
    begun: Instant,
    dice: u32,
    step: Step,
    target: Target,
    parent: Option<Arc<Frame>>,
    state: Mutex<State>,
}

struct State {
    /// Taken when the first attempt has a result or is withdrawn.
    unfinished: Option<Unfinished>,
    /// The task that continues with it, if there is one.
    task: Option<AbortHandle>,
    cancelled: bool,
}

/// What a read that has not ended needs. It keeps the router alive.
struct Unfinished {
    router: Router,
    ending: Ending,
}

/// The caller's handle to the read.
#[derive(Clone, Debug)]
pub(super) struct DirectHandle {
    /// Nothing else keeps the read alive once it has ended.
    read: Weak<DirectRead>,
    /// None if the node's connection took no request.
    sent: Option<Sent>,
}

/// Sends the first request. If there is none to send, starts the task that continues without it.
pub(super) fn start(router: &Router, caller: Caller<'_>, asked: Asked) -> Pending {
    let shared = router.shared();
    let (begun, dice) = (shared.now(), fastrand::u32(..));
    let bounds = shared.bounds(begun).no_staler_than(shared.config(), asked.staleness_budget);
    let unfinished = Unfinished { router: router.clone(), ending: caller.channel.ending(caller.token) };
    let parent = caller.parent.map(Parent::frame);
    if let Some(hit) = near::hit(shared, &asked.key) {
        if asked.callback
            && let Some(behind) = behind::of_passed_on(shared, &asked.key, &hit.copy.value)
        {
            let end = Final::of_read(ReadEnd::Near(hit), shared, asked.account);
            unfinished.ending.serve(end);
            let task = async move { unfinished.behind(behind, asked.recompute).await };
            return Pending(UnderWay::Task(spawn(&shared.opener.runtime, parent, task)));
        }
        unfinished.ending.complete(Final::of_read(ReadEnd::Near(hit), shared, asked.account));
        return Pending(UnderWay::Direct(DirectHandle { read: Weak::new(), sent: None }));
    }
    let (step, target) = driver::target(shared, &asked.key, bounds, (begun, dice));
    if let Some(line) = target.as_ref().and_then(|target| near::wanted(shared, target, dice)) {
        let task = async move { unfinished.track(asked, bounds, line, (begun, dice)).await };
        return Pending(UnderWay::Task(spawn(&shared.opener.runtime, parent, task)));
    }
    if sharing::is_on(router.shared()) {
        let task = async move { unfinished.share(asked, bounds, (begun, dice)).await };
        return Pending(UnderWay::Task(spawn(&shared.opener.runtime, parent, task)));
    }
    let Some(target) = target else {
        let task = async move { unfinished.go_on(&asked, bounds, Unserved { step, begun, result: None }).await };
        return Pending(UnderWay::Task(spawn(&shared.opener.runtime, parent, task)));
    };
    let state = Mutex::new(State { unfinished: Some(unfinished), task: None, cancelled: false });
    let read = Arc::new(DirectRead { asked, bounds, begun, dice, step, target, parent, state });
    let sent = read.target.node.submit(read.target.source, &shared.opener, |lane| {
        lane.get_for(Arc::<DirectRead>::clone(&read), &read.asked.key, read.target.attempt)
    });
    let sent = sent.map_err(|refused| {
        let result = Some(driver::not_sent(refused, &read.target.node));
        read.hand_over(read.lock(), Unserved { step, begun, result });
    });
    Pending(UnderWay::Direct(DirectHandle { read: Arc::downgrade(&read), sent: sent.ok() }))
}

impl Unfinished {
    /// Makes the first attempt so that a near copy comes of it, and goes on from there.
    async fn track(self, asked: Asked, bounds: Bounds, line: u64, (begun, dice): (Instant, u32)) {
        let shared = Arc::clone(self.router.shared());
        let (step, target) = driver::target(&shared, &asked.key, bounds, (begun, dice));
        let result = match &target {
            Some(target) => near::fetch(&shared, &asked.key, target, (line, begun)).await,
            None => None,
        };
        match target.zip(result).map(|(target, result)| target.first_attempt(result, step, begun)) {
            Some(FirstAttempt::Served(served)) => self.served(&asked, served, (begun, dice)).await,
            Some(FirstAttempt::Unserved(unserved)) => self.go_on(&asked, bounds, unserved).await,
            None => self.go_on(&asked, bounds, Unserved { step, begun, result: None }).await,
        }
    }

    /// Shares the first attempt with equal reads, and goes on from there.
    async fn share(self, asked: Asked, bounds: Bounds, begun: (Instant, u32)) {
        let shared = Arc::clone(self.router.shared());
        match sharing::first_attempt(&shared, &asked.key, bounds, begun).await {
            FirstAttempt::Served(served) => self.served(&asked, served, begun).await,
            FirstAttempt::Unserved(unserved) => self.go_on(&asked, bounds, unserved).await,
        }
    }

    /// Ends with a value of the first attempt, and does what follows behind it.
    async fn served(self, asked: &Asked, served: Served, begun: (Instant, u32)) {
        let shared = self.router.shared();
        let behind = behind::of(shared, &asked.key, &served, begun);
        let end = Final::at_once(served, shared, asked.account);
        match behind.filter(|_| asked.callback) {
            None => self.ending.complete(end),
            Some(behind) => {
                self.ending.serve(end);
                self.behind(behind, asked.recompute).await;
            }
        }
    }

    /// The caller has its answer.
    async fn behind(self, behind: Behind, recompute: bool) {
        let Self { router, mut ending } = self;
        let fallback = run::fallback(ending.callee(), recompute);
        behind::carry_out(router.shared(), behind, fallback).await;
        ending.complete(Final::Done(Ok(())));
    }

    /// Does everything after the first attempt.
    async fn go_on(self, asked: &Asked, bounds: Bounds, unserved: Unserved) {
        let Self { router, mut ending } = self;
        let fallback = asked.callback.then(|| run::fallback(ending.callee(), asked.recompute));
        let shared = router.shared();
        let Asked { ttl, staleness_budget, recompute, .. } = *asked;
        let options = ReadOptions { ttl, deadline: None, staleness_budget, recompute };
        let end = reads::go_on(shared, &asked.key, bounds, unserved, fallback, options).await;
        ending.complete(Final::of_read(end, shared, asked.account));
    }
}

impl DirectRead {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the task that continues. If the read was cancelled, the task is stopped at once: what it holds must not
    /// be dropped here, where the lock of what the policy knows may be held.
    fn hand_over(self: &Arc<Self>, mut state: MutexGuard<'_, State>, unserved: Unserved) {
        let Some(unfinished) = state.unfinished.take() else { return };
        let runtime = unfinished.router.shared().opener.runtime.clone();
        // The task keeps the read alive, so that the caller can still cancel it.
        let read = Arc::clone(self);
        let task = async move { unfinished.go_on(&read.asked, read.bounds, unserved).await };
        let task = spawn(&runtime, self.parent.clone(), task);
        if state.cancelled {
            task.abort();
        }
        state.task = Some(task);
    }
}

impl Sink for DirectRead {
    fn told(self: Arc<Self>, outcome: Outcome, wakers: &mut Vec<Waker>) {
        let result = driver::result_of(outcome, &self.target.node);
        let mut state = self.lock();
        match self.target.first_attempt(result, self.step, self.begun) {
            FirstAttempt::Served(served) => {
                let (unfinished, cancelled) = (state.unfinished.take(), state.cancelled);
                drop(state);
                // Dropping it completes the call with `Cancelled`.
                let Some(Unfinished { router, ending }) = unfinished.filter(|_| !cancelled) else { return };
                let behind = behind::of(router.shared(), &self.asked.key, &served, (self.begun, self.dice));
                let end = Final::at_once(served, router.shared(), self.asked.account);
                match behind.filter(|_| self.asked.callback) {
                    None => ending.complete_with(end, wakers),
                    Some(behind) => {
                        ending.serve_with(end, wakers);
                        let runtime = router.shared().opener.runtime.clone();
                        let unfinished = Unfinished { router, ending };
                        let recompute = self.asked.recompute;
                        // The task keeps the read alive, as above.
                        let read = Arc::clone(&self);
                        let task = async move {
                            unfinished.behind(behind, recompute).await;
                            drop(read);
                        };
                        let task = spawn(&runtime, self.parent.clone(), task);
                        self.lock().task = Some(task);
                    }
                }
            }
            FirstAttempt::Unserved(unserved) => self.hand_over(state, unserved),
        }
    }
}

impl DirectHandle {
    /// See [`Pending::cancel`].
    pub(super) fn cancel(&self) {
        let Some(read) = self.read.upgrade() else { return };
        let task = {
            let mut state = read.lock();
            state.cancelled = true;
            state.task.take()
        };
        if let Some(task) = task {
            task.abort();
        } else if self.sent.as_ref().is_some_and(|sent| sent.withdraw(&read)) {
            let unfinished = read.lock().unfinished.take();
            // This completes the call with `Cancelled`.
            drop(unfinished);
        }
    }
}
