//! Why a connection did not take a request.

use failsoft_policy::connection::Failure;
use std::fmt;

/// Why a request was not taken. Nothing of it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SubmitError {
    /// `max_in_flight` requests are in flight, or 256 MiB wait to be sent.
    Full,
    /// The connection is over, for this reason.
    Ended(Failure),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("too many requests in flight, or too many bytes to send"),
            Self::Ended(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for SubmitError {}
