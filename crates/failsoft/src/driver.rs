//! Carries out the cluster side of a read: the first attempt by the snapshot, and the machine for everything else.

use crate::account;
use crate::connection::{Attempt, Outcome, Pending, Reply, SubmitError};
use crate::copies::Copy;
use crate::error::Error;
use crate::member::Member;
use crate::near;
use crate::shared::Shared;
use bytes::Bytes;
use failsoft_policy::copies::looks_at;
use failsoft_policy::miss::ends_copies;
use failsoft_policy::read::{Action, Answer, Event, Finish, Read};
use failsoft_policy::reply::classify;
use failsoft_policy::route::{Bounds, Source, Step, first_step};
use failsoft_policy::slot::slot_of;
use failsoft_policy::wire::{Mark, mark_name};
use failsoft_policy::{Instant, NodeKey, Reason, ServedBy, Slot};
use std::sync::Arc;

/// What a first attempt came to.
pub(crate) enum FirstAttempt {
    Served(Served),
    Unserved(Unserved),
}

/// A value that came on the first attempt.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) value: Bytes,
    pub(crate) node: NodeKey,
    pub(crate) source: Source,
    pub(crate) reason: Option<Reason>,
    /// How current a replica's value is at the least.
    pub(crate) current_at: Option<Instant>,
    /// Another read had asked for it.
    pub(crate) coalesced: bool,
}

impl Served {
    /// The same for who waited for it.
    pub(crate) fn shared(&self) -> Self {
        Self { coalesced: true, ..self.clone() }
    }
}

/// A read that its first attempt did not serve: the machine goes on from here.
pub(crate) struct Unserved {
    /// What the snapshot said.
    pub(crate) step: Step,
    /// When that was.
    pub(crate) begun: Instant,
    /// None if nothing was sent.
    pub(crate) result: Option<AttemptResult>,
}

/// What an attempt came to.
pub(crate) struct AttemptResult {
    answer: Answer,
    value: Option<Bytes>,
    contact: Option<Instant>,
}

/// What the cluster had to say about a key.
pub(crate) enum Routed {
    /// A node had the value.
    Value { value: Bytes, served_by: ServedBy, node: NodeKey, reason: Option<Reason>, current_at: Option<Instant> },
    /// The copy that this process holds stands in.
    Stale { copy: Arc<Copy>, reason: Option<Reason> },
    /// The primary confirmed that it does not exist, and there is no callback.
    Missing(Reason),
    /// No node could answer, and there is no callback.
    Unavailable(Reason),
    /// The call's own deadline passed first.
    DeadlineExceeded,
    /// The callback has to be asked.
    Load { reason: Reason, confirmed: Option<NodeKey> },
}

impl AttemptResult {
    /// The value, if there was one.
    pub(crate) fn value(&self) -> Option<&Bytes> {
        self.value.as_ref()
    }

    /// Whether it says no more than that its connection has ended, or was not made.
    pub(crate) fn is_of_connection(&self) -> bool {
        matches!(
            self.answer,
            Answer::Hung | Answer::Closed | Answer::Connection | Answer::Stranger | Answer::Refused(_)
        )
    }
}

/// The node that the first step asks.
pub(crate) struct Target {
    pub(crate) node: Arc<Member>,
    pub(crate) source: Source,
    reason: Option<Reason>,
    current_at: Option<Instant>,
    pub(crate) attempt: Attempt,
}

impl Target {
    /// What a first attempt there came to.
    #[inline]
    pub(crate) fn first_attempt(&self, result: AttemptResult, step: Step, begun: Instant) -> FirstAttempt {
        match result.value {
            Some(value) => {
                let Self { source, reason, current_at, .. } = *self;
                FirstAttempt::Served(Served {
                    value,
                    node: self.node.key,
                    source,
                    reason,
                    current_at,
                    coalesced: false,
                })
            }
            None => FirstAttempt::Unserved(Unserved { step, begun, result: Some(result) }),
        }
    }
}

