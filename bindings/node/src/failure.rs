//! The core's errors as `node/lib/errors.js` makes objects of them, and the rejections of callbacks.

use crate::aside::Aside;
use crate::config;
use failsoft::{CallbackGone, ConfigError, Error};
use napi_derive::napi;
use std::fmt;
use std::sync::Arc;

/// An error on its way to JavaScript.
#[derive(Clone)]
#[napi(object, object_from_js = false)]
pub struct Failure {
    /// The kind, as the core names it.
    pub code: String,
    /// What to say.
    pub message: String,
    /// A further property of the error, and its value.
    pub detail: Option<Detail>,
    /// Instead of all that: what the callback threw, by its number.
    pub thrown: Option<u32>,
}

/// What one kind of error says beside its message.
#[derive(Clone)]
#[napi(object, object_from_js = false)]
pub struct Detail {
    /// The property.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Failure {
    /// What a caller is told of an error of the core.
    pub(crate) fn of(error: &Error) -> Self {
        if let Error::Fallback(inner) = error {
            if let Some(thrown) = inner.downcast_ref::<Thrown>() {
                return Self { thrown: Some(thrown.number), ..Self::new("FALLBACK", String::new(), None) };
            }
            if let Some(bad) = inner.downcast_ref::<BadResult>() {
                return Self::new("INVALID_ARGUMENT", bad.to_string(), Some(("argument", "fallback".to_owned())));
            }
            if inner.is::<CallbackGone>() {
                return Self::new("GONE", inner.to_string(), None);
            }
        }
        match error {
            Error::Config(problem) => {
                let key = config::by_core_name(&problem.key);
                Self::config(&ConfigError::new(key, problem.problem.clone()))
            }
            Error::InvalidArgument { argument, problem } => {
                let argument = config::argument(argument);
                let message = format!("`{argument}`: {problem}");
                Self::new(error.code(), message, Some(("argument", argument)))
            }
            Error::DeadlineExceeded { limit } => {
                let named = config::by_core_name(limit);
                let message = error.to_string().replace(&format!("`{limit}`"), &format!("`{named}`"));
                Self::new(error.code(), message, Some(("limit", named)))
            }
            Error::Unavailable { reason } => Self::told(error, Some(("reason", reason.as_str().to_owned()))),
            Error::WriteRefused { cause } => Self::told(error, Some(("cause", cause.as_str().to_owned()))),
            _ => Self::told(error, None),
        }
    }

    /// What a caller is told of a setting, by the name that it has here.
    pub(crate) fn config(problem: &ConfigError) -> Self {
        Self::new("CONFIG", problem.to_string(), Some(("key", problem.key.clone())))
    }

    fn told(error: &Error, detail: Option<(&str, String)>) -> Self {
        Self::new(error.code(), error.to_string(), detail)
    }

    fn new(code: &str, message: String, detail: Option<(&str, String)>) -> Self {
        let detail = detail.map(|(name, value)| Detail { name: name.to_owned(), value });
        Self { code: code.to_owned(), message, detail, thrown: None }
    }
}

/// What a callback threw, on its way through the core: its number in a table on the JavaScript side, for no
/// object of an environment may be touched by another thread.
pub(crate) struct Thrown {
    number: u32,
    aside: Arc<Aside>,
}

impl Thrown {
    pub(crate) fn new(number: u32, aside: Arc<Aside>) -> Self {
        Self { number, aside }
    }
}

impl Drop for Thrown {
    fn drop(&mut self) {
        self.aside.release(self.number);
    }
}

impl fmt::Debug for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {} of the callback", self.number)
    }
}

impl fmt::Display for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the callback threw an error")
    }
}

impl std::error::Error for Thrown {}

/// A callback's result that is no answer.
#[derive(Debug)]
pub(crate) struct BadResult(pub(crate) String);

impl fmt::Display for BadResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fallback gave {}", self.0)
    }
}

impl std::error::Error for BadResult {}
