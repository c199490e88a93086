//! The services that share the cluster: their settings, what these promise, and the names of the keys.

use crate::clock::millis;
use crate::promise::Promise;
use failsoft::{Builder, Router};
use serde_json::{Map, Value, json};

/// A few slots with some keys each, so that a slot that moves takes several along.
const SLOTS: usize = 24;

/// The name of a key.
pub(crate) fn name(key: usize) -> String {
    format!("history:{{{}}}:{}", key % SLOTS, key / SLOTS)
}

/// What is the same for all: short times, so that much happens in a minute.
fn common() -> Value {
    json!({
        "attempt_timeout_ms": 100, "deadline_ms": 400, "connect_timeout_ms": 500, "slot_refresh_interval_ms": 1000,
        "load_timeout_ms": 4000, "fill_ttl_ms": 60_000, "invalidation_ttl_ms": 60_000, "hold_ms": 1500,
    })
}

/// Nobody stands in for longer than a connection may be deaf, so nothing depends on who hears; near copies.
const CAREFUL: &str = "careful";
/// A long trust window, one load for all processes, no near copies.
pub(crate) const SPARING: &str = "sparing";
/// Reads alone are filled by others.
const UNFILLED: &str = "unfilled";

pub(crate) const NAMES: [&str; 3] = [CAREFUL, SPARING, UNFILLED];

fn own(service: &str) -> Value {
    match service {
        CAREFUL => json!({
            "trust_window_ms": 300, "staleness_budget_ms": 300, "outage_budget_ms": 20_000, "near_cache_bytes": 1 << 20,
        }),
        SPARING => json!({
            "trust_window_ms": 800, "staleness_budget_ms": 1_000, "outage_budget_ms": 20_000, "lease_ttl_ms": 1_000,
            "soft_load_timeout_ms": 20,
        }),
        _ => json!({
            "trust_window_ms": 300, "staleness_budget_ms": 1_000, "outage_budget_ms": 5_000, "near_cache_bytes": 1 << 20,
            "fill": false, "soft_load_timeout_ms": 5, "failure_pause_ms": 50,
        }),
    }
}

/// The settings of a service, durations with `_ms`.
pub(crate) fn settings(service: &str) -> Map<String, Value> {
    let parts = [common(), own(service)];
    parts.into_iter().filter_map(|part| part.as_object().cloned()).flatten().collect()
}

pub(crate) fn promise(settings: &Map<String, Value>) -> Promise {
    let time = |name: &str| millis(settings.get(name).and_then(Value::as_u64).unwrap_or(0));
    Promise {
        trust_window: time("trust_window_ms"),
        staleness_budget: time("staleness_budget_ms"),
        invalidation_ttl: time("invalidation_ttl_ms"),
        hold: time("hold_ms"),
    }
}

pub(crate) fn builder(nodes: Vec<String>, settings: &Map<String, Value>) -> Builder {
    settings.iter().fold(Router::builder(nodes), |builder, (key, value)| builder.set_text(key, &value.to_string()))
}
