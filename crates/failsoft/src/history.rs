//! When a key was last invalidated, and whether it is known that nobody has for a while.

use crate::connection::{Failure, Pending, Reply, SubmitError};
use crate::error::Error;
use crate::opener::Use;
use crate::shared::Shared;
use failsoft_policy::history::{Last, Question, Record, Records, Send};
use failsoft_policy::read::Answer;
use failsoft_policy::reply::classify;
use failsoft_policy::route::Route;
use failsoft_policy::slot::slot_of;
use failsoft_policy::wire::{LOG_READ, Mark, Stream, echo_slot, maker, mark_name};
use failsoft_policy::{Reason, Slot, Turn};
use futures_util::future::join;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last invalidation of a key that there is a record of: [`Router::last_invalidation`](crate::Router::last_invalidation).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastInvalidation {
    /// How long ago it was, by the clock of the server that has the record. None where no clock was asked.
    pub age: Option<Duration>,
    /// When it was, by that clock. None where none was asked.
    pub at: Option<SystemTime>,
    /// Its id, sixteen hexadecimal digits, of which the first eight name the router that made it (`id` in its health).
    /// None if no more is known than that there was one.
    pub id: Option<String>,
    /// Whether this router made it.
    pub own: bool,
    /// Where it is known from.
    pub record: Record,
}

/// How long the question goes back in languages with default arguments: [`Router::within_staleness_budget`](crate::Router::within_staleness_budget).
pub const WITHIN: Duration = Duration::from_secs(2);

/// The last invalidation of a key; none if there is no record of any.
pub(crate) async fn last(shared: &Shared, key: &[u8]) -> Result<Option<LastInvalidation>, Error> {
    shared.check_open()?;
    let slot = slot_of(key);
    // A new router waits for its first view, as reads do.
    let awaited = shared.with_cluster(|cluster, _| match cluster.route(slot) {
        Route::Await { until } => Some((shared.changes(), until)),
        _ => None,
    });
    if let Some((changes, until)) = awaited {
        shared.wait(changes, until).await;
        shared.check_open()?;
    }
    let mut records = Records::default();
    let (mark, echo) = join(ask(shared, Record::Mark, slot, key), ask(shared, Record::Echo, slot, key)).await;
    records.add(Record::Mark, mark);
    records.add(Record::Echo, echo);
    if !records.is_found() {
        let known = shared.with_cluster(|cluster, now| {
            let (at, id) = cluster.invalidations().last(slot, key)?;
            Some(Last { record: Record::Process, age: Some(now.since(at)), at: None, id })
        });
        records.add(Record::Process, Ok(known));
        records.add(Record::Log, ask(shared, Record::Log, slot, key).await);
    }
    shared.check_open()?;
    let last = records.last().map_err(|reason| Error::Unavailable { reason, said: shared.control.a_refusal() })?;
    Ok(last.map(|Last { record, age, at, id }| LastInvalidation {
        age,
        at: at.map(|at| UNIX_EPOCH + at),
        own: id.is_some_and(|id| maker(&id) == shared.maker().as_bytes()),
        id: id.map(|id| String::from_utf8_lossy(&id).into_owned()),
        record,
    }))
}

/// Whether it is known that nobody has invalidated a key for so long.
pub(crate) fn is_untouched(shared: &Shared, key: &[u8], max_age: Duration) -> Result<bool, Error> {
    shared.check_open()?;
    Ok(shared.with_cluster(|cluster, now| cluster.is_untouched((slot_of(key), key), max_age, now)))
}

