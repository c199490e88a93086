//! Real clusters of scenarios: their shape, the servers themselves, the faults they are given, and what they count.

use crate::value::Text;
use crate::world::{Addresses, Received, Wanted};
use failsoft_testkit::{Cluster, Network, Proxy, Server};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a promotion may take.
const PROMOTION: Duration = Duration::from_secs(30);
/// The host on which the clients live.
const CLIENT: &str = "client";
/// All hosts that the other side of a cut does not name.
const REST: &str = "rest";

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Real {
    primaries: usize,
    replicas: usize,
    #[serde(default = "node_timeout")]
    node_timeout_ms: u64,
    /// Lines of the servers' configuration.
    #[serde(default)]
    server: BTreeMap<String, String>,
    /// Each node on a host of its own, and the clients on one more.
    #[serde(default)]
    pub(crate) hosts: bool,
    /// Clients reach the nodes through proxies that can be slow.
    #[serde(default)]
    proxies: bool,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Fault {
    Kill(String),
    Hang(String),
    Resume(String),
    Restart(String),
    Failover(String),
    WaitPromoted(String),
    KillAll,
    HangAll,
    ResumeAll,
    RestartAll,
    Replace,
    WaitUntilOk,
    /// Any command; an error reply is a failure.
    Command {
        node: String,
        words: Vec<Text>,
    },
    /// No packet gets from one side to the other any more.
    Cut(Between),
    /// The same from `from` to `to` only.
    CutOneWay(Between),
    /// So many of a hundred packets get lost, in both directions.
    Lose {
        percent: u8,
        between: Between,
    },
    /// The connections there are between two hosts fall silent for good.
    Silence(String, String),
    /// Every packet arrives again.
    Heal,
    /// How late the proxies deliver.
    Delay {
        there_ms: u64,
        back_ms: u64,
    },
}

/// Two sets of hosts: `n0`, …, `client`, or `rest`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Between {
    from: Vec<String>,
    to: Vec<String>,
}

/// Real servers `n0`, `n1`, …: first the primaries, then their replicas.
pub(crate) struct Servers {
    pub(crate) cluster: Cluster,
    /// One for each node, or none.
    proxies: Vec<Proxy>,
}

impl Servers {
    pub(crate) async fn start(real: &Real, server: &Server) -> Result<Self, String> {
        let builder = Cluster::builder().server(server).primaries(real.primaries).replicas(real.replicas);
        let builder = builder.node_timeout(Duration::from_millis(real.node_timeout_ms));
        let builder = real.server.iter().fold(builder, |builder, (key, value)| builder.config(key, value));
        let builder = if real.hosts { builder.hosts(1) } else { builder };
        let cluster = builder.start().await.map_err(|e| e.to_string())?;
        let mut proxies = Vec::new();
        for address in cluster.addresses().iter().filter(|_| real.proxies) {
            proxies.push(Proxy::start(address).await.map_err(|e| e.to_string())?);
        }
        Ok(Self { cluster, proxies })
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.cluster.addresses().into_iter().enumerate().map(|(i, address)| (format!("n{i}"), address)).collect()
    }

    /// The setting that sends routers through the proxies.
    pub(crate) fn address_map(&self) -> Option<String> {
        let pairs = self.cluster.addresses().into_iter().zip(&self.proxies);
        let pairs: Vec<_> = pairs.map(|(from, to)| format!("{from}={}", to.address())).collect();
        Some(pairs.join(",")).filter(|map| !map.is_empty())
    }

    /// The words before a client's program, so that it lives where the clients are.
    pub(crate) fn words_for_clients(&self) -> Result<Vec<String>, String> {
        let Ok(network) = self.cluster.network() else { return Ok(Vec::new()) };
        network.words(self.cluster.client_host(0)).map_err(|e| e.to_string())
    }

    pub(crate) async fn fault(&self, fault: &Fault) -> Result<(), String> {
        let cluster = &self.cluster;
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
            Fault::Cut(between) => {
                let (from, to) = self.sides(between)?;
                self.network()?.cut(&from, &to)
            }
            Fault::CutOneWay(between) => {
                let (from, to) = self.sides(between)?;
                self.network()?.cut_one_way(&from, &to)
            }
            Fault::Lose { percent, between } => {
                let (from, to) = self.sides(between)?;
                self.network()?.lose(&from, &to, *percent)
            }
            Fault::Silence(one, other) => self.network()?.silence(self.host(one)?, self.host(other)?),
            Fault::Heal => self.network()?.heal(),
            Fault::Delay { there_ms, back_ms } => {
                if self.proxies.is_empty() {
                    return Err("a delay needs a cluster with `proxies: true`".to_owned());
                }
                let [there, back] = [there_ms, back_ms].map(|ms| Duration::from_millis(*ms));
                self.proxies.iter().for_each(|proxy| proxy.delay(there, back));
                Ok(())
            }
        };
        done.map_err(|e| e.to_string())
    }

    /// How often nodes carried these commands out since the last `mark`.
    pub(crate) async fn received(&self, wanted: &Wanted) -> Result<Received, String> {
        let mut received = Received::new();
        for (name, commands) in wanted {
            for command in commands.keys() {
                let calls = self.cluster.command_calls(index(name)?, command).await.map_err(|e| e.to_string())?;
                received.insert((name.clone(), command.clone()), calls);
            }
        }
        Ok(received)
    }

    /// Begins that counting anew.
    pub(crate) async fn mark(&self) -> Result<(), String> {
        for (index, _) in self.cluster.nodes().iter().enumerate().filter(|(_, node)| node.is_running()) {
            self.cluster.command(index, &["CONFIG", "RESETSTAT"]).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn network(&self) -> Result<&Network, String> {
        self.cluster.network().map_err(|e| e.to_string())
    }

    fn host(&self, name: &str) -> Result<usize, String> {
        if name == CLIENT { Ok(self.cluster.client_host(0)) } else { index(name) }
    }

    fn sides(&self, between: &Between) -> Result<(Vec<usize>, Vec<usize>), String> {
        let named = |side: &[String]| {
            let hosts = side.iter().filter(|name| *name != REST).map(|name| self.host(name));
            hosts.collect::<Result<Vec<_>, _>>()
        };
        let (from, to) = (named(&between.from)?, named(&between.to)?);
        let all = 0..self.network()?.hosts();
        let whole = |side: &[String], named: &[usize], other: &[usize]| match side.iter().any(|name| name == REST) {
            true => all.clone().filter(|host| !other.contains(host)).collect(),
            false => named.to_vec(),
        };
        Ok((whole(&between.from, &from, &to), whole(&between.to, &to, &from)))
    }
}

/// The index of `n3`.
pub(crate) fn index(node: &str) -> Result<usize, String> {
    let number = node.strip_prefix('n').and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("{node} is no node; real ones are n0, n1, …"))
}

fn node_timeout() -> u64 {
    2000
}
