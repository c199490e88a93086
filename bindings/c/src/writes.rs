//! Writes.

use crate::pointers::bytes;
use crate::router::Router;
use crate::status::{Status, guarded};
use bytes::Bytes;
use std::time::Duration;

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
        let written = router.wait(None, |caller| router.foreign.set(caller, key, value, ttl))?;
        router.done(written)
    })
}
