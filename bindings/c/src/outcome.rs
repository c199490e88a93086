//! The outcome of a read, as C sees it.

use crate::load::LoadFailed;
use crate::status::{ErrorDetail, Failure, Status, message_of, text};
use crate::words;
use failsoft::{CallbackGone, Error};
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// The outcome of a read. Opaque. It belongs to the program, stays valid when its router is closed, and may be read by
/// several threads at once.
pub struct Outcome {
    result: Result<failsoft::Outcome, Failed>,
    /// Made when it is first asked for.
    node: OnceLock<CString>,
}

struct Failed {
    status: Status,
    /// The loader's own code.
    code: i32,
    message: CString,
    detail: Option<ErrorDetail>,
}

impl Outcome {
    pub(crate) fn new(result: Result<failsoft::Outcome, Error>) -> Self {
        Self { result: result.map_err(|error| Failed::new(&error)), node: OnceLock::new() }
    }

    pub(crate) fn cancelled() -> Self {
        let failed = Failed {
            status: Status::FAILSOFT_CANCELLED,
            code: 0,
            message: text("the read was cancelled"),
            detail: None,
        };
        Self { result: Err(failed), node: OnceLock::new() }
    }

    pub(crate) fn status(&self) -> Status {
        self.result.as_ref().map_or_else(|failed| failed.status, |_| Status::FAILSOFT_OK)
    }

    /// The failure that a call has to end with, if the read failed.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let failed = self.result.as_ref().err();
        failed.map_or(Ok(()), |f| Err(Failure::new(f.status, f.message.to_string_lossy()).with(f.detail.clone())))
    }

    fn read(&self) -> Option<&failsoft::Outcome> {
        self.result.as_ref().ok()
    }

    fn detail(&self) -> Option<&ErrorDetail> {
        self.result.as_ref().err()?.detail.as_ref()
    }

    fn node(&self) -> Option<&CString> {
        let node = self.read()?.node.as_ref()?;
        Some(self.node.get_or_init(|| text(&node.to_string())))
    }
}

impl Failed {
    fn new(error: &Error) -> Self {
        let status = Status::of(error);
        if let Error::Fallback(inner) = error {
            if let Some(failed) = inner.downcast_ref::<LoadFailed>() {
                return Self { status, code: failed.code, message: text(&failed.message), detail: None };
            }
            if inner.is::<CallbackGone>() {
                let message = text("no thread could be started to call the loader on");
                return Self { status: Status::FAILSOFT_INTERNAL, code: 0, message, detail: None };
            }
        }
        Self { status, code: 0, message: text(&message_of(error)), detail: ErrorDetail::of(error) }
    }
}

/// How the read ended. FAILSOFT_INVALID_ARGUMENT if `outcome` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_status(outcome: Option<&Outcome>) -> Status {
    outcome.map_or(Status::FAILSOFT_INVALID_ARGUMENT, Outcome::status)
}

/// Whether there is a value. False with the status FAILSOFT_OK: the key does not exist. False with another status: the
/// read failed.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_found(outcome: Option<&Outcome>) -> bool {
    outcome.and_then(Outcome::read).is_some_and(|read| read.value.is_some())
}

/// The value; `*len` becomes its length in bytes. `len` may be NULL. It belongs to the outcome. NULL and 0 if there is
/// no value; an empty value is not NULL.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_value(outcome: Option<&Outcome>, len: Option<&mut MaybeUninit<usize>>) -> *const u8 {
    let value = outcome.and_then(Outcome::read).and_then(|read| read.value.as_ref());
    if let Some(len) = len {
        len.write(value.map_or(0, |value| value.len()));
    }
    value.map_or(std::ptr::null(), |value| value.as_ptr())
}

/// Who answered: "near" (the near cache), "primary", "replica", "secondary" (the loader), "stale" (a copy that stands in)
/// or "none" (the key does not exist). Static; NULL if the read failed.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_served_by(outcome: Option<&Outcome>) -> *const c_char {
    outcome.and_then(Outcome::read).map_or(std::ptr::null(), |read| words::source(read.served_by))
}

