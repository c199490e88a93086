//! The error of a bad setting: which key, what is wrong with it, and what is allowed.

use alloc::format;
use alloc::string::String;
use core::fmt;

/// A setting or address that was refused, before any connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key as the caller wrote it.
    pub key: String,
    /// What is wrong, and what is allowed. Never holds a password.
    pub problem: String,
}

impl ConfigError {
    /// The error for one key.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.key, self.problem)
    }
}

impl core::error::Error for ConfigError {}

/// The text in quotes, escaped, and cut so that a message stays one readable line.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_message_names_the_key() {
        let error = ConfigError::new("deadline", "0 ms is out of range; allowed: 1 ms to 1 h");
        assert_eq!(error.to_string(), "`deadline`: 0 ms is out of range; allowed: 1 ms to 1 h");
    }

    #[test]
    fn long_and_unprintable_text_stays_readable() {
        assert_eq!(quoted("a\n\"b"), r#""a\n\"b""#);
        let long = quoted(&"ä".repeat(10_000));
        assert_eq!(long.chars().count(), 80 + "\"\"...".len());
    }
}
