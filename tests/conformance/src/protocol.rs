//! The messages between the runner and a driver: one JSON object a line, written down in PROTOCOL.md.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// The version of this protocol.
pub(crate) const VERSION: u32 = 1;

/// Bytes; base64 on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Blob).map_err(serde::de::Error::custom)
    }
}

/// What the runner wants; answered by exactly one [`FromDriver::Reply`] with the same id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) id: u64,
    /// The router's name, chosen by the runner.
    pub(crate) router: String,
    pub(crate) op: Op,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Op {
    /// A new router of this name.
    Open {
        nodes: Vec<String>,
        config: BTreeMap<String, Value>,
    },
    Ready {
        timeout_ms: u64,
    },
    /// `get_with_fallback`.
    Get(Read),
    Resolve(Read),
    /// `get_many_with_fallback`.
    GetMany(ReadMany),
    ResolveMany(ReadMany),
    Set {
        key: Blob,
        value: Blob,
        ttl_ms: Option<u64>,
    },
    Invalidate {
        keys: Vec<Blob>,
    },
    LastInvalidation {
        key: Blob,
    },
    WithinStalenessBudget {
        key: Blob,
        max_age_ms: u64,
    },
    /// Cancels a call under way, as its language does.
    Cancel {
        call: u64,
    },
    /// Lets the callbacks go on that hold now.
    Release {},
    Health {},
    Close {},
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Read {
    pub(crate) key: Blob,
    pub(crate) fallback: Option<Fallback>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recompute: Option<Fallback>,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) staleness_budget_ms: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadMany {
    pub(crate) keys: Vec<Blob>,
    pub(crate) fallback: Fallback,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) staleness_budget_ms: Option<u64>,
}

/// What a callback does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Fallback {
    /// Gives this value; of many keys, to each.
    Value(Blob),
    /// Gives `loaded:` and the key; of many keys, to each.
    Echo {},
    /// Says that the key does not exist; of many keys, that none does.
    Missing {},
    /// Gives these keys, and no others. For many keys only.
    Mapping(Vec<(Blob, Blob)>),
    /// Fails with this text.
    Error(String),
    /// Panics with this text, or throws before there is a promise.
    Panic(String),
    /// Gives something that is no value.
    WrongType {},
    /// Never ends by itself.
    Never {},
    /// Waits for a `release`, then goes on so.
    Hold(Box<Fallback>),
    /// Waits so long, then goes on so.
    Slow { ms: u64, then: Box<Fallback> },
    /// Reads this key with the same router and gives or fails with what comes of it.
    Ask { key: Blob, fallback: Box<Fallback> },
    /// Invalidates these keys with the same router, then goes on so; fails if that fails.
    Invalidate { keys: Vec<Blob>, then: Box<Fallback> },
}

/// A line of a driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromDriver {
    /// The first line.
    Hello {
        binding: String,
        protocol: u32,
        /// Capabilities that this binding lacks, and why.
        cannot: BTreeMap<String, String>,
    },
    Reply {
        id: u64,
        result: Outcome,
    },
    /// A callback began.
    Started {
        router: String,
        keys: Vec<Blob>,
        reason: Option<String>,
    },
    /// A callback was cancelled.
    Cancelled {
        router: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Outcome {
    Ok(Answer),
    Error(Failure),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Answer {
    /// `open`, `ready`, `set`, `invalidate`, `cancel`, `release`, `close`.
    Done {},
    /// `get`.
    Value(Option<Blob>),
    /// `resolve`.
    Outcome(Account),
    /// `get_many`, in the order of the keys.
    Values(Vec<Option<Blob>>),
    /// `resolve_many`, in the order of the keys.
    Outcomes(Vec<Outcome>),
    /// `last_invalidation`.
    Last(Option<Last>),
    /// `within_staleness_budget`.
    Said(bool),
    /// `health`: the object that every language gives.
    Health(Value),
}

/// The fields of an outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    pub(crate) value: Option<Blob>,
    pub(crate) served_by: String,
    pub(crate) reason: Option<String>,
    pub(crate) age_ms: Option<f64>,
    pub(crate) attempts: u32,
    pub(crate) coalesced: bool,
    pub(crate) node: Option<String>,
}

/// The fields of an invalidation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Last {
    pub(crate) age_ms: Option<f64>,
    /// Since 1970.
    pub(crate) at_ms: Option<f64>,
    pub(crate) id: Option<String>,
    pub(crate) own: bool,
    pub(crate) record: String,
}

/// An error, as far as every language tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    /// The kind: the `code` of the error table; `CANCELLED` for a call that was cancelled.
    pub(crate) code: String,
    pub(crate) message: String,
}
