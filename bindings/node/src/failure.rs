//! The core's errors, from which `node/lib/errors.js` makes objects, and what callbacks threw.

use crate::aside::Aside;
use crate::config;
use failsoft::{CallbackGone, ConfigError, DetailValue, Error, Incomplete};
use napi::bindgen_prelude::{Buffer, Either};
use napi_derive::napi;
use std::fmt;
use std::sync::Arc;

/// An error on its way to JavaScript.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct Failure {
    /// The error's kind, in the core's words.
    pub code: String,
    /// The message.
    pub message: String,
    /// One more property of the error, and its value.
    pub detail: Option<Detail>,
    /// If set, nothing else counts: the number of what the callback threw.
    pub thrown: Option<u32>,
}

/// The property that a kind of error has besides its message.
#[napi(object, object_from_js = false)]
pub struct Detail {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Either<String, Vec<Lack>>,
}

/// A step that a key's invalidation lacks.
#[napi(object, object_from_js = false)]
pub struct Lack {
    /// A copy of the key.
    pub key: Buffer,
    /// Which step.
    pub step: &'static str,
    /// Why it was not acknowledged.
    pub cause: &'static str,
}

impl Failure {
    /// An error of the core, as a caller gets it.
    pub(crate) fn of(error: &Error) -> Self {
        if let Error::Fallback(inner) = error {
            if let Some(thrown) = inner.downcast_ref::<Thrown>() {
                return Self { thrown: Some(thrown.number), ..Self::new("FALLBACK", String::new(), None) };
            }
            if inner.is::<CallbackGone>() {
                return Self::new("GONE", inner.to_string(), None);
            }
        }
        let detail = error.detail().map(|detail| {
            let value = match detail.value {
                DetailValue::Setting(setting) => Either::A(own_name(error, setting)),
                DetailValue::Word(word) => Either::A(word.to_owned()),
                // What is not UTF-8 in it becomes U+FFFD.
                DetailValue::Key(key) => Either::A(String::from_utf8_lossy(key).into_owned()),
                DetailValue::Pending(keys) => Either::B(keys.iter().flat_map(lacks).collect()),
            };
            (detail.name, value)
        });
        Self::new(error.code(), error.message_with(|name| own_name(error, name)), detail)
    }

    /// A problem with a setting, which already has its JavaScript name.
    pub(crate) fn config(problem: &ConfigError) -> Self {
        Self::new("CONFIG", problem.to_string(), Some(("key", Either::A(problem.key.clone()))))
    }

    fn new(code: &str, message: String, detail: Option<(&str, Either<String, Vec<Lack>>)>) -> Self {
        let detail = detail.map(|(name, value)| Detail { name: name.to_owned(), value });
        Self { code: code.to_owned(), message, detail, thrown: None }
    }
}

/// One for each step, so that programs need not look at every key for either.
fn lacks(incomplete: &Incomplete) -> impl Iterator<Item = Lack> {
    let Incomplete { key, pending } = incomplete;
    pending.steps().map(|(step, cause)| Lack { key: key.to_vec().into(), step: step.as_str(), cause: cause.as_str() })
}

/// The package's name for the core's name of an argument or a setting.
fn own_name(error: &Error, name: &str) -> String {
    if matches!(error, Error::InvalidArgument { .. }) { config::argument(name) } else { config::by_core_name(name) }
}

/// What a callback threw, on its way through the core: a number in a table on the JavaScript side, since other threads
/// must not touch an environment's objects.
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
