//! What scripted nodes say of the cluster they pretend to be.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::{ScriptedNode, resp::Reply};
use crate::view::SLOTS;

/// A cluster as one node sees it. Give the same one to several nodes, or different ones to make them
/// disagree.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// The nodes, in the order in which they are reported.
    pub nodes: Vec<TopologyNode>,
}

/// One node of a [`Topology`]. Every field may be changed to what a test needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TopologyNode {
    /// The node id.
    pub id: String,
    /// The address that is announced: an IP, or empty (unknown), or `?`.
    pub host: String,
    /// The client port.
    pub port: u16,
    /// The host name that is announced beside the address; empty for none.
    pub hostname: String,
    /// The id of its primary, if it is a replica.
    pub primary: Option<String>,
    /// The slots it owns.
    pub slots: Vec<RangeInclusive<u16>>,
    /// Its config epoch.
    pub epoch: u64,
    /// Further flags of CLUSTER NODES: `fail`, `fail?`, `noaddr`, `handshake`.
    pub flags: Vec<String>,
    /// Its replication offset.
    pub offset: u64,
}

impl Topology {
    /// No node yet.
    pub fn new() -> Topology {
        Topology::default()
    }

    /// These primaries with an even share of all slots each, and config epochs from 1.
    pub fn of(primaries: &[&ScriptedNode]) -> Topology {
        let count = primaries.len().max(1);
        let boundary = |index: usize| (index * usize::from(SLOTS) / count) as u16;
        let with_share = |topology: Topology, (index, node): (usize, &&ScriptedNode)| {
            topology.primary(node, boundary(index)..=boundary(index + 1) - 1, index as u64 + 1)
        };
        primaries.iter().enumerate().fold(Topology::new(), with_share)
    }

    /// Adds a primary.
    pub fn primary(mut self, node: &ScriptedNode, slots: RangeInclusive<u16>, epoch: u64) -> Topology {
        let slots = vec![slots];
        self.nodes.push(TopologyNode { slots, epoch, ..TopologyNode::new(&node.id(), node.port()) });
        self
    }

    /// Adds a replica of a primary that is there already.
    pub fn replica(mut self, node: &ScriptedNode, of: &ScriptedNode) -> Topology {
        let (id, primary) = (node.id(), of.id());
        let epoch = self.nodes.iter().find(|node| node.id == primary).map_or(0, |node| node.epoch);
        self.nodes.push(TopologyNode { primary: Some(primary), epoch, ..TopologyNode::new(&id, node.port()) });
        self
    }

    /// Adds a flag to a node: `fail`, `fail?`.
    pub fn flag(mut self, node: &ScriptedNode, flag: &str) -> Topology {
        let id = node.id();
        self.nodes.iter_mut().filter(|node| node.id == id).for_each(|node| node.flags.push(flag.to_owned()));
        self
    }

    /// What a node says to `CLUSTER SHARDS`, in RESP2: for a rule that says it in its place.
    pub fn shards(&self) -> Bytes {
        self.shards_reply(Reply::new(false)).finish()
    }

    /// The same with these nodes, whatever they are, as the members of one shard, which has the slots of the first of
    /// them, or none.
    pub fn one_shard_of(&self, members: &[&ScriptedNode], without_slots: bool) -> Bytes {
        let ids: Vec<_> = members.iter().map(|node| node.id()).collect();
        let (of_it, others): (Vec<_>, Vec<_>) = self.nodes.iter().partition(|node| ids.contains(&node.id));
        let shards: Vec<Vec<&TopologyNode>> = others.into_iter().map(|node| vec![node]).chain([of_it]).collect();
        let mut reply = Reply::new(false).array(shards.len());
        for shard in shards {
            let own = shard.iter().find(|node| !node.slots.is_empty()).filter(|_| shard.len() == 1 || !without_slots);
            let ranges = own.map(|node| node.slots.as_slice()).unwrap_or_default();
            reply = reply.map(2).bulk("slots").array(ranges.len() * 2);
            for range in ranges {
                reply = reply.number(*range.start()).number(*range.end());
            }
            reply = reply.bulk("nodes").array(shard.len());
            reply = shard.into_iter().fold(reply, |reply, node| node.shard_reply(reply));
        }
        reply.finish()
    }

    /// The owner of a slot: of two that claim it, the one with the higher epoch.
    pub(super) fn owner(&self, slot: u16) -> Option<&TopologyNode> {
        let claims = self.nodes.iter().filter(|node| node.slots.iter().any(|range| range.contains(&slot)));
        claims.max_by_key(|node| node.epoch)
    }

    /// What a node without a topology is: all there is.
    pub(super) fn single(id: &str, port: u16) -> Topology {
        let slots = vec![0..=SLOTS - 1];
        Topology { nodes: vec![TopologyNode { slots, epoch: 1, ..TopologyNode::new(id, port) }] }
    }

    pub(super) fn find(&self, id: &str) -> Option<&TopologyNode> {
        self.nodes.iter().find(|node| node.id == id)
    }

    pub(super) fn replicas_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a TopologyNode> {
        self.nodes.iter().filter(move |node| node.primary.as_deref() == Some(id))
    }

