//! Why a request got no reply or a connection ended, and what that means: to the request, and of the node.

use crate::action::Answer;
use crate::reply::classify;
use crate::words::Reason;
use alloc::sync::Arc;
use core::fmt;

/// Cheap to clone: one cause goes to many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request's own time was over. It says nothing of the connection.
    Timeout,
    /// The node owed a reply, and neither that nor any part of a long one came for a whole `attempt_timeout`.
    Hung,
    /// No connection came about: name resolution, TCP, TLS, or no end of it within the connect timeout.
    Connect(Arc<str>),
    /// The connection broke.
    Lost(Arc<str>),
    /// The peer sent bytes that are no RESP, or a reply without a request.
    Protocol(Arc<str>),
    /// The handshake was answered with this error line.
    Refused(Arc<str>),
    /// Another node answers there: this one.
    Stranger(Arc<str>),
    /// We closed it ourselves, or the server had done so before it was used again.
    Closed,
}

impl Failure {
    /// What it means to a read or a write.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Timeout => Answer::Timeout,
            Self::Hung => Answer::Hung,
            Self::Connect(_) | Self::Lost(_) => Answer::Connection,
            Self::Stranger(_) => Answer::Stranger,
            Self::Protocol(_) => Answer::Protocol,
            Self::Refused(line) => Answer::Refused(classify(line)),
            Self::Closed => Answer::Closed,
        }
    }

    /// What is to be held against the node when a connection that owed replies ended so, whether or not a caller
    /// still waits for them. Refusals are judged by the reads and writes that met them.
    pub fn blame(&self) -> Option<Reason> {
        match self {
            Self::Hung => Some(Reason::Timeout),
            Self::Connect(_) | Self::Lost(_) => Some(Reason::Connection),
            Self::Protocol(_) => Some(Reason::Protocol),
            Self::Timeout | Self::Refused(_) | Self::Stranger(_) | Self::Closed => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no reply before the deadline"),
            Self::Hung => f.write_str("the node owes a reply and says nothing"),
            Self::Connect(why) => write!(f, "cannot connect: {why}"),
            Self::Lost(why) => write!(f, "connection lost: {why}"),
            Self::Protocol(what) => write!(f, "not RESP: {what}"),
            Self::Refused(line) => write!(f, "the server refused the connection: {line}"),
            Self::Stranger(id) => write!(f, "another node answers there: {id}"),
            Self::Closed => f.write_str("the connection was closed"),
        }
    }
}

impl core::error::Error for Failure {}
