//! What a read came to, as C sees it.

use crate::load::LoadFailed;
use crate::status::{ErrorDetail, Failure, Status, text};
use crate::words;
use failsoft::{CallbackGone, Error};
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// What a read came to. Opaque; it belongs to whoever got it, outlives its router, and may be read by several threads.
pub struct Outcome {
    result: Result<failsoft::Outcome, Failed>,
    /// Made when it is first asked for.
    node: OnceLock<CString>,
}

struct Failed {
    status: Status,
    /// The loader's own.
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

    /// The failure that a call ends with, if this is one.
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
                let message = text("the system gives no thread to call the loader on");
                return Self { status: Status::FAILSOFT_INTERNAL, code: 0, message, detail: None };
            }
        }
        Self { status, code: 0, message: text(&error.to_string()), detail: ErrorDetail::of(error) }
    }
}

/// How the read ended; FAILSOFT_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_status(outcome: Option<&Outcome>) -> Status {
    outcome.map_or(Status::FAILSOFT_INVALID_ARGUMENT, Outcome::status)
}

/// Whether there is a value. Absent (FAILSOFT_OK, and false) is not failed (another status).
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_found(outcome: Option<&Outcome>) -> bool {
    outcome.and_then(Outcome::read).is_some_and(|read| read.value.is_some())
}

/// The value and its length; NULL and 0 if there is none. An empty value is not NULL. It belongs to the outcome.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_value(outcome: Option<&Outcome>, len: Option<&mut MaybeUninit<usize>>) -> *const u8 {
    let value = outcome.and_then(Outcome::read).and_then(|read| read.value.as_ref());
    if let Some(len) = len {
        len.write(value.map_or(0, |value| value.len()));
    }
    value.map_or(std::ptr::null(), |value| value.as_ptr())
}

/// Who answered: "primary", "replica", "secondary" (the loader) or "none" (it does not exist). Static; NULL if the read
/// failed.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_served_by(outcome: Option<&Outcome>) -> *const c_char {
    outcome.and_then(Outcome::read).map_or(std::ptr::null(), |read| words::source(read.served_by))
}

/// Why the primary did not serve it: "absent", "timeout", "connection", "loading", "cluster_down", "breaker_open",
/// "quarantined", "slot_uncovered", "redirect_limit", "error_reply", "protocol" or "deadline"; later versions may know
/// more. Static; NULL if it did, or the read failed.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_reason(outcome: Option<&Outcome>) -> *const c_char {
    words::reason(outcome.and_then(Outcome::read).and_then(|read| read.reason))
}

/// `host:port` of the node that answered; NULL unless a primary or a replica did. It belongs to the outcome.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_node(outcome: Option<&Outcome>) -> *const c_char {
    outcome.and_then(Outcome::node).map_or(std::ptr::null(), |node| node.as_ptr())
}

/// The age where it is not known: older than any.
pub const FAILSOFT_AGE_UNKNOWN: i64 = i64::MAX;

/// Milliseconds since the value was last known to be current: 0 from the primary and the loader, and
/// FAILSOFT_AGE_UNKNOWN from a replica of which nobody can say.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_age_ms(outcome: Option<&Outcome>) -> i64 {
    let Some(read) = outcome.and_then(Outcome::read) else { return 0 };
    read.age.and_then(|age| i64::try_from(age.as_millis()).ok()).unwrap_or(FAILSOFT_AGE_UNKNOWN)
}

/// How many attempts were sent to nodes; 0 if the read failed.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_attempts(outcome: Option<&Outcome>) -> u32 {
    outcome.and_then(Outcome::read).map_or(0, |read| read.attempts)
}

/// Whether another caller's load served this one.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_coalesced(outcome: Option<&Outcome>) -> bool {
    outcome.and_then(Outcome::read).is_some_and(|read| read.coalesced)
}

/// The code that failsoft_load_fail was given, if the loader failed; 0 otherwise.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_error_code(outcome: Option<&Outcome>) -> i32 {
    outcome.and_then(|outcome| outcome.result.as_ref().err()).map_or(0, |failed| failed.code)
}

/// What went wrong, for people; of a loader that failed, the message it gave. NULL if the read did not fail. It belongs
/// to the outcome.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_error_message(outcome: Option<&Outcome>) -> *const c_char {
    let failed = outcome.and_then(|outcome| outcome.result.as_ref().err());
    failed.map_or(std::ptr::null(), |failed| failed.message.as_ptr())
}

/// What the error says beside its message, as failsoft_last_error_detail_name; NULL if there is no such thing. It belongs to
/// the outcome.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_error_detail_name(outcome: Option<&Outcome>) -> *const c_char {
    outcome.and_then(Outcome::detail).map_or(std::ptr::null(), |detail| detail.name.as_ptr())
}

/// The value of that, and its length, as failsoft_last_error_detail. It belongs to the outcome.
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

/// Frees an outcome and all that belongs to it. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_outcome_free(outcome: Option<Box<Outcome>>) {
    drop(outcome);
}

#[cfg(test)]
mod tests {
    use failsoft::{Reason, ServedBy};

    /// The words in quotes between these two.
    fn words(from: &str, to: &str) -> Vec<String> {
        let source = include_str!("outcome.rs").replace("\n/// ", " ");
        let text = source.split(from).nth(1).and_then(|rest| rest.split(to).next()).unwrap_or_default();
        text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_header_names_the_words_of_the_core_and_no_others() {
        let known: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
        assert_eq!(words("Why the primary did not serve it:", "Static;"), known);
        let known: Vec<_> = ServedBy::ALL.iter().map(|source| source.as_str().to_owned()).collect();
        assert_eq!(words("Who answered:", "Static;"), known);
    }
}
