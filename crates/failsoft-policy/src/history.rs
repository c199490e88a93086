//! When a key was last invalidated: who is asked, and which of the answers counts.
//!
//! The marks beside the key and in the slot of its echo are asked for at once. Where there is none any more, what this
//! process knows by itself, and the newest entry of the log, are looked at. How old a record is, the server that has it
//! says by its own clock, so that no two machines' clocks are compared; the youngest one counts.

use crate::config::Config;
use crate::connection::Attempt;
use crate::invalidations::Id;
use crate::read::Answer;
use crate::reply::ErrorReply;
use crate::route::Route;
use crate::time::Instant;
use crate::turn::Turn;
use crate::wire::{Mark, Stream, echo_slot};
use crate::words::{NodeKey, Reason, Slot, words};
use crate::write::heed;
use core::time::Duration;

words! {
    /// Where it is known from.
    Record {
        /// The mark beside the key.
        Mark = "mark",
        /// The mark in the slot of its echo.
        Echo = "echo",
        /// This process made it, or heard of it.
        Process = "process",
        /// An entry of the log.
        Log = "log",
    }
}

/// An invalidation of which there is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Which one.
    pub record: Record,
    /// How long ago it was; none if no clock was asked then, or none could be asked now.
    pub age: Option<Duration>,
    /// When it was by the server's clock, since 1970; none if no clock was asked.
    pub at: Option<Duration>,
    /// Its id; none if this process heard no more than that there was one.
    pub id: Option<Id>,
}

impl Last {
    /// What a mark says on a server whose clock shows `now`, if that may be asked.
    pub fn marked(record: Record, mark: &Mark, now: Option<Duration>) -> Self {
        Self::dated(record, (mark.at > 0).then(|| Duration::from_micros(mark.at)), mark.id, now)
    }

    /// The same of an entry of the log.
    pub fn logged(at: Duration, id: Id, now: Option<Duration>) -> Self {
        Self::dated(Record::Log, Some(at), id, now)
    }

    fn dated(record: Record, at: Option<Duration>, id: Id, now: Option<Duration>) -> Self {
        let age = now.zip(at).map(|(now, at)| now.saturating_sub(at));
        Self { record, age, at, id: Some(id) }
    }
}

/// One question to the owner of a slot.
#[derive(Clone, Debug)]
pub struct Question {
    slot: Slot,
    node: NodeKey,
    asking: bool,
    redirects: u32,
    sent_at: Instant,
    attempt: Attempt,
}

/// Where a question goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// To this node.
    pub node: NodeKey,
    /// With `ASKING` before it.
    pub asking: bool,
    /// In so much time.
    pub attempt: Attempt,
}

impl Question {
    /// About this record of a key in this slot. The driver answers those of [`Record::Process`] by itself.
    ///
    /// # Errors
    /// Why nobody is asked.
    pub fn begin(record: Record, slot: Slot, config: &Config, turn: &mut Turn<'_>) -> Result<(Self, Send), Reason> {
        let slot = match record {
            Record::Mark | Record::Process => slot,
            Record::Echo => echo_slot(slot),
            Record::Log => Stream::of(slot).slot(),
        };
        let Some(node) = turn.cluster.open_primary(slot) else {
            return Err(match turn.cluster.route(slot) {
                Route::Replica { reason, .. } | Route::Secondary { reason } => reason,
                Route::Primary { .. } | Route::Readmitting { .. } | Route::Await { .. } => Reason::Connection,
            });
        };
        let attempt = Attempt { until: turn.now + config.attempt_timeout(), limit: turn.now + config.deadline() };
        let question = Self { slot, node, asking: false, redirects: 0, sent_at: turn.now, attempt };
        let send = question.send();
        Ok((question, send))
    }

    fn send(&self) -> Send {
        Send { node: self.node, asking: self.asking, attempt: self.attempt }
    }

    /// It was not answered with what was asked for: where it goes next, or why there is no answer.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn on(&mut self, answer: &Answer, contact: Option<Instant>, turn: &mut Turn<'_>) -> Result<Send, Reason> {
        let (to, asking) = match answer {
            Answer::Error(ErrorReply::Moved(slot, target)) if *slot == self.slot => {
                (turn.cluster.handle_moved(self.slot, target, self.node, turn.now), false)
            }
            Answer::Error(ErrorReply::Ask(slot, target)) if *slot == self.slot => {
                (turn.cluster.handle_ask(target, self.node, turn.now), true)
            }
            _ => {
                heed(answer, self.node, (self.sent_at, contact), turn);
                return Err(reason_of(answer));
            }
        };
        // Twice is enough: it is nobody's way to a value.
        self.redirects += 1;
        match to {
            Some(node) if self.redirects <= 2 => {
                (self.node, self.asking, self.sent_at) = (node, asking, turn.now);
                Ok(self.send())
            }
            _ => Err(Reason::RedirectLimit),
        }
    }
}

