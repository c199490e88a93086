//! Carries out writes: `set`, and a single fill.

use crate::connection::{Attempt, Failure, Reply, SubmitError};
use crate::error::Error;
use crate::scripts::{Ran, Run};
use crate::shared::Shared;
use failsoft_policy::lease::Lease;
use failsoft_policy::read::Answer;
use failsoft_policy::reply::classify;
use failsoft_policy::route::{Route, Source};
use failsoft_policy::slot::slot_of;
use failsoft_policy::wire::{FILL_SCRIPT, Filled, lease_name};
use failsoft_policy::write::{Cause, Write, WriteAction, WriteEvent};
use failsoft_policy::{Instant, NodeKey, Slot, Turn};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// Writes a value, whatever was there.
pub(crate) async fn set(shared: &Shared, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<(), Error> {
    let slot = slot_of(key);
    let write = Write::set(shared.config(), slot, shared.now() + shared.config().deadline());
    let (written, in_doubt) = run(shared, slot, write, &Command { key, value, ttl, token: &[] }).await?;
    shared.tally.set(written.err(), in_doubt);
    written.map_err(|cause| Error::WriteRefused { cause })
}

/// Writes a loaded value back, if nothing stands in the way. Gives why it was not written, if it was not.
pub(crate) async fn fill(
    shared: &Shared,
    (key, value): (&[u8], &[u8]),
    ttl: Duration,
    lease: &Lease,
    deadline: Instant,
) -> Result<Result<(), Cause>, Error> {
    let slot = slot_of(key);
    let write = Write::fill(shared.config(), slot, lease.lessor, deadline);
    let command = Command { key, value, ttl: Some(ttl), token: &lease.token };
    let (written, _) = run(shared, slot, write, &command).await?;
    Ok(written)
}

struct Command<'a> {
    key: &'a [u8],
    value: &'a [u8],
    ttl: Option<Duration>,
    /// What the lease of a fill has to be.
    token: &'a [u8],
}

/// Gives how it ended, and whether it was sent without knowing on which side of a partition its node is.
async fn run(
    shared: &Shared,
    slot: Slot,
    mut write: Write,
    command: &Command<'_>,
) -> Result<(Result<(), Cause>, bool), Error> {
    let lease = lease_name(slot, command.key);
    let milliseconds = command.ttl.map(|ttl| ttl.as_millis().max(1).to_string());
    let mut set: Vec<&[u8]> = vec![b"SET", command.key, command.value];
    if let Some(milliseconds) = &milliseconds {
        set.extend([b"PX".as_slice(), milliseconds.as_bytes()]);
    }
    let arguments = [command.token, command.value, milliseconds.as_deref().unwrap_or_default().as_bytes()];
    let contact = last_contact(shared, slot);
    let (mut action, mut changes) = shared.with_cluster(|cluster, now| {
        if let Some((node, at)) = contact {
            cluster.handle_contact(node, at);
        }
        (write.start(Turn { cluster, now, dice: fastrand::u32(..) }), shared.changes())
    });
    loop {
        let event = match action {
            WriteAction::Ping { node, until } => {
                let (answer, contact) = send(shared, node, (false, false), Attempt::until(until), &[&[b"PING"]]).await;
                match answer {
                    // It was not sent at all, which says nothing of the node.
                    Answer::Saturated => WriteEvent::Answered { answer, contact },
                    answer => WriteEvent::Pinged(!matches!(
                        answer,
                        Answer::Timeout | Answer::Hung | Answer::Closed | Answer::Connection | Answer::Stranger
                    )),
                }
            }
            WriteAction::Send { node, asking, renew, until, limit } => {
                let both: [&[&[u8]]; 2] = [&[b"DEL", &lease], &set];
                let (answer, contact) = send(shared, node, (asking, renew), Attempt { until, limit }, &both).await;
                WriteEvent::Answered { answer, contact }
            }
            WriteAction::Fill { to, with_text, until, limit } => {
                let run = Run { script: &FILL_SCRIPT, keys: [&lease, command.key], arguments: &arguments, with_text };
                let ran = run.on(shared, to.node, Some(to.line), Attempt { until, limit }).await;
                filled(ran)
            }
            WriteAction::Wait { until } => {
                // What it waits for may be a probe, which the conductor has to send.
                shared.wake();
                shared.wait(changes, until).await;
                WriteEvent::Woken
            }
            WriteAction::Written => return Ok((Ok(()), write.in_doubt())),
            WriteAction::Refused(cause) => return Ok((Err(cause), write.in_doubt())),
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
    match table.snapshot.route(slot) {
        Route::Primary { node, .. } | Route::Readmitting { node, .. } => Some((node, table.member(node)?.contact()?)),
        Route::Replica { .. } | Route::Secondary { .. } | Route::Await { .. } => None,
    }
}

/// What the script of a fill came to.
fn filled(Ran { result, contact, .. }: Ran) -> WriteEvent {
    let answer = match result {
        Ok(Reply::Integer(number)) => match Filled::of(number) {
            Some(filled) => return WriteEvent::Filled(filled),
            None => Answer::Protocol,
        },
        Ok(_) => Answer::Protocol,
        Err(answer) => answer,
    };
    WriteEvent::Answered { answer, contact }
}

/// Sends these commands in one write. Gives the answer to the last one.
async fn send<const N: usize>(
    shared: &Shared,
    node: NodeKey,
    (asking, renew): (bool, bool),
    time: Attempt,
    commands: &[&[&[u8]]; N],
) -> (Answer, Option<Instant>) {
    let Some(member) = shared.table.load().member(node).map(Arc::clone) else { return (Answer::Connection, None) };
    if renew {
        member.renew(Source::Primary);
    }
    let submitted = member.submit(Source::Primary, &shared.opener, |lane| {
        commands.iter().map(|words| lane.command(words, asking, time)).collect::<Result<Vec<_>, _>>()
    });
    let answer = match submitted {
        Err(SubmitError::Full) => Answer::Saturated,
        Err(SubmitError::Ended(error)) => error.answer(),
        // One that nobody waits for would not be sent.
        Ok(pending) => join_all(pending).await.pop().map_or(Answer::Protocol, answer_of),
    };
    (answer, member.contact())
}

fn answer_of(outcome: Result<Reply, Failure>) -> Answer {
    match outcome {
        Ok(Reply::Status(_)) => Answer::Value,
        Ok(Reply::Nil) => Answer::Nil,
        Ok(Reply::Error(line)) => Answer::Error(classify(&line)),
        Ok(Reply::Value(_) | Reply::Integer(_) | Reply::Array(_) | Reply::Unexpected(_)) => Answer::Protocol,
        Err(error) => error.answer(),
    }
}