/// One record, and the time by the clock of the server that is asked for it.
async fn ask(shared: &Shared, record: Record, slot: Slot, key: &[u8]) -> Result<Option<Last>, Reason> {
    let stream = Stream::of(slot);
    let name = match record {
        Record::Log => stream.name(),
        Record::Echo => mark_name(echo_slot(slot), key),
        Record::Mark | Record::Process => mark_name(slot, key),
    };
    let words: Vec<&[u8]> = match record {
        Record::Log => vec![b"XREVRANGE", &name, b"+", b"-", b"COUNT", LOG_READ.as_bytes()],
        _ => vec![b"GET", &name],
    };
    let (mut question, mut to) = shared.with_cluster(|cluster, now| {
        Question::begin(record, slot, shared.config(), &mut Turn { cluster, now, dice: fastrand::u32(..) })
    })?;
    loop {
        let (answer, contact) = match send(shared, to, &words).await {
            Ok((reply, now)) => match read(record, &reply, key, now) {
                Ok(last) => return Ok(last),
                Err(answer) => (answer, None),
            },
            Err(failed) => failed,
        };
        to = shared.with_cluster(|cluster, now| {
            question.on(&answer, contact, &mut Turn { cluster, now, dice: fastrand::u32(..) })
        })?;
    }
}

/// What the record says, on a server whose clock shows `now`.
fn read(record: Record, reply: &Reply, key: &[u8], now: Option<Duration>) -> Result<Option<Last>, Answer> {
    match reply {
        Reply::Nil => Ok(None),
        Reply::Error(line) => Err(Answer::Error(classify(line))),
        Reply::Value(text) => Ok(Mark::of(text).map(|mark| Last::marked(record, &mark, now))),
        Reply::Array(entries) => Ok(entries.iter().find_map(|entry| logged(entry, key, now))),
        Reply::Status(_) | Reply::Integer(_) | Reply::Unexpected(_) => Err(Answer::Protocol),
    }
}

/// An entry of the log, if it is one of this key: its name and its fields.
fn logged(entry: &Reply, key: &[u8], now: Option<Duration>) -> Option<Last> {
    let Reply::Array(parts) = entry else { return None };
    let [Reply::Value(name), Reply::Array(fields)] = &parts[..] else { return None };
    let fields: Vec<&[u8]> = fields.iter().filter_map(value).collect();
    let id = Stream::entry_of(&fields, key)?;
    let millis = std::str::from_utf8(name).ok()?.split('-').next()?.parse().ok()?;
    Some(Last::logged(Duration::from_millis(millis), id, now))
}

fn value(reply: &Reply) -> Option<&[u8]> {
    if let Reply::Value(value) = reply { Some(value) } else { None }
}

/// The reply to a question, and the time by the server's clock, if that may be asked.
async fn send(
    shared: &Shared,
    to: Send,
    words: &[&[u8]],
) -> Result<(Reply, Option<Duration>), (Answer, Option<failsoft_policy::Instant>)> {
    let Some(member) = shared.table.load().member(to.node).cloned() else {
        return Err((Answer::Connection, None));
    };
    let time = to.attempt;
    // Not on the connection of reads, which would wait for the whole log.
    let sent: Result<(Pending, Pending), SubmitError> = member.submit(Use::Invalidations, &shared.opener, |lane| {
        Ok((lane.command(words, to.asking, time)?, lane.command(&[b"TIME"], false, time)?))
    });
    let failed = |failure: Failure| (failure.answer(), member.contact());
    match sent {
        Err(SubmitError::Full) => Err((Answer::Saturated, None)),
        Err(SubmitError::Ended(failure)) => Err(failed(failure)),
        Ok((reply, time)) => {
            let (reply, time) = join(reply, time).await;
            Ok((reply.map_err(failed)?, time.ok().as_ref().and_then(clock)))
        }
    }
}

/// The answer to `TIME`: seconds and microseconds.
fn clock(reply: &Reply) -> Option<Duration> {
    let Reply::Array(parts) = reply else { return None };
    let number = |part: &Reply| std::str::from_utf8(value(part)?).ok()?.parse::<u64>().ok();
    let [seconds, micros] = &parts[..] else { return None };
    Some(Duration::from_secs(number(seconds)?) + Duration::from_micros(number(micros)?))
}
