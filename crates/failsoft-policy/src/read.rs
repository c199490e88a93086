//! One read as a machine: what a node answered goes in, what to do next comes out.
//!
//! The driver builds it only when something other than a value came back from the first step
//! ([`crate::route::first_step`]). Sources in their order: the primary, a replica, the primary again
//! if it may have recovered, the caller's callback. A copy in this process that is known to be current up to a later time
//! than the replica stands in instead of it. Source: the cluster specification, "MOVED Redirection" and "ASK
//! Redirection".

use crate::config::Config;
use crate::connection::Attempt;
use crate::copies::Held;
use crate::invalidations::Standing;
use crate::memory::Known;
use crate::reply::ErrorReply;
use crate::route::{Bounds, Source, StandIn, Step, step_of};
use crate::time::Instant;
use crate::turn::Turn;
use crate::words::{NodeKey, Reason, Slot, Status};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

mod answer;
mod next;
mod redirect;

pub use crate::action::{Action, Answer, Event, Finish, Notes};

/// How long a further attempt on the primary waits for a refresh before it backs off.
pub const REFRESH_WAIT: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// An attempt is under way.
    Asking { node: NodeKey, source: Source, asking: bool, sent_at: Instant },
    /// Waiting, for what comes `then`.
    Waiting { until: Instant, then: Then },
    /// Nothing follows.
    Over,
}

/// An attempt that has ended.
#[derive(Clone, Copy, Debug)]
struct Attempted {
    node: NodeKey,
    source: Source,
    sent_at: Instant,
    /// When its node last answered anything.
    contact: Option<Instant>,
}

/// What stands in for the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Replica(StandIn),
    /// The copy in this process.
    Copy,
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
    key: Bytes,
    bounds: Bounds,
    max_retries: u32,
    max_redirects: u32,
    base_backoff: Duration,
    callback: bool,
    /// What the invalidations of this process mean for its key.
    standing: Standing,
    /// The attempt under way was sent with the key's mark, and what that says.
    marked: bool,
    mark: Option<u64>,
    /// The copy that this process holds.
    held: Option<Held>,
    /// What this process knows of the key's presence.
    known: Option<Known>,
    state: State,
    reason: Option<Reason>,
    /// How current the replica is that is asked: by what was known when it was asked, since an answer may be long on
    /// its way.
    current_at: Option<Instant>,
    primary_attempts: u32,
    replica_attempts: u32,
    retries: u32,
    redirects: u32,
    /// Whether it was asked anew because its connection was closed by ourselves, or while it was idle.
    asked_anew: bool,
    /// Nodes that are not asked again.
    tried: Vec<NodeKey>,
    /// Nodes that redirected this read.
    redirected_by: Vec<NodeKey>,
    notes: Notes,
}