/// The hot path: a lookup, an append, and a reply. `dice` is any number, drawn anew for each read.
#[inline]
pub(crate) async fn first_attempt(
    shared: &Shared,
    key: &[u8],
    bounds: Bounds,
    (now, dice): (Instant, u32),
) -> FirstAttempt {
    let (step, target) = target(shared, key, bounds, (now, dice));
    let Some(target) = target else {
        return FirstAttempt::Unserved(Unserved { step, begun: now, result: None });
    };
    // In a box: few reads are made so, and the others would carry its room with them.
    if let Some(line) = near::wanted(shared, &target, dice)
        && let Some(result) = Box::pin(near::fetch(shared, key, &target, (line, now))).await
    {
        return target.first_attempt(result, step, now);
    }
    let submitted = target.node.submit(target.source, &shared.opener, |lane| lane.get(key, false, target.attempt));
    let result = await_reply(submitted, &target.node).await;
    target.first_attempt(result, step, now)
}

/// The first step of a read, and the node it asks, if it asks one.
#[inline]
pub(crate) fn target(
    shared: &Shared,
    key: &[u8],
    bounds: Bounds,
    (now, dice): (Instant, u32),
) -> (Step, Option<Target>) {
    let table = shared.table.load();
    let slot = slot_of(key);
    let step = first_step(&table.snapshot, slot, now, bounds, dice);
    let target = match step {
        // The machine has to look at what was invalidated.
        Step::Send { .. } if shared.gate.is_owed(slot) => None,
        // It, too, has to look at whether this replica may stand in for this key.
        Step::Send { source: Source::Replica, .. }
            if shared.gate.has_any() || bounds.staleness.is_some() || shared.copies.find(key).is_some() =>
        {
            None
        }
        Step::Send { node, source, reason, current_at, until, limit } => {
            let attempt = Attempt { until, limit };
            table.member(node).map(|node| Target { node: Arc::clone(node), source, reason, current_at, attempt })
        }
        Step::Secondary(_) | Step::Wait(_) => None,
    };
    (step, target)
}

/// Goes on where the first attempt left off, until the cluster side of the read is over. Gives what it
/// came to, and how many attempts were sent.
pub(crate) async fn route(
    shared: &Shared,
    key: &[u8],
    bounds: Bounds,
    callback: bool,
    unserved: Unserved,
) -> Result<(Routed, u32), Error> {
    shared.check_open()?;
    let Unserved { step, begun, mut result } = unserved;
    let slot = slot_of(key);
    let copy = shared.copies.find(key);
    let mut read = Read::new(shared.config(), (slot, Bytes::copy_from_slice(key)), bounds, callback)
        .with_max_retries(shared.loads.max_retries())
        .holding(copy.as_ref().map(|copy| copy.held))
        .knowing(shared.memory.known(key));
    let mut value = None;
    let (mut action, mut waits) = shared.ask(slot, |turn| {
        // Without an attempt there is no need to hold on to the step that an older snapshot gave.
        if result.is_some() { read.resume(step, begun) } else { read.start(turn) }
    });
    loop {
        account::attempts(shared, read.take_notes());
        let event = match action {
            Action::Send { node, source, asking, marked, renew, until, limit } => {
                let time = Attempt { until, limit };
                let result = match result.take() {
                    Some(first) => first,
                    None if marked => {
                        let (result, mark) = marked_attempt(shared, (slot, key), node, (asking, renew), time).await;
                        read.found_mark(mark);
                        result
                    }
                    None => attempt(shared, key, node, source, (asking, renew), time).await,
                };
                value = result.value;
                Event::Answered { answer: result.answer, contact: result.contact }
            }
            Action::Wait { until } => {
                if let Some(waits) = waits {
                    shared.wait_for_sources(waits, until).await;
                }
                Event::Woken
            }
            Action::Load { reason, confirmed } => {
                if confirmed.is_some() {
                    missed(shared, key, reason);
                }
                return Ok((Routed::Load { reason, confirmed }, read.attempts()));
            }
            Action::Finish(finish) => {
                if let Finish::Missing { reason } = finish {
                    missed(shared, key, reason);
                }
                let routed = match (finish, value) {
                    (Finish::Value { served_by, node, reason, current_at }, Some(value)) => {
                        Routed::Value { value, served_by, node, reason, current_at }
                    }
                    (Finish::Value { .. }, None) => return Err(Error::Internal("a value was lost")),
                    (Finish::Stale { reason }, _) => match copy {
                        Some(copy) => Routed::Stale { copy, reason },
                        None => return Err(Error::Internal("a copy was lost")),
                    },
                    (Finish::Missing { reason }, _) => Routed::Missing(reason),
                    (Finish::Unavailable { reason }, _) => Routed::Unavailable(reason),
                    (Finish::DeadlineExceeded, _) => Routed::DeadlineExceeded,
                };
                return Ok((routed, read.attempts()));
            }
        };
        shared.check_open()?;
        (action, waits) = shared.ask(slot, |turn| read.on(event, turn));
    }
}

