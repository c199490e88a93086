//! For bindings: calls from programs in other languages, and callbacks that run there.
//!
//! The core never calls into the other language. A call is started with a token. Its result is put as a [`Completion`]
//! into the [`Channel`] that it was started with, and the consumer is woken once, when the channel goes from empty to
//! non-empty. A load comes as a [`Run`]: the consumer runs the callback on its own loop or thread and
//! [answers](Run::finish). Dropping a `Run` means that its loop or thread is gone; another waiter's callback takes
//! over. What a near copy serves needs none of this: [`Foreign::near`].
//!
//! Each call that was started gets exactly one final completion (`Value`, `Outcome`, `Many`, `Done`, `Last`, `Said` or
//! `Cancelled`), unless its channel is closed first. No `Run` with its token comes after that.

mod channel;
mod direct;
mod key;
mod near;
mod own;
mod process;
mod run;
mod waiting;

pub use crate::reads::ReadOptions;
pub use channel::{Channel, Completion};
pub use key::Key;
pub use own::Own;
pub use process::{after_fork, forks, without_signals};
pub use run::{Answer, Parent, Run};
pub use waiting::{Bell, Waiting};

use crate::builder::Builder;
use crate::error::Error;
use crate::frame::{self, Frame};
use crate::health::Health;
use crate::many::Asked;
use crate::reads;
use crate::router::{Router, check_invalidated, check_string, check_ttl};
use crate::writing::{self, Writing};
use bytes::Bytes;
use channel::{Ending, Final};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Where the completions of a call go, and under which token.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The channel that they go to.
    pub channel: &'a Arc<Channel>,
    /// The consumer's own number for the call. It may be used again after the final completion.
    pub token: u64,
    /// The load inside whose callback the call is made, if it is. This is how a callback that asks for its own key is
    /// recognised.
    pub parent: Option<&'a Parent>,
}

/// A call under way. Dropping this does not stop the call.
#[derive(Clone, Debug)]
pub struct Pending(UnderWay);

#[derive(Clone, Debug)]
enum UnderWay {
    Task(AbortHandle),
    Direct(direct::DirectHandle),
}

impl Pending {
    /// Cancels the call: the next completion of its token is its last, which is [`Completion::Cancelled`] unless the
    /// call has just ended. A load that nobody else waits for is stopped.
    pub fn cancel(&self) {
        match &self.0 {
            UnderWay::Task(task) => task.abort(),
            UnderWay::Direct(handle) => handle.cancel(),
        }
    }
}

/// A writer's place inside `writing`. Dropping the last of it ends the writing.
#[derive(Clone, Debug)]
pub struct Inside(Arc<Mutex<Option<Writing>>>);

impl Inside {
    fn put(&self, writing: Option<Writing>) -> Option<Writing> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), writing)
    }
}

/// A router for callers in another language. All such routers of a process share a runtime with one I/O thread.
#[derive(Debug)]
pub struct Foreign {
    /// Always `Some` until it is dropped.
    router: Option<Router>,
    process: process::Process,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if self.process.check().is_err() {
            // Its locks may be held by threads that do not exist in this process.
            std::mem::forget(self.router.take());
        }
    }
}

impl Foreign {
    /// Opens a router with these settings on the bindings' runtime.
    ///
    /// # Errors
    /// [`Error::Config`] as [`Builder::build`] does; [`Error::System`] if no thread or descriptor can be had.
    pub fn open(builder: Builder) -> Result<Self, Error> {
        let process = process::Process::current()?;
        let router = builder.runtime(process.runtime().clone()).build()?;
        Ok(Self { router: Some(router), process })
    }

