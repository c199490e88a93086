//! A slot on its way from one node to another, held open for as long as a test wants
//! (cluster specification, "Live reconfiguration").

use std::time::Duration;

use redis::Value;

use crate::{Cluster, Error, Node};

/// `MIGRATE` has its own limit for the connection between the two servers.
const MIGRATE_LIMIT: Duration = Duration::from_secs(10);

/// A migration under way. Dropping it leaves the slot as it is, half way.
#[derive(Debug)]
#[must_use = "a migration stays open until `finish` or `cancel`"]
pub struct Migration<'a> {
    cluster: &'a Cluster,
    slot: u16,
    from: usize,
    to: usize,
}

impl<'a> Migration<'a> {
    pub(crate) async fn begin(cluster: &'a Cluster, slot: u16, from: usize, to: usize) -> Result<Migration<'a>, Error> {
        let migration = Migration { cluster, slot, from, to };
        // The target first: the source must not say ASK before the target takes ASKING.
        migration.set_slot(to, "IMPORTING", Some(from)).await?;
        migration.set_slot(from, "MIGRATING", Some(to)).await?;
        Ok(migration)
    }

    /// The slot that moves.
    pub fn slot(&self) -> u16 {
        self.slot
    }

    /// Moves one key; whether it was there to be moved.
    pub async fn move_key(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let reply = self.migrate(&[key.as_ref().to_vec()]).await?;
        Ok(reply != Value::SimpleString("NOKEY".to_owned()))
    }

    /// Moves up to that many keys; how many there were.
    pub async fn move_keys(&self, count: usize) -> Result<usize, Error> {
        let words = ["CLUSTER", "GETKEYSINSLOT", &self.slot.to_string(), &count.to_string()];
        let reply = self.cluster.command(self.from, &words).await?;
        let keys: Vec<Vec<u8>> = redis::from_redis_value(reply)
            .map_err(|error| Error::Reply { node: self.source().address(), what: error.to_string() })?;
        if !keys.is_empty() {
            self.migrate(&keys).await?;
        }
        Ok(keys.len())
    }

    /// Moves what is left and gives the slot to the target: told to the target first, then to the
    /// source, then to the other primaries that are running.
    pub async fn finish(self) -> Result<(), Error> {
        while self.move_keys(100).await? > 0 {}
        self.set_slot(self.to, "NODE", Some(self.to)).await?;
        self.set_slot(self.from, "NODE", Some(self.to)).await?;
        for index in 0..self.cluster.nodes().len() {
            if index == self.from || index == self.to || !self.cluster.node(index).is_running() {
                continue;
            }
            if self.cluster.role(index).await? == crate::Role::Primary {
                self.set_slot(index, "NODE", Some(self.to)).await?;
            }
        }
        Ok(())
    }

    /// Gives the migration up: the slot stays with the source. Keys that were moved are lost to it.
    pub async fn cancel(self) -> Result<(), Error> {
        self.set_slot(self.from, "STABLE", None).await?;
        self.set_slot(self.to, "STABLE", None).await
    }

    fn source(&self) -> &Node {
        self.cluster.node(self.from)
    }

    async fn set_slot(&self, on: usize, state: &str, peer: Option<usize>) -> Result<(), Error> {
        let mut words = vec!["CLUSTER".to_owned(), "SETSLOT".to_owned(), self.slot.to_string(), state.to_owned()];
        if let Some(peer) = peer {
            words.push(self.cluster.group().node(peer)?.id());
        }
        self.cluster.command(on, &words).await.map(drop)
    }

    async fn migrate(&self, keys: &[Vec<u8>]) -> Result<Value, Error> {
        let target = self.cluster.node(self.to);
        let (host, port) = (target.ip().to_string(), target.port().to_string());
        let timeout = MIGRATE_LIMIT.as_millis().to_string();
        let mut words: Vec<&[u8]> = vec![b"MIGRATE", host.as_bytes(), port.as_bytes(), b"", b"0", timeout.as_bytes()];
        let auth = self.source().auth();
        if let Some((user, password)) = auth {
            let user = if user.is_empty() { "default" } else { user };
            words.extend([b"AUTH2".as_slice(), user.as_bytes(), password.as_bytes()]);
        }
        words.push(b"KEYS");
        words.extend(keys.iter().map(Vec::as_slice));
        self.source().ask(&words, MIGRATE_LIMIT).await
    }
}
