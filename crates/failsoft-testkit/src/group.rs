//! Servers that live and die together: their folder, their watchdog, and the faults.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Error, Network, Node, Server, node::Place, settings::Settings, watchdog::Watchdog};

/// The limit of every start-up, forming the cluster included.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);
/// How often a node may find that its port was taken in between.
const PORT_TRIES: usize = 5;

/// When a start that begins now has to be done.
pub(crate) fn start_deadline() -> Instant {
    Instant::now() + START_LIMIT
}

/// The fields are dropped in this order: processes first, then the watchdog (which removes the
/// folder's content as well), then the folder, and the network they were on.
#[derive(Debug)]
pub(crate) struct Group {
    nodes: Vec<Node>,
    watchdog: Watchdog,
    folder: TempDir,
    network: Option<Network>,
}

impl Group {
    /// Starts that many servers; each answers when this returns. With a network, node `i` runs on its host `i`.
    pub(crate) async fn start(
        mut settings: Settings,
        count: usize,
        network: Option<Network>,
        deadline: Instant,
    ) -> Result<Group, Error> {
        if settings.server.is_none() {
            // It runs programs and waits for them.
            let found = tokio::task::spawn_blocking(|| Server::find(None)).await;
            settings.server = Some(found.map_err(|error| Error::io("the search for a server")(error.into()))??);
        }
        let settings = Arc::new(settings);
        let folder = tempfile::Builder::new().prefix("failsoft-testkit-").tempdir();
        let folder = folder.map_err(Error::io("a temporary folder"))?;
        let watchdog = Watchdog::start(folder.path())?;
        let mut group = Group { nodes: Vec::new(), watchdog, folder, network };
        for _ in 0..count {
            let index = group.nodes.len();
            group.nodes.push(Node::new(group.place(index)?, settings.clone(), group.folder.path())?);
            group.launch(index)?;
        }
        for index in 0..count {
            group.settle(index, &settings, deadline).await?;
        }
        Ok(group)
    }

    pub(crate) fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn node(&self, index: usize) -> Result<&Node, Error> {
        self.nodes.get(index).ok_or(Error::NoSuchNode { index, nodes: self.nodes.len() })
    }

    /// SIGKILL to all of them at once, then each is reaped. Those that are dead already stay so.
    pub(crate) async fn kill(&self, indices: impl IntoIterator<Item = usize>) -> Result<(), Error> {
        let mut killed = Vec::new();
        for index in indices {
            killed.extend(self.node(index)?.kill()?);
        }
        for process in killed {
            process.reap().await?;
        }
        self.guard()
    }

    pub(crate) fn hang(&self, hang: bool, indices: impl IntoIterator<Item = usize>) -> Result<(), Error> {
        indices.into_iter().try_for_each(|index| self.node(index)?.hang(hang))
    }

    /// Starts dead nodes again, same ports, same folders.
    pub(crate) async fn restart(
        &self,
        indices: impl IntoIterator<Item = usize>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let indices: Vec<_> = indices.into_iter().collect();
        for &index in &indices {
            self.launch(index)?;
        }
        for index in indices {
            self.node(index)?.wait_ready(deadline).await?;
        }
        Ok(())
    }

    /// All killed and emptied, then started as new nodes at the same addresses.
    pub(crate) async fn recreate(&self, deadline: Instant) -> Result<(), Error> {
        self.kill(0..self.nodes.len()).await?;
        self.nodes.iter().try_for_each(Node::wipe)?;
        self.restart(0..self.nodes.len(), deadline).await
    }

    /// Leaves the processes running for good. Returns their ids and their folder.
    pub(crate) fn leave(self) -> Result<(Vec<u32>, PathBuf), Error> {
        if self.network.is_some() {
            return Err(Error::Config(
                "a cluster on hosts of its own cannot be kept: they end with this process".into(),
            ));
        }
        self.watchdog.leave()?;
        let pids = self.pids();
        self.nodes.iter().for_each(Node::forget);
        Ok((pids, self.folder.keep()))
    }

    /// The last lines of every node's log.
    pub(crate) fn log_tails(&self) -> String {
        let tail = |node: &Node| {
            let log = node.log_tail();
            let lines: Vec<_> = log.lines().rev().take(3).collect();
            let lines = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
            format!("{}:\n{lines}", node.address())
        };
        self.nodes.iter().map(tail).collect::<Vec<_>>().join("\n")
    }

    fn place(&self, index: usize) -> Result<Place, Error> {
        match &self.network {
            None => Ok(Place::here()),
            Some(network) => Ok(Place { address: network.address(index), words: network.words(index)? }),
        }
    }

    fn launch(&self, index: usize) -> Result<(), Error> {
        self.node(index)?.start()?;
        self.guard()
    }

    fn guard(&self) -> Result<(), Error> {
        self.watchdog.guard(&self.pids())
    }

    fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(Node::pid).collect()
    }

    /// Waits for a first start; a node whose port was taken after it was found free gets another one.
    async fn settle(&mut self, index: usize, settings: &Arc<Settings>, deadline: Instant) -> Result<(), Error> {
        for _ in 0..PORT_TRIES {
            match self.nodes[index].wait_ready(deadline).await {
                Err(Error::Start { log, .. }) if log.contains("Address already in use") => {
                    self.nodes[index] = Node::new(self.place(index)?, settings.clone(), self.folder.path())?;
                    self.launch(index)?;
                }
                Err(Error::Start { what, log }) if settings.tls.is_some() && lacks_tls(&log) => {
                    let what = format!("{what}; it may have been built without TLS (Debian's redis-server has it)");
                    return Err(Error::Start { what, log });
                }
                other => return other,
            }
        }
        let what = format!("no port stayed free long enough in {PORT_TRIES} tries");
        Err(Error::Start { what, log: self.nodes[index].log_tail() })
    }
}

/// What servers say that were built without TLS: Redis of its settings, Valkey of its connection types.
fn lacks_tls(log: &str) -> bool {
    log.contains("Bad directive") || log.contains("Failed finding TLS support")
}
