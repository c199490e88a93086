//! A running cluster: the faults it can be given, and what it says of itself.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use redis::Value;

use crate::{
    ClusterBuilder, Error, Migration, Network, Node, Role, client, form,
    group::{Group, START_LIMIT, start_deadline},
    node::field,
    poll,
    view::SLOTS,
};

/// How long a failover by hand may take; it takes milliseconds when the primary answers.
const FAILOVER_LIMIT: Duration = Duration::from_secs(10);

/// A real cluster, on 127.0.0.1 or on hosts of its own. Dropping it kills every server and removes their folders.
///
/// Nodes have indices: `0..primaries` are the first primaries, then come the replicas: replica `r` of
/// primary `p` is `primaries + p * replicas + r`. Roles change, indices and addresses do not.
/// All methods take `&self`, so that one task may break what others read from.
#[derive(Debug)]
pub struct Cluster {
    group: Group,
    primaries: usize,
    replicas: usize,
}

/// A cluster that was left running: see [`Cluster::keep`].
#[derive(Clone, Debug)]
pub struct Kept {
    /// `127.0.0.1:port` of every node.
    pub addresses: Vec<String>,
    /// The process ids: SIGTERM ends a server.
    pub pids: Vec<u32>,
    /// The servers' folder; nobody removes it.
    pub folder: PathBuf,
}

