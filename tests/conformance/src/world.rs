//! The cluster of a scenario: scripted nodes or real servers, by their names, and what is done to them.

use crate::check::Commands;
use crate::scenario::{Does, Fault, NodeShape, Real, Script, Shape, Step, Tell};
use crate::value::{Text, with_addresses};
use failsoft_testkit::{Behaviour, Cluster, ScriptedNode, Server, Topology, TopologyNode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a promotion may take.
const PROMOTION: Duration = Duration::from_secs(30);

pub(crate) enum World {
    Scripted(BTreeMap<String, ScriptedNode>),
    Real(Arc<Cluster>),
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

    /// Real servers, started.
    pub(crate) async fn real(real: &Real, server: &Server) -> Result<Arc<Cluster>, String> {
        let builder = Cluster::builder().server(server).primaries(real.primaries).replicas(real.replicas);
        let builder = builder.node_timeout(Duration::from_millis(real.node_timeout_ms));
        let builder = real.server.iter().fold(builder, |builder, (key, value)| builder.config(key, value));
        builder.start().await.map(Arc::new).map_err(|e| e.to_string())
    }

    pub(crate) fn addresses(&self) -> Addresses {
        match self {
            Self::Scripted(nodes) => nodes.iter().map(|(name, node)| (name.clone(), node.address())).collect(),
            Self::Real(cluster) => {
                cluster.addresses().into_iter().enumerate().map(|(i, address)| (format!("n{i}"), address)).collect()
            }
        }
    }

    fn node(&self, name: &str) -> Result<&ScriptedNode, String> {
        match self {
            Self::Scripted(nodes) => nodes.get(name).ok_or_else(|| format!("no node {name}")),
            Self::Real(_) => Err("a real server cannot be scripted".to_owned()),
        }
    }

    /// How often nodes got these commands.
    pub(crate) fn received(&self, wanted: &BTreeMap<String, Commands>) -> Result<Received, String> {
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
    pub(crate) fn mark(&self) {
        if let Self::Scripted(nodes) = self {
            nodes.values().for_each(ScriptedNode::clear_received);
        }
    }

    /// Carries out a step that is about the nodes; false if it is not.
    pub(crate) async fn take(&self, step: &Step) -> Result<bool, String> {
        let told = |e: failsoft_testkit::Error| e.to_string();
        match step {
            Step::Script(script) => self.script(script)?,
            Step::ClearScript(node) => self.node(node)?.clear_rules(),
            Step::Store { node, key, value } => self.node(node)?.set(key.bytes()?, value.bytes()?),
            Step::Info { node, field, value } => {
                self.node(node)?.set_info(field, &with_addresses(value, &self.addresses()));
            }
            Step::Refuse(node) => self.node(node)?.refuse_connections(true).await.map_err(told)?,
            Step::Listen(node) => self.node(node)?.refuse_connections(false).await.map_err(told)?,
            Step::Tell(tell) => self.tell(tell)?,
            Step::Fault(fault) => self.fault(fault).await?,
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

    async fn fault(&self, fault: &Fault) -> Result<(), String> {
        let Self::Real(cluster) = self else { return Err("a fault needs real servers".to_owned()) };
        let done = match fault {
            Fault::Kill(node) => cluster.kill(index(node)?).await,
            Fault::Hang(node) => cluster.hang(index(node)?),
            Fault::Resume(node) => cluster.resume(index(node)?),
            Fault::Restart(node) => cluster.restart(index(node)?).await,
            Fault::Failover(node) => cluster.failover(index(node)?).await,
            Fault::WaitPromoted(node) => cluster.wait_promoted(index(node)?, PROMOTION).await,
            Fault::KillAll => cluster.kill_all().await,
            Fault::HangAll => cluster.hang_all(),
            Fault::ResumeAll => cluster.resume_all(),
            Fault::RestartAll => cluster.restart_all().await,
            Fault::Replace => cluster.replace().await,
            Fault::WaitUntilOk => cluster.wait_until_ok().await,
            Fault::Command { node, words } => {
                let words = words.iter().map(Text::bytes).collect::<Result<Vec<_>, _>>()?;
                cluster.command(index(node)?, &words).await.map(drop)
            }
        };
        done.map_err(|e| e.to_string())
    }
}

/// Counts by node and command.
pub(crate) type Received = BTreeMap<(String, String), u64>;

/// The index of `n3`.
pub(crate) fn index(node: &str) -> Result<usize, String> {
    let number = node.strip_prefix('n').and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("{node} is no node; real ones are n0, n1, …"))
}

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
