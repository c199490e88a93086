//! What ends a command before its time: one message for people, exit code 2.

use std::fmt;

/// The exit code of an error.
pub(crate) const CODE: u8 = 2;

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<failsoft::Error> for Failure {
    fn from(error: failsoft::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<failsoft_testkit::Error> for Failure {
    fn from(error: failsoft_testkit::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}
