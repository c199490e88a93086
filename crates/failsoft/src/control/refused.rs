//! Which questions a node has refused: they are not put again for a while, but then they are, since rights may be given.

use super::question::{Answers, Question};
use failsoft_policy::{Endpoint, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct Refusal {
    line: String,
    until: Instant,
}

/// By node and question; no more than the known nodes.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<BTreeMap<Endpoint, BTreeMap<Question, Refusal>>>);

impl Refused {
    /// Keeps a refusal in mind until then.
    pub(super) fn note(&self, node: &Endpoint, question: Question, line: &str, until: Instant) {
        let refusal = Refusal { line: line.to_owned(), until };
        self.lock().entry(node.clone()).or_default().insert(question, refusal);
    }

    /// Splits questions into those to be asked and the answers that are known already.
    pub(super) fn split(&self, node: &Endpoint, questions: &[Question], now: Instant) -> (Vec<Question>, Answers) {
        let known = self.lock();
        let (mut open, mut answers) = (Vec::with_capacity(questions.len()), Answers::default());
        for &question in questions {
            match known.get(node).and_then(|of| of.get(&question)).filter(|r| now < r.until) {
                Some(refusal) => answers.insert(question, Err(refusal.line.clone())),
                None => open.push(question),
            }
        }
        (open, answers)
    }

    /// Whether the node refused this when it was last asked.
    pub(super) fn has(&self, node: &Endpoint, question: Question) -> bool {
        self.lock().get(node).is_some_and(|of| of.contains_key(&question))
    }

    /// The node answered.
    pub(super) fn allowed(&self, node: &Endpoint, question: Question) {
        if let Some(of) = self.lock().get_mut(node) {
            of.remove(&question);
        }
    }

    /// Asks a node everything again.
    pub(super) fn clear(&self, node: &Endpoint) {
        self.lock().remove(node);
    }

    pub(super) fn keep_only(&self, nodes: &BTreeSet<&Endpoint>) {
        self.lock().retain(|node, _| nodes.contains(node));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Endpoint, BTreeMap<Question, Refusal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_was_refused_is_asked_again_later() {
        let (refused, node) = (Refused::default(), Endpoint { host: "a".to_owned(), port: 1 });
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let asked = |ms| refused.split(&node, &[Question::Info, Question::Role], at(ms)).0;
        assert_eq!(asked(0), [Question::Info, Question::Role]);
        refused.note(&node, Question::Info, "NOPERM no", at(100));
        assert_eq!(asked(99), [Question::Role]);
        let (_, mut answers) = refused.split(&node, &[Question::Info], at(99));
        assert_eq!(answers.take(Question::Info), Err("NOPERM no".to_owned()));
        assert_eq!(asked(100), [Question::Info, Question::Role]);
        assert!(refused.has(&node, Question::Info), "until it is answered");
        refused.allowed(&node, Question::Info);
        assert!(!refused.has(&node, Question::Info));
        refused.note(&node, Question::Role, "ERR no", at(1000));
        refused.keep_only(&BTreeSet::new());
        assert_eq!(asked(100), [Question::Info, Question::Role], "the node is no longer known");
    }
}
