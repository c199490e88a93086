//! Reads of many keys: one call, one load for those that are missing, and an outcome for each key.

use crate::entries::{Entry, Then};
use crate::load::{Callback, Loader};
use crate::options::GetOptions;
use crate::outcome::Outcome;
use crate::pointers::bytes;
use crate::router::{Router, unexpected};
use crate::status::{Failure, Status, guarded};
use bytes::Bytes;
use failsoft::Error;
use failsoft::foreign::Completion;
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// The outcomes of a read of many keys, in the order of the keys. Opaque. They belong to the program, which frees them
/// with failsoft_outcomes_free.
pub struct Outcomes {
    each: Vec<Outcome>,
}

impl Outcomes {
    pub(crate) fn of(result: Result<Vec<Result<failsoft::Outcome, Error>>, Error>) -> Result<Self, Failure> {
        Ok(Self { each: result?.into_iter().map(Outcome::new).collect() })
    }

    /// The status of the first key that failed.
    pub(crate) fn status(&self) -> Status {
        let all = self.each.iter().map(Outcome::status);
        all.into_iter().find(|status| *status != Status::FAILSOFT_OK).unwrap_or(Status::FAILSOFT_OK)
    }

    fn check(&self) -> Result<(), Failure> {
        self.each.iter().try_for_each(Outcome::check)
    }
}

/// Called at the end of an asynchronous read of many keys, as failsoft_on_outcome is for one key. `outcomes` is NULL if
/// the call as a whole failed; otherwise the program frees it with failsoft_outcomes_free.
pub type OnOutcomes = Option<unsafe extern "C" fn(status: Status, outcomes: *mut Outcomes, outcome_data: *mut c_void)>;

/// The keys of a call that takes so many at most.
///
/// # Safety
/// Unless they are NULL, `keys` and `lens` each have to point to `count` elements, and each key to as many bytes as its
/// length says.
pub(crate) unsafe fn keys_of(
    keys: *const *const u8,
    lens: *const usize,
    count: usize,
    most: usize,
) -> Result<Vec<Bytes>, Failure> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if keys.is_null() || lens.is_null() {
        return Err(Failure::null(if keys.is_null() { "keys" } else { "lens" }));
    }
    if count > most {
        return Err(Failure::argument("count", &format!("{count} keys; at most {most} are allowed")));
    }
    // SAFETY: neither is NULL, and the caller guarantees the rest.
    let (keys, lens) = unsafe { (std::slice::from_raw_parts(keys, count), std::slice::from_raw_parts(lens, count)) };
    // SAFETY: the same.
    let copied =
        keys.iter().zip(lens).map(|(key, len)| unsafe { bytes("keys", *key, *len) }.map(Bytes::copy_from_slice));
    copied.collect()
}

/// Reads up to 65,536 keys at once and waits for them. `keys` and `lens` point to `count` keys and their lengths in
/// bytes. `loader` is called once, on this thread, for all missing keys that nobody is loading yet; it must not be
/// NULL.
///
/// `*out` becomes NULL or the outcomes in the order of the keys. The caller frees them with failsoft_outcomes_free,
/// whatever the status is. `out` may be NULL.
///
/// FAILSOFT_OK: every key was read, found or absent. Otherwise the status of the first key that was not, or of the call
/// as a whole; failsoft_outcome_status gives that of each key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_get_many_with_fallback(
    router: *mut Router,
    keys: *const *const u8,
    lens: *const usize,
    count: usize,
    loader: Loader,
    user_data: *mut c_void,
    out: Option<&mut MaybeUninit<*mut Outcomes>>,
) -> Status {
    // SAFETY: as the header says of this function.
    unsafe { failsoft_resolve_many(router, keys, lens, count, None, loader, user_data, out) }
}

