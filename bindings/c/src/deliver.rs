//! Turns completions into calls of the program's functions, on threads of the library or in a dispatch.

use crate::descriptor::Descriptor;
use crate::entries::Then;
use crate::fork::InChild;
use crate::inside::{self, Inside};
use crate::load::{Callback, Kept, Load};
use crate::many::Outcomes;
use crate::outcome::Outcome;
use crate::router::{Delivery, Router};
use crate::status::{Failure, Status, guarded};
use bytes::Bytes;
use failsoft::Error;
use failsoft::foreign::{Bell, Caller, Channel, Completion, Pending, Waiting};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The delivery `fd`: completions that wait until the program dispatches them.
pub(crate) struct Dispatcher {
    pub(crate) descriptor: Arc<Descriptor>,
    bells: Arc<Bells>,
    /// Taken one at a time: a blocking call inside a callback delivers those that the dispatch around it has not
    /// reached.
    ready: Mutex<VecDeque<Completion>>,
}

/// The bells of blocking calls that dispatch while they wait.
#[derive(Default)]
struct Bells(Mutex<Vec<Arc<Bell>>>);

impl Bells {
    fn with<T>(&self, f: impl FnOnce(&mut Vec<Arc<Bell>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Removes the bell of a call when the call ends.
struct Listening<'a> {
    bells: &'a Bells,
    bell: Arc<Bell>,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.bells.with(|bells| bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell)));
    }
}

impl Dispatcher {
    /// A dispatcher, and the channel whose completions it takes.
    pub(crate) fn new() -> std::io::Result<(Self, Arc<Channel>)> {
        let (descriptor, bells) = (Arc::new(Descriptor::new()?), Arc::new(Bells::default()));
        let (set, ring) = (Arc::clone(&descriptor), Arc::clone(&bells));
        let channel = Channel::without_loading(move || {
            set.set();
            ring.with(|bells| bells.iter().for_each(|bell| bell.ring()));
        });
        Ok((Self { descriptor, bells, ready: Mutex::default() }, channel))
    }

    fn listen(&self, bell: &Arc<Bell>) -> Listening<'_> {
        self.bells.with(|bells| bells.push(Arc::clone(bell)));
        Listening { bells: &self.bells, bell: Arc::clone(bell) }
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<Completion>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is in the channel and puts it behind what is here already.
    fn fill(&self, channel: &Channel) {
        let mut ready = self.ready();
        if ready.is_empty() {
            // The two buffers are swapped back and forth, so nothing is copied.
            let mut batch = Vec::from(std::mem::take(&mut *ready));
            channel.drain(&mut batch);
            *ready = batch.into();
        } else {
            let mut batch = Vec::new();
            channel.drain(&mut batch);
            ready.extend(batch);
        }
    }
}

