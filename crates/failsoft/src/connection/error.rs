//! What can go wrong with a connection, and with one request on it.

use std::fmt;
use std::sync::Arc;

/// Why a request got no reply, or why a lane died. Cheap to clone: one cause is told to many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LaneError {
    /// The request's deadline passed; the lane itself may be well.
    Timeout,
    /// No connection came about: name resolution, TCP, TLS, or no end of it within the connect timeout.
    Connect(Arc<str>),
    /// The connection broke, or the lane gave it up.
    Lost(Arc<str>),
    /// The peer sent bytes that are no RESP, or a reply nobody asked for.
    Protocol(Arc<str>),
    /// The handshake was answered with this error line.
    Refused(Arc<str>),
    /// Another node answers there: this one.
    Stranger(Arc<str>),
    /// The owner closed the lane.
    Closed,
}

impl fmt::Display for LaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no reply before the deadline"),
            Self::Connect(why) => write!(f, "cannot connect: {why}"),
            Self::Lost(why) => write!(f, "connection lost: {why}"),
            Self::Protocol(what) => write!(f, "not RESP: {what}"),
            Self::Refused(line) => write!(f, "the server refused the connection: {line}"),
            Self::Stranger(id) => write!(f, "another node answers there: {id}"),
            Self::Closed => f.write_str("the connection was closed"),
        }
    }
}

impl std::error::Error for LaneError {}

/// Why a request was not taken. Nothing of it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SubmitError {
    /// `max_in_flight` requests are in flight, or 256 MiB wait to be sent.
    Full,
    /// The lane died, of this.
    Dead(LaneError),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("too many requests in flight, or too many bytes to send"),
            Self::Dead(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for SubmitError {}
