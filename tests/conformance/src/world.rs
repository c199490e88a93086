//! The cluster of a scenario: scripted nodes or real servers, by their names, and what is done to them.

use crate::check::Commands;
use crate::real::Servers;
use crate::scenario::{Does, NodeShape, Script, Shape, Step, Tell};
use crate::value::{Text, with_addresses};
use failsoft_testkit::{Behaviour, ScriptedNode, Topology, TopologyNode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) enum World {
    Scripted(BTreeMap<String, ScriptedNode>),
    Real(Arc<Servers>),
}

/// `host:port` by name.
pub(crate) type Addresses = BTreeMap<String, String>;

impl World {
    /// Nodes that answer as they are told.
    pub(crate) async fn scripted(shape: &Shape) -> Result<Self, String> {
        let Shape::Scripted(shapes) = shape else { return Err("this needs real servers".to_owned()) };
        let mut nodes = BTreeMap::new();
        for (name, shape) in shapes {
            let node = ScriptedNode::start().await.map_err(|e| e.to_string())?;
            if shape.standalone {
                node.standalone();
            }
            if shape.resp2 {
                node.resp2_only();
            }
            nodes.insert(name.clone(), node);
        }
        let topology = topology(shapes, &nodes)?;
        for (name, node) in &nodes {
            if !shapes[name].standalone {
                node.set_topology(&topology);
            }
        }
        Ok(Self::Scripted(nodes))
    }

    pub(crate) fn addresses(&self) -> Addresses {
        match self {
            Self::Scripted(nodes) => nodes.iter().map(|(name, node)| (name.clone(), node.address())).collect(),
            Self::Real(servers) => servers.addresses(),
        }
    }

    fn node(&self, name: &str) -> Result<&ScriptedNode, String> {
        match self {
            Self::Scripted(nodes) => nodes.get(name).ok_or_else(|| format!("no node {name}")),
            Self::Real(_) => Err("a real server cannot be scripted".to_owned()),
        }
    }

    /// How often nodes got these commands; real ones, how often they carried them out.
    pub(crate) async fn received(&self, wanted: &Wanted) -> Result<Received, String> {
        if let Self::Real(servers) = self {
            return servers.received(wanted).await;
        }
        let mut received = Received::new();
        for (name, commands) in wanted {
            let node = self.node(name)?;
            for command in commands.keys() {
                received.insert((name.clone(), command.clone()), node.count(command) as u64);
            }
        }
        Ok(received)
    }

    /// What a scripted node holds.
    pub(crate) fn stored(&self, node: &str, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.node(node)?.get(key).map(|value| value.to_vec()))
    }

    /// Forgets what nodes got.
    pub(crate) async fn mark(&self) -> Result<(), String> {
        match self {
            Self::Scripted(nodes) => nodes.values().for_each(ScriptedNode::clear_received),
            Self::Real(servers) => servers.mark().await?,
        }
        Ok(())
    }

    /// Carries out a step that is about the nodes; false if it is not.
    pub(crate) async fn take(&self, step: &Step) -> Result<bool, String> {
        let told = |e: failsoft_testkit::Error| e.to_string();
        match step {
            Step::Script(script) => self.script(script)?,
            Step::ClearScript(node) => self.node(node)?.clear_rules(),
            Step::Store { node, key, value: Some(value) } => self.node(node)?.set(key.bytes()?, value.bytes()?),
            Step::Store { node, key, value: None } => self.node(node)?.delete(key.bytes()?),
            Step::Info { node, field, value } => {
                self.node(node)?.set_info(field, &with_addresses(value, &self.addresses()));
            }
            Step::Refuse(node) => self.node(node)?.refuse_connections(true).await.map_err(told)?,
            Step::Listen(node) => self.node(node)?.refuse_connections(false).await.map_err(told)?,
            Step::Tell(tell) => self.tell(tell)?,
            Step::Fault(fault) => match self {
                Self::Real(servers) => servers.fault(fault).await?,
                Self::Scripted(_) => return Err("a fault needs real servers".to_owned()),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn script(&self, script: &Script) -> Result<(), String> {
        let node = self.node(&script.node)?;
        let behaviour = behaviour(&script.does, &self.addresses())?;
        let key = script.key.as_ref().map(Text::bytes).transpose()?;
        let command = script.command.as_str();
        match (key, script.next) {
            (None, None) => node.on(command, behaviour),
            (Some(key), None) => node.on_key(command, key, behaviour),
            (None, Some(times)) => (0..times).for_each(|_| node.next(command, behaviour.clone())),
            (Some(key), Some(times)) => (0..times).for_each(|_| node.next_key(command, &key, behaviour.clone())),
        }
        Ok(())
    }

    fn tell(&self, tell: &Tell) -> Result<(), String> {
        let Self::Scripted(nodes) = self else { return Err("a real server cannot be told".to_owned()) };
        let topology = topology(&tell.nodes, nodes)?;
        match &tell.by {
            Some(names) => names.iter().try_for_each(|name| self.node(name).map(|node| node.set_topology(&topology))),
            None => {
                nodes.values().for_each(|node| node.set_topology(&topology));
                Ok(())
            }
        }
    }
}

/// Counts by node and command.
pub(crate) type Received = BTreeMap<(String, String), u64>;

/// What is to be counted: commands by node.
pub(crate) type Wanted = BTreeMap<String, Commands>;

fn topology(shapes: &BTreeMap<String, NodeShape>, nodes: &BTreeMap<String, ScriptedNode>) -> Result<Topology, String> {
    let node = |name: &str| nodes.get(name).ok_or_else(|| format!("no node {name}"));
    let mut topology = Topology::new();
    for (name, shape) in shapes.iter().filter(|(_, shape)| !shape.stranger) {
        let mut entry = TopologyNode::new(&node(name)?.id(), node(name)?.port());
        entry.epoch = shape.epoch;
        entry.flags.clone_from(&shape.flags);
        if let Some(of) = &shape.of {
            entry.primary = Some(node(of)?.id());
        }
        for range in shape.slots.iter().flat_map(|slots| slots.split(',')) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.trim().parse::<u16>().map_err(|_| format!("{name}: {range:?} are no slots"));
            entry.slots.push(number(first)?..=number(last)?);
        }
        topology.nodes.push(entry);
    }
    Ok(topology)
}

fn behaviour(does: &Does, addresses: &Addresses) -> Result<Behaviour, String> {
    Ok(match does {
        Does::Normal => Behaviour::Normal,
        Does::Reply(text) => Behaviour::reply(text.bytes()?),
        Does::Error(text) => Behaviour::error(with_addresses(text, addresses)),
        Does::Value(text) => Behaviour::value(text.bytes()?),
        Does::Nil => Behaviour::Nil,
        Does::Array => Behaviour::Array,
        Does::Silence => Behaviour::Silence,
        Does::Close => Behaviour::Close,
        Does::Garbage => Behaviour::Garbage,
        Does::HalfReply => Behaviour::HalfReplyThenSilence,
        Does::HugeHeader => Behaviour::HugeHeader,
        Does::Delay { ms, then } => behaviour(then, addresses)?.after(Duration::from_millis(*ms)),
    })
}
