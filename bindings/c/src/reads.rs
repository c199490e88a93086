//! Reads of one key: blocking, asynchronous, and cancelled.

use crate::entries::{Entry, Then};
use crate::inside;
use crate::load::{Callback, Loader};
use crate::options::GetOptions;
use crate::outcome::Outcome;
use crate::pointers::bytes;
use crate::router::{Router, unexpected};
use crate::status::{Failure, Status, guarded};
use bytes::Bytes;
use failsoft::Error;
use failsoft::foreign::{Caller, Completion, Pending};
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// Called at the end of an asynchronous read, exactly once if the call that started it gave FAILSOFT_OK: with how it
/// ended and its outcome, which is never NULL and which the program frees with failsoft_outcome_free. `outcome_data` is
/// what the call was given; it is not used after this.
///
/// It should return soon: with `delivery` = `threads`, other outcomes of the router wait for it. It must neither throw
/// nor jump out.
pub type OnOutcome = Option<unsafe extern "C" fn(status: Status, outcome: *mut Outcome, outcome_data: *mut c_void)>;

impl Router {
    /// Enters an asynchronous read and starts it. `number` is written before anything can be called.
    pub(crate) fn start(
        &self,
        entry: Entry,
        number: Option<&mut MaybeUninit<u64>>,
        start: impl FnOnce(Caller<'_>) -> Result<Pending, Error>,
    ) -> Result<(), Failure> {
        let parent = inside::load();
        let token = self.entries.insert(entry);
        if let Some(number) = number {
            number.write(token);
        }
        match start(Caller { channel: &self.channel, token, parent: parent.as_ref() }) {
            Ok(pending) => self.entries.started(token, pending),
            Err(error) => {
                self.entries.remove(token);
                self.entries.called();
                return Err(error.into());
            }
        }
        Ok(())
    }
}

/// Reads a key and waits for it: from its primary, a replica, or `loader`, in this order. `loader` is called on this
/// thread; NULL is none. However many ask for a key at once, one loader runs.
///
/// `*out` becomes NULL, or the outcome, which the caller frees with failsoft_outcome_free whatever the status is: the
/// value of a read that ended well, the message and code of one that failed. `out` may be NULL.
///
/// FAILSOFT_OK: found or absent, as failsoft_outcome_found says. FAILSOFT_FALLBACK, FAILSOFT_DEADLINE_EXCEEDED,
/// FAILSOFT_REENTRANT: of the loader. FAILSOFT_UNAVAILABLE: there was none, and no node could say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_get_with_fallback(
    router: *mut Router,
    key: *const u8,
    len: usize,
    loader: Loader,
    user_data: *mut c_void,
    out: Option<&mut MaybeUninit<*mut Outcome>>,
) -> Status {
    // SAFETY: as the header says of this function.
    unsafe { failsoft_resolve(router, key, len, None, loader, user_data, out) }
}

/// The same with options for this read; NULL is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_resolve(
    router: *mut Router,
    key: *const u8,
    len: usize,
    options: Option<&GetOptions>,
    loader: Loader,
    user_data: *mut c_void,
    mut out: Option<&mut MaybeUninit<*mut Outcome>>,
) -> Status {
    let release = GetOptions::release(options, user_data);
    guarded(|| {
        if let Some(out) = &mut out {
            out.write(std::ptr::null_mut());
        }
        // SAFETY: the handle is open and `key` points to `len` bytes, as the header says.
        let (router, key) = unsafe { (Router::open_one(router)?, Bytes::copy_from_slice(bytes("key", key, len)?)) };
        let loader = Callback::new(loader, user_data, release);
        let (options, asks) = (GetOptions::of(options), loader.is_some());
        let ended = router.wait(&[], loader, |caller| router.foreign.resolve(caller, key, options, asks))?;
        let outcome = match ended {
            Completion::Outcome { result, .. } => Outcome::new(result),
            _ => return Err(unexpected()),
        };
        let ended = outcome.check();
        if let Some(out) = out {
            out.write(Box::into_raw(Box::new(outcome)));
        }
        ended
    })
}

/// Starts to read a key; `on_outcome` is called at its end, and never if this gives another status than FAILSOFT_OK. It
/// may be called before this returns. `*read_id`, which may be NULL, becomes a number for failsoft_cancel, never 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_get_with_fallback_async(
    router: *mut Router,
    key: *const u8,
    len: usize,
    loader: Loader,
    user_data: *mut c_void,
    on_outcome: OnOutcome,
    outcome_data: *mut c_void,
    read_id: Option<&mut MaybeUninit<u64>>,
) -> Status {
    // SAFETY: as the header says of this function.
    unsafe { failsoft_resolve_async(router, key, len, None, loader, user_data, on_outcome, outcome_data, read_id) }
}

/// The same with options for this read; NULL is none.
#[unsafe(no_mangle)]
// As many as the header has.
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn failsoft_resolve_async(
    router: *mut Router,
    key: *const u8,
    len: usize,
    options: Option<&GetOptions>,
    loader: Loader,
    user_data: *mut c_void,
    on_outcome: OnOutcome,
    outcome_data: *mut c_void,
    read_id: Option<&mut MaybeUninit<u64>>,
) -> Status {
    let release = GetOptions::release(options, user_data);
    guarded(|| {
        // SAFETY: the handle is open and `key` points to `len` bytes, as the header says.
        let (router, key) = unsafe { (Router::open_one(router)?, Bytes::copy_from_slice(bytes("key", key, len)?)) };
        let then = Then::outcome(on_outcome).ok_or_else(|| Failure::null("on_outcome"))?;
        let loader = Callback::new(loader, user_data, release);
        let (options, asks) = (GetOptions::of(options), loader.is_some());
        let entry = Entry { loader, then, data: outcome_data };
        router.start(entry, read_id, |caller| router.foreign.resolve(caller, key, options, asks))
    })
}

/// Gives an asynchronous read up: it ends with FAILSOFT_CANCELLED, unless it has just ended. Its loader does not begin any
/// more; one that runs goes on while others wait for it. FAILSOFT_OK for a read that has ended, too; FAILSOFT_INVALID_ARGUMENT for a number that never was one's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_cancel(router: *mut Router, read_id: u64) -> Status {
    guarded(|| {
        // SAFETY: the handle is open, as the header says.
        let router = unsafe { Router::open_one(router) }?;
        let problem = || Failure::argument("read_id", &format!("{read_id} is the number of no read"));
        router.entries.give_up(read_id).map_err(|()| problem())?;
        if let Some(threads) = router.threads() {
            threads.withdraw_read(read_id);
        }
        Ok(())
    })
}
