//! The router as C holds it: opening, readiness, dispatching, closing.

use crate::config::{self, Config};
use crate::deliver::Dispatcher;
use crate::entries::{Entries, Entry, Then};
use crate::pointers::needed;
use crate::status::{Failure, Status, guarded, guarded_or};
use crate::threads::Threads;
use crate::writes::OnDone;
use crate::{fork, inside};
use failsoft::Error;
use failsoft::foreign::{Bell, Channel, Completion, Foreign};
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

/// A router. Opaque. Several threads may use it at once, except that failsoft_router_close, which ends all other calls,
/// has to be the last call.
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
        let no_thread = |error| Failure::new(Status::FAILSOFT_INTERNAL, format!("no thread could be started: {error}"));
        let (delivery, channel) = match delivery {
            config::Delivery::Threads => {
                let bell = Arc::new(Bell::default());
                let ringer = Arc::clone(&bell);
                (Delivery::Threads(Threads::new(bell)), Channel::without_loading(move || ringer.ring()))
            }
            config::Delivery::Fd => {
                let none = |error| format!("no descriptor could be had: {error}");
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

    /// The router behind a handle. It stays alive during the call, even if another thread closes it meanwhile.
    ///
    /// # Safety
    /// Unless it is NULL, `handle` has to come from `failsoft_router_open` and must not have been closed.
    pub(crate) unsafe fn held(handle: *mut Self) -> Result<Arc<Self>, Failure> {
        if handle.is_null() {
            return Err(Failure::null("router"));
        }
        // SAFETY: the handle is one count of an `Arc`, and this adds another.
        unsafe {
            Arc::increment_strong_count(handle);
            Ok(Arc::from_raw(handle))
        }
    }

    /// The same for a call that needs an open router of this process.
    ///
    /// # Safety
    /// As [`held`](Self::held).
    pub(crate) unsafe fn open_one(handle: *mut Self) -> Result<Arc<Self>, Failure> {
        // SAFETY: the caller guarantees it.
        let router = unsafe { Self::held(handle) }?;
        router.foreign.check()?;
        Ok(router)
    }

    /// By which its callbacks are recognised.
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

    /// A parent process's router must not be touched: its locks may be held by threads that do not exist here.
    pub(crate) fn check_process(&self) -> Result<(), Failure> {
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

    /// The result of a call that has only a status.
    pub(crate) fn done(&self, completion: Completion) -> Result<(), Failure> {
        match completion {
            Completion::Done { result, .. } => Ok(result?),
            _ => Err(unexpected()),
        }
    }

    fn close(&self) -> Result<(), Failure> {
        // No loader begins from here on: those in line are for reads that are about to end.
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

/// For a completion of a kind that the call cannot have.
pub(crate) fn unexpected() -> Failure {
    Error::Internal("a completion of a kind that the call cannot have").into()
}

/// Opens a router with these settings, which are copied. It can be used at once: it connects by itself, in the
/// background, and until then loaders serve the reads. The caller ends it with failsoft_router_close. `*out` is NULL
/// unless the status is FAILSOFT_OK.
///
/// With `delivery` = `threads`, a single thread of the library calls the functions at the end of all asynchronous
/// calls, one after the other, so they should return soon. Loaders are called on up to 64 other threads of the library,
/// and may block them; further loads wait in line. With `fd`, loaders and the functions at the end of calls run only
/// inside failsoft_router_dispatch, failsoft_router_close, or a blocking call with the router. With either, a blocking
/// call runs its own loader on the calling thread.
///
/// FAILSOFT_CONFIG: a bad address or setting; failsoft_last_error names it, and says what is allowed.
/// FAILSOFT_INTERNAL: the system gave no thread or descriptor.
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

/// Ends a router and frees it. Every call under way ends with FAILSOFT_CLOSED, or with the result that it had just got,
/// and its function, such as `on_outcome`, is called before this returns. Loaders that have not been started are not
/// called any more, and callbacks that are running are waited for. Loads that the program has not freed yet are still
/// to be freed.
///
/// FAILSOFT_MISUSE: called inside one of the router's own callbacks; the router stays open. FAILSOFT_FORKED: called in
/// a child process, where nothing can be ended; the handle is of no further use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_router_close(router: *mut Router) -> Status {
    guarded(|| {
        // SAFETY: the handle comes from `failsoft_router_open` and is not closed yet, as the header says.
        let held = unsafe { Router::held(router) }?;
        if let Err(forked) = held.check_process() {
            // Dropping it would wait for threads that do not exist here.
            std::mem::forget(held);
            return Err(forked);
        }
        inside::check_outside(held.address())?;
        held.close()?;
        // SAFETY: this gives the handle's own count back, once.
        drop(unsafe { Arc::from_raw(router) });
        Ok(())
    })
}

/// Waits until the router has a first view of the cluster. This is never necessary: reads work without it.
///
/// FAILSOFT_UNAVAILABLE: there is none after `timeout_ms` milliseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_router_ready(router: *mut Router, timeout_ms: u64) -> Status {
    guarded(|| {
        // SAFETY: the handle is open, as the header says.
        let router = unsafe { Router::open_one(router) }?;
        let ready = router.wait(&[], None, |caller| router.foreign.ready(caller, Duration::from_millis(timeout_ms)))?;
        router.done(ready)
    })
}

/// The same without blocking: `on_done` is called when there is a view, or when the time is over. Otherwise as
/// failsoft_set_async.
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
        let entry = Entry { loader: None, then: Some(Then::done(on_done)?), data: done_data };
        router.start(entry, call_id, |caller| router.foreign.ready(caller, Duration::from_millis(timeout_ms)))
    })
}

/// A descriptor for poll, epoll or select that is readable while there is something to dispatch. It never changes,
/// belongs to the router, and must not be read from or closed by the program. -1 with `delivery` = `threads`, for NULL,
/// and in a child process; failsoft_last_error says which.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_router_fd(router: *mut Router) -> c_int {
    guarded_or(-1, || {
        // SAFETY: the handle is open, as the header says.
        let router = unsafe { Router::held(router) }?;
        Ok(router.needs_fd()?.descriptor.number())
    })
}

/// With `delivery` = `fd`: calls, on this thread, the callbacks that are due now, and does not wait for more.
///
/// FAILSOFT_MISUSE: the router was opened with `threads`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_router_dispatch(router: *mut Router) -> Status {
    guarded(|| {
        // SAFETY: the handle is open, as the header says.
        let router = unsafe { Router::held(router) }?;
        Ok(router.dispatch(router.needs_fd()?)?)
    })
}
