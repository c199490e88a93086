//! Why a question got no usable answer.

use failsoft_policy::Reason;
use failsoft_policy::reply::{ErrorReply, classify};
use redis::RedisError;
use std::fmt;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// No answer in time.
    Late(String),
    /// No connection, or it broke.
    Unreachable(String),
    /// The server answered with this error line.
    Refused(String),
    /// The answer cannot be read.
    Unreadable(&'static str),
}

impl Trouble {
    /// The error reply, if the server gave one.
    pub(crate) fn error_reply(&self) -> Option<ErrorReply> {
        match self {
            Self::Refused(line) => Some(classify(line)),
            Self::Late(_) | Self::Unreachable(_) | Self::Unreadable(_) => None,
        }
    }

    /// Why a node gets no reads when a probe ends so.
    pub(crate) fn reason(&self) -> Reason {
        match (self, self.error_reply()) {
            (_, Some(ErrorReply::Unwilling)) => Reason::Loading,
            (_, Some(ErrorReply::ClusterDown)) => Reason::ClusterDown,
            (_, Some(_)) => Reason::ErrorReply,
            (Self::Late(_), None) => Reason::Timeout,
            (_, None) => Reason::Connection,
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(e: RedisError) -> Self {
        if e.is_timeout() { Self::Late(e.to_string()) } else { Self::Unreachable(e.to_string()) }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(why) | Self::Unreachable(why) | Self::Refused(why) => f.write_str(why),
            Self::Unreadable(what) => write!(f, "an answer that cannot be read: {what}"),
        }
    }
}
