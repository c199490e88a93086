//! Carries out a read: the first step from the snapshot, and the machine for everything else.

use crate::connection::{Attempt, Outcome, Pending, Reply, SubmitError};
use crate::error::Error;
use crate::member::Member;
use crate::shared::Shared;
use bytes::Bytes;
use failsoft_policy::read::{Action, Answer, Event, Finish, Read};
use failsoft_policy::reply::classify;
use failsoft_policy::route::{Bounds, Source, Step, first_step};
use failsoft_policy::slot::slot_of;
use failsoft_policy::{Instant, NodeKey, Reason, ServedBy, Status, Turn};
use std::sync::Arc;

/// How a first attempt ended.
pub(crate) enum First {
    /// With a value.
    Served { value: Bytes, node: Arc<Member>, source: Source, reason: Option<Reason> },
    /// Otherwise; the machine goes on from here.
    Unserved { step: Step, begun: Instant, ended: Option<Ended> },
}

/// How an attempt ended.
pub(crate) struct Ended {
    answer: Answer,
    value: Option<Bytes>,
    contact: Option<Instant>,
}

/// What the cluster had to say about a key.
pub(crate) enum Routed {
    /// A node had the value.
    Value { value: Bytes, served_by: ServedBy, node: NodeKey, reason: Option<Reason> },
    /// The primary confirmed that it does not exist, and there is no callback.
    Missing(Reason),
    /// Nobody could say, and there is no callback.
    Unavailable(Reason),
    /// The call's own deadline passed first.
    DeadlineExceeded,
    /// The callback is to be asked.
    Load { reason: Reason, confirmed: Option<NodeKey> },
}

/// Whom the first step asks.
pub(crate) struct Aim {
    pub(crate) node: Arc<Member>,
    pub(crate) source: Source,
    reason: Option<Reason>,
    pub(crate) attempt: Attempt,
}

impl Aim {
    /// How a first attempt there ended.
    #[inline]
    pub(crate) fn first(&self, ended: Ended, step: Step, begun: Instant) -> First {
        match ended.value {
            Some(value) => {
                First::Served { value, node: Arc::clone(&self.node), source: self.source, reason: self.reason }
            }
            None => First::Unserved { step, begun, ended: Some(ended) },
        }
    }
}

/// The hot path: a lookup, an append, and a reply.
#[inline]
pub(crate) async fn first(shared: &Shared, key: &[u8], bounds: Bounds, now: Instant) -> First {
    let (step, aim) = aim(shared, key, bounds, now);
    let Some(aim) = aim else { return First::Unserved { step, begun: now, ended: None } };
    let submitted = aim.node.submit(aim.source, &shared.opener, |lane| lane.get(key, false, aim.attempt));
    let ended = end(submitted, &aim.node).await;
    aim.first(ended, step, now)
}

/// The first step of a read, and the node it asks, if it asks one.
#[inline]
pub(crate) fn aim(shared: &Shared, key: &[u8], bounds: Bounds, now: Instant) -> (Step, Option<Aim>) {
    let table = shared.table.load();
    let step = first_step(&table.snapshot, slot_of(key), now, bounds, fastrand::u32(..));
    let aim = match step {
        Step::Send { node, source, reason, until, limit } => {
            let attempt = Attempt { until, limit };
            table.member(node).map(|node| Aim { node: Arc::clone(node), source, reason, attempt })
        }
        Step::Secondary(_) | Step::Wait(_) => None,
    };
    (step, aim)
}

