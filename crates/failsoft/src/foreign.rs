//! For bindings: reads that a program in another language waits for, and callbacks that run there.
//!
//! The core never calls into the other language. A read is started with a token; its outcome
//! is put as a [`Completion`] into the [`Channel`] that it was started with, and the consumer is woken
//! once when the channel goes from empty to non-empty. A load that is to be done comes as a [`Run`]:
//! the consumer runs its callback on its own loop or thread and [answers](Run::finish). A `Run` that
//! is dropped says that its loop is gone, and another waiter's callback takes over.
//!
//! Each started read, write or wait gets exactly one final completion (`Value`, `Outcome`, `Many`,
//! `Done` or `Cancelled`), unless its channel is closed first; no `Run` with its token comes after that.

mod channel;
mod direct;
mod own;
mod process;
mod run;
mod waiting;

pub use crate::reads::ReadOptions;
pub use channel::{Channel, Completion};
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
use crate::router::{Router, check_string, check_ttl};
use bytes::Bytes;
use channel::{Ending, Final};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Who waits, and where.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Where the completions go.
    pub channel: &'a Arc<Channel>,
    /// The consumer's own name for the call; it may be used again after the final completion.
    pub token: u64,
    /// The load inside whose callback the call is made: by it a callback that asks for its own key is
    /// recognised.
    pub parent: Option<&'a Parent>,
}

/// Something under way. Dropping it lets it go on.
#[derive(Clone, Debug)]
pub struct Pending(UnderWay);

#[derive(Clone, Debug)]
enum UnderWay {
    Task(AbortHandle),
    Direct(direct::DirectHandle),
}

impl Pending {
    /// Gives it up: the next completion of its token is its last, [`Completion::Cancelled`] unless it
    /// had ended. A load that nobody else waits for is stopped.
    pub fn cancel(&self) {
        match &self.0 {
            UnderWay::Task(task) => task.abort(),
            UnderWay::Direct(handle) => handle.cancel(),
        }
    }
}

/// A router for callers in another language. It runs on a runtime that all such routers of a process
/// share, with one thread for I/O.
#[derive(Debug)]
pub struct Foreign {
    /// Always there, until it is dropped.
    router: Option<Router>,
    process: process::Process,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if self.process.check().is_err() {
            // The locks inside may be held by threads that do not exist in this process.
            std::mem::forget(self.router.take());
        }
    }
}

impl Foreign {
    /// Makes a router of these settings on the bindings' runtime.
    ///
    /// # Errors
    /// [`Error::Config`] as [`Builder::build`] does; [`Error::System`] if no thread or descriptor can be had.
    pub fn open(builder: Builder) -> Result<Self, Error> {
        let process = process::Process::current()?;
        let router = builder.runtime(process.runtime().clone()).build()?;
        Ok(Self { router: Some(router), process })
    }

    /// Reads a key; ends with [`Completion::Value`]. With `ask`, the callback is the caller's: before
    /// it, or somebody else's, is waited for comes [`Completion::Loading`], and the caller's own run is
    /// a [`Completion::Run`].
    ///
    /// # Errors
    /// What is known at once, and then nothing is completed: [`Error::InvalidArgument`],
    /// [`Error::Closed`], [`Error::Forked`].
    pub fn get(&self, caller: Caller<'_>, key: Bytes, options: ReadOptions, ask: bool) -> Result<Pending, Error> {
        self.read(caller, key, options, ask, false)
    }

    /// The same with the account; ends with [`Completion::Outcome`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn resolve(&self, caller: Caller<'_>, key: Bytes, options: ReadOptions, ask: bool) -> Result<Pending, Error> {
        self.read(caller, key, options, ask, true)
    }

    /// Reads many keys; ends with [`Completion::Many`]. The callback is asked for all missing keys that
    /// nobody loads yet, in one [`Completion::Run`]. The options are those of the whole call: a key that has no answer
    /// by its `deadline` gets [`Error::DeadlineExceeded`], the others keep theirs.
    ///
    /// # Errors
    /// As [`get`](Self::get); bad keys are reported in the completion.
    pub fn resolve_many(&self, caller: Caller<'_>, keys: Vec<Bytes>, options: ReadOptions) -> Result<Pending, Error> {
        check_ttl(options.ttl)?;
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

    /// Waits for a first view of the cluster; ends with [`Completion::Done`].
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Forked`].
    pub fn ready(&self, caller: Caller<'_>, timeout: Duration) -> Result<Pending, Error> {
        let router = self.open_router()?.clone();
        Ok(self.start(caller, async move { Final::Done(router.ready(timeout).await) }))
    }

    /// Ends the router: whatever is under way is completed with [`Error::Closed`]. Ends with
    /// [`Completion::Done`]; closing twice is fine.
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

    /// Whether calls have a chance at all.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Forked`].
    pub fn check(&self) -> Result<(), Error> {
        self.open_router().map(|_| ())
    }

    fn router(&self) -> Result<&Router, Error> {
        self.process.check()?;
        self.router.as_ref().ok_or(Error::Closed)
    }

    fn open_router(&self) -> Result<&Router, Error> {
        let router = self.router()?;
        router.shared().check_open()?;
        Ok(router)
    }

    fn read(
        &self,
        caller: Caller<'_>,
        key: Bytes,
        options: ReadOptions,
        ask: bool,
        account: bool,
    ) -> Result<Pending, Error> {
        check_string("key", key.len())?;
        check_ttl(options.ttl)?;
        let router = self.open_router()?;
        if options.deadline.is_none() {
            let asked = direct::Asked { key, ttl: options.ttl, callback: ask, account };
            return Ok(direct::start(router, caller, asked));
        }
        let router = router.clone();
        let mut ending = caller.channel.ending(caller.token);
        let fallback = ask.then(|| run::fallback(ending.callee()));
        let read = async move {
            let end = reads::read_with(router.shared(), &key, options, fallback).await;
            Final::of_read(end, router.shared(), account)
        };
        Ok(self.start_until(ending, caller.parent, read))
    }

    fn start(&self, caller: Caller<'_>, call: impl Future<Output = Final> + Send + 'static) -> Pending {
        self.start_until(caller.channel.ending(caller.token), caller.parent, call)
    }

    /// The same with its end at hand.
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

/// Starts a task, inside a load if there is one.
fn spawn(runtime: &Handle, inside: Option<Arc<Frame>>, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    let task = match inside {
        Some(parent) => runtime.spawn(frame::scope(parent, task)),
        None => runtime.spawn(task),
    };
    task.abort_handle()
}
