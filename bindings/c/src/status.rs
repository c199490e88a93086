//! The statuses of calls, the core's errors as statuses, and each thread's last error.

use crate::inside::NotCancelled;
use failsoft::{ConfigError, Detail, DetailValue, Error, Incomplete};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a call ended. The numbers never change; later versions may add some.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// The names are those of the header.
#[allow(non_camel_case_types, clippy::upper_case_acronyms)]
pub enum Status {
    /// The call succeeded.
    FAILSOFT_OK = 0,
    /// A bad setting or address; no connection was made.
    FAILSOFT_CONFIG = 1,
    /// A bad argument: NULL where it is not allowed, a key or value over 512 MiB, text that is not UTF-8.
    FAILSOFT_INVALID_ARGUMENT = 2,
    /// No node could say whether the key exists, and there was no loader; or no view of the cluster came in time.
    FAILSOFT_UNAVAILABLE = 3,
    /// The caller's own deadline passed, or the loader took longer than `load_timeout`.
    FAILSOFT_DEADLINE_EXCEEDED = 4,
    /// The loader was not called, to spare the program's own store, or too many loads wait in line.
    FAILSOFT_SHED = 5,
    /// The loader failed; failsoft_outcome_error_code and _error_message say how.
    FAILSOFT_FALLBACK = 6,
    /// A loader asked, directly or through others, for the key that it is loading.
    FAILSOFT_REENTRANT = 7,
    /// A write was refused, or it is not known whether it was done.
    FAILSOFT_WRITE_REFUSED = 8,
    /// Steps of an invalidation were not acknowledged in time; they are sent again in the background.
    FAILSOFT_INVALIDATION_INCOMPLETE = 9,
    /// The call was cancelled.
    FAILSOFT_CANCELLED = 10,
    /// The router was closed.
    FAILSOFT_CLOSED = 11,
    /// The router belongs to the process that this one was forked from: open a new one here.
    FAILSOFT_FORKED = 12,
    /// The load was answered before.
    FAILSOFT_ALREADY_ANSWERED = 13,
    /// A call that is not allowed here, such as failsoft_router_close inside a callback, or one for the other delivery.
    FAILSOFT_MISUSE = 14,
    /// A defect of Failsoft, or the system gave no thread or descriptor; failsoft_last_error says which.
    FAILSOFT_INTERNAL = 15,
}

use Status::*;

impl Status {
    const ALL: [(Self, &'static CStr); 16] = [
        (FAILSOFT_OK, c"OK"),
        (FAILSOFT_CONFIG, c"CONFIG"),
        (FAILSOFT_INVALID_ARGUMENT, c"INVALID_ARGUMENT"),
        (FAILSOFT_UNAVAILABLE, c"UNAVAILABLE"),
        (FAILSOFT_DEADLINE_EXCEEDED, c"DEADLINE_EXCEEDED"),
        (FAILSOFT_SHED, c"SHED"),
        (FAILSOFT_FALLBACK, c"FALLBACK"),
        (FAILSOFT_REENTRANT, c"REENTRANT"),
        (FAILSOFT_WRITE_REFUSED, c"WRITE_REFUSED"),
        (FAILSOFT_INVALIDATION_INCOMPLETE, c"INVALIDATION_INCOMPLETE"),
        (FAILSOFT_CANCELLED, c"CANCELLED"),
        (FAILSOFT_CLOSED, c"CLOSED"),
        (FAILSOFT_FORKED, c"FORKED"),
        (FAILSOFT_ALREADY_ANSWERED, c"ALREADY_ANSWERED"),
        (FAILSOFT_MISUSE, c"MISUSE"),
        (FAILSOFT_INTERNAL, c"INTERNAL"),
    ];

    /// The status for an error of the core: the one whose name is the error's code.
    pub(crate) fn of(error: &Error) -> Self {
        let code = error.code().as_bytes();
        Self::ALL.iter().find(|(_, name)| name.to_bytes() == code).map_or(FAILSOFT_INTERNAL, |(status, _)| *status)
    }
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    message: String,
    detail: Option<ErrorDetail>,
}

/// The detail that an error has besides its message: its name, and its value, which ends with a NUL.
#[derive(Clone, Debug)]
pub(crate) struct ErrorDetail {
    pub(crate) name: CString,
    value: Vec<u8>,
}

impl ErrorDetail {
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let Detail { name, value } = error.detail()?;
        Some(match value {
            DetailValue::Setting(word) if name == "argument" => Self::new(name, in_the_header(word).as_bytes()),
            DetailValue::Setting(word) | DetailValue::Word(word) => Self::new(name, word.as_bytes()),
            DetailValue::Key(key) => Self::new(name, key),
            DetailValue::Pending(keys) => Self::new(name, steps_of(keys).as_bytes()),
        })
    }

    fn new(name: &str, value: &[u8]) -> Self {
        Self { name: text(name), value: [value, &[0]].concat() }
    }

    /// Without the NUL at its end.
    pub(crate) fn value(&self) -> &[u8] {
        self.value.split_last().map_or(&[], |(_, value)| value)
    }
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), detail: None }
    }

    /// The same with a detail.
    pub(crate) fn with(self, detail: Option<ErrorDetail>) -> Self {
        Self { detail, ..self }
    }

    /// For a bad argument, by its name in the header.
    pub(crate) fn argument(name: &str, problem: &str) -> Self {
        Self::new(FAILSOFT_INVALID_ARGUMENT, format!("`{name}`: {problem}"))
            .with(Some(ErrorDetail::new("argument", name.as_bytes())))
    }

    pub(crate) fn null(name: &str) -> Self {
        Self::argument(name, "is NULL")
    }
}