impl Read {
    /// A read of a key in this slot; `callback` says whether the caller gave one.
    pub fn new(config: &Config, (slot, key): (Slot, Bytes), bounds: Bounds, callback: bool) -> Self {
        Self {
            slot,
            key,
            bounds,
            max_retries: config.max_retries(),
            max_redirects: config.max_redirects(),
            base_backoff: config.base_backoff(),
            callback,
            standing: Standing::Clear,
            marked: false,
            mark: None,
            held: None,
            known: None,
            state: State::Over,
            reason: None,
            current_at: None,
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

    /// This process holds such a copy of its key.
    pub fn holding(self, held: Option<Held>) -> Self {
        Self { held, ..self }
    }

    /// This process knows so much of its key.
    pub fn knowing(self, known: Option<Known>) -> Self {
        Self { known, ..self }
    }

    /// The same with so many retries at the most: see [`crate::load::Loads::max_retries`].
    pub fn with_max_retries(self, max_retries: u32) -> Self {
        Self { max_retries, ..self }
    }

    /// The first action; the same as [`crate::route::first_step`] on a snapshot taken now, for a key that was not
    /// invalidated.
    pub fn start(&mut self, turn: Turn<'_>) -> Action {
        // A read of a batch may have waited for room until now.
        if turn.now >= self.bounds.deadline {
            return self.give_up(Reason::Deadline, turn.now);
        }
        self.standing = turn.cluster.standing(self.slot, &self.key, turn.now);
        if self.standing == Standing::Owed {
            return self.missed(Reason::Invalidated, None);
        }
        let action = self.take(self.first_step(&turn), &turn);
        self.guard(action, &turn)
    }

    /// The mark that was asked for with the attempt under way was left under an owner of this config epoch; none if there
    /// is none, or it could not be read.
    pub fn found_mark(&mut self, epoch: Option<u64>) {
        self.mark = epoch;
    }

    /// Where the route leads.
    fn first_step(&self, turn: &Turn<'_>) -> Step {
        step_of(turn.cluster.route(self.slot), turn.now, self.bounds, turn.dice)
    }

    /// Takes a first step; to a replica only if that may stand in for this very read.
    fn take(&mut self, step: Step, turn: &Turn<'_>) -> Action {
        let reason = match step {
            Step::Send { source: Source::Replica, reason, .. } if self.is_particular() => reason,
            // The routes go by the settings, and the caller may have asked for more.
            Step::Secondary(reason) if self.bounds.staleness.is_some() => Some(reason),
            _ => return self.begin(step, turn.now),
        };
        self.reason = reason;
        match self.stand_in(turn) {
            Some(other) => self.ask_other(other, turn.now),
            None => self.begin(Step::Secondary(reason.unwrap_or(Reason::BreakerOpen)), turn.now),
        }
    }

    /// Whether not every replica may stand in that may do so for other keys of its shard.
    fn is_particular(&self) -> bool {
        self.since().is_some() || self.held.is_some() || self.bounds.staleness.is_some()
    }

    /// What stands in for the primary next: the best replica that was not asked yet, or the copy, if that is known to be
    /// current up to a later time. No replica does that is out of date against the copy: a reader does not go back.
    fn stand_in(&self, turn: &Turn<'_>) -> Option<Other> {
        let replica = |since| turn.cluster.replica(self.slot, &self.tried, since, self.bounds.staleness, turn.now);
        let best = replica(self.since())?;
        match self.held {
            Some(held) if best.current_at.is_none_or(|at| at < held.current_at) => {
                let key = (self.slot, &self.key[..]);
                if turn.cluster.copy_serves(key, held, self.bounds.staleness, turn.now) {
                    Some(Other::Copy)
                } else if best.current_at.is_none() {
                    Some(Other::Replica(best))
                } else {
                    replica(self.since().max(Some(held.current_at))).map(Other::Replica)
                }
            }
            _ => Some(Other::Replica(best)),
        }
    }

    /// As of when a replica has to be.
    fn since(&self) -> Option<Instant> {
        if let Standing::Since(since) = self.standing { Some(since) } else { None }
    }

    /// Takes up a read whose first step was taken from a snapshot, `begun` being when it was taken, and was carried out.
    pub fn resume(&mut self, step: Step, begun: Instant) -> Action {
        self.begin(step, begun)
    }

    fn begin(&mut self, step: Step, now: Instant) -> Action {
        match step {
            Step::Send { node, source, reason, current_at, until, limit } => {
                (self.reason, self.current_at) = (reason, current_at);
                self.ask(node, source, Attempt { until, limit }, now)
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
        self.standing = turn.cluster.standing(self.slot, &self.key, turn.now);
        if self.is_outdated(&event, &mut turn) {
            return self.missed(Reason::Invalidated, None);
        }
        let action = self.next(event, &mut turn);
        self.guard(action, &turn)
    }

    /// Whether this is what an owner had that may lack an invalidation, by the mark that was read with it.
    fn is_outdated(&mut self, event: &Event, turn: &mut Turn<'_>) -> bool {
        let (marked, mark) = (core::mem::take(&mut self.marked), self.mark.take());
        let State::Asking { node, .. } = self.state else { return false };
        if !marked || !matches!(event, Event::Answered { answer: Answer::Value | Answer::Nil, .. }) {
            return false;
        }
        let counts = turn.cluster.handle_mark((self.slot, &self.key), node, mark, turn.now);
        self.standing = turn.cluster.standing(self.slot, &self.key, turn.now);
        !counts
    }

    /// No node is asked for a key that it may not have been told of; only its owner, where the mark can tell. It may have
    /// become so in this very turn: a redirect names an owner who may lack what the one before it had acknowledged.
    fn guard(&mut self, action: Action, turn: &Turn<'_>) -> Action {
        let asks = matches!(action, Action::Send { .. } | Action::Wait { .. });
        match (turn.cluster.standing(self.slot, &self.key, turn.now), action) {
            (Standing::Clear | Standing::Since(_), action) => return action,
            (_, action) if !asks => return action,
            (Standing::InDoubt(_), Action::Send { node, source: Source::Primary, asking, renew, until, limit, .. }) => {
                self.marked = true;
                return Action::Send { node, source: Source::Primary, asking, marked: true, renew, until, limit };
            }
            (Standing::InDoubt(_) | Standing::Owed, _) => {}
        }
        if let State::Asking { source, .. } = self.state {
            *self.attempts_on(source) -= 1;
        }
        self.missed(Reason::Invalidated, None)
    }

    fn next(&mut self, event: Event, turn: &mut Turn<'_>) -> Action {
        match (self.state, event) {
            (
                State::Asking { node, source: Source::Primary, asking, .. },
                Event::Answered { answer: Answer::Error(ErrorReply::TryAgain), .. },
            ) => self.try_again(node, asking, turn),
            (State::Asking { node, source, sent_at, .. }, Event::Answered { answer, contact }) => {
                self.answered(Attempted { node, source, sent_at, contact }, answer, turn)
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

    fn ask_primary(&mut self, owner: NodeKey, turn: &Turn<'_>) -> Action {
        let backed = self.stand_in(turn).is_some();
        self.ask(owner, Source::Primary, self.bounds.attempt(turn.now, 1 + u32::from(backed)), turn.now)
    }

    fn ask_other(&mut self, other: Other, now: Instant) -> Action {
        let replica = match other {
            Other::Replica(replica) => replica,
            Other::Copy => return self.serve_copy(),
        };
        self.current_at = replica.current_at;
        self.ask(replica.node, Source::Replica, self.bounds.attempt(now, 1), now)
    }

    fn ask(&mut self, node: NodeKey, source: Source, attempt: Attempt, now: Instant) -> Action {
        *self.attempts_on(source) += 1;
        self.state = State::Asking { node, source, asking: false, sent_at: now };
        let Attempt { until, limit } = attempt;
        Action::Send { node, source, asking: false, marked: false, renew: false, until, limit }
    }

    fn attempts_on(&mut self, source: Source) -> &mut u32 {
        match source {
            Source::Primary => &mut self.primary_attempts,
            Source::Replica => &mut self.replica_attempts,
        }
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