impl Cluster {
    /// Says what the cluster is to look like.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::new()
    }

    pub(crate) async fn form(
        group: Group,
        primaries: usize,
        replicas: usize,
        deadline: Instant,
    ) -> Result<Cluster, Error> {
        let cluster = Cluster { group, primaries, replicas };
        cluster.join(deadline).await?;
        Ok(cluster)
    }

    /// `host:port` of every node, in the order of the indices.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes().iter().map(Node::address).collect()
    }

    /// All nodes, in the order of the indices.
    pub fn nodes(&self) -> &[Node] {
        self.group.nodes()
    }

    /// One node.
    ///
    /// # Panics
    /// When there is no node of that index.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes()[index]
    }

    /// The hosts that the nodes live on: node `i` on host `i`, then come those for clients.
    ///
    /// # Errors
    /// When the cluster was not set up with [`ClusterBuilder::hosts`].
    pub fn network(&self) -> Result<&Network, Error> {
        let none = || Error::Config("this cluster has no hosts of its own: see ClusterBuilder::hosts".to_owned());
        self.group.network().ok_or_else(none)
    }

    /// The index of the host of client `client`.
    pub fn client_host(&self, client: usize) -> usize {
        self.nodes().len() + client
    }

    /// The index of replica `replica` of the first primary `primary`.
    pub fn replica_of(&self, primary: usize, replica: usize) -> usize {
        self.primaries + primary * self.replicas + replica
    }

    /// SIGKILL; on return the process is gone. A node that is dead already stays so.
    pub async fn kill(&self, index: usize) -> Result<(), Error> {
        self.group.kill([index]).await
    }

    /// SIGSTOP: its connections stay open and nothing is answered.
    pub fn hang(&self, index: usize) -> Result<(), Error> {
        self.group.hang(true, [index])
    }

    /// SIGCONT: it goes on where it was stopped, with everything it was sent meanwhile.
    pub fn resume(&self, index: usize) -> Result<(), Error> {
        self.group.hang(false, [index])
    }

    /// Starts a killed node again: same port, same folder, so the same node id; its data is gone, as
    /// nothing is saved to disk. On return it answers; the cluster may not have taken it back yet
    /// (see [`Cluster::wait_until_ok`]).
    pub async fn restart(&self, index: usize) -> Result<(), Error> {
        self.group.restart([index], start_deadline()).await
    }

    /// Kills every node that is there.
    pub async fn kill_all(&self) -> Result<(), Error> {
        self.group.kill(0..self.nodes().len()).await
    }

    /// Hangs every node that is there.
    pub fn hang_all(&self) -> Result<(), Error> {
        self.group.hang(true, self.alive())
    }

    /// Resumes every node that is there.
    pub fn resume_all(&self) -> Result<(), Error> {
        self.group.hang(false, self.alive())
    }

    /// Starts every node that was killed.
    pub async fn restart_all(&self) -> Result<(), Error> {
        let dead: Vec<_> = (0..self.nodes().len()).filter(|&index| self.node(index).pid().is_none()).collect();
        self.group.restart(dead, start_deadline()).await
    }

    /// Another cluster at the same addresses: all killed and emptied, new node ids, formed anew.
    pub async fn replace(&self) -> Result<(), Error> {
        let deadline = start_deadline();
        self.group.recreate(deadline).await?;
        self.join(deadline).await
    }

    /// `CLUSTER FAILOVER` to that replica, whose primary has to be up. On return it is a primary in its
    /// own view; the limit is 10 s.
    pub async fn failover(&self, replica: usize) -> Result<(), Error> {
        self.command(replica, &["CLUSTER", "FAILOVER"]).await?;
        self.wait_promoted(replica, FAILOVER_LIMIT).await
    }

    /// From now on a replica copies nothing of its primary any more: what it lacks is lost when it is promoted. It may
    /// not merely hang, for then it would find the rest of the stream in its socket. It lasts until the primary is
    /// started again.
    pub async fn part(&self, primary: usize, replica: usize) -> Result<(), Error> {
        self.command(primary, &["ACL", "SETUSER", "default", "-psync", "-sync"]).await?;
        self.command(primary, &["CLIENT", "KILL", "TYPE", "replica"]).await?;
        poll::until("its link is down", START_LIMIT, || async {
            let link = self.info_field(replica, "replication", "master_link_status").await?;
            Ok((link.as_deref() == Some("down")).then_some(()))
        })
        .await
    }

    /// Any command to any node, with a limit of 2 s: a hung node is an error, never a hang. An error
    /// reply (MOVED, too) is an [`Error::Command`].
    pub async fn command<A: AsRef<[u8]>>(&self, index: usize, words: &[A]) -> Result<Value, Error> {
        self.group.node(index)?.ask(words, client::LIMIT).await
    }

    /// The text of `INFO section` of a node.
    pub async fn info(&self, index: usize, section: &str) -> Result<String, Error> {
        self.group.node(index)?.info(section).await
    }

    /// One field of `INFO section`: `info_field(0, "stats", "evicted_keys")`.
    pub async fn info_field(&self, index: usize, section: &str, name: &str) -> Result<Option<String>, Error> {
        Ok(field(&self.info(index, section).await?, name).map(str::to_owned))
    }

    /// How often a node has run a command since it started, or since `CONFIG RESETSTAT`
    /// (`INFO commandstats`; a command of a container is `client|setinfo`). Answers with MOVED or ASK
    /// do not count.
    pub async fn command_calls(&self, index: usize, command: &str) -> Result<u64, Error> {
        let name = format!("cmdstat_{}", command.to_ascii_lowercase());
        let Some(stats) = self.info_field(index, "commandstats", &name).await? else { return Ok(0) };
        let calls = stats.split(',').find_map(|part| part.strip_prefix("calls=")?.parse().ok());
        calls.ok_or_else(|| Error::Reply { node: self.node(index).address(), what: format!("{name}: {stats}") })
    }

    /// What a node is in its own view.
    pub async fn role(&self, index: usize) -> Result<Role, Error> {
        self.group.node(index)?.role().await
    }

    /// The index of the slot's owner: the claim with the highest config epoch that any running node
    /// knows of.
    pub async fn owner_of(&self, slot: u16) -> Result<usize, Error> {
        let mut best = None;
        for node in self.nodes().iter().filter(|node| node.is_running()) {
            // A node may be on its way up or down; the others know.
            let Ok(lines) = form::lines_of(node).await else { continue };
            best = best.max(lines.into_iter().filter(|line| line.owns(slot)).map(|line| (line.epoch, line.port)).max());
        }
        let port = best.map(|(_, port)| port);
        let index = self.nodes().iter().position(|node| Some(node.port()) == port);
        index.ok_or(Error::NoOwner { slot })
    }

    /// Waits until the running nodes say `cluster_state:ok`, agree, suspect none of each other, and
    /// every running replica's link is up. The limit is 30 s.
    pub async fn wait_until_ok(&self) -> Result<(), Error> {
        form::settled(self.nodes(), false, START_LIMIT).await
    }

    /// Waits until a replica is a primary in its own view.
    pub async fn wait_promoted(&self, replica: usize, limit: Duration) -> Result<(), Error> {
        self.group.node(replica)?.wait_role(Role::Primary, limit).await
    }

    /// Begins to move a slot and leaves it half way: the target imports, the source migrates. From now
    /// on the source says ASK for keys that it does not have.
    pub async fn begin_migration(&self, slot: u16, from: usize, to: usize) -> Result<Migration<'_>, Error> {
        if slot >= SLOTS || from == to {
            return Err(Error::Config(format!(
                "migration of slot {slot} from node {from} to node {to}: slots are 0 to {}, and two nodes are needed",
                SLOTS - 1
            )));
        }
        Migration::begin(self, slot, from, to).await
    }

    /// Leaves the servers running for good, also after this process has ended.
    pub fn keep(self) -> Result<Kept, Error> {
        let addresses = self.addresses();
        let (pids, folder) = self.group.leave()?;
        Ok(Kept { addresses, pids, folder })
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.nodes().len()).filter(|&index| self.node(index).pid().is_some()).collect()
    }

    async fn join(&self, deadline: Instant) -> Result<(), Error> {
        let formed = form::form(self.nodes(), self.primaries, self.replicas, deadline).await;
        formed.map_err(|error| Error::Start { what: format!("no cluster: {error}"), log: self.group.log_tails() })
    }
}
