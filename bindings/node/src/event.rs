//! What a drained completion is for JavaScript: a row of numbers for the frequent ones, an object for the rest.

use crate::aside::Message;
use crate::failure::Failure;
use crate::outcome::Account;
use failsoft::foreign::{Completion, Run};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

/// The columns of a row: token, kind, and for a value where it begins and how long it is.
pub(crate) const COLUMNS: usize = 4;
/// The kinds of rows; `node/lib/reads.js` has the same.
pub(crate) const VALUE: u32 = 0;
pub(crate) const MISSING: u32 = 1;
pub(crate) const RELEASED: u32 = 2;

/// A completion that is no row.
#[derive(Default)]
#[napi(object, object_from_js = false)]
pub struct Event {
    /// `value`, `outcome`, `many`, `done`, `failed`, `run`, `stop` or `message`.
    pub kind: &'static str,
    /// Whose.
    pub token: u32,
    /// The run's number, for `run` and `stop`.
    pub run: f64,
    /// Of a `run` of many keys: which.
    pub keys: Option<Vec<Buffer>>,
    /// Of a `run`: why the primary did not serve.
    pub reason: Option<&'static str>,
    /// A value that is too large for a row.
    pub value: Option<Buffer>,
    /// An outcome.
    pub outcome: Option<Account>,
    /// One for each key.
    pub outcomes: Option<Vec<Each>>,
    /// The error.
    pub failure: Option<Failure>,
    /// What an operator may want to know.
    pub message: Option<Message>,
}

/// The end of one key of many: either.
#[napi(object, object_from_js = false)]
pub struct Each {
    /// It went well.
    pub outcome: Option<Account>,
    /// It did not.
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
            Completion::Cancelled { token } => Self { kind: "cancelled", token: place(token), ..Self::default() },
            Completion::Loading { token } => Self { kind: "loading", token: place(token), ..Self::default() },
            Completion::Run(run) => Self::run(&run),
            Completion::Stop { id } => Self { kind: "stop", run: number(id), ..Self::default() },
        }
    }

    /// A message of a router.
    pub(crate) fn message(message: Message) -> Self {
        Self { kind: "message", message: Some(message), ..Self::default() }
    }

    /// A callback is to be run.
    pub(crate) fn run(run: &Run) -> Self {
        let keys = || run.keys.iter().map(|key| key.to_vec().into()).collect();
        Self {
            kind: "run",
            token: place(run.token),
            run: number(run.id()),
            keys: run.reason.is_none().then(keys),
            reason: run.reason.map(|reason| reason.as_str()),
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

/// Tokens are places in a table of JavaScript: what is no such place is nobody's.
pub(crate) fn place(token: u64) -> u32 {
    u32::try_from(token).unwrap_or(u32::MAX)
}

/// Runs are counted from 0 on: a number of JavaScript holds 2^53 of them.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn number(run: u64) -> f64 {
    run as f64
}
