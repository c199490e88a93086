//! Settings as `node/lib/settings.js` has read them.

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

/// What a setting is.
#[napi(discriminant = "kind", discriminant_case = "lowercase", object_to_js = false)]
pub enum Given {
    /// `null`.
    Null,
    /// A boolean.
    Boolean {
        /// The value.
        value: bool,
    },
    /// A number.
    Number {
        /// The value.
        value: f64,
    },
    /// A string that has UTF-8.
    Text {
        /// The value.
        value: String,
    },
    /// A `Uint8Array`.
    Bytes {
        /// The value.
        value: Uint8Array,
    },
    /// An array of strings that have UTF-8.
    List {
        /// The value.
        value: Vec<String>,
    },
    /// A plain object.
    Members {
        /// Its own members.
        value: Vec<Member>,
    },
    /// Anything else, which is no setting.
    Other {
        /// What it is, for messages.
        value: String,
    },
}

/// A name and what was given for it, which is not `undefined`.
#[napi(object, object_to_js = false)]
pub struct Member {
    /// The name.
    pub name: String,
    /// What was given.
    pub value: Given,
}

impl Given {
    /// Why it cannot be taken. It is not shown: it may be secret.
    pub(crate) fn refused(&self, allowed: &str) -> String {
        let what = match self {
            Self::Null => "null",
            Self::Boolean { .. } => "a boolean",
            Self::Number { .. } => "a number",
            Self::Text { .. } => "a string",
            Self::Bytes { .. } => "a Uint8Array",
            Self::List { .. } => "an array",
            Self::Members { .. } => "an object",
            Self::Other { value } => value,
        };
        format!("{what} is not allowed; allowed: {allowed}")
    }
}
