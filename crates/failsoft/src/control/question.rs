//! The questions that are asked of servers, and their answers.

use super::trouble::Trouble;
use failsoft_policy::reply::{ErrorReply, classify};
use redis::{Cmd, Value};
use std::collections::BTreeMap;

/// A question without arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    Info,
    ClusterInfo,
    MyId,
    Nodes,
    Shards,
    Slots,
    Role,
    Hello,
}

impl Question {
    /// The command, as `health()` names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::ClusterInfo => "CLUSTER INFO",
            Self::MyId => "CLUSTER MYID",
            Self::Nodes => "CLUSTER NODES",
            Self::Shards => "CLUSTER SHARDS",
            Self::Slots => "CLUSTER SLOTS",
            Self::Role => "ROLE",
            Self::Hello => "HELLO",
        }
    }

    pub(super) fn command(self) -> Cmd {
        let mut command = Cmd::new();
        self.name().split(' ').for_each(|word| {
            command.arg(word);
        });
        command
    }
}

/// What a server said to one question: a value, or an error line.
pub(super) type Answer = Result<Value, String>;

/// The answers to questions that were asked together.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<Question, Answer>);

impl Answers {
    pub(super) fn insert(&mut self, question: Question, answer: Answer) {
        self.0.insert(question, answer);
    }

    /// The answer to a question, taken out.
    pub(super) fn take(&mut self, question: Question) -> Answer {
        self.0.remove(&question).unwrap_or_else(|| Err(format!("{} was not asked", question.name())))
    }

    /// The same, where a server that is not willing to answer at all ends the matter: other questions would fare no
    /// better. What is left of errors are refusals of this one question.
    pub(super) fn take_or_give_up(&mut self, question: Question) -> Result<Answer, Trouble> {
        match self.take(question) {
            Err(line) if is_unwilling(&line) => Err(Trouble::Refused(line)),
            answer => Ok(answer),
        }
    }
}

/// Whether a server says that it answers no client now: it is loading, busy, or has too many of them.
pub(super) fn is_unwilling(line: &str) -> bool {
    classify(line) == ErrorReply::Unwilling
}

/// Whether a server says that the connection has to authenticate first.
pub(super) fn wants_authentication(line: &str) -> bool {
    line.starts_with("NOAUTH")
}