    /// Reads a key; ends with [`Completion::Value`]. With `ask`, the caller has a callback: [`Completion::Loading`]
    /// comes before the read waits for a load, its own or another caller's, and a [`Completion::Run`] if the callback
    /// has to run.
    ///
    /// # Errors
    /// Those that are known at once; there is no completion then: [`Error::InvalidArgument`], [`Error::Closed`],
    /// [`Error::Forked`].
    pub fn get(
        &self,
        caller: Caller<'_>,
        key: impl Into<Key>,
        options: ReadOptions,
        ask: bool,
    ) -> Result<Pending, Error> {
        self.read(caller, key.into(), options, ask, false)
    }

    /// The same, but ends with [`Completion::Outcome`], which says how the value was obtained.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn resolve(
        &self,
        caller: Caller<'_>,
        key: impl Into<Key>,
        options: ReadOptions,
        ask: bool,
    ) -> Result<Pending, Error> {
        self.read(caller, key.into(), options, ask, true)
    }

    /// Reads many keys; ends with [`Completion::Many`]. One [`Completion::Run`] asks for all missing keys that nobody
    /// is loading yet. The options apply to the call as a whole: a key without an answer by the `deadline` gets
    /// [`Error::DeadlineExceeded`], and the others keep their answers.
    ///
    /// # Errors
    /// As [`get`](Self::get), but bad keys are reported in the completion.
    pub fn resolve_many(&self, caller: Caller<'_>, keys: Vec<Bytes>, options: ReadOptions) -> Result<Pending, Error> {
        check_ttl(options.ttl)?;
        if options.recompute {
            let problem = "one call for many keys has no callback but its fallback".to_owned();
            return Err(Error::InvalidArgument { argument: "recompute", problem });
        }
        let router = self.open_router()?.clone();
        let mut ending = caller.channel.ending(caller.token);
        let call = run::many(ending.callee());
        let read = async move { Final::Many(router.read_keys(Asked::of(keys), options, call).await) };
        Ok(self.start_until(ending, caller.parent, read))
    }

    /// Writes a value; ends with [`Completion::Done`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn set(&self, caller: Caller<'_>, key: Bytes, value: Bytes, ttl: Option<Duration>) -> Result<Pending, Error> {
        let router = self.open_router()?.clone();
        Ok(self.start(caller, async move { Final::Done(router.set(key, value, ttl).await) }))
    }

    /// Invalidates keys, and holds them for a while if `hold` is given; ends with [`Completion::Done`]. When this returns,
    /// no read of this process that begins later gets anything older of them. Cancelling it does not stop it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn invalidate(&self, caller: Caller<'_>, keys: Vec<Bytes>, hold: Option<Duration>) -> Result<Pending, Error> {
        let keys = check_invalidated(keys)?;
        let done = writing::begin(self.open_router()?.shared(), &keys, hold)?;
        Ok(self.start(caller, async move { Final::Done(done.await) }))
    }

    /// When a key was last invalidated; ends with [`Completion::Last`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn last_invalidation(&self, caller: Caller<'_>, key: Bytes) -> Result<Pending, Error> {
        check_string("key", key.len())?;
        let router = self.open_router()?.clone();
        Ok(self.start(caller, async move { Final::Last(router.last_invalidation(key).await) }))
    }

    /// Whether it is known that nobody has invalidated a key for so long; ends with [`Completion::Said`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn within_staleness_budget(&self, caller: Caller<'_>, key: Bytes, max_age: Duration) -> Result<Pending, Error> {
        check_string("key", key.len())?;
        let router = self.open_router()?.clone();
        Ok(self.start(caller, async move { Final::Said(router.within_staleness_budget(key, max_age).await) }))
    }

    /// Holds keys around a transaction; ends with [`Completion::Done`], and then the writer is inside. If that is an error
    /// or is cancelled, it is not, and nothing has to be ended.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn begin_writing(&self, caller: Caller<'_>, keys: Vec<Bytes>) -> Result<(Pending, Inside), Error> {
        let (keys, router) = (check_invalidated(keys)?, self.open_router()?.clone());
        let inside = Inside(Arc::new(Mutex::new(None)));
        let place = inside.clone();
        let pending = self.start(caller, async move {
            Final::Done(Writing::begin(router.shared(), keys).await.map(|writing| drop(place.put(Some(writing)))))
        });
        Ok((pending, inside))
    }

    /// The transaction is over; ends with [`Completion::Done`]. Of a writer that is not inside (any more) there is nothing
    /// to be done. Cancelling it does not stop it.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn end_writing(&self, caller: Caller<'_>, inside: &Inside) -> Result<Pending, Error> {
        self.process.check()?;
        let done = inside.put(None).map(Writing::done);
        Ok(self.start(caller, async move {
            Final::Done(match done {
                Some(done) => done.await,
                None => Ok(()),
            })
        }))
    }

    /// Waits for a first view of the cluster; ends with [`Completion::Done`].
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Forked`].
    pub fn ready(&self, caller: Caller<'_>, timeout: Duration) -> Result<Pending, Error> {
        let router = self.open_router()?.clone();
        Ok(self.start(caller, async move { Final::Done(router.ready(timeout).await) }))
    }

    /// Closes the router: calls under way end with [`Error::Closed`]. Ends with [`Completion::Done`]. A router may be
    /// closed twice.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn close(&self, caller: Caller<'_>) -> Result<Pending, Error> {
        let router = self.router()?.clone();
        Ok(self.start(caller, async move {
            router.close().await;
            Final::Done(Ok(()))
        }))
    }

    /// What the router knows of the cluster and of itself, now.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn health(&self) -> Result<Health, Error> {
        Ok(self.router()?.health())
    }

    /// Checks that calls can be made: the router is open, and of this process.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Forked`].
    #[inline]
    pub fn check(&self) -> Result<(), Error> {
        self.open_router().map(|_| ())
    }

    #[inline]
    fn router(&self) -> Result<&Router, Error> {
        self.process.check()?;
        self.router.as_ref().ok_or(Error::Closed)
    }

    #[inline]
    fn open_router(&self) -> Result<&Router, Error> {
        let router = self.router()?;
        router.shared().check_open()?;
        Ok(router)
    }

    fn read(
        &self,
        caller: Caller<'_>,
        key: Key,
        options: ReadOptions,
        ask: bool,
        account: bool,
    ) -> Result<Pending, Error> {
        let router = self.router_for(&key, &options, ask)?;
        if options.deadline.is_none() {
            let ReadOptions { ttl, staleness_budget, recompute, .. } = options;
            let asked = direct::Asked { key, ttl, staleness_budget, recompute, callback: ask, account };
            return Ok(direct::start(router, caller, asked));
        }
        let router = router.clone();
        let mut ending = caller.channel.ending(caller.token);
        let fallback = ask.then(|| run::fallback(ending.callee(), options.recompute));
        let read = async move {
            let end = reads::read_with(router.shared(), &key, options, fallback).await;
            Final::of_read(end, router.shared(), account)
        };
        Ok(self.start_until(ending, caller.parent, read))
    }

    fn start(&self, caller: Caller<'_>, call: impl Future<Output = Final> + Send + 'static) -> Pending {
        self.start_until(caller.channel.ending(caller.token), caller.parent, call)
    }

    /// The same with an `ending` that exists already.
    fn start_until(
        &self,
        ending: Ending,
        parent: Option<&Parent>,
        call: impl Future<Output = Final> + Send + 'static,
    ) -> Pending {
        let task = async move { ending.complete(call.await) };
        Pending(UnderWay::Task(spawn(self.process.runtime(), parent.map(Parent::frame), task)))
    }
}

/// Starts a task, inside of a load if there is one.
fn spawn(runtime: &Handle, inside: Option<Arc<Frame>>, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    let task = match inside {
        Some(parent) => runtime.spawn(frame::scope(parent, task)),
        None => runtime.spawn(task),
    };
    task.abort_handle()
}
