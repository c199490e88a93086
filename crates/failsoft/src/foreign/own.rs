//! What a callback gave on its caller's own thread. That caller gets it, however late it is.

use super::channel::Completion;
use super::run::{Answer, Run};
use crate::error::Error;
use crate::outcome::Outcome;
use bytes::Bytes;
use failsoft_policy::{Reason, ServedBy};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Kept for a caller whose own thread runs its callback: `load_timeout` cannot interrupt that thread, and in the end it
/// has the value. Others who wait for the same load still get [`Error::DeadlineExceeded`].
#[derive(Clone, Debug)]
pub struct Own {
    /// The key of a read of one; its callback is asked for no other.
    first: Option<Bytes>,
    keys: HashSet<Bytes>,
    values: HashMap<Bytes, Bytes>,
    reason: Option<Reason>,
    attempts: u32,
}

impl Own {
    /// Made from an answer before that is given to the core; none if the callback failed.
    pub fn of(run: &Run, answer: &Answer) -> Option<Self> {
        let values = match answer {
            Answer::Value(value) => run.keys.iter().cloned().zip(value.clone()).collect(),
            Answer::Values(values) => values.clone(),
            Answer::Failed(_) => return None,
        };
        let (first, keys) = (run.keys.first().cloned(), run.keys.iter().cloned().collect());
        Some(Self { first, keys, values, reason: run.reason, attempts: run.attempts })
    }

    /// Puts it into the call's final completion wherever that has timed out waiting for it. `asked` are the keys of a
    /// call for many, in their order.
    #[must_use]
    pub fn instead_of(&self, completion: Completion, asked: &[Bytes]) -> Completion {
        match completion {
            Completion::Value { token, result: Err(error) } if late(&error) => {
                let own = self.first.as_ref().and_then(|key| self.outcome(key));
                Completion::Value { token, result: own.map(|outcome| outcome.value).ok_or(error) }
            }
            Completion::Outcome { token, result: Err(error) } if late(&error) => {
                let own = self.first.as_ref().and_then(|key| self.outcome(key));
                Completion::Outcome { token, result: own.ok_or(error) }
            }
            Completion::Many { token, result: Ok(mut results) } => {
                for (key, result) in asked.iter().zip(&mut results) {
                    let own = if result.as_ref().is_err_and(late) { self.outcome(key) } else { None };
                    if let Some(own) = own {
                        *result = Ok(own);
                    }
                }
                Completion::Many { token, result: Ok(results) }
            }
            other => other,
        }
    }

    /// The outcome for a key, if the callback was asked for that key.
    fn outcome(&self, key: &Bytes) -> Option<Outcome> {
        self.keys.contains(key).then(|| {
            let value = self.values.get(key).cloned();
            let served_by = if value.is_some() { ServedBy::Secondary } else { ServedBy::None };
            let (reason, attempts) = (self.reason, self.attempts);
            Outcome { value, served_by, reason, age: Some(Duration::ZERO), attempts, coalesced: false, node: None }
        })
    }
}

fn late(error: &Error) -> bool {
    matches!(error, Error::DeadlineExceeded { limit: "load_timeout" })
}
