//! When a key was last invalidated, and whether it is known that nobody has for a while.

use crate::pointers::bytes;
use crate::router::{Router, unexpected};
use crate::status::{Failure, Status, guarded, text};
use crate::words;
use bytes::Bytes;
use failsoft::LastInvalidation;
use failsoft::foreign::Completion;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::time::{Duration, UNIX_EPOCH};

/// The last invalidation of a key that there is a record of. Opaque. It belongs to the program, stays valid when its
/// router is closed, and may be read by several threads at once.
pub struct Invalidation {
    last: LastInvalidation,
    id: Option<CString>,
}

/// A time that is not known.
pub const FAILSOFT_TIME_UNKNOWN: i64 = i64::MIN;

/// When and by whom a key of `len` bytes was last invalidated, as far as there is a record of it: the marks that it leaves
/// beside the key and in another shard for `invalidation_ttl_ms`, what this process made or heard of in that time, or a
/// log of the newest invalidations. Waits for the answer.
///
/// `*out` becomes NULL if there is no record, or if the status is not FAILSOFT_OK; the caller frees it with
/// failsoft_invalidation_free.
///
/// FAILSOFT_UNAVAILABLE: nobody can say, since no node could be asked that would have a mark.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_last_invalidation(
    router: *mut Router,
    key: *const u8,
    len: usize,
    out: Option<&mut MaybeUninit<*mut Invalidation>>,
) -> Status {
    guarded(|| {
        let out = out.ok_or_else(|| Failure::null("out"))?;
        out.write(std::ptr::null_mut());
        // SAFETY: the handle is open, and the pointer is to as many bytes as its length says.
        let (router, key) = unsafe { (Router::open_one(router)?, bytes("key", key, len)?) };
        let key = Bytes::copy_from_slice(key);
        let ended = router.wait(&[], None, |caller| router.foreign.last_invalidation(caller, key))?;
        let Completion::Last { result, .. } = ended else { return Err(unexpected()) };
        if let Some(last) = result? {
            let id = last.id.as_deref().map(text);
            out.write(Box::into_raw(Box::new(Invalidation { last, id })));
        }
        Ok(())
    })
}

/// Whether it is known that nobody has invalidated a key of `len` bytes for `max_age_ms` milliseconds: what was read of it
/// in that time is as good as it was then. `*out` becomes the answer, and false if the status is not FAILSOFT_OK.
///
/// It is false if one has, if an invalidation of this process is not acknowledged yet, or if one may have been missed: the
/// nodes that tell of it were not heard for all that time. They are heard only while this process reads from them, or asks
/// this. What has ended within the last `trust_window_ms` may not be known yet; beyond `invalidation_ttl_ms` it is always
/// false. No node is asked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_within_staleness_budget(
    router: *mut Router,
    key: *const u8,
    len: usize,
    max_age_ms: u64,
    out: Option<&mut MaybeUninit<bool>>,
) -> Status {
    guarded(|| {
        let out = out.ok_or_else(|| Failure::null("out"))?;
        out.write(false);
        // SAFETY: the handle is open, and the pointer is to as many bytes as its length says.
        let (router, key) = unsafe { (Router::open_one(router)?, bytes("key", key, len)?) };
        let (key, max_age) = (Bytes::copy_from_slice(key), Duration::from_millis(max_age_ms));
        let ended = router.wait(&[], None, |caller| router.foreign.within_staleness_budget(caller, key, max_age))?;
        let Completion::Said { result, .. } = ended else { return Err(unexpected()) };
        out.write(result?);
        Ok(())
    })
}

/// How many milliseconds ago it was, by the clock of the server that has the record; FAILSOFT_TIME_UNKNOWN where no clock
/// was asked.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_invalidation_age_ms(invalidation: Option<&Invalidation>) -> i64 {
    let Some(of) = invalidation else { return 0 };
    of.last.age.map_or(FAILSOFT_TIME_UNKNOWN, millis)
}

/// When it was by that clock, in milliseconds since 1970; FAILSOFT_TIME_UNKNOWN where none was asked.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_invalidation_at_ms(invalidation: Option<&Invalidation>) -> i64 {
    let Some(of) = invalidation else { return 0 };
    let at = of.last.at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    at.map_or(FAILSOFT_TIME_UNKNOWN, millis)
}

/// Its id, sixteen hexadecimal digits, of which the first eight name the router that made it (`id` of failsoft_health).
/// NULL if no more is known than that there was one. It belongs to `invalidation`.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_invalidation_id(invalidation: Option<&Invalidation>) -> *const c_char {
    invalidation.and_then(|of| of.id.as_ref()).map_or(std::ptr::null(), |id| id.as_ptr())
}

/// Whether this router made it.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_invalidation_own(invalidation: Option<&Invalidation>) -> bool {
    invalidation.is_some_and(|of| of.last.own)
}

/// Where it is known from: "mark" (the mark beside the key), "echo" (the one in another shard), "process" (this process
/// made it, or heard of it) or "log". Static; NULL if `invalidation` is.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_invalidation_record(invalidation: Option<&Invalidation>) -> *const c_char {
    invalidation.map_or(std::ptr::null(), |of| words::record(of.last.record))
}

/// Frees it; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_invalidation_free(invalidation: Option<Box<Invalidation>>) {
    drop(invalidation);
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::words::quoted_between;
    use failsoft::InvalidationRecord;

    #[test]
    fn the_header_names_the_records_of_the_core_and_no_others() {
        let known: Vec<_> = InvalidationRecord::ALL.iter().map(|record| record.as_str().to_owned()).collect();
        assert_eq!(quoted_between(include_str!("history.rs"), "known from:", "Static"), known);
    }
}