/// Why the primary did not serve it: "absent", "expired", "evicted", "invalidated", "unknown", "timeout", "connection",
/// "loading", "cluster_down", "breaker_open", "quarantined", "slot_uncovered", "redirect_limit", "error_reply", "protocol",
/// "deadline", "slow_source", "shed" or "failed_source"; later versions may add words. Static; NULL if the primary did, or if the read failed.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_reason(outcome: Option<&Outcome>) -> *const c_char {
    words::reason(outcome.and_then(Outcome::read).and_then(|read| read.reason))
}

/// The node that answered, as `host:port`; NULL unless a primary or a replica did. It belongs to the outcome.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_node(outcome: Option<&Outcome>) -> *const c_char {
    outcome.and_then(Outcome::node).map_or(std::ptr::null(), |node| node.as_ptr())
}

/// An age that is not known. It is greater than any age that is.
pub const FAILSOFT_AGE_UNKNOWN: i64 = i64::MAX;

/// How many milliseconds ago the value was last known to be current: 0 if the primary or the loader gave it, and
/// FAILSOFT_AGE_UNKNOWN if it comes from a replica whose age cannot be told.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_age_ms(outcome: Option<&Outcome>) -> i64 {
    let Some(read) = outcome.and_then(Outcome::read) else { return 0 };
    read.age.and_then(|age| i64::try_from(age.as_millis()).ok()).unwrap_or(FAILSOFT_AGE_UNKNOWN)
}

/// How many attempts the read sent to nodes; 0 if it failed.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_attempts(outcome: Option<&Outcome>) -> u32 {
    outcome.and_then(Outcome::read).map_or(0, |read| read.attempts)
}

/// Whether the answer comes from the load of another read.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_coalesced(outcome: Option<&Outcome>) -> bool {
    outcome.and_then(Outcome::read).is_some_and(|read| read.coalesced)
}

/// If the loader failed, the code that it gave to failsoft_load_fail; 0 otherwise.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_error_code(outcome: Option<&Outcome>) -> i32 {
    outcome.and_then(|outcome| outcome.result.as_ref().err()).map_or(0, |failed| failed.code)
}

/// What went wrong, for people to read; if the loader failed, its message. NULL if the read did not fail. It belongs to
/// the outcome.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_error_message(outcome: Option<&Outcome>) -> *const c_char {
    let failed = outcome.and_then(|outcome| outcome.result.as_ref().err());
    failed.map_or(std::ptr::null(), |failed| failed.message.as_ptr())
}

/// The name of the error's detail, as failsoft_last_error_detail_name. NULL if it has none. It belongs to the outcome.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_error_detail_name(outcome: Option<&Outcome>) -> *const c_char {
    outcome.and_then(Outcome::detail).map_or(std::ptr::null(), |detail| detail.name.as_ptr())
}

/// The value of that detail, as failsoft_last_error_detail. NULL and 0 if there is none. It belongs to the outcome.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_error_detail(
    outcome: Option<&Outcome>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    let value = outcome.and_then(Outcome::detail).map(ErrorDetail::value);
    if let Some(len) = len {
        len.write(value.map_or(0, <[u8]>::len));
    }
    value.map_or(std::ptr::null(), <[u8]>::as_ptr)
}

/// Frees an outcome and everything that belongs to it. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_free(outcome: Option<Box<Outcome>>) {
    drop(outcome);
}

#[cfg(test)]
mod tests {
    use crate::words::quoted_between;
    use failsoft::{Reason, ServedBy};

    fn words(from: &str, to: &str) -> Vec<String> {
        quoted_between(include_str!("outcome.rs"), from, to)
    }

    #[test]
    fn the_header_names_the_words_of_the_core_and_no_others() {
        let known: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
        assert_eq!(words("Why the primary did not serve it:", "Static;"), known);
        let known: Vec<_> = ServedBy::ALL.iter().map(|source| source.as_str().to_owned()).collect();
        assert_eq!(words("Who answered:", "Static;"), known);
    }
}
