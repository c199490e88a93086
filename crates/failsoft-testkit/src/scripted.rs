//! A RESP node that answers as it is told, for what a real server won't do on demand.

mod behaviour;
mod connection;
mod holds;
mod profile;
mod replies;
mod request;
mod resp;
mod rules;
mod scripts;
mod state;
mod streams;
mod topology;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

pub use behaviour::Behaviour;
pub use profile::Profile;
pub use topology::{Topology, TopologyNode};

use self::state::Shared;
use crate::{Error, port::Port};

/// How long [`ScriptedNode::wait_for`] waits.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// A node on 127.0.0.1 that speaks RESP. Dropping it closes its port and its connections.
///
/// Without a script it looks like a healthy cluster of one node that owns every slot: it answers
/// HELLO, AUTH, CLIENT, PING, ECHO, SELECT, INFO, ROLE, READONLY, READWRITE, ASKING, WAIT, COMMAND, QUIT and
/// CLUSTER INFO, MYID, NODES, SHARDS, SLOTS and KEYSLOT; and GET, SET (NX, XX, EX, PX, KEEPTTL), DEL
/// and EXISTS of one key from a map in memory (at most 100,000 keys). It takes SCRIPT LOAD, and the router's scripts are
/// commands like any other, whose rules and counts go by these names: `LEASE key lease hold token ms`,
/// `FILL key lease hold token value ms`, `INVALIDATE key lease mark bell id epoch ms`, `MARK mark bell id epoch ms` and
/// `HOLD hold writer ms`, whose writers ZREM takes out again. After CLIENT TRACKING a connection is told the bells of
/// INVALIDATE and MARK. With a [`Topology`] it is one
/// node of several: other nodes' slots are answered with MOVED, as is a replica's without READONLY.
///
/// A rule changes the answer: for one key or for a command as a whole, for the next calls or for good,
/// in this order of strength: next of key, standing of key, next of command, standing of command, next
/// of `*`, standing of `*`. Command names are case-insensitive and may be two words (`CLUSTER NODES`).
#[derive(Debug)]
pub struct ScriptedNode {
    port: Port,
    shared: Arc<Shared>,
    /// The task that accepts; nothing while connections are refused.
    accept: Mutex<Option<JoinHandle<()>>>,
}

impl ScriptedNode {
    /// Starts a node on a free port.
    pub async fn start() -> Result<ScriptedNode, Error> {
        let port = Port::reserve()?;
        let shared = Arc::new(Shared::new(port.number(), new_id()));
        let node = ScriptedNode { port, shared, accept: Mutex::default() };
        node.refuse_connections(false).await?;
        Ok(node)
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The node id (40 hex digits).
    pub fn id(&self) -> String {
        self.shared.lock().id.clone()
    }

    /// Gives it another node id, as a node has that was created anew. Topologies made before name the
    /// old one.
    pub fn set_id(&self, id: &str) {
        self.shared.lock().id = id.to_owned();
    }

    /// Answers every call of a command so, until told otherwise. `*` is every command.
    pub fn on(&self, command: &str, behaviour: Behaviour) {
        self.shared.lock().rules.set(command, None, behaviour);
    }

    /// The same for one first argument (the key).
    pub fn on_key(&self, command: &str, key: impl AsRef<[u8]>, behaviour: Behaviour) {
        self.shared.lock().rules.set(command, Some(key.as_ref()), behaviour);
    }

    /// Answers one coming call of a command so; several are used up in the order they were given.
    pub fn next(&self, command: &str, behaviour: Behaviour) {
        self.shared.lock().rules.push(command, None, behaviour);
    }

    /// The same for one first argument (the key).
    pub fn next_key(&self, command: &str, key: impl AsRef<[u8]>, behaviour: Behaviour) {
        self.shared.lock().rules.push(command, Some(key.as_ref()), behaviour);
    }

    /// Forgets all rules.
    pub fn clear_rules(&self) {
        self.shared.lock().rules.clear();
    }

    /// From now on HELLO is an unknown command, as on a server before 6.0.
    pub fn resp2_only(&self) {
        self.on("HELLO", Behaviour::error("ERR unknown command 'HELLO', with args beginning with: '3' "));
    }

    /// From now on it is a server without cluster mode.
    pub fn standalone(&self) {
        self.shared.lock().standalone = true;
    }

    /// Puts a key into its map, whoever owns the slot.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (key, value) = (Bytes::copy_from_slice(key.as_ref()), Bytes::copy_from_slice(value.as_ref()));
        self.shared.lock().store.insert(key, value, None);
    }

