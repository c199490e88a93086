//! Writes.

use crate::entries::{Entry, Then};
use crate::pointers::bytes;
use crate::router::Router;
use crate::status::{Status, guarded};
use bytes::Bytes;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Called at the end of an asynchronous call that has only a status, exactly once, if the call that started it gave
/// FAILSOFT_OK. Until it returns, failsoft_last_error and its detail on this thread describe `status`. Otherwise as
/// failsoft_on_outcome.
pub type OnDone = Option<unsafe extern "C" fn(status: Status, done_data: *mut c_void)>;

/// Writes a value and waits until it is written. It expires after `*ttl_ms` milliseconds; if `ttl_ms` is NULL, never. While a
/// writer holds the key (failsoft_writing_begin), here or in another process, the key is deleted instead.
///
/// FAILSOFT_WRITE_REFUSED: the slot's owner may not be written to now, or refused. failsoft_last_error_detail gives the
/// cause: "slot_uncovered", "no_view", "breaker_open", "quarantined", "verdict_unknown", "cluster_down", "loading",
/// "no_contact", "not_proved", "owner_changed", "redirect_limit", "exists", "lease_gone", "held", "server_refused",
/// "denied", "error_reply", "protocol", "timeout", "connection", "not_replicated" or "busy"; later versions may add
/// words. "verdict_unknown", "owner_changed", "exists", "lease_gone" and "held" are only for loaded values that are not
/// written back, "not_replicated" is only for invalidations. After "timeout" and "connection" it is not known whether the
/// value was written.
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

/// Starts to write a value. `on_done` is called at the end with the status that failsoft_set would give, possibly
/// before this function returns. If this function gives another status than FAILSOFT_OK, it is never called. `*call_id`
/// becomes a number for failsoft_cancel; `call_id` may be NULL. It is not known whether a cancelled write was done.
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
        let entry = Entry { loader: None, then: Some(Then::done(on_done)?), data: done_data };
        router.start(entry, call_id, |caller| router.foreign.set(caller, key, value, ttl))
    })
}

#[cfg(test)]
mod tests {
    use crate::words::quoted_between;
    use failsoft::Cause;

    #[test]
    fn the_header_names_the_causes_of_the_core_and_no_others() {
        let known: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str().to_owned()).collect();
        assert_eq!(quoted_between(include_str!("writes.rs"), "gives the cause:", "later versions"), known);
    }
}
