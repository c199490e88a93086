//! The router as C holds it: opened, watched, dispatched, closed.

use crate::config::{self, Config};
use crate::deliver::Dispatcher;
use crate::entries::{Entries, Entry, Then};
use crate::pointers::needed;
use crate::status::{Failure, Status, guarded, guarded_or, text};
use crate::threads::Threads;
use crate::writes::OnDone;
use crate::{fork, inside};
use failsoft::Error;
use failsoft::foreign::{Bell, Channel, Completion, Foreign};
use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

/// A router. Opaque; all its calls may be made by several threads at once, but for failsoft_router_close, which ends
/// all others and has to be the last.
pub struct Router {
    pub(crate) foreign: Foreign,
    pub(crate) entries: Entries,
    pub(crate) channel: Arc<Channel>,
    pub(crate) delivery: Delivery,
}

/// How callbacks reach the program.
pub(crate) enum Delivery {
    Threads(Threads),
    Fd(Dispatcher),
}

impl Router {
    fn open(config: &Config) -> Result<Arc<Self>, Failure> {
        fork::watch();
        let (builder, delivery) = config.router()?;
        let no_thread = |error| Failure::new(Status::FAILSOFT_INTERNAL, format!("the system gives no thread: {error}"));
        let (delivery, channel) = match delivery {
            config::Delivery::Threads => {
                let bell = Arc::new(Bell::default());
                let ringer = Arc::clone(&bell);
                (Delivery::Threads(Threads::new(bell)), Channel::without_loading(move || ringer.ring()))
            }
            config::Delivery::Fd => {
                let none = |error| format!("the system gives no descriptor: {error}");
                let made = Dispatcher::new().map_err(|e| Failure::new(Status::FAILSOFT_INTERNAL, none(e)))?;
                (Delivery::Fd(made.0), made.1)
            }
        };
        let foreign = Foreign::open(builder)?;
        let router = Arc::new(Self { foreign, entries: Entries::default(), channel, delivery });
        if let Some(threads) = router.threads() {
            threads.start(&router).map_err(no_thread)?;
        }
        Ok(router)
    }

    /// The router behind a handle, which stays while the call lasts, whoever closes it meanwhile.
    ///
    /// # Safety
    /// Unless it is NULL, `handle` has to come from `failsoft_router_open` and not be closed yet.
    pub(crate) unsafe fn held(handle: *mut Self) -> Result<Arc<Self>, Failure> {
        if handle.is_null() {
            return Err(Failure::null("router"));
        }
        // SAFETY: the handle is one count of an `Arc`, and here is one more.
        unsafe {
            Arc::increment_strong_count(handle);
            Ok(Arc::from_raw(handle))
        }
    }

    /// The same for a call that needs the router open, and this process.
    ///
    /// # Safety
    /// As [`held`](Self::held).
    pub(crate) unsafe fn open_one(handle: *mut Self) -> Result<Arc<Self>, Failure> {
        // SAFETY: the caller vouches for it.
        let router = unsafe { Self::held(handle) }?;
        router.foreign.check()?;
        Ok(router)
    }

    /// What its callbacks are known by.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    pub(crate) fn threads(&self) -> Option<&Threads> {
        match &self.delivery {
            Delivery::Threads(threads) => Some(threads),
            Delivery::Fd(_) => None,
        }
    }

    pub(crate) fn dispatcher(&self) -> Option<&Dispatcher> {
        match &self.delivery {
            Delivery::Fd(dispatcher) => Some(dispatcher),
            Delivery::Threads(_) => None,
        }
    }

    pub(crate) fn drain(&self, batch: &mut Vec<Completion>) {
        self.channel.drain(batch);
    }

    /// Nothing of a parent process may be touched: its locks may be held by threads that do not exist here.
    fn check_process(&self) -> Result<(), Failure> {
        match self.foreign.check() {
            Err(error @ Error::Forked) => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn needs_fd(&self) -> Result<&Dispatcher, Failure> {
        self.check_process()?;
        let problem = "the router was opened with `delivery` = `threads`; this call is for `fd`";
        self.dispatcher().ok_or_else(|| Failure::new(Status::FAILSOFT_MISUSE, problem))
    }

    /// Ends a call that gives nothing but its success.
    pub(crate) fn done(&self, completion: Completion) -> Result<(), Failure> {
        match completion {
            Completion::Done { result, .. } => Ok(result?),
            _ => Err(unexpected()),
        }
    }

    fn close(&self) -> Result<(), Failure> {
        // From here on no loader begins: what is queued is for reads that are about to end.
        if let Some(threads) = self.threads() {
            threads.hold();
        }
        let closed = self.wait_alone(|caller| self.foreign.close(caller))?;
        self.done(closed)?;
        match &self.delivery {
            Delivery::Threads(threads) => {
                self.entries.wait_called();
                threads.stop();
                Ok(())
            }
            Delivery::Fd(dispatcher) => Ok(self.dispatch_all(dispatcher)?),
        }
    }
}

/// A completion that is none of the call's.
pub(crate) fn unexpected() -> Failure {
    Error::Internal("another completion than the call's").into()
}

/// Opens a router with these settings, which are copied. It works at once: it connects by itself, in the background, and
/// serves from loaders meanwhile. The caller ends it with failsoft_router_close. `*out` is NULL unless it is FAILSOFT_OK.
///
/// With `delivery` = `threads`, one thread of the library calls what is to be called at the end of asynchronous reads,
/// one after the other: such a function should return soon. Loaders are called on up to 64 further threads, which may
/// block; loads beyond that wait in a line. With `fd`, nothing is called until the program calls
/// failsoft_router_dispatch. In both, a blocking call calls its own loader on its own thread.
///
/// FAILSOFT_CONFIG: a bad address or setting; failsoft_last_error names it and what is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_router_open(config: Option<&Config>, out: Option<&mut MaybeUninit<*mut Router>>) -> Status {
    guarded(|| {
        let out = out.ok_or_else(|| Failure::null("out"))?;
        out.write(std::ptr::null_mut());
        let router = Router::open(needed("config", config)?)?;
        out.write(Arc::into_raw(router).cast_mut());
        Ok(())
    })
}

