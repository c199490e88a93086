//! What servers say of themselves, as the policy's reports; what they say of the cluster is in `parse/map.rs`.
//!
//! Sources: the documentation of `INFO`, `CLUSTER INFO`, `ROLE` and `HELLO`.

mod map;
#[cfg(test)]
mod tests;

pub(super) use map::{Listed, Map, nodes, shards, slots};

use super::trouble::Trouble;
use failsoft_policy::view::{ClusterInfo, NodeReport};
use redis::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A string of any kind.
pub(super) fn text(value: &Value) -> Result<String, Trouble> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.clone()),
        _ => Err(Trouble::Unreadable("a string is missing")),
    }
}

/// `INFO`: fills in what it says; false if the server is not in cluster mode.
pub(super) fn info(text: &str, report: &mut NodeReport) -> bool {
    let lines: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.trim_end().split_once(':')).collect();
    let int = |name: &str| lines.get(name).and_then(|v| v.parse::<u64>().ok());
    let primary = lines.get("role") != Some(&"slave");
    let offset = if primary { "master_repl_offset" } else { "slave_repl_offset" };
    report.primary = primary;
    report.loading = int("loading") == Some(1);
    report.offset = int(offset);
    // Of its 40 hexadecimal digits 32 tell histories apart as well.
    report.history = lines.get("master_replid").and_then(|id| u128::from_str_radix(id.get(..32)?, 16).ok());
    report.link_up = lines.get("master_link_status").map(|s| *s == "up");
    report.link_down_for = int("master_link_down_since_seconds").map(Duration::from_secs);
    report.priority = int("slave_priority").and_then(|p| u32::try_from(p).ok());
    report.clients = int("connected_clients");
    report.evicted = int("evicted_keys");
    report.expired = int("expired_keys");
    report.maxmemory_policy = lines.get("maxmemory_policy").map(|&s| s.to_owned());
    report.version = lines.get("valkey_version").or(lines.get("redis_version")).map(|&s| s.to_owned());
    int("cluster_enabled") != Some(0)
}

/// Whether an `INFO` says in so many words that there is no cluster mode.
pub(super) fn is_without_cluster(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == "cluster_enabled:0")
}

/// `ROLE`: fills in what it says; false if that is no role.
pub(super) fn role(value: &Value, report: &mut NodeReport) -> bool {
    let Value::Array(words) = value else { return false };
    let offset = |at: usize| match words.get(at) {
        Some(Value::Int(n)) => u64::try_from(*n).ok(),
        _ => None,
    };
    match words.first().and_then(|word| text(word).ok()).as_deref() {
        Some("master") => (report.primary, report.offset) = (true, offset(1)),
        Some("slave") => {
            (report.primary, report.offset) = (false, offset(4));
            report.link_up = words.get(3).and_then(|word| text(word).ok()).map(|state| state == "connected");
        }
        _ => return false,
    }
    true
}

/// What `HELLO` says of the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) primary: Option<bool>,
    pub(super) standalone: bool,
}

/// `HELLO`, asked without arguments.
pub(super) fn hello(value: &Value) -> Greeting {
    let Ok(fields) = fields(value) else { return Greeting::default() };
    let role = word(&fields, "role");
    Greeting {
        primary: role.map(|role| role == "master"),
        standalone: word(&fields, "mode").as_deref() == Some("standalone"),
    }
}

/// `CLUSTER INFO`.
pub(super) fn cluster_info(text: &str) -> ClusterInfo {
    let mut info = ClusterInfo { ok: true, ..ClusterInfo::default() };
    for (name, value) in text.lines().filter_map(|l| l.trim_end().split_once(':')) {
        match name {
            "cluster_state" => info.ok = value == "ok",
            "cluster_slots_pfail" => info.slots_pfail = value.parse().ok(),
            "cluster_slots_fail" => info.slots_fail = value.parse().ok(),
            "cluster_my_epoch" => info.my_epoch = value.parse().ok(),
            "cluster_current_epoch" => info.current_epoch = value.parse().ok(),
            _ => {}
        }
    }
    info
}

fn list(value: &Value) -> Result<&[Value], Trouble> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(Trouble::Unreadable("a list is missing")),
    }
}

/// A map, or an array of names and values in turn, as RESP2 has it.
fn fields(value: &Value) -> Result<BTreeMap<String, &Value>, Trouble> {
    let pairs: Vec<(&Value, &Value)> = match value {
        Value::Map(pairs) => pairs.iter().map(|(k, v)| (k, v)).collect(),
        Value::Array(items) => items.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        _ => return Err(Trouble::Unreadable("a map is missing")),
    };
    pairs.into_iter().map(|(name, value)| Ok((text(name)?, value))).collect()
}

fn word(fields: &BTreeMap<String, &Value>, name: &str) -> Option<String> {
    fields.get(name).and_then(|v| text(v).ok())
}
