//! What can go wrong for a caller, each kind told apart.

use bytes::Bytes;
use failsoft_policy::Reason;
use failsoft_policy::error::ConfigError;
use failsoft_policy::invalidate::Pending;
use failsoft_policy::store::ShedCause;
use failsoft_policy::write::Cause;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// An error of a router. Cheap to clone: callers that share a load share its error.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Error {
    /// A setting or an address is bad; no connection was made.
    Config(ConfigError),
    /// An argument of a call is bad.
    InvalidArgument {
        /// Which argument.
        argument: &'static str,
        /// What is wrong with it, and what is allowed.
        problem: String,
    },
    /// No source could say whether the key exists: the first cause.
    Unavailable {
        /// Why the primary did not serve.
        reason: Reason,
        /// What one of the nodes that gave no view of the cluster said or did instead, with its address, if there are
        /// any; [`Health::refusals`](crate::Health::refusals) has all of them.
        said: Option<Arc<str>>,
    },
    /// The caller's own deadline passed, or the callback took longer than `load_timeout`.
    DeadlineExceeded {
        /// Which of the two: `deadline` or `load_timeout`.
        limit: &'static str,
    },
    /// The callback was not asked, to spare the store.
    Shed {
        /// Why: its breaker is open, or too many loads wait in line.
        cause: ShedCause,
    },
    /// The callback failed; all callers that waited for this run of it get the same error.
    Fallback(Arc<dyn StdError + Send + Sync>),
    /// The callback asked, directly or through others, for the key that it is loading.
    Reentrant {
        /// The key that closes the circle.
        key: Bytes,
    },
    /// A `set` was refused, or it is unknown whether it was written.
    WriteRefused {
        /// Why.
        cause: Cause,
    },
    /// Steps of an invalidation were not acknowledged within `deadline`. They are sent again in the background for
    /// `invalidation_ttl`, and meanwhile this process reads keys whose deletion is pending from their callbacks alone.
    InvalidationIncomplete {
        /// The keys, and what is pending.
        pending: Arc<[Incomplete]>,
    },
    /// The router was closed.
    Closed,
    /// The router belongs to the process that this one was forked from: make a new one here.
    Forked,
    /// The system refused what a router cannot be without.
    System {
        /// What that is.
        lacks: &'static str,
        /// What the system said.
        why: Arc<std::io::Error>,
    },
    /// A defect of Failsoft.
    Internal(&'static str),
}

impl Error {
    /// The kind as a word, the same in every language: `CONFIG`, `INVALID_ARGUMENT`, `UNAVAILABLE`,
    /// `DEADLINE_EXCEEDED`, `SHED`, `FALLBACK`, `REENTRANT`, `WRITE_REFUSED`, `INVALIDATION_INCOMPLETE`, `CLOSED`,
    /// `FORKED`, `INTERNAL`. A callback's result that is no answer ([`BadResult`]) is an `INVALID_ARGUMENT`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "CONFIG",
            Self::InvalidArgument { .. } => "INVALID_ARGUMENT",
            Self::Unavailable { .. } => "UNAVAILABLE",
            Self::DeadlineExceeded { .. } => "DEADLINE_EXCEEDED",
            Self::Shed { .. } => "SHED",
            Self::Fallback(inner) if inner.is::<BadResult>() => "INVALID_ARGUMENT",
            Self::Fallback(_) => "FALLBACK",
            Self::Reentrant { .. } => "REENTRANT",
            Self::WriteRefused { .. } => "WRITE_REFUSED",
            Self::InvalidationIncomplete { .. } => "INVALIDATION_INCOMPLETE",
            Self::Closed => "CLOSED",
            Self::Forked => "FORKED",
            Self::System { .. } | Self::Internal(_) => "INTERNAL",
        }
    }
}

/// What an error says beside its message: one thing, the same in every language. The names are the core's; a binding
/// whose settings are called otherwise translates those of settings and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail<'a> {
    /// What it is: `key`, `argument`, `reason`, `limit`, `cause` or `pending`.
    pub name: &'static str,
    /// Its value.
    pub value: DetailValue<'a>,
}