/// The steps that the first of these keys lacks, with their causes.
fn steps_of(keys: &[Incomplete]) -> String {
    let steps = keys.iter().take(1).flat_map(|first| first.pending.steps());
    steps.map(|(step, cause)| format!("{step} {cause}")).collect::<Vec<_>>().join(", ")
}

/// The header's name of a call's argument.
fn in_the_header(argument: &str) -> String {
    match argument {
        "ttl" | "timeout" => format!("{argument}_ms"),
        other => other.to_owned(),
    }
}

/// The core's message, with the names that arguments have in the header.
pub(crate) fn message_of(error: &Error) -> String {
    match error {
        Error::InvalidArgument { .. } => error.message_with(in_the_header),
        _ => error.to_string(),
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self::new(Status::of(error), message_of(error)).with(ErrorDetail::of(error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::from(Error::Config(error))
    }
}

thread_local! {
    static LAST_ERROR: RefCell<(CString, Option<ErrorDetail>)> = RefCell::default();
}

/// Runs the body of an exported function. A failure or a panic becomes its status and this thread's last error.
pub(crate) fn guarded(body: impl FnOnce() -> Result<(), Failure>) -> Status {
    match caught(body) {
        Ok(()) => FAILSOFT_OK,
        Err(failure) => failed(&failure),
    }
}

/// The same for a function that does not return a status; after a failure it returns `otherwise`.
pub(crate) fn guarded_or<T>(otherwise: T, body: impl FnOnce() -> Result<T, Failure>) -> T {
    caught(body).unwrap_or_else(|failure| {
        failed(&failure);
        otherwise
    })
}

fn caught<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let _not_cancelled = NotCancelled::new();
    // Whatever a panic interrupts is behind locks, which recover from it.
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Err(Failure::new(FAILSOFT_INTERNAL, format!("a panic: {}", message(panic.as_ref())))))
}

fn failed(failure: &Failure) -> Status {
    // An error means that the thread is ending, so nobody will ask.
    let _ = LAST_ERROR.try_with(|last| last.replace((text(&failure.message), failure.detail.clone())));
    failure.status
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// A text for C: it ends where it has a NUL.
pub(crate) fn text(text: &str) -> CString {
    let until_nul = text.split('\0').next().unwrap_or_default();
    CString::new(until_nul).unwrap_or_default()
}

/// What went wrong in this thread's last call that failed; "" if none has. Valid until this thread's next call. The
/// outcome of a failed read has the message as well. A thread that is ending (in `atexit`, in the destructors of globals
/// and of its own data) keeps no errors any more, and is told so.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_last_error() -> *const c_char {
    LAST_ERROR
        .try_with(|last| last.borrow().0.as_ptr())
        .unwrap_or(c"this thread is ending: its errors are no longer kept".as_ptr())
}

/// The name of the detail that this error has besides its message. NULL if it has none. Valid as long as
/// failsoft_last_error.
///
/// - "key": the setting, with FAILSOFT_CONFIG; the key of the read, with FAILSOFT_REENTRANT
/// - "argument": the bad argument, with FAILSOFT_INVALID_ARGUMENT
/// - "reason": a word of failsoft_outcome_reason, with FAILSOFT_UNAVAILABLE
/// - "limit": which limit has passed, `deadline` or `load_timeout`, with FAILSOFT_DEADLINE_EXCEEDED
/// - "cause": why the value was not written, with FAILSOFT_WRITE_REFUSED; see failsoft_set. With FAILSOFT_SHED:
///   "breaker_open" or "queue_full"
/// - "pending": the steps that the first key lacks, with FAILSOFT_INVALIDATION_INCOMPLETE; see failsoft_invalidate
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_last_error_detail_name() -> *const c_char {
    let name =
        |last: &RefCell<(CString, Option<ErrorDetail>)>| last.borrow().1.as_ref().map(|detail| detail.name.as_ptr());
    LAST_ERROR.try_with(name).ok().flatten().unwrap_or(std::ptr::null())
}

/// The value of that detail: a name, a word, a list of steps, or a key, which can hold any bytes. `*len` becomes its length in bytes,
/// without the NUL that follows; `len` may be NULL. NULL and 0 if there is no detail. Valid as long as
/// failsoft_last_error.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_last_error_detail(len: Option<&mut MaybeUninit<usize>>) -> *const u8 {
    let place = LAST_ERROR
        .try_with(|last| last.borrow().1.as_ref().map(|detail| (detail.value().as_ptr(), detail.value().len())));
    let (value, length) = place.ok().flatten().unwrap_or((std::ptr::null(), 0));
    if let Some(len) = len {
        len.write(length);
    }
    value
}

/// The name of a status, such as "OK" or "CONFIG"; "UNKNOWN" for a number that is not a status. Static.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_status_name(status: c_int) -> *const c_char {
    let named = Status::ALL.iter().find(|(known, _)| *known as c_int == status);
    named.map_or(c"UNKNOWN", |(_, name)| *name).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_fixed_for_ever() {
        for (number, (status, _)) in Status::ALL.iter().enumerate() {
            assert_eq!(*status as usize, number);
        }
    }

    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(guarded(|| panic!("on purpose")), FAILSOFT_INTERNAL);
        assert_eq!(LAST_ERROR.with_borrow(|last| last.0.clone()).to_str(), Ok("a panic: on purpose"));
    }
}
