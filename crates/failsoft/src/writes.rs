//! Carries out writes: `set`, a single fill, and the steps of an invalidation.

use crate::commands::Message;
use crate::connection::{Attempt, Failure, Reply, SubmitError};
use crate::error::Error;
use crate::near;
use crate::opener::Use;
use crate::scripts::{Ran, Run};
use crate::shared::Shared;
use bytes::Bytes;
use failsoft_policy::lease::Lease;
use failsoft_policy::read::Answer;
use failsoft_policy::reply::classify;
use failsoft_policy::slot::slot_of;
use failsoft_policy::write::{Cause, Write, WriteAction, WriteEvent};
use failsoft_policy::{Instant, NodeKey, Slot, Turn};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// Writes a value, whatever was there; under a writer's hold the key is deleted instead.
pub(crate) async fn set(shared: &Shared, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<(), Error> {
    let slot = slot_of(key);
    let mut write = Write::set(shared.config(), slot, shared.now() + shared.config().deadline());
    near::changed(shared, key);
    let written = run(shared, &mut write, &Message::value(key, value, ttl, None)).await;
    // A read that was asked before it, and answered meanwhile, has made no copy that serves from now on.
    near::changed(shared, key);
    let written = written?;
    shared.tally.set(written.err(), write.in_doubt(), write.was_held());
    written.map_err(|cause| Error::WriteRefused { cause })?;
    if write.was_held() {
        shared.memory.invalidated(key);
    } else if let Some(node) = shared.table.load().snapshot.route(slot).owner() {
        let now = shared.now();
        shared.memory.seen(key, node, ttl.map_or(Instant::MAX, |ttl| now + ttl), now);
    }
    // Who asks from now on gets nothing of a load that began before.
    shared.loads.detach([&Bytes::copy_from_slice(key)]);
    Ok(())
}

/// Writes a loaded value back, if nothing stands in the way. Gives why it was not written, if it was not.
pub(crate) async fn fill(
    shared: &Shared,
    (key, value): (&[u8], &[u8]),
    ttl: Duration,
    lease: &Lease,
    deadline: Instant,
) -> Result<Result<(), Cause>, Error> {
    let mut write = Write::fill(shared.config(), slot_of(key), lease.lessor, deadline);
    run(shared, &mut write, &Message::value(key, value, Some(ttl), Some(lease))).await
}

/// Gives why it was not written, if it was not.
pub(crate) async fn run(shared: &Shared, write: &mut Write, message: &Message<'_>) -> Result<Result<(), Cause>, Error> {
    let contact = last_contact(shared, message.slot);
    let (mut action, mut changes) = shared.with_cluster(|cluster, now| {
        if let Some((node, at)) = contact {
            cluster.handle_contact(node, at);
        }
        (write.start(Turn { cluster, now, dice: fastrand::u32(..) }), shared.changes())
    });
    loop {
        let event = match action {
            WriteAction::Ping { node, until } => {
                let to = To { node, of: Use::Owner, asking: false, renew: false, text: false };
                let sent = send(shared, to, Attempt::until(until), &[vec![b"PING"]]).await;
                match sent.answers.into_iter().next() {
                    // It was not sent at all, which says nothing of the node.
                    Some(answer @ Answer::Saturated) => WriteEvent::Answered { answer, line: 0, contact: sent.contact },
                    answer => WriteEvent::Pinged(answer.is_some_and(|answer| {
                        !matches!(
                            answer,
                            Answer::Timeout | Answer::Hung | Answer::Closed | Answer::Connection | Answer::Stranger
                        )
                    })),
                }
            }
            WriteAction::Send { node, batch, asking, renew, until, limit } => {
                let to = To { node, of: message.on, asking, renew, text: batch.gives_text() };
                let sent = send(shared, to, Attempt { until, limit }, &message.commands(batch)).await;
                let answer = batch.comes_to(sent.answers);
                WriteEvent::Answered { answer, line: sent.line, contact: sent.contact }
            }
            WriteAction::Run { node, line, script, asking, renew, with_text, until, limit } => {
                if let Some(member) = shared.table.load().member(node).filter(|_| renew) {
                    member.renew(message.on);
                }
                let lasts = message.hold_lasts();
                let (keys, arguments) = message.script(script, &lasts);
                let run = Run { script: script.script(), keys: &keys, arguments: &arguments, asking, with_text };
                returned(run.on(shared, (node, message.on), line, Attempt { until, limit }).await)
            }
            WriteAction::Wait { until } => {
                // What it waits for may be a probe, which the conductor has to send.
                shared.wake();
                shared.wait(changes, until).await;
                WriteEvent::Woken
            }
            WriteAction::Written => return Ok(Ok(())),
            WriteAction::Refused(cause) => return Ok(Err(cause)),
        };
        shared.check_open()?;
        (action, changes) = shared.with_cluster(|cluster, now| {
            (write.on(event, Turn { cluster, now, dice: fastrand::u32(..) }), shared.changes())
        });
    }
}

/// When the slot's owner last answered on a read's connection: the policy hears of it once a second
/// only.
fn last_contact(shared: &Shared, slot: Slot) -> Option<(NodeKey, Instant)> {
    let table = shared.table.load();
    let node = table.snapshot.route(slot).owner()?;
    Some((node, table.member(node)?.contact()?))
}

/// What a script came to.
fn returned(Ran { result, line, contact }: Ran) -> WriteEvent {
    let answer = match result {
        Ok(Reply::Integer(number)) => return WriteEvent::Returned { number, line },
        Ok(_) => Answer::Protocol,
        Err(answer) => answer,
    };
    WriteEvent::Answered { answer, line, contact }
}

/// Where commands are sent.
struct To {
    node: NodeKey,
    of: Use,
    asking: bool,
    renew: bool,
    /// A text is a good answer.
    text: bool,
}

/// What came of them.
struct Sent {
    /// One for each command; the reason for all, if they were not sent.
    answers: Vec<Answer>,
    line: u64,
    contact: Option<Instant>,
}

/// Sends these commands in one write.
async fn send(shared: &Shared, to: To, time: Attempt, commands: &[Vec<&[u8]>]) -> Sent {
    let Some(member) = shared.table.load().member(to.node).map(Arc::clone) else {
        return Sent { answers: vec![Answer::Connection], line: 0, contact: None };
    };
    if to.renew {
        member.renew(to.of);
    }
    let submitted = member.submit(to.of, &shared.opener, |lane| {
        let pending = commands.iter().map(|words| lane.command(words, to.asking, time)).collect::<Result<Vec<_>, _>>();
        Ok((pending?, lane.line()))
    });
    let (answers, line) = match submitted {
        Err(SubmitError::Full) => (vec![Answer::Saturated], 0),
        Err(SubmitError::Ended(error)) => (vec![error.answer()], 0),
        // One that nobody waits for would not be sent.
        Ok((pending, line)) => {
            (join_all(pending).await.into_iter().map(|outcome| answer_of(outcome, to.text)).collect(), line)
        }
    };
    Sent { answers, line, contact: member.contact() }
}

fn answer_of(outcome: Result<Reply, Failure>, text: bool) -> Answer {
    match outcome {
        Ok(Reply::Value(_)) if text => Answer::Value,
        Ok(Reply::Status(_)) => Answer::Value,
        Ok(Reply::Integer(number)) if number != 0 => Answer::Value,
        Ok(Reply::Nil | Reply::Integer(_)) => Answer::Nil,
        Ok(Reply::Error(line)) => Answer::Error(classify(&line)),
        Ok(Reply::Value(_) | Reply::Array(_) | Reply::Unexpected(_)) => Answer::Protocol,
        Err(error) => error.answer(),
    }
}
