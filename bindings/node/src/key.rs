//! Keys, values and durations from JavaScript.

use crate::failure::Failure;
use bytes::Bytes;
use failsoft::Error;
use napi::bindgen_prelude::{Either, Uint8ArraySlice};
use napi::{JsString, Result};
use std::time::Duration;

/// A key or a value as a caller gives it: bytes, or a string, which is written as UTF-8.
pub(crate) type Octets<'a> = Either<JsString<'a>, Uint8ArraySlice<'a>>;

/// A copy of the bytes: JavaScript may change its own as soon as the call has returned.
pub(crate) fn octets(given: Octets<'_>) -> Result<Bytes> {
    Ok(match given {
        Either::A(text) => Bytes::from(text.into_utf8()?.take()),
        Either::B(bytes) => Bytes::copy_from_slice(&bytes),
    })
}

/// A duration, which JavaScript gives in milliseconds.
pub(crate) fn duration(argument: &'static str, millis: Option<f64>) -> std::result::Result<Option<Duration>, Failure> {
    let Some(millis) = millis else { return Ok(None) };
    Duration::try_from_secs_f64(millis / 1000.0).map(Some).map_err(|_| {
        // `Debug` writes no more digits than it takes.
        let what = format!("{millis:?}").replace("inf", "Infinity");
        let what = what.trim_end_matches(".0");
        let problem =
            format!("{what} is out of range; allowed: a number of milliseconds, from 0 to less than 2^64 seconds");
        Failure::of(&Error::InvalidArgument { argument, problem })
    })
}