fn reason_of(answer: &Answer) -> Reason {
    match answer {
        Answer::Timeout | Answer::Hung => Reason::Timeout,
        Answer::Closed | Answer::Connection | Answer::Stranger => Reason::Connection,
        Answer::Saturated => Reason::BreakerOpen,
        Answer::Error(ErrorReply::ClusterDown) => Reason::ClusterDown,
        Answer::Error(ErrorReply::SlotUncovered) => Reason::SlotUncovered,
        Answer::Error(ErrorReply::Unwilling) | Answer::Refused(ErrorReply::Unwilling) => Reason::Loading,
        Answer::Error(_) | Answer::Refused(_) => Reason::ErrorReply,
        Answer::Value | Answer::Nil | Answer::Protocol => Reason::Protocol,
    }
}

/// What has come of the questions about one key.
#[derive(Clone, Debug, Default)]
pub struct Records {
    found: Option<Last>,
    /// One of the marks was asked for, and there is none.
    none: bool,
    reason: Option<Reason>,
}

impl Records {
    /// What came of a question.
    pub fn add(&mut self, record: Record, came: Result<Option<Last>, Reason>) {
        match came {
            Ok(Some(last)) => {
                let age = |last: &Last| last.age.unwrap_or(Duration::MAX);
                // The echo of the same one is younger by the way to it.
                let same = |found: &Last| found.id.is_some() && found.id == last.id;
                if self.found.is_none_or(|found| age(&last) < age(&found) && !same(&found)) {
                    self.found = Some(last);
                }
            }
            Ok(None) => self.none |= matches!(record, Record::Mark | Record::Echo),
            Err(reason) => {
                self.reason.get_or_insert(reason);
            }
        }
    }

    /// Whether there is a record already; otherwise the log is asked.
    pub fn is_found(&self) -> bool {
        self.found.is_some()
    }

    /// The last invalidation that there is a record of.
    ///
    /// # Errors
    /// There is none, and of neither of the key's marks anybody could say that it is not there.
    pub fn last(self) -> Result<Option<Last>, Reason> {
        match (self.found, self.reason) {
            (None, Some(reason)) if !self.none => Err(reason),
            (found, _) => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(record: Record, age: Option<u64>) -> Last {
        Last { record, age: age.map(Duration::from_millis), at: None, id: None }
    }

    #[test]
    fn the_youngest_record_counts_and_one_without_an_age_only_where_there_is_no_other() {
        let mut records = Records::default();
        records.add(Record::Mark, Ok(Some(last(Record::Mark, None))));
        assert_eq!(records.clone().last(), Ok(Some(last(Record::Mark, None))));
        records.add(Record::Echo, Ok(Some(last(Record::Echo, Some(500)))));
        records.add(Record::Log, Ok(Some(last(Record::Log, Some(501)))));
        assert!(records.is_found());
        assert_eq!(records.last(), Ok(Some(last(Record::Echo, Some(500)))));
    }

    #[test]
    fn of_one_invalidation_the_mark_beside_the_key_counts() {
        let of = |record, age, id| Last { id: Some([id; 16]), ..last(record, Some(age)) };
        let mut records = Records::default();
        records.add(Record::Mark, Ok(Some(of(Record::Mark, 500, 1))));
        records.add(Record::Echo, Ok(Some(of(Record::Echo, 499, 1))));
        assert_eq!(records.clone().last(), Ok(Some(of(Record::Mark, 500, 1))));
        records.add(Record::Echo, Ok(Some(of(Record::Echo, 400, 2))));
        assert_eq!(records.last(), Ok(Some(of(Record::Echo, 400, 2))), "a later one whose key step failed");
    }

    #[test]
    fn none_is_known_only_where_a_mark_was_asked_for() {
        let (mut none, mut away) = (Records::default(), Records::default());
        none.add(Record::Mark, Err(Reason::Timeout));
        none.add(Record::Echo, Ok(None));
        assert_eq!(none.last(), Ok(None));
        away.add(Record::Mark, Err(Reason::Timeout));
        away.add(Record::Echo, Err(Reason::BreakerOpen));
        away.add(Record::Log, Ok(None));
        assert_eq!(away.clone().last(), Err(Reason::Timeout));
        away.add(Record::Process, Ok(Some(last(Record::Process, Some(1)))));
        assert_eq!(away.last(), Ok(Some(last(Record::Process, Some(1)))));
    }

    #[test]
    fn an_age_is_by_the_clock_of_the_server_that_has_the_record() {
        let mark = |at| Mark { id: [b'a'; 16], at, epoch: 3 };
        let now = Some(Duration::from_micros(5_000));
        let known = Last::marked(Record::Mark, &mark(2_000), now);
        assert_eq!((known.age, known.at), (Some(Duration::from_micros(3_000)), Some(Duration::from_micros(2_000))));
        assert_eq!(Last::marked(Record::Mark, &mark(6_000), now).age, Some(Duration::ZERO), "the clock was set back");
        assert_eq!(Last::marked(Record::Echo, &mark(0), now).age, None);
        assert_eq!(Last::marked(Record::Echo, &mark(2_000), None).age, None);
    }
}