/// Goes on where the first step left off, until the cluster side of the read is over. Gives what it
/// came to, and how many attempts were sent.
pub(crate) async fn route(
    shared: &Shared,
    key: &[u8],
    bounds: Bounds,
    callback: bool,
    (step, begun): (Step, Instant),
    ended: Option<Ended>,
) -> Result<(Routed, u32), Error> {
    shared.check_open()?;
    let mut read = Read::new(shared.config(), slot_of(key), bounds, callback);
    let mut ended = ended;
    let mut value = None;
    // Changes are subscribed to while the policy is asked: none falls between its word and the wait.
    let (mut action, mut changes) = shared.with_cluster(|cluster, now| {
        // Without an attempt there is no need to hold on to the step that an older snapshot gave.
        let turn = Turn { cluster, now, dice: fastrand::u32(..) };
        let action = if ended.is_some() { read.resume(step, begun) } else { read.start(turn) };
        (action, shared.changes())
    });
    loop {
        for (status, reason) in read.take_notes() {
            shared.tally.attempt(status, reason);
        }
        let event = match action {
            Action::Send { node, source, asking, renew, until, limit } => {
                let attempt = match ended.take() {
                    Some(first) => first,
                    None => attempt(shared, key, node, source, (asking, renew), Attempt { until, limit }).await,
                };
                value = attempt.value;
                Event::Answered { answer: attempt.answer, contact: attempt.contact }
            }
            Action::Wait { until } => {
                shared.wait(changes, until).await;
                Event::Woken
            }
            Action::Load { reason, confirmed } => return Ok((Routed::Load { reason, confirmed }, read.attempts())),
            Action::Finish(finish) => {
                let routed = match (finish, value) {
                    (Finish::Value { served_by, node, reason }, Some(value)) => {
                        Routed::Value { value, served_by, node, reason }
                    }
                    (Finish::Value { .. }, None) => return Err(Error::Internal("a value was lost")),
                    (Finish::Missing { reason }, _) => Routed::Missing(reason),
                    (Finish::Unavailable { reason }, _) => Routed::Unavailable(reason),
                    (Finish::DeadlineExceeded, _) => Routed::DeadlineExceeded,
                };
                return Ok((routed, read.attempts()));
            }
        };
        shared.check_open()?;
        (action, changes) = shared.with_cluster(|cluster, now| {
            let turn = Turn { cluster, now, dice: fastrand::u32(..) };
            (read.on(event, turn), shared.changes())
        });
    }
}

/// What a read that was served on its first attempt adds to the counters.
#[inline]
pub(crate) fn count_served(shared: &Shared, source: Source, reason: Option<Reason>) {
    match source {
        Source::Primary => shared.tally.primary_at_once(),
        Source::Replica => {
            shared.tally.attempt(Status::ReplicaHit, reason);
            shared.tally.read(Some(ServedBy::Replica), reason);
        }
    }
}

async fn attempt(
    shared: &Shared,
    key: &[u8],
    node: NodeKey,
    source: Source,
    (asking, renew): (bool, bool),
    time: Attempt,
) -> Ended {
    let member = shared.table.load().member(node).map(Arc::clone);
    let Some(member) = member else {
        // The node was forgotten between the decision and now.
        return Ended { answer: Answer::Connection, value: None, contact: None };
    };
    if renew {
        member.renew(source);
    }
    let submitted = member.submit(source, &shared.opener, |lane| lane.get(key, asking, time));
    end(submitted, &member).await
}

#[inline]
async fn end(submitted: Result<Pending, SubmitError>, member: &Member) -> Ended {
    match submitted {
        Ok(pending) => ended(pending.await, member),
        Err(refused) => not_sent(refused, member),
    }
}

/// What an attempt came to that was not even sent.
pub(crate) fn not_sent(refused: SubmitError, member: &Member) -> Ended {
    match refused {
        SubmitError::Ended(error) => ended(Err(error), member),
        SubmitError::Full => Ended { answer: Answer::Saturated, value: None, contact: None },
    }
}

/// What an attempt came to.
#[inline]
pub(crate) fn ended(result: Outcome, member: &Member) -> Ended {
    let answer = match result {
        Ok(Reply::Value(value)) => return Ended { answer: Answer::Value, value: Some(value), contact: None },
        Ok(reply) => answer_of(&reply),
        Err(error) => error.answer(),
    };
    Ended { answer, value: None, contact: member.contact() }
}

/// What a reply other than a value means to a read.
fn answer_of(reply: &Reply) -> Answer {
    match reply {
        Reply::Value(_) => Answer::Value,
        Reply::Nil => Answer::Nil,
        Reply::Error(line) => Answer::Error(classify(line)),
        Reply::Status(_) | Reply::Integer(_) | Reply::Unexpected(_) => Answer::Protocol,
    }
}