/// The same with options, which apply to the call as a whole; NULL for none. A key without an answer by the deadline
/// gets FAILSOFT_DEADLINE_EXCEEDED; the others keep their answers.
#[unsafe(no_mangle)]
// As many as the header has.
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn failsoft_resolve_many(
    router: *mut Router,
    keys: *const *const u8,
    lens: *const usize,
    count: usize,
    options: Option<&GetOptions>,
    loader: Loader,
    user_data: *mut c_void,
    mut out: Option<&mut MaybeUninit<*mut Outcomes>>,
) -> Status {
    let release = GetOptions::release(options, user_data);
    guarded(|| {
        if let Some(out) = &mut out {
            out.write(std::ptr::null_mut());
        }
        // SAFETY: the handle is open and the keys are as the header says.
        let (router, keys) = unsafe { (Router::open_one(router)?, keys_of(keys, lens, count, failsoft::MAX_KEYS)?) };
        let loader = Callback::new(loader, None, user_data, release).ok_or_else(|| Failure::null("loader"))?;
        let outcomes = match router.wait(&keys, Some(loader), |caller| {
            router.foreign.resolve_many(caller, keys.clone(), GetOptions::of(options))
        })? {
            Completion::Many { result, .. } => Outcomes::of(result)?,
            _ => return Err(unexpected()),
        };
        let ended = outcomes.check();
        if let Some(out) = out {
            out.write(Box::into_raw(Box::new(outcomes)));
        }
        ended
    })
}

/// Starts to read many keys. `on_outcomes` is called at the end; otherwise as failsoft_get_with_fallback_async.
#[unsafe(no_mangle)]
// As many as the header has.
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn failsoft_get_many_with_fallback_async(
    router: *mut Router,
    keys: *const *const u8,
    lens: *const usize,
    count: usize,
    loader: Loader,
    user_data: *mut c_void,
    on_outcomes: OnOutcomes,
    outcome_data: *mut c_void,
    read_id: Option<&mut MaybeUninit<u64>>,
) -> Status {
    // SAFETY: as the header says of this function.
    unsafe {
        failsoft_resolve_many_async(
            router,
            keys,
            lens,
            count,
            None,
            loader,
            user_data,
            on_outcomes,
            outcome_data,
            read_id,
        )
    }
}

/// The same with options, as failsoft_resolve_many; NULL for none.
#[unsafe(no_mangle)]
// As many as the header has.
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn failsoft_resolve_many_async(
    router: *mut Router,
    keys: *const *const u8,
    lens: *const usize,
    count: usize,
    options: Option<&GetOptions>,
    loader: Loader,
    user_data: *mut c_void,
    on_outcomes: OnOutcomes,
    outcome_data: *mut c_void,
    read_id: Option<&mut MaybeUninit<u64>>,
) -> Status {
    let release = GetOptions::release(options, user_data);
    guarded(|| {
        // SAFETY: the handle is open and the keys are as the header says.
        let (router, keys) = unsafe { (Router::open_one(router)?, keys_of(keys, lens, count, failsoft::MAX_KEYS)?) };
        let then = Then::outcomes(on_outcomes).ok_or_else(|| Failure::null("on_outcomes"))?;
        let loader = Callback::new(loader, None, user_data, release).ok_or_else(|| Failure::null("loader"))?;
        let entry = Entry { loader: Some(loader), then: Some(then), data: outcome_data };
        router.start(entry, read_id, |caller| router.foreign.resolve_many(caller, keys, GetOptions::of(options)))
    })
}

/// The number of outcomes, which is the number of keys that were read.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcomes_count(outcomes: Option<&Outcomes>) -> usize {
    outcomes.map_or(0, |outcomes| outcomes.each.len())
}

/// The outcome of one key; `index` counts from 0. It belongs to the outcomes, so do not free it. NULL if there is no
/// such key.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcomes_at(outcomes: Option<&Outcomes>, index: usize) -> *const Outcome {
    outcomes.and_then(|outcomes| outcomes.each.get(index)).map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Frees outcomes and everything that belongs to them. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcomes_free(outcomes: Option<Box<Outcomes>>) {
    drop(outcomes);
}
