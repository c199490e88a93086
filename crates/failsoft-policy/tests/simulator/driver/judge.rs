//! What must hold of a single call: whom it asks next, and what it ends with.

use super::Sim;
use super::calls::Call;
use crate::model::index;
use failsoft_policy::action::{Answer, Finish};
use failsoft_policy::reply::{ErrorReply, Target};
use failsoft_policy::route::Source;
use failsoft_policy::{NodeKey, Reason, ServedBy};

/// Whether the router has to hold this end of a call against the node. A timeout says something only
/// when the attempt had its `full` time.
pub(super) fn blames(end: &Answer, full: bool) -> bool {
    match end {
        Answer::Timeout => full,
        Answer::Connection | Answer::Error(ErrorReply::ClusterDown | ErrorReply::Unwilling) => true,
        _ => false,
    }
}

impl Sim {
    /// A read is about to ask a node.
    pub(super) fn judge_send(&mut self, id: u64, n: usize, source: Source, asking: bool) {
        let now = self.now;
        self.check.sent(n, now);
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.sent += 1;
        let moved = match &call.last {
            Some((_, _, Answer::Error(ErrorReply::Moved(_, Target::At(to))))) => Some(index(to)),
            _ => None,
        };
        let again = source == Source::Replica && call.replicas.contains(&n);
        if source == Source::Replica {
            call.replicas.push(n);
        }
        let astray = moved.filter(|&to| to != n && source == Source::Primary);
        self.check.that(!again, || format!("at {now:?} a read asks the replica n{n} again"));
        self.check.that(astray.is_none(), || format!("at {now:?} a read moved to {astray:?} asks n{n}"));
        let asked = matches!(&self.calls[&id].last, Some((_, _, Answer::Error(ErrorReply::Ask(..)))));
        self.check.that(!asking || asked, || format!("at {now:?} n{n} is asked with ASKING, without an ASK"));
    }

    /// A read ends without its callback.
    pub(super) fn judge_end(&mut self, call: &Call, finish: &Finish) {
        match finish {
            Finish::Value { served_by, node, .. } => {
                let source = if *served_by == ServedBy::Primary { Source::Primary } else { Source::Replica };
                self.judge_last(call, *node, source, &Answer::Value);
            }
            Finish::Missing { .. } => {
                let nil = matches!(call.last, Some((_, Source::Primary, Answer::Nil)));
                self.check.that(nil, || format!("a key is said to be missing after {:?}", call.last));
            }
            Finish::Unavailable { reason } => self.judge_reason(*reason),
        }
    }

    /// The read ends with what its last answer was.
    pub(super) fn judge_last(&mut self, call: &Call, node: NodeKey, source: Source, answer: &Answer) {
        let same = call.last.as_ref() == Some(&(node, source, answer.clone()));
        self.check.that(same, || format!("a read ends with {answer:?} of {node:?} after {:?}", call.last));
    }

    /// Redirects run out only while nodes contradict each other.
    pub(super) fn judge_reason(&mut self, reason: Reason) {
        let contradicted = self.model.contradicted;
        self.check.that(reason != Reason::RedirectLimit || contradicted, || "a read ran out of redirects".into());
    }
}