    /// Takes a key out of its map.
    pub fn delete(&self, key: impl AsRef<[u8]>) {
        self.shared.lock().store.remove(key.as_ref());
    }

    /// What its map holds for a key, when its time to live has not passed.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Bytes> {
        self.shared.lock().store.get(key.as_ref())
    }

    /// What it says of the cluster from now on.
    pub fn set_topology(&self, topology: &Topology) {
        self.shared.lock().topology = Some(topology.clone());
    }

    /// Sets a field of INFO or CLUSTER INFO to a value of its own: `set_info("loading", "1")`,
    /// `set_info("cluster_state", "fail")`. A field that is not there by itself is added to both.
    pub fn set_info(&self, field: &str, value: &str) {
        self.shared.lock().info.insert(field.to_owned(), value.to_owned());
    }

    /// `true`: closes the port and every connection, like a process that died. `false`: listens again
    /// on the same port.
    pub async fn refuse_connections(&self, refuse: bool) -> Result<(), Error> {
        let running = self.accept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = running {
            task.abort();
            // The port and the connections are closed once the task is gone.
            let _ = task.await;
        }
        if !refuse {
            let listener = self.port.listen().await?;
            let task = tokio::spawn(accept(listener, self.shared.clone()));
            *self.accept.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }
        Ok(())
    }

    /// Closes every connection and goes on listening, like a server that closes what is idle.
    pub fn close_connections(&self) {
        self.shared.kick.notify_waiters();
    }

    /// The commands it got, oldest first: the last 100,000, each argument cut off after 1 KiB.
    pub fn received(&self) -> Vec<Vec<Bytes>> {
        self.shared.lock().received().iter().cloned().collect()
    }

    /// Forgets what it got.
    pub fn clear_received(&self) {
        self.shared.lock().clear_received();
    }

    /// How many of [`ScriptedNode::received`] are that command.
    pub fn count(&self, command: &str) -> usize {
        count(self.shared.lock().received(), command, None)
    }

    /// How many of [`ScriptedNode::received`] are that command with that first argument.
    pub fn count_key(&self, command: &str, key: impl AsRef<[u8]>) -> usize {
        count(self.shared.lock().received(), command, Some(key.as_ref()))
    }

    /// Waits until it has got that many of a command, at most 10 s.
    pub async fn wait_for(&self, command: &str, times: usize) -> Result<(), Error> {
        let wait = async {
            loop {
                // Registered before the look, so that no command slips in between.
                let news = self.shared.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if self.count(command) >= times {
                    return;
                }
                news.await;
            }
        };
        let limit = tokio::time::timeout(WAIT_LIMIT, wait).await;
        limit.map_err(|_| {
            let got = self.count(command);
            Error::timeout(format!("{}: {times} times {command} (got {got})", self.address()), WAIT_LIMIT)
        })
    }
}

impl Drop for ScriptedNode {
    fn drop(&mut self) {
        if let Some(task) = self.accept.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(connection::serve(stream, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn count(received: &VecDeque<Vec<Bytes>>, command: &str, key: Option<&[u8]>) -> usize {
    received.iter().filter(|words| rules::is_command(words, command) && rules::has_key(words, key)).count()
}

/// Ids differ between the nodes of a process and between processes.
fn new_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}{:016x}{number:016x}", std::process::id(), fastrand::u64(..))
}