/// Ends a router and frees it: every read under way is completed, with FAILSOFT_CLOSED or with what it came to just
/// before, and what is to be called for it is called before this returns: no loader that has not begun is. It waits for
/// callbacks that are running.
/// Loads that have not been freed yet remain the program's to free.
///
/// FAILSOFT_MISUSE: inside one of its own callbacks; the router stays open. FAILSOFT_FORKED: in a child process, where
/// nothing can be ended; the handle is of no further use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_router_close(router: *mut Router) -> Status {
    guarded(|| {
        // SAFETY: the handle comes from `failsoft_router_open` and is not closed yet, as the header says.
        let held = unsafe { Router::held(router) }?;
        if let Err(forked) = held.check_process() {
            // Dropped, it would wait for threads that are not there.
            std::mem::forget(held);
            return Err(forked);
        }
        inside::check_outside(held.address())?;
        held.close()?;
        // SAFETY: this is the handle's own count, given back once.
        drop(unsafe { Arc::from_raw(router) });
        Ok(())
    })
}

/// Waits until the router knows the cluster, for those who want to: reads need not wait for it. FAILSOFT_UNAVAILABLE: it
/// does not within `timeout_ms` milliseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_router_ready(router: *mut Router, timeout_ms: u64) -> Status {
    guarded(|| {
        // SAFETY: the handle is open, as the header says.
        let router = unsafe { Router::open_one(router) }?;
        let ready = router.wait(&[], None, |caller| router.foreign.ready(caller, Duration::from_millis(timeout_ms)))?;
        router.done(ready)
    })
}

/// Starts to wait for that; `on_done` is called when it does, or when it does not in time. Otherwise as failsoft_set_async.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_router_ready_async(
    router: *mut Router,
    timeout_ms: u64,
    on_done: OnDone,
    done_data: *mut c_void,
    call_id: Option<&mut MaybeUninit<u64>>,
) -> Status {
    guarded(|| {
        // SAFETY: the handle is open, as the header says.
        let router = unsafe { Router::open_one(router) }?;
        let entry = Entry { loader: None, then: Then::done(on_done)?, data: done_data };
        router.start(entry, call_id, |caller| router.foreign.ready(caller, Duration::from_millis(timeout_ms)))
    })
}

/// The descriptor that is readable while there is something to dispatch, for poll, epoll or select; it stays the same
/// and belongs to the router. Nothing but failsoft_router_dispatch reads from it. -1, and failsoft_last_error says why:
/// with `delivery` = `threads`, NULL, in a child process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_router_fd(router: *mut Router) -> c_int {
    guarded_or(-1, || {
        // SAFETY: the handle is open, as the header says.
        let router = unsafe { Router::held(router) }?;
        Ok(router.needs_fd()?.descriptor.number())
    })
}

/// With `delivery` = `fd`: calls all that is to be called now, on this thread, and does not wait. FAILSOFT_MISUSE: with
/// `threads`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_router_dispatch(router: *mut Router) -> Status {
    guarded(|| {
        // SAFETY: the handle is open, as the header says.
        let router = unsafe { Router::held(router) }?;
        Ok(router.dispatch(router.needs_fd()?)?)
    })
}

/// What the router knows of the cluster and of itself, as a JSON object; asks nobody. The caller frees `*out` with
/// failsoft_string_free; it is NULL unless it is FAILSOFT_OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_health(router: *mut Router, out: Option<&mut MaybeUninit<*mut c_char>>) -> Status {
    guarded(|| {
        let out = out.ok_or_else(|| Failure::null("out"))?;
        out.write(std::ptr::null_mut());
        // SAFETY: the handle is open, as the header says.
        let router = unsafe { Router::held(router) }?;
        out.write(text(&router.foreign.health()?.to_json()).into_raw());
        Ok(())
    })
}