impl Router {
    /// Starts a call and waits for its final completion. `asked` are its keys if it is a call for many. Its loader is
    /// called on this thread; with the delivery `fd`, so are the callbacks of other calls that are due meanwhile.
    pub(crate) fn wait(
        &self,
        asked: &[Bytes],
        loader: Option<Callback>,
        start: impl FnOnce(Caller<'_>) -> Result<Pending, Error>,
    ) -> Result<Completion, Failure> {
        self.wait_with(self.dispatcher(), asked, loader, start)
    }

    /// The same, without callbacks of other calls.
    pub(crate) fn wait_alone(
        &self,
        start: impl FnOnce(Caller<'_>) -> Result<Pending, Error>,
    ) -> Result<Completion, Failure> {
        self.wait_with(None, &[], None, start)
    }

    fn wait_with(
        &self,
        dispatcher: Option<&Dispatcher>,
        asked: &[Bytes],
        loader: Option<Callback>,
        start: impl FnOnce(Caller<'_>) -> Result<Pending, Error>,
    ) -> Result<Completion, Failure> {
        let mut call = Call { waiting: Waiting::default(), loader, kept: Kept::default(), come: Vec::new() };
        let listening = dispatcher.map(|dispatcher| dispatcher.listen(call.waiting.bell()));
        let parent = inside::loads();
        start(call.waiting.caller(parent.as_ref()))?;
        match self.last(&mut call, dispatcher) {
            Ok(last) => Ok(call.ended(last, asked)),
            Err(forked) => {
                std::mem::forget((call, listening));
                Err(forked.into())
            }
        }
    }

    /// The last completion of a blocking call.
    fn last(&self, call: &mut Call, dispatcher: Option<&Dispatcher>) -> Result<Completion, InChild> {
        let mut first = None;
        loop {
            call.waiting.drain(&mut call.come);
            // So that the first one is popped first.
            call.come.reverse();
            while let Some(completion) = call.come.pop() {
                match completion {
                    Completion::Run(run) => {
                        // A call without a loader gets no `Run`. Dropping one passes the load on to another caller.
                        if let Some(loader) = &call.loader {
                            loader.call(self.address(), Load::keeping(run, &call.kept))?;
                        }
                    }
                    Completion::Loading { .. } | Completion::Stop { .. } => {}
                    // What is left is to call the loader, for which there is no other thread.
                    Completion::Served(served) => first = Some(*served),
                    last => return Ok(first.unwrap_or(last)),
                }
            }
            if let Some(dispatcher) = dispatcher {
                self.dispatch(dispatcher)?;
            }
            call.waiting.bell().wait(None);
        }
    }

    /// Calls the callbacks that are due now.
    pub(crate) fn dispatch(&self, dispatcher: &Dispatcher) -> Result<(), InChild> {
        dispatcher.descriptor.clear();
        dispatcher.fill(&self.channel);
        let inside = Inside::new(self.address());
        loop {
            // The lock is not held during the callback.
            let next = dispatcher.ready().pop_front();
            let Some(completion) = next else { break };
            self.deliver(completion, &inside)?;
        }
        drop(inside);
        // It was set for completions that came meanwhile, but those may have been delivered already. Only what is still
        // in the channel is a reason to dispatch again.
        dispatcher.descriptor.clear_again();
        if !self.channel.is_empty() {
            dispatcher.descriptor.set();
        }
        Ok(())
    }

    /// Dispatches until no call is under way, here or in a dispatch on another thread.
    pub(crate) fn dispatch_all(&self, dispatcher: &Dispatcher) -> Result<(), InChild> {
        let bell = Arc::new(Bell::default());
        let listening = dispatcher.listen(&bell);
        loop {
            if let Err(forked) = self.dispatch(dispatcher) {
                std::mem::forget(listening);
                return Err(forked);
            }
            if self.entries.is_empty() {
                self.entries.wait_called();
                return Ok(());
            }
            bell.wait(None);
        }
    }

    /// Calls the program's function for a completion, if it has one; `inside` is held around it.
    pub(crate) fn deliver(&self, completion: Completion, inside: &Inside) -> Result<(), InChild> {
        match completion {
            Completion::Outcome { token, result } => {
                self.end(token, Ended::One(Box::new(Outcome::new(result))), inside)
            }
            Completion::Many { token, result } => self.end(token, Ended::Many(Outcomes::of(result)), inside),
            Completion::Cancelled { token } => self.end(token, Ended::Cancelled, inside),
            Completion::Done { token, result } => self.end(token, Ended::Done(result.map_err(Failure::from)), inside),
            Completion::Run(run) => match self.entries.loader(run.token) {
                Some(callback) => self.load(run.token, callback, Load::new(run)),
                None => Ok(()),
            },
            Completion::Stop { id } => {
                if let Delivery::Threads(threads) = &self.delivery {
                    threads.withdraw_load(id);
                }
                Ok(())
            }
            Completion::Served(first) => match *first {
                Completion::Outcome { token, result } => {
                    self.serve(token, Ended::One(Box::new(Outcome::new(result))), inside)
                }
                _ => Ok(()),
            },
            // Calls that end so block, and so use no channel of the router's; it leaves out `Loading`, too.
            Completion::Loading { .. }
            | Completion::Value { .. }
            | Completion::Last { .. }
            | Completion::Said { .. } => Ok(()),
        }
    }

    fn end(&self, token: u64, ended: Ended, inside: &Inside) -> Result<(), InChild> {
        if let Delivery::Threads(threads) = &self.delivery {
            threads.withdraw_read(token);
        }
        if let Some(entry) = self.entries.remove(token) {
            if let Some(then) = entry.then {
                then.call(entry.data, ended);
            }
            inside.check()?;
            self.entries.called();
        }
        Ok(())
    }

    /// The call has its answer, and goes on.
    fn serve(&self, token: u64, ended: Ended, inside: &Inside) -> Result<(), InChild> {
        if let Some((then, data)) = self.entries.serve(token) {
            then.call(data, ended);
            inside.check()?;
        }
        Ok(())
    }

    fn load(&self, token: u64, callback: Callback, load: Load) -> Result<(), InChild> {
        match &self.delivery {
            Delivery::Threads(threads) => {
                threads.load(self.address(), token, callback, load);
                Ok(())
            }
            Delivery::Fd(_) => callback.call(self.address(), load),
        }
    }
}

/// A blocking call.
struct Call {
    waiting: Waiting,
    loader: Option<Callback>,
    kept: Kept,
    come: Vec<Completion>,
}

impl Call {
    /// What its caller gets: the value of its own loader, even if that took too long.
    fn ended(&self, last: Completion, asked: &[Bytes]) -> Completion {
        match self.kept.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(own) => own.instead_of(last, asked),
            None => last,
        }
    }
}

/// How an asynchronous call ended.
enum Ended {
    One(Box<Outcome>),
    Done(Result<(), Failure>),
    Many(Result<Outcomes, Failure>),
    Cancelled,
}

impl Then {
    /// Calls the program's function.
    fn call(self, data: *mut c_void, ended: Ended) {
        match self {
            Self::Outcome(then) => {
                let outcome = match ended {
                    Ended::One(outcome) => outcome,
                    Ended::Many(_) | Ended::Done(_) | Ended::Cancelled => Box::new(Outcome::cancelled()),
                };
                let (status, outcome) = (outcome.status(), Box::into_raw(outcome));
                // SAFETY: the program gave the function and its data for this call.
                unsafe { then(status, outcome, data) };
            }
            Self::Outcomes(then) => {
                let (status, outcomes) = match ended {
                    Ended::Many(Ok(outcomes)) => (outcomes.status(), Box::into_raw(Box::new(outcomes))),
                    Ended::Many(Err(failure)) => (failure.status, std::ptr::null_mut()),
                    Ended::One(_) | Ended::Done(_) | Ended::Cancelled => {
                        (Status::FAILSOFT_CANCELLED, std::ptr::null_mut())
                    }
                };
                // SAFETY: the same.
                unsafe { then(status, outcomes, data) };
            }
            Self::Done(then) => {
                let status = match ended {
                    Ended::Done(result) => guarded(|| result),
                    Ended::One(_) | Ended::Many(_) | Ended::Cancelled => Status::FAILSOFT_CANCELLED,
                };
                // SAFETY: the same.
                unsafe { then(status, data) };
            }
        }
    }
}
