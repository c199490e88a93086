//! What servers say of a cluster, as the policy's views and reports.
//!
//! Sources: the documentation of `CLUSTER SHARDS`, `CLUSTER SLOTS`, `CLUSTER NODES`, `CLUSTER INFO`
//! and `INFO`. Answers larger than a cluster can be are refused by the limits on nodes.

use super::Trouble;
use failsoft_policy::Endpoint;
use failsoft_policy::nodes::MAX_NODES;
use failsoft_policy::view::{ClusterInfo, NodeReport, Role, ViewNode};
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

/// `CLUSTER SHARDS`: no epochs.
pub(super) fn shards(value: &Value, via: &Endpoint) -> Result<Vec<ViewNode>, Trouble> {
    let mut found = Vec::new();
    for shard in list(value)? {
        let shard = fields(shard)?;
        let ranges = ranges(list(shard.get("slots").copied().unwrap_or(&Value::Nil))?)?;
        let members: Vec<_> =
            list(shard.get("nodes").copied().unwrap_or(&Value::Nil))?.iter().map(fields).collect::<Result<_, _>>()?;
        let primary = members.iter().find(|m| word(m, "role").as_deref() == Some("master"));
        let primary = primary.and_then(|m| word(m, "id"));
        for member in &members {
            let id = word(member, "id").ok_or(Trouble::Unreadable("a node without id"))?;
            let owner = word(member, "role").as_deref() == Some("master");
            // With TLS on, the plain port may be absent and the other one is ours.
            let port = number(member, "port").or_else(|| number(member, "tls-port"));
            // Nil is for "where you asked me", `?` for a host name that was never set.
            let host = match member.get("endpoint") {
                Some(Value::Nil) => None,
                Some(named) => text(named).ok().filter(|h| h != "?").or_else(|| word(member, "ip")),
                None => word(member, "ip"),
            };
            found.push(ViewNode {
                endpoint: endpoint(host.as_deref(), port, via),
                role: if owner { Role::Primary } else { Role::Replica(primary.clone()) },
                slots: if owner { ranges.clone() } else { Vec::new() },
                epoch: None,
                suspected: false,
                failed: word(member, "health").is_some_and(|h| h.starts_with("fail")),
                id,
            });
        }
    }
    bounded(found)
}

/// `CLUSTER SLOTS`: no epochs, and only nodes of shards with slots.
pub(super) fn slots(value: &Value, via: &Endpoint) -> Result<Vec<ViewNode>, Trouble> {
    let mut found: BTreeMap<String, ViewNode> = BTreeMap::new();
    for row in list(value)? {
        let [Value::Int(first), Value::Int(last), nodes @ ..] = list(row)? else {
            return Err(Trouble::Unreadable("a row of CLUSTER SLOTS"));
        };
        let range = ranges(&[Value::Int(*first), Value::Int(*last)])?;
        let mut primary: Option<String> = None;
        for node in nodes {
            let [host, Value::Int(port), id, ..] = list(node)? else {
                return Err(Trouble::Unreadable("a node of CLUSTER SLOTS"));
            };
            let id = text(id)?;
            let role = primary.clone().map_or(Role::Primary, |p| Role::Replica(Some(p)));
            let known = found.entry(id.clone()).or_insert_with(|| ViewNode {
                id: id.clone(),
                endpoint: endpoint(text(host).ok().as_deref(), u16::try_from(*port).ok(), via),
                role: role.clone(),
                slots: Vec::new(),
                epoch: None,
                failed: false,
                suspected: false,
            });
            if primary.is_none() {
                known.role = Role::Primary;
                known.slots.extend(&range);
            }
            primary.get_or_insert(id);
        }
    }
    bounded(found.into_values().collect())
}

