//! A record of an invalidation, as a JavaScript object.

use napi_derive::napi;
use std::time::{Duration, UNIX_EPOCH};

/// The last invalidation of a key that there is a record of.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct LastInvalidation {
    /// Milliseconds since then; none where no clock was asked.
    pub age_ms: Option<f64>,
    /// Milliseconds since 1970; none where no clock was asked.
    pub at_ms: Option<f64>,
    /// Its id.
    pub id: Option<String>,
    /// Whether this router made it.
    pub own: bool,
    /// Where it is known from.
    pub record: &'static str,
}

impl From<failsoft::LastInvalidation> for LastInvalidation {
    fn from(last: failsoft::LastInvalidation) -> Self {
        let failsoft::LastInvalidation { age, at, id, own, record } = last;
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let at = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Self { age_ms: age.map(millis), at_ms: at.map(millis), id, own, record: record.as_str() }
    }
}
