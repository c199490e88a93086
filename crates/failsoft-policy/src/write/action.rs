//! The words between a write and its driver: what happened, and what to do next.

use super::{Batch, Cause, Which};
use crate::read::Answer;
use crate::time::Instant;
use crate::words::NodeKey;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteEvent {
    /// What was sent was answered, or not; of a batch, what its answers come to ([`Batch::comes_to`]).
    Answered {
        /// How it ended.
        answer: Answer,
        /// The connection that it was sent on, by a number that no other one of this router has.
        line: u64,
        /// When the node last answered anything.
        contact: Option<Instant>,
    },
    /// The script returned this.
    Returned {
        /// A number.
        number: i64,
        /// The connection that it was sent on.
        line: u64,
    },
    /// The `PING` was answered, or not.
    Pinged(bool),
    /// The time of a wait came, or the routes changed.
    Woken,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteAction {
    /// Send a `PING` to this node on its primary connection.
    Ping {
        /// Whom.
        node: NodeKey,
        /// When it is given up.
        until: Instant,
    },
    /// Send these commands to this node in one write.
    Send {
        /// Whom.
        node: NodeKey,
        /// Which commands.
        batch: Batch,
        /// With `ASKING` before each of them.
        asking: bool,
        /// On a new connection, as [`crate::action::Action::Send`] has it.
        renew: bool,
        /// When it is given up ...
        until: Instant,
        /// ... or at the latest then, while a long transfer that it is part of or waits behind advances.
        limit: Instant,
    },
    /// Run a script on this node.
    Run {
        /// Whom.
        node: NodeKey,
        /// On the connection of this number and on no other: where that is gone, the answer is [`Answer::Closed`].
        line: Option<u64>,
        /// Which script.
        script: Which,
        /// With `ASKING` before it.
        asking: bool,
        /// On a new connection, as above.
        renew: bool,
        /// With the script's text in the same write; if the node refuses that, its error is the answer.
        with_text: bool,
        /// When it is given up ...
        until: Instant,
        /// ... or at the latest then, while a long transfer that it is part of or waits behind advances.
        limit: Instant,
    },
    /// Wait until then, or until the routes change.
    Wait {
        /// The latest moment.
        until: Instant,
    },
    /// It is written.
    Written,
    /// It is not written, or nobody can say.
    Refused(Cause),
}
