//! The options of a single read.

use crate::load::{Loader, OnRelease, Release};
use crate::pointers::text;
use crate::status::{Failure, Status, guarded};
use failsoft::foreign::ReadOptions;
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// Options of a single read. Opaque. The call that is given them copies them, so they may be changed or freed
/// afterwards.
#[derive(Default)]
pub struct GetOptions {
    read: ReadOptions,
    recompute: Loader,
    on_release: OnRelease,
}

impl GetOptions {
    /// Calls `on_release` when it is dropped. A read makes it before anything else, so that the function is called even
    /// if the read does not start.
    pub(crate) fn release(options: Option<&Self>, user_data: *mut c_void) -> Option<Release> {
        options.and_then(|options| Release::new(options.on_release, user_data))
    }

    /// The core's options; its defaults for NULL.
    pub(crate) fn of(options: Option<&Self>) -> ReadOptions {
        options.map_or_else(ReadOptions::default, |options| ReadOptions {
            recompute: options.recompute.is_some(),
            ..options.read
        })
    }

    /// The loader beside that of a read.
    pub(crate) fn recompute(options: Option<&Self>) -> Loader {
        options.and_then(|options| options.recompute)
    }
}

/// Makes options in which nothing is set. The caller frees them with failsoft_get_options_free.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_get_options_new() -> Box<GetOptions> {
    Box::default()
}

/// Sets one option to a number of milliseconds, given as text; "" unsets it.
///
/// - `ttl_ms`: the time to live of a value that this read loads and writes back, instead of `fill_ttl_ms`.
/// - `deadline_ms`: the most time for the whole read, the loader included.
/// - `staleness_budget_ms`: how old what stands in may be (the answer of a replica, or a copy in this process), instead of
///   the budgets of the router; 0 means that nothing stands in.
///
/// FAILSOFT_INVALID_ARGUMENT: an unknown option, or not such a number; the option keeps its old value. Whether a server
/// accepts the time to live is checked only by the read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_get_options_set(
    options: Option<&mut GetOptions>,
    key: *const c_char,
    value: *const c_char,
) -> Status {
    let allowed = "ttl_ms, deadline_ms, staleness_budget_ms";
    let unknown = |key: &str| Failure::argument("key", &format!("{key:?} is not an option; allowed: {allowed}"));
    guarded(|| {
        let options = options.ok_or_else(|| Failure::null("options"))?;
        // SAFETY: both are texts, as the header says.
        let (key, value) = unsafe { (text("key", key)?, text("value", value)?) };
        let place = match key {
            "ttl_ms" => &mut options.read.ttl,
            "deadline_ms" => &mut options.read.deadline,
            "staleness_budget_ms" => &mut options.read.staleness_budget,
            _ => return Err(unknown(key)),
        };
        *place = if value.is_empty() { None } else { Some(millis(key, value)?) };
        Ok(())
    })
}

/// Sets a second loader, which is called instead of the read's own, by the same rules and with the same `user_data`, when
/// the primary says that there is no such key and nobody is known to have changed it: for the reasons "absent", "expired"
/// and "unknown", and for "evicted" unless the key is read often. Everything else goes to the read's own loader. NULL
/// unsets it.
///
/// With it, a read without a loader of its own, or of many keys, ends with FAILSOFT_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_get_options_recompute(options: Option<&mut GetOptions>, loader: Loader) -> Status {
    guarded(|| {
        options.ok_or_else(|| Failure::null("options"))?.recompute = loader;
        Ok(())
    })
}

/// Sets a function that is called with the `user_data` of each read made with these options, exactly once, when no
/// loader of the read is running or will be called again: `user_data` can be freed then. It is also called if there
/// is no loader, if the loader was never called, and if the call that starts the read fails; but not in a child
/// process. It may be called on a thread of the library, or inside the call that starts the read or dispatches. It must
/// not call this library. NULL unsets it.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_get_options_on_release(options: Option<&mut GetOptions>, on_release: OnRelease) -> Status {
    guarded(|| {
        options.ok_or_else(|| Failure::null("options"))?.on_release = on_release;
        Ok(())
    })
}

fn millis(key: &str, value: &str) -> Result<Duration, Failure> {
    let number = value.parse::<f64>().ok().and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok());
    let allowed = "a number of milliseconds, from 0 to less than 2^64 seconds, or nothing";
    number.ok_or_else(|| Failure::argument(key, &format!("{value:?} is not allowed; allowed: {allowed}")))
}

/// Frees options. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_get_options_free(options: Option<Box<GetOptions>>) {
    drop(options);
}
