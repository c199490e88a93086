//! Completions as JavaScript gets them: frequent ones as rows of numbers, the rest as objects.

use crate::aside::Message;
use crate::failure::Failure;
use crate::history::LastInvalidation;
use crate::outcome::Account;
use failsoft::foreign::{Completion, Run};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

/// The columns of a row: token, kind, and for a value its start and length in the shared bytes.
pub(crate) const COLUMNS: usize = 4;
/// The kinds of rows; `node/lib/reads.js` has the same numbers.
pub(crate) const VALUE: u32 = 0;
pub(crate) const MISSING: u32 = 1;
pub(crate) const RELEASED: u32 = 2;

/// Anything that is not a row.
#[derive(Default)]
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct Event {
    /// `value`, `outcome`, `many`, `done`, `last`, `said`, `failed`, `cancelled`, `loading`, `run`, `stop` or `message`.
    pub kind: &'static str,
    /// The call's token.
    pub token: u32,
    /// The call goes on, so its token is not free.
    pub goes_on: bool,
    /// For `run` and `stop`: the number of the run.
    pub run: f64,
    /// For a `run` of many keys: the keys.
    pub keys: Option<Vec<Buffer>>,
    /// For a `run` of one key: why the primary did not serve it.
    pub reason: Option<&'static str>,
    /// For a `run` of one key: it is of the caller's `recompute`, and not of its `fallback`.
    pub recompute: bool,
    /// For `value`: one that is too large for a row.
    pub value: Option<Buffer>,
    /// For `outcome`.
    pub outcome: Option<Account>,
    /// For `many`: one for each key.
    pub outcomes: Option<Vec<Each>>,
    /// For `last`: the record, if there is one.
    pub last: Option<LastInvalidation>,
    /// For `said`.
    pub said: bool,
    /// For `failed`: the error.
    pub failure: Option<Failure>,
    /// For `message`.
    pub message: Option<Message>,
}

/// The result for one key of many: exactly one of the two.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct Each {
    /// If it was read.
    pub outcome: Option<Account>,
    /// If not.
    pub failure: Option<Failure>,
}

impl Event {
    /// The event for a completion.
    pub(crate) fn of(completion: Completion) -> Self {
        match completion {
            Completion::Value { token, result } => Self::ended("value", token, result, |event, value| {
                event.value = value.map(|value| value.to_vec().into());
            }),
            Completion::Outcome { token, result } => Self::ended("outcome", token, result, |event, outcome| {
                event.outcome = Some(outcome.into());
            }),
            Completion::Many { token, result } => Self::ended("many", token, result, |event, results| {
                event.outcomes = Some(results.into_iter().map(Each::from).collect());
            }),
            Completion::Done { token, result } => Self::ended("done", token, result, |_, ()| {}),
            Completion::Served(first) => Self { goes_on: true, ..Self::of(*first) },
            Completion::Last { token, result } => Self::ended("last", token, result, |event, last| {
                event.last = last.map(LastInvalidation::from);
            }),
            Completion::Said { token, result } => Self::ended("said", token, result, |event, said| event.said = said),
            Completion::Cancelled { token } => Self { kind: "cancelled", token: place(token), ..Self::default() },
            Completion::Loading { token } => Self { kind: "loading", token: place(token), ..Self::default() },
            Completion::Run(run) => Self::run(&run),
            Completion::Stop { id } => Self { kind: "stop", run: number(id), ..Self::default() },
        }
    }

    /// The event for a message of a router.
    pub(crate) fn message(message: Message) -> Self {
        Self { kind: "message", message: Some(message), ..Self::default() }
    }

    /// The event for a callback that is to be run.
    pub(crate) fn run(run: &Run) -> Self {
        let keys = || run.keys.iter().map(|key| key.to_vec().into()).collect();
        Self {
            kind: "run",
            token: place(run.token),
            run: number(run.id()),
            keys: run.reason.is_none().then(keys),
            reason: run.reason.map(|reason| reason.as_str()),
            recompute: run.recompute,
            ..Self::default()
        }
    }

    fn ended<T>(
        kind: &'static str,
        token: u64,
        result: Result<T, failsoft::Error>,
        give: impl FnOnce(&mut Self, T),
    ) -> Self {
        let mut event = Self { kind, token: place(token), ..Self::default() };
        match result {
            Ok(given) => give(&mut event, given),
            Err(error) => (event.kind, event.failure) = ("failed", Some(Failure::of(&error))),
        }
        event
    }
}

impl From<Result<failsoft::Outcome, failsoft::Error>> for Each {
    fn from(result: Result<failsoft::Outcome, failsoft::Error>) -> Self {
        match result {
            Ok(outcome) => Self { outcome: Some(outcome.into()), failure: None },
            Err(error) => Self { outcome: None, failure: Some(Failure::of(&error)) },
        }
    }
}

/// A token as JavaScript has it: a place in a table. A number that cannot be one belongs to no call.
pub(crate) fn place(token: u64) -> u32 {
    u32::try_from(token).unwrap_or(u32::MAX)
}

/// The number of a run as JavaScript has it. Runs are counted from 0, and JavaScript's numbers are exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn number(run: u64) -> f64 {
    run as f64
}
