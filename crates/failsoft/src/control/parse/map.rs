//! What servers say of the cluster, as the policy's views.
//!
//! Sources: the documentation of `CLUSTER SHARDS`, `CLUSTER SLOTS` and `CLUSTER NODES`. Answers larger than a cluster
//! can be are refused by the limits on nodes.

use super::super::names::{Address, Name};
use super::super::trouble::Trouble;
use super::{fields, list, text, word};
use failsoft_policy::nodes::MAX_NODES;
use failsoft_policy::view::{Role, ViewNode};
use failsoft_policy::{Endpoint, Slot};
use redis::Value;
use std::collections::BTreeMap;

/// A view without epochs.
#[derive(Debug, Default)]
pub(crate) struct Map {
    pub(crate) nodes: Vec<ViewNode>,
    /// The preferred endpoints, and of which addresses they are.
    pub(crate) names: BTreeMap<String, Name>,
}

impl Map {
    /// How many slots have an owner.
    pub(crate) fn covered(&self) -> usize {
        let ranges = self.nodes.iter().flat_map(|n| &n.slots);
        ranges.map(|&(first, last)| usize::from(last.saturating_sub(first)) + 1).sum()
    }

    /// Whether a shard that could own slots has none, while others' are missing. Some servers forget the slots of a
    /// shard for a while after it failed over.
    pub(crate) fn is_doubtful(&self) -> bool {
        let idle = |n: &ViewNode| n.role == Role::Primary && n.slots.is_empty() && !n.failed;
        self.covered() < usize::from(Slot::COUNT) && self.nodes.iter().any(idle)
    }

    /// The id of the node that listens there.
    pub(crate) fn id_at(&self, endpoint: &Endpoint) -> Option<String> {
        self.nodes.iter().find(|n| n.endpoint.as_ref() == Some(endpoint)).map(|n| n.id.clone())
    }
}

/// `CLUSTER SHARDS`, heard over TLS or not.
pub(crate) fn shards(value: &Value, via: &Endpoint, tls: bool) -> Result<Map, Trouble> {
    let mut map = Map::default();
    for shard in list(value)? {
        let shard = fields(shard)?;
        let ranges = ranges(list(shard.get("slots").copied().unwrap_or(&Value::Nil))?)?;
        let members: Vec<_> =
            list(shard.get("nodes").copied().unwrap_or(&Value::Nil))?.iter().map(fields).collect::<Result<_, _>>()?;
        let primary = primary_of(&members);
        for member in &members {
            let id = word(member, "id").ok_or(Trouble::Unreadable("a node without id"))?;
            let ports = [number(member, "port"), number(member, "tls-port")];
            let port = if tls { ports[1].or(ports[0]) } else { ports[0].or(ports[1]) };
            // Nil is for "where you asked me", `?` for a host name that was never set.
            let host = match member.get("endpoint") {
                Some(Value::Nil) => None,
                Some(named) => text(named).ok().filter(|h| h != "?").or_else(|| word(member, "ip")),
                None => word(member, "ip"),
            };
            let preferred = endpoint(host.as_deref(), port, via);
            let hostname = Some(word(member, "hostname").unwrap_or_default());
            let name = Name { ip: word(member, "ip"), hostname, ports, preferred: preferred.clone() };
            map.names.insert(id.clone(), name);
            let owner = primary.as_ref() == Some(&id);
            // One that still takes itself for the primary of a shard that has another one is none for us.
            let role = if owner { Role::Primary } else { Role::Replica(primary.clone()) };
            let slots = if owner { ranges.clone() } else { Vec::new() };
            let failed = has_failed(member);
            map.nodes.push(ViewNode { id, endpoint: preferred, role, slots, epoch: None, suspected: false, failed });
        }
    }
    bounded(map)
}

/// The primary of a shard: after a failover the failed one may still be listed as such beside the new one.
fn primary_of(members: &[BTreeMap<String, &Value>]) -> Option<String> {
    let offset = |m: &BTreeMap<String, &Value>| match m.get("replication-offset") {
        Some(Value::Int(n)) => *n,
        _ => 0,
    };
    let primaries = members.iter().filter(|m| word(m, "role").as_deref() == Some("master"));
    primaries.max_by_key(|m| (!has_failed(m), offset(m))).and_then(|m| word(m, "id"))
}

fn has_failed(member: &BTreeMap<String, &Value>) -> bool {
    word(member, "health").is_some_and(|h| h.starts_with("fail"))
}

