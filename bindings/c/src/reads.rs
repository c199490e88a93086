//! Reads of one key, blocking and asynchronous, and their cancellation.

use crate::entries::{Entry, Then};
use crate::inside;
use crate::load::{Callback, Loader};
use crate::options::GetOptions;
use crate::outcome::Outcome;
use crate::pointers::bytes;
use crate::router::{Router, unexpected};
use crate::status::{Failure, Status, guarded};
use failsoft::Error;
use failsoft::foreign::{Caller, Completion, Pending};
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// Called at the end of an asynchronous read, exactly once, if the call that started the read gave FAILSOFT_OK.
/// `status` says how the read ended. `outcome` is never NULL, and the program frees it with failsoft_outcome_free.
/// `outcome_data` is what that call was given; the library does not use it afterwards.
///
/// It should return soon: with `delivery` = `threads`, all other outcomes of the router wait meanwhile. It must neither
/// throw nor jump out.
pub type OnOutcome = Option<unsafe extern "C" fn(status: Status, outcome: *mut Outcome, outcome_data: *mut c_void)>;

impl Router {
    /// Enters an asynchronous call and starts it. `number` is written before any callback can run.
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

/// Reads a key of `len` bytes and waits for the result: from its primary, from a replica, or from `loader`, in this
/// order. `loader` is called on this thread; NULL for none. However many callers ask for a key at the same time, one
/// loader runs.
///
/// `*out` becomes NULL or the outcome, which has the value if the read succeeded, and the message and code if it
/// failed. The caller frees it with failsoft_outcome_free, whatever the status is. `out` may be NULL.
///
/// FAILSOFT_OK: failsoft_outcome_found says whether the key exists. FAILSOFT_FALLBACK: the loader failed.
/// FAILSOFT_DEADLINE_EXCEEDED: it took longer than `load_timeout`. FAILSOFT_REENTRANT: it asked for its own key.
/// FAILSOFT_SHED: it was not called, to spare a store that can't cope.
/// FAILSOFT_UNAVAILABLE: there was no loader, and no node could tell.
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

/// The same with options for this read; NULL for none. FAILSOFT_DEADLINE_EXCEEDED also if their deadline passed.
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
        let (router, key) = unsafe { (Router::open_one(router)?, bytes("key", key, len)?) };
        let loader = Callback::new(loader, GetOptions::recompute(options), user_data, release);
        let (options, asks) = (GetOptions::of(options), loader.is_some());
        let outcome = match router.foreign.near_outcome(key, &options, asks)? {
            Some(near) => Outcome::new(Ok(near)),
            None => match router.wait(&[], loader, |caller| router.foreign.resolve(caller, key, options, asks))? {
                Completion::Outcome { result, .. } => Outcome::new(result),
                _ => return Err(unexpected()),
            },
        };
        let ended = outcome.check();
        if let Some(out) = out {
            out.write(Box::into_raw(Box::new(outcome)));
        }
        ended
    })
}

/// Starts to read a key. `on_outcome` is called at the end of the read, possibly before this function returns. If this
/// function gives another status than FAILSOFT_OK, it is never called. `*read_id` becomes a number for failsoft_cancel,
/// which is never 0; `read_id` may be NULL.
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

/// The same with options for this read; NULL for none.
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
        let (router, key) = unsafe { (Router::open_one(router)?, bytes("key", key, len)?) };
        let then = Then::outcome(on_outcome).ok_or_else(|| Failure::null("on_outcome"))?;
        let loader = Callback::new(loader, GetOptions::recompute(options), user_data, release);
        let (options, asks) = (GetOptions::of(options), loader.is_some());
        let entry = Entry { loader, then: Some(then), data: outcome_data };
        router.start(entry, read_id, |caller| router.foreign.resolve(caller, key, options, asks))
    })
}

/// Cancels an asynchronous call: it ends with FAILSOFT_CANCELLED, unless it has just ended. Its loader is not started
/// any more; one that is running continues for as long as others wait for it.
///
/// FAILSOFT_OK: also if the call had ended before. FAILSOFT_INVALID_ARGUMENT: no call ever had this number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_cancel(router: *mut Router, read_id: u64) -> Status {
    guarded(|| {
        // SAFETY: the handle is open, as the header says.
        let router = unsafe { Router::open_one(router) }?;
        let problem = || Failure::argument("read_id", &format!("no call ever had the number {read_id}"));
        router.entries.give_up(read_id).map_err(|()| problem())?;
        if let Some(threads) = router.threads() {
            threads.withdraw_read(read_id);
        }
        Ok(())
    })
}