/// The key is gone, and so are its copies unless they were right until then.
fn missed(shared: &Shared, key: &[u8], class: Reason) {
    if looks_at(fastrand::u32(..)) {
        shared.memory.missed(key, shared.now());
    }
    if ends_copies(class) {
        shared.copies.forget(key);
    }
}

async fn attempt(
    shared: &Shared,
    key: &[u8],
    node: NodeKey,
    source: Source,
    (asking, renew): (bool, bool),
    time: Attempt,
) -> AttemptResult {
    let member = shared.table.load().member(node).map(Arc::clone);
    let Some(member) = member else {
        // The node was forgotten between the decision and now.
        return AttemptResult { answer: Answer::Connection, value: None, contact: None };
    };
    if renew {
        member.renew(source);
    }
    let submitted = member.submit(source, &shared.opener, |lane| lane.get(key, asking, time));
    await_reply(submitted, &member).await
}

/// The same with the key's mark before it, in one write. Gives the config epoch of the owner under whom that was left.
async fn marked_attempt(
    shared: &Shared,
    (slot, key): (Slot, &[u8]),
    node: NodeKey,
    (asking, renew): (bool, bool),
    time: Attempt,
) -> (AttemptResult, Option<u64>) {
    let Some(member) = shared.table.load().member(node).map(Arc::clone) else {
        return (AttemptResult { answer: Answer::Connection, value: None, contact: None }, None);
    };
    if renew {
        member.renew(Source::Primary);
    }
    let name = mark_name(slot, key);
    let submitted = member.submit(Source::Primary, &shared.opener, |lane| {
        Ok((lane.command(&[b"GET", &name], asking, time)?, lane.get(key, asking, time)?))
    });
    let (mark, value) = match submitted {
        Ok((mark, value)) => (mark.await, value.await),
        Err(refused) => return (not_sent(refused, &member), None),
    };
    let epoch = match mark {
        Ok(Reply::Value(text)) => Mark::of(&text).map(|mark| mark.epoch),
        _ => None,
    };
    (result_of(value, &member), epoch)
}

#[inline]
async fn await_reply(submitted: Result<Pending, SubmitError>, member: &Member) -> AttemptResult {
    match submitted {
        Ok(pending) => result_of(pending.await, member),
        Err(refused) => not_sent(refused, member),
    }
}

/// The result of an attempt that could not be sent.
pub(crate) fn not_sent(refused: SubmitError, member: &Member) -> AttemptResult {
    match refused {
        SubmitError::Ended(error) => result_of(Err(error), member),
        SubmitError::Full => AttemptResult { answer: Answer::Saturated, value: None, contact: None },
    }
}

/// The result of an attempt that was sent.
#[inline]
pub(crate) fn result_of(outcome: Outcome, member: &Member) -> AttemptResult {
    match outcome {
        Ok(Reply::Value(value)) => AttemptResult { answer: Answer::Value, value: Some(value), contact: None },
        other => without_value(other, member),
    }
}

/// Not part of the hot path.
#[inline(never)]
fn without_value(outcome: Outcome, member: &Member) -> AttemptResult {
    let answer = match outcome {
        Ok(reply) => {
            if matches!(&reply, Reply::Error(line) if line.starts_with("NOAUTH")) {
                member.authenticate_anew();
            }
            answer_of(&reply)
        }
        Err(error) => error.answer(),
    };
    AttemptResult { answer, value: None, contact: member.contact() }
}

/// What a reply other than a value means to a read.
fn answer_of(reply: &Reply) -> Answer {
    match reply {
        Reply::Value(_) => Answer::Value,
        Reply::Nil => Answer::Nil,
        Reply::Error(line) => Answer::Error(classify(line)),
        Reply::Status(_) | Reply::Integer(_) | Reply::Array(_) | Reply::Unexpected(_) => Answer::Protocol,
    }
}
