//! What an attempt came to, and what it says of the node and of the key.

use super::{Action, Answer, Attempted, Finish, Read, State};
use crate::miss::class;
use crate::reply::ErrorReply;
use crate::route::Source;
use crate::turn::Turn;
use crate::words::{NodeKey, Reason, ServedBy, Status};

impl Read {
    pub(super) fn answered(&mut self, attempted: Attempted, answer: Answer, turn: &mut Turn<'_>) -> Action {
        let Attempted { node, source, sent_at, contact } = attempted;
        let refused = matches!(answer, Answer::Refused(_));
        let trouble = match answer {
            Answer::Value => return self.serve(node, source),
            Answer::Nil if source == Source::Primary => {
                let evicting_at = self.known.and_then(|known| turn.cluster.evicting_at(known.node));
                return self.missed(class(self.standing, self.known, evicting_at, turn.now), Some(node));
            }
            Answer::Nil => {
                // A replica's nil is no confirmed miss: the key may be on its way.
                self.note(Status::Error, self.reason);
                self.tried.push(node);
                if self.callback {
                    return self.give_up(Reason::Absent, turn.now);
                }
                return self.next_source(false, turn);
            }
            Answer::Error(ErrorReply::Moved(slot, target)) if slot == self.slot => {
                if source == Source::Replica {
                    self.tried.push(node);
                }
                return self.follow_moved(&target, node, turn);
            }
            Answer::Error(ErrorReply::Ask(slot, target)) if slot == self.slot => {
                return self.follow_ask(&target, node, turn);
            }
            Answer::Error(ErrorReply::TryAgain) => {
                // A replica that can't say now is not waited for: there may be another source.
                self.count_failure(source, Reason::ErrorReply);
                self.tried.push(node);
                return self.next_source(false, turn);
            }
            Answer::Error(error) | Answer::Refused(error) => match unwilling(&error) {
                Some(reason) => reason,
                None => {
                    if refused {
                        // Without a connection each further read would knock, and be refused, again.
                        turn.cluster.handle_failure(node, Reason::ErrorReply, sent_at, contact, turn.now);
                    }
                    self.note(Status::Error, Some(Reason::ErrorReply));
                    return self.give_up(Reason::ErrorReply, turn.now);
                }
            },
            Answer::Protocol => Reason::Protocol,
            Answer::Hung => Reason::Timeout,
            Answer::Timeout => {
                // This caller had no more time for it; whether the node is at fault, its connection knows.
                self.count_failure(source, Reason::Timeout);
                self.tried.push(node);
                return self.next_source(true, turn);
            }
            Answer::Closed => return self.closed(node, source, turn),
            Answer::Connection => Reason::Connection,
            Answer::Stranger => {
                turn.cluster.handle_stranger(node, turn.now);
                Reason::Connection
            }
            Answer::Saturated => {
                // The node is busy with other reads, not in trouble: nothing to tell its breaker.
                self.count_failure(source, Reason::BreakerOpen);
                self.tried.push(node);
                return self.next_source(false, turn);
            }
        };
        self.failed(attempted, trouble, turn)
    }

    /// We closed the connection ourselves, because the node was renamed perhaps, or the server had closed it while it was
    /// idle: once, the owner is asked anew, or the replica if that does not serve.
    fn closed(&mut self, node: NodeKey, source: Source, turn: &mut Turn<'_>) -> Action {
        if !self.asked_anew {
            self.asked_anew = true;
            if let Some(owner) = turn.cluster.open_primary(self.slot) {
                return self.ask_primary(owner, turn);
            }
            if source == Source::Replica
                && let Some(other) = self.stand_in(turn)
            {
                return self.ask_other(other, turn.now);
            }
        }
        self.count_failure(source, Reason::Connection);
        self.tried.push(node);
        self.next_source(true, turn)
    }

    fn serve(&mut self, node: NodeKey, source: Source) -> Action {
        self.state = State::Over;
        let (served_by, status) = match source {
            Source::Primary => (ServedBy::Primary, Status::PrimaryHit),
            Source::Replica => (ServedBy::Replica, Status::ReplicaHit),
        };
        // The primary itself served it in the end: there is no reason why it did not.
        let reason = self.reason.filter(|_| source == Source::Replica);
        let current_at = self.current_at.filter(|_| source == Source::Replica);
        self.note(status, reason);
        Action::Finish(Finish::Value { served_by, node, reason, current_at })
    }

    /// The copy in this process stands in.
    pub(super) fn serve_copy(&mut self) -> Action {
        self.state = State::Over;
        self.note(Status::StaleHit, self.reason);
        Action::Finish(Finish::Stale { reason: self.reason })
    }

    /// The key is gone: its primary says so, or this process has invalidated it.
    pub(super) fn missed(&mut self, reason: Reason, confirmed: Option<NodeKey>) -> Action {
        self.state = State::Over;
        self.note(Status::Miss, Some(reason));
        if !self.callback {
            return Action::Finish(Finish::Missing { reason });
        }
        self.note(Status::SecondaryFallback, Some(reason));
        Action::Load { reason, confirmed }
    }

    fn failed(&mut self, attempted: Attempted, reason: Reason, turn: &mut Turn<'_>) -> Action {
        let Attempted { node, source, sent_at, contact } = attempted;
        self.count_failure(source, reason);
        if reason == Reason::SlotUncovered {
            turn.cluster.handle_doubt();
            return self.give_up(reason, turn.now);
        }
        turn.cluster.handle_failure(node, reason, sent_at, contact, turn.now);
        self.tried.push(node);
        // Bytes that are no answer are counted for what they are, too.
        if reason == Reason::Protocol {
            self.note(Status::Error, Some(reason));
        }
        let lost = matches!(reason, Reason::Timeout | Reason::Connection | Reason::Protocol);
        self.next_source(lost, turn)
    }

    fn count_failure(&mut self, source: Source, reason: Reason) {
        self.reason.get_or_insert(reason);
        let status = match source {
            Source::Primary => Status::PrimaryFailover,
            Source::Replica => Status::Error,
        };
        self.note(status, Some(reason));
    }
}

/// The errors with which a node says that it, or the cluster, can't serve now.
fn unwilling(error: &ErrorReply) -> Option<Reason> {
    match error {
        ErrorReply::ClusterDown => Some(Reason::ClusterDown),
        ErrorReply::SlotUncovered => Some(Reason::SlotUncovered),
        ErrorReply::Unwilling => Some(Reason::Loading),
        ErrorReply::Moved(..)
        | ErrorReply::Ask(..)
        | ErrorReply::TryAgain
        | ErrorReply::ReadOnly
        | ErrorReply::WriteRefused
        | ErrorReply::WrongType
        | ErrorReply::NoScript
        | ErrorReply::Denied
        | ErrorReply::Other => None,
    }
}