/// `CLUSTER NODES`: with epochs. `named` are the endpoints that the server prefers, by id.
pub(super) fn nodes(text: &str, via: &Endpoint, named: &BTreeMap<String, Endpoint>) -> Result<Vec<ViewNode>, Trouble> {
    let mut found = Vec::new();
    for line in text.lines().filter(|l| !l.is_empty()) {
        let mut words = line.split(' ');
        let mut next = || words.next().ok_or(Trouble::Unreadable("a line of CLUSTER NODES"));
        let (id, address, flags, primary) = (next()?, next()?, next()?, next()?);
        let (_ping, _pong, epoch, _link) = (next()?, next()?, next()?, next()?);
        let flag = |name: &str| flags.split(',').any(|f| f == name);
        if flag("handshake") || flag("noaddr") {
            continue;
        }
        // ip:port@busport[,hostname]
        let address = address.split(['@', ',']).next().unwrap_or_default();
        let (host, port) = address.rsplit_once(':').ok_or(Trouble::Unreadable("an address"))?;
        let own = endpoint(Some(host), port.parse().ok(), via);
        let owner = flag("master");
        // What is in brackets is migrating; it belongs to the source until it is done.
        let slots: Vec<(u16, u16)> = words
            .filter(|w| !w.starts_with('['))
            .map(|w| {
                let (first, last) = w.split_once('-').unwrap_or((w, w));
                Some((first.parse().ok()?, last.parse().ok()?))
            })
            .collect::<Option<_>>()
            .ok_or(Trouble::Unreadable("a range of slots"))?;
        found.push(ViewNode {
            id: id.to_owned(),
            endpoint: named.get(id).cloned().or(own),
            role: if owner { Role::Primary } else { Role::Replica((primary != "-").then(|| primary.to_owned())) },
            slots,
            epoch: Some(epoch.parse().map_err(|_| Trouble::Unreadable("an epoch"))?),
            failed: flag("fail"),
            suspected: flag("fail?"),
        });
    }
    bounded(found)
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
    report.link_up = lines.get("master_link_status").map(|s| *s == "up");
    report.link_down_for = int("master_link_down_since_seconds").map(Duration::from_secs);
    report.priority = int("slave_priority").and_then(|p| u32::try_from(p).ok());
    report.evicted = int("evicted_keys");
    report.expired = int("expired_keys");
    report.maxmemory_policy = lines.get("maxmemory_policy").map(|&s| s.to_owned());
    report.version = lines.get("valkey_version").or(lines.get("redis_version")).map(|&s| s.to_owned());
    int("cluster_enabled") != Some(0)
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

/// An endpoint as a server names it: no host means the host that answered, `?` that it does not know.
fn endpoint(host: Option<&str>, port: Option<u16>, via: &Endpoint) -> Option<Endpoint> {
    let port = port.filter(|&p| p != 0)?;
    match host {
        Some("?") => None,
        None | Some("") => Some(Endpoint { host: via.host.clone(), port }),
        Some(host) => Some(Endpoint { host: host.to_owned(), port }),
    }
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

fn number(fields: &BTreeMap<String, &Value>, name: &str) -> Option<u16> {
    match fields.get(name) {
        Some(Value::Int(n)) => u16::try_from(*n).ok(),
        _ => None,
    }
}

/// First and last slot in turn.
fn ranges(numbers: &[Value]) -> Result<Vec<(u16, u16)>, Trouble> {
    let slot = |value: &Value| match value {
        Value::Int(n) => u16::try_from(*n).ok().filter(|&n| n < failsoft_policy::Slot::COUNT),
        _ => None,
    };
    let pairs = numbers.chunks_exact(2).map(|pair| Some((slot(&pair[0])?, slot(&pair[1])?)));
    pairs.collect::<Option<_>>().ok_or(Trouble::Unreadable("a range of slots"))
}

fn bounded(nodes: Vec<ViewNode>) -> Result<Vec<ViewNode>, Trouble> {
    if nodes.len() > MAX_NODES { Err(Trouble::Unreadable("more nodes than are kept in mind")) } else { Ok(nodes) }
}
