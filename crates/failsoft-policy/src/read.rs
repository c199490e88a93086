//! One read as a machine: what a node answered goes in, what to do next comes out.
//!
//! The driver builds it only when something other than a value came back from the first step
//! ([`crate::route::first_step`]). Sources in their order: the primary, a replica, the primary again
//! if it may have recovered, the caller's callback. Source: the cluster specification, "MOVED
//! Redirection" and "ASK Redirection".

use crate::config::Config;
use crate::connection::Attempt;
use crate::reply::ErrorReply;
use crate::route::{Bounds, Source, Step, step_of};
use crate::time::Instant;
use crate::turn::Turn;
use crate::words::{NodeKey, Reason, ServedBy, Slot, Status};
use alloc::vec::Vec;
use core::time::Duration;

mod next;
mod redirect;

pub use crate::action::{Action, Answer, Event, Finish, Notes};

/// How long a further attempt on the primary waits for a refresh before it backs off.
pub const REFRESH_WAIT: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// An attempt is under way.
    Asking { node: NodeKey, source: Source, asking: bool },
    /// Waiting, for what comes `then`.
    Waiting { until: Instant, then: Then },
    /// Nothing follows.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The first view of the cluster.
    Begin,
    /// A view that says where this node's slot went.
    Follow(NodeKey),
    /// A further attempt on the primary.
    Retry,
    /// The same node again (`TRYAGAIN`), with `ASKING` if it was asked with it.
    Again { node: NodeKey, asking: bool },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Read {
    slot: Slot,
    bounds: Bounds,
    max_retries: u32,
    max_redirects: u32,
    base_backoff: Duration,
    callback: bool,
    state: State,
    reason: Option<Reason>,
    primary_attempts: u32,
    replica_attempts: u32,
    retries: u32,
    redirects: u32,
    /// Whether it was asked anew because its connection was closed by ourselves.
    asked_anew: bool,
    /// Nodes that are not asked again.
    tried: Vec<NodeKey>,
    /// Nodes that redirected this read.
    redirected_by: Vec<NodeKey>,
    notes: Notes,
}

