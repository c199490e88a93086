//! The outcome of a read, as a JavaScript object.

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

/// The value of a read, and how it was obtained.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct Account {
    /// The value; none if the key does not exist.
    pub value: Option<Buffer>,
    /// Which source answered.
    pub served_by: &'static str,
    /// Why the primary did not serve it.
    pub reason: Option<&'static str>,
    /// Milliseconds since the value was last known to be current; none if that is not known.
    pub age_ms: Option<f64>,
    /// How many attempts were sent to nodes.
    pub attempts: u32,
    /// Whether the answer comes from the load of another read.
    pub coalesced: bool,
    /// The node that answered.
    pub node: Option<String>,
}

impl From<failsoft::Outcome> for Account {
    fn from(outcome: failsoft::Outcome) -> Self {
        Self {
            value: outcome.value.map(|value| value.to_vec().into()),
            served_by: outcome.served_by.as_str(),
            reason: outcome.reason.map(|reason| reason.as_str()),
            age_ms: outcome.age.map(|age| age.as_secs_f64() * 1000.0),
            attempts: outcome.attempts,
            coalesced: outcome.coalesced,
            node: outcome.node.as_ref().map(ToString::to_string),
        }
    }
}
