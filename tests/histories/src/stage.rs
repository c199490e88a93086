//! What faults are done to, and who is told of them.

use crate::clock::now;
use crate::event::Event;
use crate::promise::{Edge, EdgeKind};
use crate::record::Key;
use crate::services::name;
use failsoft_testkit::{Cluster, Error, Role, slot_of};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) keys: usize,
    /// Held while something is wrong with the nodes.
    pub(crate) nodes: tokio::sync::Mutex<()>,
    /// Whether faults are told as they are done.
    tells: bool,
    events: Sender<Event>,
    done: Mutex<Done>,
}

/// How often each fault was done, and why some came to nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) in_vain: Vec<String>,
}

/// An edge that has begun.
#[derive(Debug)]
pub(crate) struct Opened {
    kind: EdgeKind,
    from: u64,
    keys: Vec<Key>,
    node: usize,
}

impl Stage {
    pub(crate) fn new(cluster: Cluster, keys: usize, tells: bool, events: Sender<Event>) -> Self {
        Self { cluster, keys, nodes: tokio::sync::Mutex::default(), tells, events, done: Mutex::default() }
    }

    /// A fault begins; all who look at a trace read of it.
    pub(crate) async fn say(&self, what: String) {
        if self.tells {
            eprintln!("{:>12.3} ms  {what}", now() as f64 / 1e3);
        }
        let _ = self.events.send(Event::Fault { what, at: now() }).await;
    }

    pub(crate) fn count(&self, fault: &'static str) {
        *self.lock().faults.entry(fault).or_default() += 1;
    }

    /// One could not be done, because a node was slow for example.
    pub(crate) async fn in_vain(&self, fault: &'static str, why: &Error) {
        let what = format!("{fault}, in vain: {why}");
        self.lock().in_vain.push(what.clone());
        self.say(what).await;
    }

    pub(crate) fn done(&self) -> Done {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the keys of a node may be older than is promised.
    pub(crate) async fn open(&self, kind: EdgeKind, node: usize) -> Result<Opened, Error> {
        let keys = self.keys_of(node).await?;
        Ok(Opened { kind, from: now(), keys, node })
    }

    pub(crate) async fn close(&self, Opened { kind, from, keys, node }: Opened) {
        let node = self.cluster.node(node).address().into();
        let _ = self.events.send(Event::Edge(Edge { kind, from, until: now(), keys, node })).await;
    }

    /// Who is a primary now, and one of its replicas.
    pub(crate) async fn shards(&self) -> Result<Vec<(usize, usize)>, Error> {
        let mut shards = Vec::new();
        for replica in 0..self.cluster.nodes().len() {
            if self.cluster.role(replica).await? == Role::Primary {
                continue;
            }
            let port = self.cluster.info_field(replica, "replication", "master_port").await?;
            let primary = self.cluster.nodes().iter().position(|node| port == Some(node.port().to_string()));
            shards.extend(primary.map(|primary| (primary, replica)));
        }
        Ok(shards)
    }

    /// Makes whole what is left broken.
    pub(crate) async fn heal(&self) -> Result<(), Error> {
        self.cluster.resume_all()?;
        self.cluster.restart_all().await?;
        self.cluster.wait_until_ok().await
    }

    async fn keys_of(&self, node: usize) -> Result<Vec<Key>, Error> {
        let mut owners = BTreeMap::new();
        let mut keys = Vec::new();
        for key in 0..self.keys {
            let slot = slot_of(name(key));
            let owner = match owners.get(&slot) {
                Some(&owner) => owner,
                None => self.cluster.owner_of(slot).await?,
            };
            owners.insert(slot, owner);
            keys.extend((owner == node).then_some(key));
        }
        Ok(keys)
    }
}

/// Between these two, in milliseconds.
pub(crate) async fn pause(chance: &mut fastrand::Rng, from: u64, to: u64) {
    tokio::time::sleep(Duration::from_millis(chance.u64(from..to))).await;
}
