//! Standard output and standard error: results, and words about them.

use crate::failure::{self, Failure};
use serde::Serialize;
use std::{
    io::{self, Write as _},
    time::Duration,
};

/// A line on standard error. Nobody can be told when that one is closed, and the work goes on.
macro_rules! say {
    ($($word:tt)*) => {
        $crate::output::to_stderr(::std::format_args!($($word)*))
    };
}
pub(crate) use say;

pub(crate) fn to_stderr(words: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{words}");
}

/// A line on standard output.
///
/// # Errors
/// When it is closed: who asked for the result must not take it for complete.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// The bytes as they are, on standard output.
///
/// # Errors
/// When it is closed.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(format!("cannot write to standard output: {error}")))
}

/// One object on one line of standard output.
///
/// # Errors
/// When it is closed.
pub(crate) fn json(object: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(object)?)
}

/// An error of a call of the router, as an object; the exit code.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn problem(error: &failsoft::Error) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Problem {
        error: Text,
    }
    #[derive(Serialize)]
    struct Text {
        code: &'static str,
        message: String,
    }
    json(&Problem { error: Text { code: error.code(), message: error.to_string() } })?;
    Ok(failure::CODE)
}

/// Milliseconds to the microsecond.
pub(crate) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// A number as people read it: `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
