//! The faults: each on a fresh cluster under load, with the moments that count written down.

use super::Fault;
use super::load::{Load, Seen};
use super::watch;
use crate::Problem;
use crate::dataset::{self, tagged_slot};
use failsoft::Router;
use failsoft_testkit::{Cluster, Server};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// Load before the fault: connections are open, and replicas have everything.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long a hang lasts at least, and for how long a killed node is watched.
const HANG: Duration = Duration::from_secs(5);
/// How long the migration is held open.
const ASK: Duration = Duration::from_secs(3);
/// Load after the fault.
const AFTER: Duration = Duration::from_secs(3);
/// A hung primary hangs at least this long after its replica was promoted.
const PROMOTED: Duration = Duration::from_millis(1500);
/// How long a router may take to know the cluster.
const READY: Duration = Duration::from_secs(10);

/// Everything that happened.
pub(super) struct Account {
    /// Every read, in the order in which they ended.
    pub(super) seen: Vec<Seen>,
    /// When the fault began and when it was over.
    pub(super) fault: (Instant, Instant),
    /// The slots that it is about.
    pub(super) slots: Slots,
    /// The node that was broken, and the replica that takes its place.
    pub(super) nodes: Option<(usize, usize)>,
    /// When the replica first called itself a primary.
    pub(super) promoted: Option<Instant>,
    /// When the router took the broken node back.
    pub(super) readmitted: Option<Instant>,
}

/// Slots that a fault is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slots {
    /// Those of the first primary, as the test kit deals them out.
    FirstShard,
    /// This one.
    One(u16),
    /// All of them.
    All,
}

impl Slots {
    pub(super) fn hold(self, slot: u16) -> bool {
        match self {
            Slots::FirstShard => slot < 5461,
            Slots::One(one) => slot == one,
            Slots::All => true,
        }
    }
}

/// Breaks a fresh cluster under load.
pub(super) async fn run(fault: Fault, server: &Server) -> Result<Account, Problem> {
    let entries = dataset::entries();
    let cluster = Cluster::builder().server(server).primaries(3).replicas(1).node_timeout(NODE_TIMEOUT).start().await?;
    dataset::fill(&cluster.addresses(), &entries).await?;
    let router = Router::builder(cluster.addresses()).build()?;
    router.ready(READY).await?;
    let load = Load::start(&router, &entries, &Arc::from(cluster.addresses()));
    tokio::time::sleep(WARM_UP).await;
    let mut account = match fault {
        Fault::Kill => kill(&cluster).await?,
        Fault::Hang => hang(&cluster, &router).await?,
        Fault::Slot => slot(&cluster).await?,
        Fault::AllHang => all_hang(&cluster).await?,
    };
    tokio::time::sleep(AFTER).await;
    account.seen = load.finish().await?;
    router.close().await;
    Ok(account)
}

fn account(slots: Slots, began: Instant) -> Account {
    let seen = Vec::new();
    Account { seen, fault: (began, Instant::now()), slots, nodes: None, promoted: None, readmitted: None }
}

/// A killed node stays dead: the fault is over when another one has its place for a while.
async fn kill(cluster: &Cluster) -> Result<Account, Problem> {
    let (old, new) = (0, cluster.replica_of(0, 0));
    let began = Instant::now();
    cluster.kill(old).await?;
    let promoted = watch::promoted(cluster, new).await?;
    tokio::time::sleep_until((began + HANG).max(promoted + PROMOTED).into()).await;
    Ok(Account { nodes: Some((old, new)), promoted: Some(promoted), ..account(Slots::FirstShard, began) })
}

async fn hang(cluster: &Cluster, router: &Router) -> Result<Account, Problem> {
    let (old, new) = (0, cluster.replica_of(0, 0));
    let began = Instant::now();
    cluster.hang(old)?;
    let promoted = watch::promoted(cluster, new).await?;
    tokio::time::sleep_until((began + HANG).max(promoted + PROMOTED).into()).await;
    let account = account(Slots::FirstShard, began);
    cluster.resume(old)?;
    let readmitted = watch::readmitted(router, &cluster.node(old).address()).await?;
    Ok(Account { nodes: Some((old, new)), promoted: Some(promoted), readmitted: Some(readmitted), ..account })
}

/// Half of the keys move at once, the others when half of the time is over.
async fn slot(cluster: &Cluster) -> Result<Account, Problem> {
    let slot = tagged_slot();
    let from = cluster.owner_of(slot).await?;
    let to = (from + 1) % 3;
    let half = dataset::KEYS / 20;
    let began = Instant::now();
    let migration = cluster.begin_migration(slot, from, to).await?;
    let mut moved = 0;
    while moved < half {
        moved += migration.move_keys(100).await?;
    }
    tokio::time::sleep_until((began + ASK / 2).into()).await;
    while migration.move_keys(100).await? > 0 {}
    tokio::time::sleep_until((began + ASK).into()).await;
    let account = account(Slots::One(slot), began);
    migration.finish().await?;
    Ok(account)
}

async fn all_hang(cluster: &Cluster) -> Result<Account, Problem> {
    let began = Instant::now();
    cluster.hang_all()?;
    tokio::time::sleep(HANG).await;
    let account = account(Slots::All, began);
    cluster.resume_all()?;
    Ok(account)
}
