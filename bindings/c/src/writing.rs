//! Writers: keys that are held around a transaction of the program's own store, or for a while after it.

use crate::many::keys_of;
use crate::router::Router;
use crate::status::{Failure, Status, guarded};
use failsoft::MAX_INVALIDATED;
use failsoft::foreign::Inside;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

/// A writer's place around a transaction of the program's own store. Opaque. failsoft_writing_end ends and frees it, once
/// and on any thread.
pub struct Writing {
    router: Arc<Router>,
    inside: Inside,
}

/// The same as failsoft_invalidate, and for `hold_ms` milliseconds (1 to 3,600,000) nothing that is loaded of these keys
/// is written back, by any process: for a store that is read from copies which lag behind what was just written.
///
/// FAILSOFT_INVALIDATION_INCOMPLETE: as there; the steps have "hold", too, which is not sent again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_invalidate_and_hold(
    router: *mut Router,
    keys: *const *const u8,
    lens: *const usize,
    count: usize,
    hold_ms: u64,
) -> Status {
    guarded(|| {
        // SAFETY: the handle is open and the keys are as the header says.
        let (router, keys) = unsafe { (Router::open_one(router)?, keys_of(keys, lens, count, MAX_INVALIDATED)?) };
        let hold = Some(Duration::from_millis(hold_ms));
        let ended = router.wait(&[], None, |caller| router.foreign.invalidate(caller, keys, hold))?;
        router.done(ended)
    })
}

/// To be called before a transaction of the program's own store: holds up to 1,000,000 keys, given as to
/// failsoft_invalidate, and waits until they are held and deleted. From then until failsoft_writing_end nothing that is
/// loaded of them is kept, by any process, also if this one dies meanwhile; their reads are served all the while, by
/// loaders if need be. A transaction that takes longer than `hold_ms` of the router is not protected by it any more.
///
/// `*out` becomes NULL, or what the caller gives to failsoft_writing_end after the transaction, whether that failed or
/// not.
///
/// FAILSOFT_INVALIDATION_INCOMPLETE: a key could not be held (the step "hold") or deleted ("key"), or replicas lack
/// that ("replicas"), so the transaction should not begin; nothing has to be ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_writing_begin(
    router: *mut Router,
    keys: *const *const u8,
    lens: *const usize,
    count: usize,
    out: Option<&mut MaybeUninit<*mut Writing>>,
) -> Status {
    guarded(|| {
        let out = out.ok_or_else(|| Failure::null("out"))?;
        out.write(std::ptr::null_mut());
        // SAFETY: the handle is open and the keys are as the header says.
        let (router, keys) = unsafe { (Router::open_one(router)?, keys_of(keys, lens, count, MAX_INVALIDATED)?) };
        let mut place = None;
        let begun = router.wait(&[], None, |caller| {
            let (pending, inside) = router.foreign.begin_writing(caller, keys)?;
            place = Some(inside);
            Ok(pending)
        })?;
        router.done(begun)?;
        if let Some(inside) = place {
            out.write(Box::into_raw(Box::new(Writing { router, inside })));
        }
        Ok(())
    })
}

/// The transaction is over, however it ended: invalidates the keys, lifts this writer's hold, waits for both, and frees
/// `writing`, whatever the status is. From the call on no read of this process gets anything older.
///
/// FAILSOFT_INVALIDATION_INCOMPLETE: as failsoft_invalidate. FAILSOFT_CLOSED: the router was closed before; the hold ends
/// after `hold_ms`. FAILSOFT_FORKED: called in a child process, where nothing can be ended.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_writing_end(writing: Option<Box<Writing>>) -> Status {
    guarded(|| {
        let writing = writing.ok_or_else(|| Failure::null("writing"))?;
        if let Err(forked) = writing.router.check_process() {
            // Its end would need threads that do not exist here.
            std::mem::forget(writing);
            return Err(forked);
        }
        let Writing { router, inside } = *writing;
        let ended = router.wait(&[], None, |caller| router.foreign.end_writing(caller, &inside))?;
        router.done(ended)
    })
}
