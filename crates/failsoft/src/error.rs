//! What can go wrong for a caller, each kind told apart.

use bytes::Bytes;
use failsoft_policy::Reason;
use failsoft_policy::error::ConfigError;
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
    },
    /// The caller's own deadline passed, or the callback took longer than `load_timeout`.
    DeadlineExceeded {
        /// Which of the two: `deadline` or `load_timeout`.
        limit: &'static str,
    },
    /// The callback failed; all who waited for this run of it get the same error.
    Fallback(Arc<dyn StdError + Send + Sync>),
    /// The callback asked, directly or through others, for the key that it is loading.
    Reentrant {
        /// The key that closes the circle.
        key: Bytes,
    },
    /// A `set` was refused, or nobody can say whether it was written.
    WriteRefused {
        /// Why.
        cause: Cause,
    },
    /// The router was closed.
    Closed,
    /// The router belongs to the process that this one was forked from: make a new one here.
    Forked,
    /// A defect of Failsoft.
    Internal(&'static str),
}

impl Error {
    /// The kind as a word, the same in every language: `CONFIG`, `INVALID_ARGUMENT`, `UNAVAILABLE`,
    /// `DEADLINE_EXCEEDED`, `FALLBACK`, `REENTRANT`, `WRITE_REFUSED`, `CLOSED`,
    /// `FORKED`, `INTERNAL`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "CONFIG",
            Self::InvalidArgument { .. } => "INVALID_ARGUMENT",
            Self::Unavailable { .. } => "UNAVAILABLE",
            Self::DeadlineExceeded { .. } => "DEADLINE_EXCEEDED",
            Self::Fallback(_) => "FALLBACK",
            Self::Reentrant { .. } => "REENTRANT",
            Self::WriteRefused { .. } => "WRITE_REFUSED",
            Self::Closed => "CLOSED",
            Self::Forked => "FORKED",
            Self::Internal(_) => "INTERNAL",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(e) => e.fmt(f),
            Self::InvalidArgument { argument, problem } => write!(f, "`{argument}`: {problem}"),
            Self::Unavailable { reason } => write!(f, "no source could say whether the key exists: {reason}"),
            Self::DeadlineExceeded { limit } => write!(f, "`{limit}` passed before there was an answer"),
            Self::Fallback(e) => write!(f, "the fallback failed: {e}"),
            Self::Reentrant { key } => {
                // A key may be large; its beginning tells enough.
                let start = key.slice(..key.len().min(64));
                write!(f, "a callback asked for the key {start:?} while it was loading it itself")
            }
            Self::WriteRefused { cause } => write!(f, "the write was refused: {cause}"),
            Self::Closed => f.write_str("the router is closed"),
            Self::Forked => f.write_str("the router was made before this process was forked; make one after the fork"),
            Self::Internal(what) => write!(f, "a defect of failsoft: {what}"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Config(e) => Some(e),
            Self::Fallback(e) => Some(e.as_ref()),
            _ => None,
        }
    }
}

impl From<ConfigError> for Error {
    fn from(e: ConfigError) -> Self {
        Self::Config(e)
    }
}

/// What a callback's panic is told as: the error inside [`Error::Fallback`].
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

/// What the caller of a callback is told whose event loop or thread went away before it answered: the
/// error inside [`Error::Fallback`]. Others who waited for it run their own.
#[derive(Clone, Copy, Debug)]
pub struct CallbackGone;

impl fmt::Display for CallbackGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop or thread of the callback is gone")
    }
}

impl StdError for CallbackGone {}
