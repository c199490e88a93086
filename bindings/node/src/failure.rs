//! The core's errors as `node/lib/errors.js` makes objects of them, and the rejections of callbacks.

use crate::aside::Aside;
use crate::config;
use failsoft::{CallbackGone, ConfigError, DetailValue, Error};
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
                DetailValue::Setting(setting) => own_name(error, setting),
                DetailValue::Word(word) => word.to_owned(),
                // Where it is no text, it is shown as one that resembles it.
                DetailValue::Key(key) => String::from_utf8_lossy(key).into_owned(),
            };
            (detail.name, value)
        });
        Self::new(error.code(), error.message_with(|name| own_name(error, name)), detail)
    }

    /// A problem with a setting, by the name that it has here.
    pub(crate) fn config(problem: &ConfigError) -> Self {
        Self::new("CONFIG", problem.to_string(), Some(("key", problem.key.clone())))
    }

    fn new(code: &str, message: String, detail: Option<(&str, String)>) -> Self {
        let detail = detail.map(|(name, value)| Detail { name: name.to_owned(), value });
        Self { code: code.to_owned(), message, detail, thrown: None }
    }
}

/// What the package calls an argument or a setting that the core names.
fn own_name(error: &Error, name: &str) -> String {
    if matches!(error, Error::InvalidArgument { .. }) { config::argument(name) } else { config::by_core_name(name) }
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