/// `CLUSTER SLOTS`: only nodes of shards with slots.
pub(crate) fn slots(value: &Value, via: &Endpoint) -> Result<Map, Trouble> {
    let mut found: BTreeMap<String, ViewNode> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for row in list(value)? {
        let [Value::Int(first), Value::Int(last), nodes @ ..] = list(row)? else {
            return Err(Trouble::Unreadable("a row of CLUSTER SLOTS"));
        };
        let range = ranges(&[Value::Int(*first), Value::Int(*last)])?;
        let mut primary: Option<String> = None;
        for node in nodes {
            let [host, Value::Int(port), rest @ ..] = list(node)? else {
                return Err(Trouble::Unreadable("a node of CLUSTER SLOTS"));
            };
            let host = text(host).ok();
            let port = u16::try_from(*port).ok();
            let at = endpoint(host.as_deref(), port, via);
            // Servers before 4.0 name no ids: the address is all there is.
            let id = match rest.first() {
                Some(id) => text(id)?,
                None => at.as_ref().map(ToString::to_string).ok_or(Trouble::Unreadable("a node without address"))?,
            };
            let role = primary.clone().map_or(Role::Primary, |p| Role::Replica(Some(p)));
            let known = found.entry(id.clone()).or_insert_with(|| ViewNode {
                id: id.clone(),
                endpoint: at.clone(),
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
            names.insert(id.clone(), named_by_slots(host, port, rest.get(1), at));
            primary.get_or_insert(id);
        }
    }
    bounded(Map { nodes: found.into_values().collect(), names })
}

/// Since 7.0 each node has what is not preferred of its address and host name beside what is.
fn named_by_slots(host: Option<String>, port: Option<u16>, more: Option<&Value>, preferred: Option<Endpoint>) -> Name {
    let more = more.and_then(|more| fields(more).ok());
    let more = |name: &str| more.as_ref().and_then(|m| word(m, name));
    let ip = more("ip");
    let hostname = more("hostname").or_else(|| host.clone().filter(|_| ip.is_some()));
    let ip = ip.or(host);
    Name { ip, hostname, ports: [port, None], preferred }
}

/// `CLUSTER NODES`, read, with epochs.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    nodes: Vec<ViewNode>,
    /// Where each of them is.
    pub(crate) addresses: BTreeMap<String, Address>,
    /// The id of the node that gave it.
    pub(crate) myself: Option<String>,
}

impl Listed {
    /// The nodes, at the endpoints that the server prefers, by id, or else where it says they are.
    pub(crate) fn into_nodes(mut self, named: &BTreeMap<String, Endpoint>) -> Vec<ViewNode> {
        for node in &mut self.nodes {
            if let Some(at) = named.get(&node.id) {
                node.endpoint = Some(at.clone());
            }
        }
        self.nodes
    }

    /// The role of the node that gave it.
    pub(crate) fn own_role(&self) -> Option<&Role<String>> {
        self.nodes.iter().find(|n| Some(&n.id) == self.myself.as_ref()).map(|n| &n.role)
    }
}

/// `CLUSTER NODES`. A line that cannot be read costs the node that it is about, not the others.
pub(crate) fn nodes(text: &str, via: &Endpoint) -> Result<Listed, Trouble> {
    let mut listed = Listed::default();
    let mut unreadable = None;
    for line in text.lines().map(str::trim_end).filter(|l| !l.is_empty()) {
        if let Err(trouble) = node(line, via, &mut listed) {
            unreadable = Some(trouble);
        }
    }
    match unreadable {
        Some(trouble) if listed.nodes.is_empty() => Err(trouble),
        _ if listed.nodes.len() > MAX_NODES => Err(too_many()),
        _ => Ok(listed),
    }
}

fn node(line: &str, via: &Endpoint, listed: &mut Listed) -> Result<(), Trouble> {
    let mut words = line.split(' ');
    let mut next = || words.next().ok_or(Trouble::Unreadable("a line of CLUSTER NODES"));
    let (id, address, flags, primary) = (next()?, next()?, next()?, next()?);
    let (_ping, _pong, epoch, _link) = (next()?, next()?, next()?, next()?);
    let flag = |name: &str| flags.split(',').any(|f| f == name);
    if flag("handshake") || flag("noaddr") {
        return Ok(());
    }
    // ip:port@busport[,hostname[,more]]
    let mut parts = address.split(',');
    let place = parts.next().unwrap_or_default().split('@').next().unwrap_or_default();
    let hostname = parts.next().unwrap_or_default();
    let (ip, port) = place.rsplit_once(':').ok_or(Trouble::Unreadable("an address"))?;
    let port: Option<u16> = port.parse().ok();
    let owner = flag("master");
    // What is in brackets is migrating; it belongs to the source until it is done.
    let slots: Vec<(u16, u16)> = words
        .filter(|w| !w.is_empty() && !w.starts_with('['))
        .map(|w| {
            let (first, last) = w.split_once('-').unwrap_or((w, w));
            Some((first.parse().ok()?, last.parse().ok()?))
        })
        .collect::<Option<_>>()
        .ok_or(Trouble::Unreadable("a range of slots"))?;
    listed.nodes.push(ViewNode {
        id: id.to_owned(),
        endpoint: endpoint(Some(ip), port, via),
        role: if owner { Role::Primary } else { Role::Replica((primary != "-").then(|| primary.to_owned())) },
        slots,
        epoch: Some(epoch.parse().map_err(|_| Trouble::Unreadable("an epoch"))?),
        failed: flag("fail"),
        suspected: flag("fail?"),
    });
    if let Some(port) = port {
        let hostname = if hostname.contains('=') { "" } else { hostname };
        let at = Address { ip: ip.to_owned(), hostname: hostname.to_owned(), port };
        listed.addresses.insert(id.to_owned(), at);
    }
    if flag("myself") {
        listed.myself = Some(id.to_owned());
    }
    Ok(())
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

fn number(fields: &BTreeMap<String, &Value>, name: &str) -> Option<u16> {
    match fields.get(name) {
        Some(Value::Int(n)) => u16::try_from(*n).ok().filter(|&n| n != 0),
        _ => None,
    }
}

/// First and last slot in turn.
fn ranges(numbers: &[Value]) -> Result<Vec<(u16, u16)>, Trouble> {
    let slot = |value: &Value| match value {
        Value::Int(n) => u16::try_from(*n).ok().filter(|&n| n < Slot::COUNT),
        _ => None,
    };
    let pairs = numbers.chunks_exact(2).map(|pair| Some((slot(&pair[0])?, slot(&pair[1])?)));
    pairs.collect::<Option<_>>().ok_or(Trouble::Unreadable("a range of slots"))
}

fn bounded(map: Map) -> Result<Map, Trouble> {
    if map.nodes.len() > MAX_NODES { Err(too_many()) } else { Ok(map) }
}

fn too_many() -> Trouble {
    Trouble::Unreadable("more nodes than are kept in mind")
}