impl Read {
    /// A read of `slot`; `callback` says whether the caller gave one.
    pub fn new(config: &Config, slot: Slot, bounds: Bounds, callback: bool) -> Self {
        Self {
            slot,
            bounds,
            max_retries: config.max_retries(),
            max_redirects: config.max_redirects(),
            base_backoff: config.base_backoff(),
            callback,
            state: State::Over,
            reason: None,
            primary_attempts: 0,
            replica_attempts: 0,
            retries: 0,
            redirects: 0,
            asked_anew: false,
            tried: Vec::new(),
            redirected_by: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The first action; the same as [`crate::route::first_step`] on a snapshot taken now.
    pub fn start(&mut self, turn: Turn<'_>) -> Action {
        // A read of a batch may have waited for room until now.
        if turn.now >= self.bounds.deadline {
            return self.give_up(Reason::Deadline, turn.now);
        }
        let step = step_of(turn.cluster.route(self.slot), turn.now, self.bounds, turn.dice);
        self.resume(step, turn.now)
    }

    /// Takes up a read whose first step was taken from a snapshot, `now` being when it was taken.
    pub fn resume(&mut self, step: Step, now: Instant) -> Action {
        match step {
            Step::Send { node, source, reason, until, limit } => {
                self.reason = reason;
                self.ask(node, source, Attempt { until, limit })
            }
            Step::Secondary(reason) => {
                self.reason = Some(reason);
                if reason == Reason::SlotUncovered || self.callback {
                    return self.give_up(reason, now);
                }
                // Nothing else can serve it: it waits for the routes to change while it has time.
                self.wait(self.bounds.deadline, Then::Retry)
            }
            Step::Wait(until) => self.wait(if self.callback { until } else { self.bounds.deadline }, Then::Begin),
        }
    }

    /// What happened, and when.
    pub fn on(&mut self, event: Event, mut turn: Turn<'_>) -> Action {
        let turn = &mut turn;
        match (self.state, event) {
            (
                State::Asking { node, source: Source::Primary, asking, .. },
                Event::Answered { answer: Answer::Error(ErrorReply::TryAgain), .. },
            ) => self.try_again(node, asking, turn),
            (State::Asking { node, source, .. }, Event::Answered { answer, contact }) => {
                self.answered(node, source, answer, contact, turn)
            }
            (State::Waiting { until, then }, Event::Woken) => self.woken(until, then, turn),
            (State::Asking { .. } | State::Waiting { .. }, _) | (State::Over, _) => {
                debug_assert!(false, "an event that nobody waits for");
                self.give_up(Reason::Protocol, turn.now)
            }
        }
    }

    /// How many attempts were sent to nodes.
    pub fn attempts(&self) -> u32 {
        self.primary_attempts + self.replica_attempts
    }

    /// What is to be added to the attempt counters since the last call.
    pub fn take_notes(&mut self) -> Notes {
        core::mem::take(&mut self.notes)
    }

    fn answered(
        &mut self,
        node: NodeKey,
        source: Source,
        answer: Answer,
        contact: Option<Instant>,
        turn: &mut Turn<'_>,
    ) -> Action {
        let refused = matches!(answer, Answer::Refused(_));
        let trouble = match answer {
            Answer::Value => return self.serve(node, source),
            Answer::Nil if source == Source::Primary => return self.missed(node),
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
                        turn.cluster.failed(node, Reason::ErrorReply, contact, turn.now);
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
        self.failed(node, source, trouble, contact, turn)
    }

    /// We closed the connection ourselves, because the node was renamed perhaps: once, the owner is asked anew.
    fn closed(&mut self, node: NodeKey, source: Source, turn: &mut Turn<'_>) -> Action {
        if !self.asked_anew
            && let Some(owner) = turn.cluster.open_primary(self.slot)
        {
            self.asked_anew = true;
            return self.ask_primary(owner, turn);
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
        self.note(status, reason);
        Action::Finish(Finish::Value { served_by, node, reason })
    }

    fn missed(&mut self, node: NodeKey) -> Action {
        self.state = State::Over;
        self.note(Status::Miss, Some(Reason::Absent));
        if !self.callback {
            return Action::Finish(Finish::Missing { reason: Reason::Absent });
        }
        self.note(Status::SecondaryFallback, Some(Reason::Absent));
        Action::Load { reason: Reason::Absent, confirmed: Some(node) }
    }

    fn failed(
        &mut self,
        node: NodeKey,
        source: Source,
        reason: Reason,
        contact: Option<Instant>,
        turn: &mut Turn<'_>,
    ) -> Action {
        self.count_failure(source, reason);
        if reason == Reason::SlotUncovered {
            turn.cluster.doubt();
            return self.give_up(reason, turn.now);
        }
        turn.cluster.failed(node, reason, contact, turn.now);
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

    fn ask_primary(&mut self, owner: NodeKey, turn: &Turn<'_>) -> Action {
        let backed = turn.cluster.replica(self.slot, &self.tried, turn.now).is_some();
        self.ask(owner, Source::Primary, self.bounds.attempt(turn.now, 1 + u32::from(backed)))
    }

    fn ask_replica(&mut self, node: NodeKey, now: Instant) -> Action {
        self.ask(node, Source::Replica, self.bounds.attempt(now, 1))
    }

    fn ask(&mut self, node: NodeKey, source: Source, attempt: Attempt) -> Action {
        match source {
            Source::Primary => self.primary_attempts += 1,
            Source::Replica => self.replica_attempts += 1,
        }
        self.state = State::Asking { node, source, asking: false };
        let Attempt { until, limit } = attempt;
        Action::Send { node, source, asking: false, renew: false, until, limit }
    }

    fn wait(&mut self, until: Instant, then: Then) -> Action {
        let until = until.min(self.bounds.deadline);
        self.state = State::Waiting { until, then };
        Action::Wait { until }
    }

    /// No node may answer: the callback, or the error. The first cause is the reason.
    fn give_up(&mut self, cause: Reason, now: Instant) -> Action {
        self.state = State::Over;
        let reason = *self.reason.get_or_insert(cause);
        if self.callback {
            self.note(Status::SecondaryFallback, Some(reason));
            return Action::Load { reason, confirmed: None };
        }
        let late = self.bounds.ends_call && now >= self.bounds.deadline;
        Action::Finish(if late { Finish::DeadlineExceeded } else { Finish::Unavailable { reason } })
    }

    fn note(&mut self, status: Status, reason: Option<Reason>) {
        self.notes.push((status, reason));
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
        | ErrorReply::Denied
        | ErrorReply::Other => None,
    }
}
