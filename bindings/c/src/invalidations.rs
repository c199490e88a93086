//! Invalidations: keys whose values changed in the program's own store.

use crate::entries::{Entry, Then};
use crate::many::keys_of;
use crate::router::Router;
use crate::status::{Status, guarded};
use crate::writes::OnDone;
use failsoft::MAX_INVALIDATED;
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// Invalidates up to 1,000,000 keys, and 64 MiB of them, and waits until that is acknowledged: to be called after what they stand for has
/// changed in the program's own store. `keys` and `lens` point to `count` keys and their lengths in bytes; with a `count`
/// of 0 they may be NULL, and nothing is done. It may be called inside a loader, also for the key that this one loads.
///
/// From the call on no read of this process gets anything older: not from a node, not from a load that is under way, and
/// not from one whose value would be written back. When it returns, the keys are deleted, with the leases of all loads
/// under way in any process, and each is marked as invalidated beside its own place and in another shard.
///
/// FAILSOFT_INVALIDATION_INCOMPLETE: steps were not acknowledged within `deadline_ms`. They are sent again in the
/// background for `invalidation_ttl_ms`, and meanwhile reads of keys whose deletion is pending go to their loaders, with
/// the reason "invalidated". failsoft_last_error says how many keys that are; failsoft_last_error_detail gives the steps
/// that the first one lacks, each with a cause of failsoft_set: "key" (it is deleted where it lives), "echo" (it is
/// announced in another shard) and "replicas" (those that `invalidate_durability` asks for have it), as in "key timeout,
/// echo connection". The cause "not_replicated" means that a primary has it, and too few replicas have it yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_invalidate(
    router: *mut Router,
    keys: *const *const u8,
    lens: *const usize,
    count: usize,
) -> Status {
    guarded(|| {
        // SAFETY: the handle is open and the keys are as the header says.
        let (router, keys) = unsafe { (Router::open_one(router)?, keys_of(keys, lens, count, MAX_INVALIDATED)?) };
        let ended = router.wait(&[], None, |caller| router.foreign.invalidate(caller, keys, None))?;
        router.done(ended)
    })
}

/// Starts to invalidate keys; when this returns, no read of this process that begins later gets anything older. `on_done`
/// is called at the end with the status that failsoft_invalidate would give, possibly before this function returns. If
/// this function gives another status than FAILSOFT_OK, it is never called. `*call_id` becomes a number for
/// failsoft_cancel; `call_id` may be NULL. Cancelling does not stop an invalidation: it goes on, and its result is not reported.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_invalidate_async(
    router: *mut Router,
    keys: *const *const u8,
    lens: *const usize,
    count: usize,
    on_done: OnDone,
    done_data: *mut c_void,
    call_id: Option<&mut MaybeUninit<u64>>,
) -> Status {
    guarded(|| {
        // SAFETY: the handle is open and the keys are as the header says.
        let (router, keys) = unsafe { (Router::open_one(router)?, keys_of(keys, lens, count, MAX_INVALIDATED)?) };
        let entry = Entry { loader: None, then: Some(Then::done(on_done)?), data: done_data };
        router.start(entry, call_id, |caller| router.foreign.invalidate(caller, keys, None))
    })
}
