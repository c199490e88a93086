//! The words between the read machine and its driver: what happened, and what to do next.

use crate::reply::ErrorReply;
use crate::route::Source;
use crate::time::Instant;
use crate::words::{NodeKey, Reason, ServedBy, Status};
use alloc::vec::Vec;

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A value.
    Value,
    /// No such key.
    Nil,
    /// An error reply.
    Error(ErrorReply),
    /// A reply that is no answer to the question, or bytes that are no reply.
    Protocol,
    /// No answer in the attempt's own time, which says nothing of the node.
    Timeout,
    /// The node owed answers, and none came for a whole `attempt_timeout`: its connection was given up.
    Hung,
    /// The connection was closed by ourselves, which says nothing of the node.
    Closed,
    /// The connection could not be made, or was lost.
    Connection,
    /// Another node than the one that was meant answers at its address; nothing was asked of it.
    Stranger,
    /// The server refused the connection's handshake with an error.
    Refused(ErrorReply),
    /// The node has no room for another read in flight.
    Saturated,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The attempt under way ended; the node's last answer of any kind came at `contact`.
    Answered {
        /// How it ended.
        answer: Answer,
        /// When the node last answered anything.
        contact: Option<Instant>,
    },
    /// The time of a [`Action::Wait`] came, or the routes changed.
    Woken,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask this node.
    Send {
        /// Whom.
        node: NodeKey,
        /// On which connection.
        source: Source,
        /// With `ASKING` before the command, in one write.
        asking: bool,
        /// With the key's mark before it, in one write: [`crate::read::Read::found_mark`] comes before the answer.
        marked: bool,
        /// On a new connection: the one that is open may lead to another server than the node's address does
        /// by now. It is closed, which says nothing of the node.
        renew: bool,
        /// When the attempt is given up ...
        until: Instant,
        /// ... or at the latest then, while a long transfer that it waits for or behind advances.
        limit: Instant,
    },
    /// Wait until then, or until the routes change.
    Wait {
        /// The latest moment.
        until: Instant,
    },
    /// Ask the caller's callback (one flight for the key).
    Load {
        /// Why.
        reason: Reason,
        /// The primary that confirmed the miss; only then may the loaded value be written back.
        confirmed: Option<NodeKey>,
    },
    /// The read is over.
    Finish(Finish),
}

/// How a read ends without the callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A node had the value.
    Value {
        /// Which source.
        served_by: ServedBy,
        /// Which node.
        node: NodeKey,
        /// Why the primary did not serve it.
        reason: Option<Reason>,
        /// How current a replica's value is at the least; none for a primary's, or if nobody can say.
        current_at: Option<Instant>,
    },
    /// The copy that this process holds stands in for a replica that is known to be current only up to an earlier time.
    Stale {
        /// Why the primary did not serve it.
        reason: Option<Reason>,
    },
    /// The primary confirmed that there is no such key, and there is no callback.
    Missing {
        /// The class of the miss.
        reason: Reason,
    },
    /// No source could say, and there is no callback.
    Unavailable {
        /// The first cause.
        reason: Reason,
    },
    /// The deadline that the caller set for the call passed before a source could say.
    DeadlineExceeded,
}

/// What a step adds to the attempt counters, at most four entries.
pub type Notes = Vec<(Status, Option<Reason>)>;
