//! Runs scripts on the owners of their keys: by name, and with their text where a node does not know them.

use crate::connection::{Attempt, Failure, Lane, Pending, Reply, SubmitError};
use crate::opener::Use;
use crate::shared::Shared;
use failsoft_policy::read::Answer;
use failsoft_policy::reply::classify;
use failsoft_policy::wire::Script;
use failsoft_policy::{Instant, NodeKey};
use std::sync::Arc;

/// A script with what it is about.
pub(crate) struct Run<'a> {
    pub(crate) script: &'static Script,
    /// All in one slot.
    pub(crate) keys: &'a [&'a [u8]],
    pub(crate) arguments: &'a [&'a [u8]],
    /// `ASKING` goes before it.
    pub(crate) asking: bool,
    /// Its text goes before it in the same write. A server remembers texts only if it is sent them so.
    pub(crate) with_text: bool,
}

/// What it came to.
pub(crate) struct Ran {
    /// What it returned, or why it did not.
    pub(crate) result: Result<Reply, Answer>,
    /// The connection that it was sent on; none if it was not sent.
    pub(crate) line: u64,
    /// When the node last answered anything.
    pub(crate) contact: Option<Instant>,
}

impl Run<'_> {
    /// On that node's connection for this use; on the one of this number alone, if there is one.
    pub(crate) async fn on(
        &self,
        shared: &Shared,
        (node, of): (NodeKey, Use),
        line: Option<u64>,
        time: Attempt,
    ) -> Ran {
        let Some(member) = shared.table.load().member(node).map(Arc::clone) else {
            return Ran { result: Err(Answer::Connection), line: 0, contact: None };
        };
        let submit = |lane: &Lane| self.submit(lane, time);
        let submitted = match line {
            Some(line) => member.submit_on(of, line, submit),
            None => member.submit(of, &shared.opener, submit),
        };
        let (result, line) = match submitted {
            Err(SubmitError::Full) => (Err(Answer::Saturated), 0),
            Err(SubmitError::Ended(error)) => (Err(error.answer()), 0),
            Ok((line, text, script)) => (outcome(text, script).await, line),
        };
        Ran { result, line, contact: member.contact() }
    }

    /// The lane's number, and what is to come for the text, if it is sent, and for the script.
    fn submit(&self, lane: &Lane, time: Attempt) -> Result<(u64, Option<Pending>, Pending), SubmitError> {
        let Self { script, keys, arguments, asking, with_text } = *self;
        let count = keys.len().to_string();
        let load: [&[u8]; 3] = [b"SCRIPT", b"LOAD", script.text.as_bytes()];
        let text = if with_text { Some(lane.command(&load, false, time)?) } else { None };
        let mut words: Vec<&[u8]> = vec![b"EVALSHA", script.sha.as_bytes(), count.as_bytes()];
        words.extend(keys.iter().chain(arguments));
        Ok((lane.line(), text, lane.command(&words, asking, time)?))
    }
}

async fn outcome(text: Option<Pending>, script: Pending) -> Result<Reply, Answer> {
    if let Some(text) = text {
        reply_of(text.await)?;
    }
    reply_of(script.await)
}

fn reply_of(outcome: Result<Reply, Failure>) -> Result<Reply, Answer> {
    match outcome {
        Ok(Reply::Error(line)) => Err(Answer::Error(classify(&line))),
        Ok(reply) => Ok(reply),
        Err(failure) => Err(failure.answer()),
    }
}
