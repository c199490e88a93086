//! Writes.

use crate::entries::{Entry, Then};
use crate::pointers::bytes;
use crate::router::Router;
use crate::status::{Status, guarded};
use bytes::Bytes;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Called at the end of an asynchronous call that gives nothing but its status, exactly once if that call gave FAILSOFT_OK.
/// Until it returns, failsoft_last_error and its detail tell of that status on this thread. Otherwise as
/// failsoft_on_outcome.
pub type OnDone = Option<unsafe extern "C" fn(status: Status, done_data: *mut c_void)>;

/// Writes a value and waits for it. It expires after `*ttl_ms` milliseconds, or with NULL not at all.
///
/// FAILSOFT_WRITE_REFUSED: the slot's owner may not be written to now, or says no; after a timeout or a broken connection
/// nobody can say whether it was written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_set(
    router: *mut Router,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
    ttl_ms: Option<&u64>,
) -> Status {
    guarded(|| {
        // SAFETY: the handle is open, and both pointers are to as many bytes as their lengths say.
        let (router, key, value) =
            unsafe { (Router::open_one(router)?, bytes("key", key, key_len)?, bytes("value", value, value_len)?) };
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        let ttl = ttl_ms.map(|ttl| Duration::from_millis(*ttl));
        let written = router.wait(&[], None, |caller| router.foreign.set(caller, key, value, ttl))?;
        router.done(written)
    })
}

/// Starts to write a value; `on_done` is called at the end with what failsoft_set would give, and never if this gives
/// another status than FAILSOFT_OK. It may be called before this returns. `*call_id`, which may be NULL, becomes a number
/// for failsoft_cancel; of a write that was cancelled nobody can say whether it was done.
#[unsafe(no_mangle)]
// As many as the header has.
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn failsoft_set_async(
    router: *mut Router,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
    ttl_ms: Option<&u64>,
    on_done: OnDone,
    done_data: *mut c_void,
    call_id: Option<&mut MaybeUninit<u64>>,
) -> Status {
    guarded(|| {
        // SAFETY: the handle is open, and both pointers are to as many bytes as their lengths say.
        let (router, key, value) =
            unsafe { (Router::open_one(router)?, bytes("key", key, key_len)?, bytes("value", value, value_len)?) };
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        let ttl = ttl_ms.map(|ttl| Duration::from_millis(*ttl));
        let entry = Entry { loader: None, then: Then::done(on_done)?, data: done_data };
        router.start(entry, call_id, |caller| router.foreign.set(caller, key, value, ttl))
    })
}
