//! What a cluster is to look like.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Cluster, Error, Network, Server,
    group::{Group, start_deadline},
    settings::Settings,
    tls::Tls,
};

/// More nodes than that on one machine test the machine.
const MAX_NODES: usize = 100;

/// Sets up a [`Cluster`]: 3 primaries, 1 replica each and a node timeout of 2 s, unless told otherwise.
#[derive(Debug)]
#[must_use = "a cluster is started by `start`"]
pub struct ClusterBuilder {
    primaries: usize,
    replicas: usize,
    node_timeout: Duration,
    settings: Settings,
    tls: Option<PathBuf>,
    hosts: Option<usize>,
}

impl ClusterBuilder {
    pub(crate) fn new() -> Self {
        let settings = Settings::default();
        Self { primaries: 3, replicas: 1, node_timeout: Duration::from_secs(2), settings, tls: None, hosts: None }
    }

    /// How many primaries: at least 1. Default 3.
    pub fn primaries(mut self, count: usize) -> Self {
        self.primaries = count;
        self
    }

    /// How many replicas each primary has. Default 1.
    pub fn replicas(mut self, per_primary: usize) -> Self {
        self.replicas = per_primary;
        self
    }

    /// `cluster-node-timeout`: how long a node may be silent before others suspect it. Default 2 s.
    pub fn node_timeout(mut self, node_timeout: Duration) -> Self {
        self.node_timeout = node_timeout;
        self
    }

    /// The server to run. Default: what [`Server::find`] finds without a choice.
    pub fn server(mut self, server: &Server) -> Self {
        self.settings.server = Some(server.clone());
        self
    }

    /// One more line of every node's configuration file, as it stands there
    /// (`config("cluster-require-full-coverage", "no")`). They come after the kit's own, so they win.
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.settings.config.push((key.to_owned(), value.to_owned()));
        self
    }

    /// An ACL user: its name and its rules, `user("app", "on >secret ~* +get")`.
    pub fn user(self, name: &str, rules: &str) -> Self {
        self.config("user", &format!("{name} {rules}"))
    }

    /// How the kit's own commands authenticate; an empty user means the default one. It has to be
    /// allowed everything. With `requirepass` the nodes need `masterauth` as well, to follow each other.
    pub fn auth(mut self, user: &str, password: &str) -> Self {
        self.settings.auth = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// TLS for clients and between the nodes, with `ca.crt`, `server.crt` and `server.key` (PEM) of
    /// that folder; the certificate has to be valid for 127.0.0.1. Clients need no certificate.
    /// The Python packages' servers are built without TLS.
    pub fn tls(mut self, folder: impl AsRef<Path>) -> Self {
        self.tls = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Each node on a host of its own, with its cluster bus, and so many hosts for clients beside them: see
    /// [`Cluster::network`]. At most 13 hosts in all.
    pub fn hosts(mut self, clients: usize) -> Self {
        self.hosts = Some(clients);
        self
    }

    /// Starts the cluster. It is complete on return: every node says `cluster_state:ok`, all agree,
    /// every replica's link is up.
    ///
    /// # Errors
    /// A setting that cannot work; [`Error::NoNetwork`] where there can be no hosts; or [`Error::Start`] when a server does not come up or the cluster is
    /// not complete within 30 s, with the end of the log.
    pub async fn start(mut self) -> Result<Cluster, Error> {
        let nodes = self.primaries.checked_mul(self.replicas.saturating_add(1)).filter(|n| (1..=MAX_NODES).contains(n));
        let Some(nodes) = nodes else {
            let (p, r) = (self.primaries, self.replicas);
            return Err(Error::Config(format!(
                "{p} primaries with {r} replicas each: at least 1 primary, at most {MAX_NODES} nodes in all"
            )));
        };
        if self.node_timeout < Duration::from_millis(1) {
            return Err(Error::Config(format!("node_timeout {:?}: at least 1 ms", self.node_timeout)));
        }
        self.settings.cluster = Some(self.node_timeout);
        self.settings.tls = self.tls.as_deref().map(Tls::load).transpose()?;
        let deadline = start_deadline();
        let network = match self.hosts {
            Some(_) if self.tls.is_some() => {
                return Err(Error::Config("TLS on hosts of their own: the certificate is for 127.0.0.1".to_owned()));
            }
            Some(clients) => Some(network(nodes.saturating_add(clients)).await?),
            None => None,
        };
        let group = Group::start(self.settings, nodes, network, deadline).await?;
        Cluster::form(group, self.primaries, self.replicas, deadline).await
    }
}

/// Programs are run to set it up, and waited for.
async fn network(hosts: usize) -> Result<Network, Error> {
    let started = tokio::task::spawn_blocking(move || Network::start(hosts)).await;
    started.map_err(|error| Error::io("the start of a network")(error.into()))?
}