/// See [`Detail`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetailValue<'a> {
    /// The name of a setting or of an argument.
    Setting(&'a str),
    /// A word of a closed list.
    Word(&'static str),
    /// The key of a cache entry.
    Key(&'a Bytes),
    /// Keys, each with the steps of its invalidation that are pending.
    Pending(&'a [Incomplete]),
}

/// A key whose invalidation is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// The key.
    pub key: Bytes,
    /// What was not acknowledged, and why.
    pub pending: Pending,
}

impl Error {
    /// What it says beside its message, if it does.
    pub fn detail(&self) -> Option<Detail<'_>> {
        use DetailValue::{Key, Setting, Word};
        let pending = |pending| ("pending", DetailValue::Pending(pending));
        let (name, value) = match self {
            Self::Config(problem) => ("key", Setting(&problem.key)),
            Self::InvalidArgument { argument, .. } => ("argument", Setting(argument)),
            Self::Unavailable { reason, .. } => ("reason", Word(reason.as_str())),
            Self::DeadlineExceeded { limit } => ("limit", Setting(limit)),
            Self::Shed { cause } => ("cause", Word(cause.as_str())),
            Self::Reentrant { key } => ("key", Key(key)),
            Self::WriteRefused { cause } => ("cause", Word(cause.as_str())),
            Self::InvalidationIncomplete { pending: keys } => pending(keys),
            Self::Fallback(inner) => ("argument", Setting(inner.downcast_ref::<BadResult>()?.argument)),
            Self::Closed | Self::Forked | Self::System { .. } | Self::Internal(_) => return None,
        };
        Some(Detail { name, value })
    }

    /// The message, with the names of settings and arguments as another language has them.
    pub fn message_with(&self, named: impl Fn(&str) -> String) -> String {
        match self {
            Self::Config(problem) => ConfigError::new(named(&problem.key), problem.problem.clone()).to_string(),
            Self::InvalidArgument { argument, problem } => format!("`{}`: {problem}", named(argument)),
            Self::DeadlineExceeded { limit } => format!("`{}` passed before there was an answer", named(limit)),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(_) | Self::InvalidArgument { .. } | Self::DeadlineExceeded { .. } => {
                f.write_str(&self.message_with(str::to_owned))
            }
            Self::Unavailable { reason, said } => {
                write!(f, "no source could say whether the key exists: {reason}")?;
                said.as_ref().map_or(Ok(()), |said| write!(f, " ({said})"))
            }
            Self::Shed { cause } => write!(f, "the callback was not asked, to spare the store: {cause}"),
            Self::Fallback(e) if e.is::<BadResult>() => e.fmt(f),
            Self::Fallback(e) => write!(f, "the fallback failed: {e}"),
            Self::Reentrant { key } => {
                write!(f, "a callback asked for the key {:?} while it was loading it itself", start_of(key))
            }
            Self::WriteRefused { cause } => write!(f, "the write was refused: {cause}"),
            Self::InvalidationIncomplete { pending } => {
                write!(
                    f,
                    "{} of the keys are not invalidated everywhere yet; it goes on in the background",
                    pending.len()
                )?;
                let Some(Incomplete { key, pending }) = pending.first() else { return Ok(()) };
                write!(f, ": {:?}", start_of(key))?;
                pending.steps().try_for_each(|(step, cause)| write!(f, ", {step} ({cause})"))
            }
            Self::Closed => f.write_str("the router is closed"),
            Self::Forked => f.write_str("the router was made before this process was forked; make one after the fork"),
            Self::System { lacks, why } => write!(f, "the system has no {lacks} for failsoft: {why}"),
            Self::Internal(what) => write!(f, "a defect of failsoft: {what}"),
        }
    }
}

/// A key may be large; its beginning is enough to recognise it.
fn start_of(key: &Bytes) -> Bytes {
    key.slice(..key.len().min(64))
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Config(e) => Some(e),
            Self::Fallback(e) => Some(e.as_ref()),
            Self::System { why, .. } => Some(why.as_ref()),
            _ => None,
        }
    }
}

impl From<ConfigError> for Error {
    fn from(e: ConfigError) -> Self {
        Self::Config(e)
    }
}

/// A panic of a callback: the error inside [`Error::Fallback`].
#[derive(Clone, Debug)]
pub struct CallbackPanicked {
    /// The panic's message, if it had one.
    pub message: String,
}

impl fmt::Display for CallbackPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the callback panicked: {}", self.message)
    }
}

impl StdError for CallbackPanicked {}

/// A callback in another language gave something that is no answer: the error inside [`Error::Fallback`]. Its kind is
/// that of a bad argument.
#[derive(Clone, Debug)]
pub struct BadResult {
    /// Which callback: `fallback` or `recompute`.
    pub argument: &'static str,
    /// What it gave, and what is allowed.
    pub problem: String,
}

impl fmt::Display for BadResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} gave {}", self.argument, self.problem)
    }
}

impl StdError for BadResult {}

/// A callback's event loop or thread went away before it answered: the error inside [`Error::Fallback`] for the
/// caller whose callback it was. Others that waited for it run their own.
#[derive(Clone, Copy, Debug)]
pub struct CallbackGone;

impl fmt::Display for CallbackGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop or thread of the callback is gone")
    }
}

impl StdError for CallbackGone {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_stands_in_the_message_under_the_name_that_a_language_has_for_it() {
        let named = |name: &str| format!("{name}_ms");
        let cases = [
            (Error::Config(ConfigError::new("deadline", "too long")), "key", "deadline"),
            (Error::InvalidArgument { argument: "ttl", problem: "is 0".to_owned() }, "argument", "ttl"),
            (Error::DeadlineExceeded { limit: "load_timeout" }, "limit", "load_timeout"),
        ];
        for (error, name, value) in cases {
            assert_eq!(error.detail(), Some(Detail { name, value: DetailValue::Setting(value) }));
            let shown = error.to_string();
            assert!(shown.contains(&format!("`{value}`")), "{shown}");
            assert_eq!(error.message_with(named), shown.replacen(value, &named(value), 1));
        }
    }

    #[test]
    fn a_result_that_is_no_answer_is_a_bad_argument() {
        for argument in ["fallback", "recompute"] {
            let error = Error::Fallback(Arc::new(BadResult { argument, problem: "an int".to_owned() }));
            assert_eq!((error.code(), error.to_string()), ("INVALID_ARGUMENT", format!("the {argument} gave an int")));
            assert_eq!(error.detail(), Some(Detail { name: "argument", value: DetailValue::Setting(argument) }));
        }
        let other = Error::Fallback(Arc::new(CallbackGone));
        assert_eq!((other.code(), other.detail()), ("FALLBACK", None));
    }

    #[test]
    fn the_key_that_closes_a_circle_is_told() {
        let key = Bytes::from_static(b"k\xff");
        let error = Error::Reentrant { key: key.clone() };
        assert_eq!(error.detail(), Some(Detail { name: "key", value: DetailValue::Key(&key) }));
    }
}
