//! Writes that are several single commands, and a write's way from one form to the next.

use super::{Form, Write};
use crate::read::Answer;
use crate::reply::ErrorReply;
use crate::text::Which;
use alloc::vec::Vec;

/// Commands that go out together, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// `DEL` of the lease, and `SET` of the key.
    Set,
    /// `DEL` of the lease, of the mark, and twice of the key. A node that hands the slot over says `ASK` to the last once
    /// it has nothing of the key, and 0 if it is no such node. The mark goes as well: its name is written where the slot
    /// goes, and `MIGRATE` would stop at one that is at both nodes.
    Delete,
    /// `DEL` of the lease and of the key; then those of [`Self::Mark`].
    DeleteAndMark,
    /// `SET` of the mark, `SET` and `DEL` of the bell.
    Mark,
    /// `ZREM` of the writer from the hold.
    Lift,
    /// `XADD` of an entry to a stream of the log.
    Log,
}

impl Batch {
    /// Whether a text is a good answer to it: the name of an entry.
    pub fn gives_text(self) -> bool {
        self == Self::Log
    }

    /// What the answers to the commands come to, in their order; a number is a value, but for 0, which is nil.
    pub fn comes_to(self, answers: Vec<Answer>) -> Answer {
        let fails = |answer: &&Answer| !matches!(answer, Answer::Value | Answer::Nil);
        let asks = |answer: &&Answer| matches!(answer, Answer::Error(ErrorReply::Ask(..)));
        let last = answers.last();
        let telling = match self {
            Self::Set | Self::Log => last,
            // Who may not delete the mark has still deleted the key.
            Self::Delete => {
                let told = answers.iter().enumerate().filter(|&(command, _)| command != 1);
                told.map(|(_, answer)| answer).find(|answer| fails(answer) && !asks(answer)).or(last)
            }
            // What counts is that the key is gone; a mark may be lost.
            Self::DeleteAndMark => answers.iter().take(2).find(fails).or(Some(&Answer::Value)),
            Self::Mark | Self::Lift => answers.iter().find(fails).or(Some(&Answer::Value)),
        };
        telling.cloned().unwrap_or(Answer::Protocol)
    }
}

impl Write {
    /// In which form the same node is asked at once, after this answer; none if that is not the way on.
    pub(super) fn next_form(&mut self, answer: &Answer) -> Option<Form> {
        match (self.form, answer) {
            // While its slot is moved by hand, a script of several keys is never let through.
            (Form::Script(which), Answer::Error(ErrorReply::TryAgain | ErrorReply::Ask(..))) => which.in_commands(),
            // Nor where a user may run none, or the server has none.
            (Form::Script(which), Answer::Error(ErrorReply::Denied | ErrorReply::Other)) => which.in_commands(),
            // Nobody is moving the slot: with the key gone, there is the mark to be left.
            (Form::Batch(Batch::Delete), Answer::Nil) => Some(Form::Batch(Batch::Mark)),
            // Somebody has written it in between.
            (Form::Batch(Batch::Delete), Answer::Value) if self.retries < self.max_retries => {
                self.retries += 1;
                Some(Form::Batch(Batch::Delete))
            }
            _ => None,
        }
    }
}

impl Which {
    /// The commands that do the same, one by one; none where only a script will do.
    fn in_commands(self) -> Option<Form> {
        match self {
            Self::Lease | Self::Fill | Self::Hold | Self::Prolong | Self::Release => None,
            Self::Put => Some(Form::Batch(Batch::Set)),
            Self::Invalidate => Some(Form::Batch(Batch::Delete)),
            Self::Mark => Some(Form::Batch(Batch::Mark)),
        }
    }
}