    /// `CLUSTER NODES`, as the node `me` says it.
    pub(super) fn nodes_text(&self, me: &str) -> String {
        let line = |node: &TopologyNode| {
            let mut flags = vec![if node.primary.is_some() { "slave" } else { "master" }];
            if node.id == me {
                flags.insert(0, "myself");
            }
            flags.extend(node.flags.iter().map(String::as_str));
            let hostname = if node.hostname.is_empty() { String::new() } else { format!(",{}", node.hostname) };
            let (host, port, primary) = (&node.host, node.port, node.primary.as_deref().unwrap_or("-"));
            let bus = u32::from(port) + 10_000;
            let link = if node.failed() { "disconnected" } else { "connected" };
            let slots: String = node.slots.iter().map(|range| format!(" {}", range_text(range))).collect();
            let (id, flags, epoch) = (&node.id, flags.join(","), node.epoch);
            format!("{id} {host}:{port}@{bus}{hostname} {flags} {primary} 0 0 {epoch} {link}{slots}\n")
        };
        self.nodes.iter().map(line).collect()
    }

    /// `CLUSTER INFO` without what a test has set.
    pub(super) fn info(&self, me: &str) -> Vec<(&'static str, String)> {
        let count = |wanted: fn(&TopologyNode) -> bool| -> usize {
            self.nodes.iter().filter(|node| wanted(node)).map(TopologyNode::slot_count).sum()
        };
        let assigned = count(|_| true);
        let failed = count(|node| node.has("fail"));
        let suspected = count(|node| node.has("fail?"));
        let owners = || self.nodes.iter().filter(|node| node.slot_count() > 0);
        let size = owners().count();
        let reached = owners().filter(|node| !node.has("fail") && !node.has("fail?")).count();
        // A minority says so once it has noticed, whatever it thinks of the slots.
        let up = assigned >= usize::from(SLOTS) && failed == 0 && 2 * reached > size;
        let epoch = self.nodes.iter().map(|node| node.epoch).max().unwrap_or(0);
        vec![
            ("cluster_state", if up { "ok" } else { "fail" }.to_owned()),
            ("cluster_slots_assigned", assigned.to_string()),
            ("cluster_slots_ok", (assigned - failed - suspected).to_string()),
            ("cluster_slots_pfail", suspected.to_string()),
            ("cluster_slots_fail", failed.to_string()),
            ("cluster_known_nodes", self.nodes.len().to_string()),
            ("cluster_size", size.to_string()),
            ("cluster_current_epoch", epoch.to_string()),
            ("cluster_my_epoch", self.find(me).map_or(0, |node| node.epoch).to_string()),
        ]
    }

    /// `CLUSTER SLOTS` (Redis 7.0's form, with ids and metadata). Failed replicas are left out, as
    /// real servers do.
    pub(super) fn slots_reply(&self, mut reply: Reply) -> Reply {
        let ranges = || self.nodes.iter().flat_map(|node| node.slots.iter().map(move |range| (node, range)));
        reply = reply.array(ranges().count());
        for (node, range) in ranges() {
            let replicas: Vec<_> = self.replicas_of(&node.id).filter(|replica| !replica.failed()).collect();
            reply = reply.array(3 + replicas.len()).number(*range.start()).number(*range.end());
            for node in [node].into_iter().chain(replicas) {
                reply = node.host_reply(reply.array(4)).number(node.port).bulk(&node.id);
                reply = if node.hostname.is_empty() {
                    reply.array(0)
                } else {
                    reply.array(2).bulk("hostname").bulk(&node.hostname)
                };
            }
        }
        reply
    }

    /// `CLUSTER SHARDS`: one shard for each node that is no replica.
    pub(super) fn shards_reply(&self, mut reply: Reply) -> Reply {
        let primaries: Vec<_> = self.nodes.iter().filter(|node| node.primary.is_none()).collect();
        reply = reply.array(primaries.len());
        for primary in primaries {
            reply = reply.map(2).bulk("slots").array(primary.slots.len() * 2);
            for range in &primary.slots {
                reply = reply.number(*range.start()).number(*range.end());
            }
            let members: Vec<_> = [primary].into_iter().chain(self.replicas_of(&primary.id)).collect();
            reply = reply.bulk("nodes").array(members.len());
            for node in members {
                reply = node.shard_reply(reply);
            }
        }
        reply
    }
}

impl TopologyNode {
    /// A node on 127.0.0.1 without slots.
    pub fn new(id: &str, port: u16) -> TopologyNode {
        TopologyNode {
            id: id.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            hostname: String::new(),
            primary: None,
            slots: Vec::new(),
            epoch: 0,
            flags: Vec::new(),
            offset: 0,
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.has("fail")
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    fn slot_count(&self) -> usize {
        self.slots.iter().map(|range| range.clone().count()).sum()
    }

    /// An unknown address is nil, as `cluster-preferred-endpoint-type unknown-endpoint` has it.
    fn host_reply(&self, reply: Reply) -> Reply {
        if self.host.is_empty() { reply.nil() } else { reply.bulk(&self.host) }
    }

    fn shard_reply(&self, reply: Reply) -> Reply {
        let named = !self.hostname.is_empty();
        let mut reply = reply.map(if named { 8 } else { 7 }).bulk("id").bulk(&self.id).bulk("port").number(self.port);
        reply = reply.bulk("ip").bulk(&self.host);
        reply = self.host_reply(reply.bulk("endpoint"));
        if named {
            reply = reply.bulk("hostname").bulk(&self.hostname);
        }
        let role = if self.primary.is_some() { "replica" } else { "master" };
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        let health = if self.failed() { "fail" } else { "online" };
        reply.bulk("role").bulk(role).bulk("replication-offset").number(offset).bulk("health").bulk(health)
    }
}

fn range_text(range: &RangeInclusive<u16>) -> String {
    let (start, end) = (range.start(), range.end());
    if start == end { start.to_string() } else { format!("{start}-{end}") }
}
