//! What an answer that did not do what was asked says of its node, and whether there is any use in asking again.

use crate::read::Answer;
use crate::reply::ErrorReply;
use crate::time::Instant;
use crate::turn::Turn;
use crate::words::{NodeKey, Reason};

/// Whether the same may be asked again, and end better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hope {
    /// It may, of whoever is the owner then.
    Later,
    /// It would be refused again.
    None,
}

/// The cluster hears what an answer to a write, sent at that time, says of the node, whose last contact that was.
/// Redirects say nothing of it.
pub(crate) fn heed(
    answer: &Answer,
    node: NodeKey,
    (sent_at, contact): (Instant, Option<Instant>),
    turn: &mut Turn<'_>,
) -> Hope {
    let trouble = match answer {
        Answer::Error(ErrorReply::ReadOnly) => {
            turn.cluster.handle_disproof(node, turn.now);
            None
        }
        Answer::Error(ErrorReply::SlotUncovered) => {
            turn.cluster.handle_doubt();
            None
        }
        Answer::Error(ErrorReply::ClusterDown) => Some(Reason::ClusterDown),
        Answer::Error(ErrorReply::Unwilling) | Answer::Refused(ErrorReply::Unwilling) => Some(Reason::Loading),
        Answer::Error(ErrorReply::TryAgain) | Answer::Timeout | Answer::Closed | Answer::Saturated => None,
        Answer::Error(_) | Answer::Refused(_) => return Hope::None,
        // None of them is an answer to the question.
        Answer::Value | Answer::Nil | Answer::Protocol => Some(Reason::Protocol),
        Answer::Hung => Some(Reason::Timeout),
        Answer::Connection => Some(Reason::Connection),
        Answer::Stranger => {
            turn.cluster.handle_stranger(node, turn.now);
            None
        }
    };
    if let Some(reason) = trouble {
        turn.cluster.handle_failure(node, reason, sent_at, contact, turn.now);
    }
    Hope::Later
}
