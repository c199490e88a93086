//! What is done to the cluster, phase by phase, and what has to follow before the next phase begins.

use super::{
    board::Board,
    keys,
    load::{self, HERD, Load},
    store::Store,
};
use crate::failure::Failure;
use failsoft::Router;
use failsoft_testkit::Cluster;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How long the cluster may take for what has to follow a fault: a promotion, a node taken back.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// All slots of a cluster.
const SLOTS: usize = 16_384;
/// The sum of the shares below.
const SHARES: u32 = 40;
/// A missing key for the herd, and one for the herd while the cluster is cut off.
const HERD_KEYS: [&str; 2] = ["herd:1", "herd:2"];

/// All that a scene needs.
pub(super) struct Scenario<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) router: &'a Router,
    pub(super) store: &'a Store,
    pub(super) board: &'a Arc<Board>,
    pub(super) load: &'a Load,
    pub(super) primaries: usize,
    pub(super) replicas: usize,
}

impl Scenario<'_> {
    /// Plays all phases. Returns the most loads that a herd's key took.
    ///
    /// # Errors
    /// When the cluster does not follow in time.
    pub(super) async fn play(&self) -> Result<u64, Failure> {
        self.warm_up().await?;
        self.phase("steady", 4, "none").await;
        if self.primaries > 1 {
            self.slot_moved().await?;
        }
        self.primary_killed().await?;
        self.primary_hung().await?;
        let herd = self.herd().await?;
        let herd = herd.max(self.cut_off().await?);
        self.board.end();
        Ok(herd)
    }

    async fn warm_up(&self) -> Result<(), Failure> {
        let until = self.begin("warm up", 2, "none; a fifth of the keys is not in the cluster yet");
        self.router.ready(FOLLOWS_WITHIN).await?;
        self.until("the router knows an owner for every slot", || self.covered()).await?;
        self.until("every key is read once", || self.load.has_asked_for_all()).await?;
        sleep(left(until)).await;
        Ok(())
    }

    async fn slot_moved(&self) -> Result<(), Failure> {
        let slot = keys::moved_slot();
        let from = self.cluster.owner_of(slot).await?;
        let to = (from + 1) % self.primaries;
        let names = format!("slot {slot} from {} to {}", self.address(from), self.address(to));
        let until = self.begin("slot moved", 6, format!("{names}: half of its keys moved, ASK for those"));
        self.load.prefer_moved_slot(true);
        let migration = self.cluster.begin_migration(slot, from, to).await?;
        migration.move_keys(keys::IN_MOVED_SLOT / 2).await?;
        // The last quarter is for the time after the move.
        sleep(left(until) * 3 / 4).await;
        migration.finish().await?;
        self.board.now(format!("{names}: moved; MOVED for who does not know yet"));
        sleep(left(until)).await;
        self.load.prefer_moved_slot(false);
        Ok(())
    }

    async fn primary_killed(&self) -> Result<(), Failure> {
        let victim = self.cluster.owner_of(0).await?;
        let address = self.address(victim);
        let until = self.begin("primary killed", 7, format!("{address} killed"));
        self.cluster.kill(victim).await?;
        self.promotion(0, victim, &format!("{address} killed")).await?;
        sleep(left(until)).await;
        let follows = if self.promotes() { "as a replica" } else { "empty, as no replica could be promoted" };
        let until = self.begin("recovered", 4, format!("none; {address} started again, {follows}"));
        self.cluster.restart(victim).await?;
        self.cluster.wait_until_ok().await?;
        self.until("the restarted node is taken back", || self.covered() && self.is_healthy(&address)).await?;
        sleep(left(until)).await;
        Ok(())
    }

    async fn primary_hung(&self) -> Result<(), Failure> {
        let slot = failsoft::Slot::COUNT - 1;
        let victim = self.cluster.owner_of(slot).await?;
        let address = self.address(victim);
        let until = self.begin("primary hung", 6, format!("{address} hangs: connected, and silent"));
        self.cluster.hang(victim)?;
        self.promotion(slot, victim, &format!("{address} hangs")).await?;
        sleep(left(until)).await;
        let until = self.begin("continued", 3, format!("none; {address} goes on where it was stopped"));
        self.cluster.resume(victim)?;
        self.cluster.wait_until_ok().await?;
        self.until("the continued node is taken back", || self.covered() && self.is_healthy(&address)).await?;
        sleep(left(until)).await;
        Ok(())
    }

    async fn herd(&self) -> Result<u64, Failure> {
        let until = self.begin("herd", 1, format!("none; {HERD} callers at once of one missing key"));
        let loads = self.herd_of(HERD_KEYS[0]).await?;
        sleep(left(until)).await;
        Ok(loads)
    }

    async fn cut_off(&self) -> Result<u64, Failure> {
        let until = self.begin("cluster cut off", 5, "every node hangs");
        self.cluster.hang_all()?;
        self.until("the router gives up on every node", || self.router.health().slots_ok == 0).await?;
        self.board.now(format!("every node hangs; {HERD} callers at once of one key"));
        let loads = self.herd_of(HERD_KEYS[1]).await?;
        self.board.now("every node hangs");
        sleep(left(until)).await;
        let until = self.begin("back", 2, "none; every node goes on");
        self.cluster.resume_all()?;
        self.cluster.wait_until_ok().await?;
        self.until("the router has its cluster back", || self.covered()).await?;
        sleep(left(until)).await;
        Ok(loads)
    }

    /// The herd for a key; returns how often it was loaded.
    async fn herd_of(&self, key: &'static str) -> Result<u64, Failure> {
        load::herd(self.router, self.store, self.board, key).await?;
        Ok(self.store.loads_of(key))
    }

    /// Waits until a replica owns the slot, where one can be promoted.
    async fn promotion(&self, slot: u16, old: usize, fault: &str) -> Result<(), Failure> {
        if !self.promotes() {
            return Ok(());
        }
        let deadline = Instant::now() + FOLLOWS_WITHIN;
        loop {
            match self.cluster.owner_of(slot).await {
                Ok(owner) if owner != old => {
                    self.board.now(format!("{fault}; its replica {} was promoted", self.address(owner)));
                    break;
                }
                _ if Instant::now() >= deadline => return Err(late("a replica is promoted")),
                _ => sleep(LOOK).await,
            }
        }
        self.until("the router reads from the promoted replica", || self.covered()).await
    }

    /// A replica is promoted by the votes of more than half of the primaries.
    fn promotes(&self) -> bool {
        self.replicas > 0 && self.primaries > 2
    }

    /// Whether every slot has an owner that gets reads.
    fn covered(&self) -> bool {
        self.router.health().slots_ok == SLOTS
    }

    fn is_healthy(&self, address: &str) -> bool {
        self.router.health().node(address).is_some_and(|node| node.trouble.is_none() && node.breaker == "closed")
    }

    fn address(&self, index: usize) -> String {
        self.cluster.node(index).address()
    }

    /// Begins a phase; returns when it may end.
    fn begin(&self, name: &'static str, share: u32, fault: impl Into<String>) -> Instant {
        let share = self.board.planned * share / SHARES;
        self.board.begin(name, share, fault);
        Instant::now() + share
    }

    /// A phase in which nothing is done.
    async fn phase(&self, name: &'static str, share: u32, fault: &str) {
        sleep(left(self.begin(name, share, fault))).await;
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + FOLLOWS_WITHIN;
        while !holds() {
            if Instant::now() >= deadline {
                return Err(late(what));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn late(what: &str) -> Failure {
    Failure::new(format!("{what}: not within {FOLLOWS_WITHIN:?}"))
}
