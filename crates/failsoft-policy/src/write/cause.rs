//! Why a write was refused or skipped.

use crate::cluster::Blocked;
use crate::read::Answer;
use crate::reply::ErrorReply;
use crate::words::{Reason, words};

words! {
    /// Why a write was refused or skipped.
    Cause {
        /// Nobody owns the slot.
        SlotUncovered = "slot_uncovered",
        /// No view of the cluster has come yet.
        NoView = "no_view",
        /// The owner gets no traffic now: its breaker is open.
        BreakerOpen = "breaker_open",
        /// The owner was voted into the minority of a partition.
        Quarantined = "quarantined",
        /// It is not known whether the owner is in the majority: a fill is skipped, a `set` goes ahead.
        VerdictUnknown = "verdict_unknown",
        /// The owner says the cluster is down, or no majority is in reach.
        ClusterDown = "cluster_down",
        /// The owner is loading its data set, or busy.
        Loading = "loading",
        /// The owner has not answered within the last second.
        NoContact = "no_contact",
        /// The owner is not proved to be a primary.
        NotProved = "not_proved",
        /// The slot has another owner than the one that confirmed the miss.
        OwnerChanged = "owner_changed",
        /// More redirects than `max_redirects`.
        RedirectLimit = "redirect_limit",
        /// The key has a value: a fill never overwrites one.
        Exists = "exists",
        /// The load's lease does not stand any more: the key was changed, or may have been, since the load set out.
        LeaseGone = "lease_gone",
        /// A writer holds the key: what is loaded meanwhile is served and kept nowhere.
        Held = "held",
        /// The server takes no writes: out of memory, too few replicas, or unable to save.
        ServerRefused = "server_refused",
        /// The server does not permit it: no password, a wrong one, or an ACL.
        Denied = "denied",
        /// Another error reply.
        ErrorReply = "error_reply",
        /// A reply that is no answer to the question.
        Protocol = "protocol",
        /// No answer in time: whether it was written is not known.
        Timeout = "timeout",
        /// The connection was lost: whether it was written is not known.
        Connection = "connection",
        /// The primary has it, but too few replicas have it yet.
        NotReplicated = "not_replicated",
        /// Too many writes are under way.
        Busy = "busy",
    }
}

/// What stands in the way of a write, as a cause.
pub(super) fn cause_of(blocked: Blocked) -> Cause {
    match blocked {
        Blocked::Uncovered => Cause::SlotUncovered,
        Blocked::NoView => Cause::NoView,
        Blocked::Trouble(Reason::ClusterDown) => Cause::ClusterDown,
        Blocked::Trouble(Reason::Quarantined) => Cause::Quarantined,
        Blocked::Trouble(Reason::Loading) => Cause::Loading,
        Blocked::Trouble(Reason::ErrorReply) => Cause::Denied,
        Blocked::Trouble(_) => Cause::BreakerOpen,
    }
}

/// An answer that is none of those that were hoped for, as a cause.
pub(crate) fn cause_of_answer(answer: &Answer) -> Cause {
    match answer {
        Answer::Value | Answer::Nil | Answer::Protocol => Cause::Protocol,
        Answer::Error(ErrorReply::Moved(..) | ErrorReply::Ask(..)) => Cause::OwnerChanged,
        Answer::Error(ErrorReply::ReadOnly) => Cause::NotProved,
        Answer::Error(ErrorReply::WriteRefused) => Cause::ServerRefused,
        Answer::Error(ErrorReply::SlotUncovered) => Cause::SlotUncovered,
        Answer::Error(ErrorReply::ClusterDown) => Cause::ClusterDown,
        Answer::Error(ErrorReply::Denied) | Answer::Refused(ErrorReply::Denied) => Cause::Denied,
        Answer::Error(ErrorReply::Unwilling) | Answer::Refused(ErrorReply::Unwilling) => Cause::Loading,
        Answer::Error(_) | Answer::Refused(_) => Cause::ErrorReply,
        Answer::Timeout | Answer::Hung => Cause::Timeout,
        Answer::Closed | Answer::Connection | Answer::Stranger => Cause::Connection,
        Answer::Saturated => Cause::Busy,
    }
}
