//! What all parts of one router share, and the one place where the policy's knowledge is changed.

use crate::absent::Absent;
use crate::behind::UnderWay;
use crate::control::Control;
use crate::copies::Copies;
use crate::error::Error;
use crate::fills::Fills;
use crate::invalidations::Gate;
use crate::loads::Loads;
use crate::member::Table;
use crate::memory::Memory;
use crate::near::Generations;
use crate::opener::Opener;
use crate::sharing::Requests;
use crate::tally::Tally;
use arc_swap::ArcSwap;
use failsoft_policy::cluster::Cluster;
use failsoft_policy::config::Config;
use failsoft_policy::read::Action;
use failsoft_policy::route::{Bounds, Route};
use failsoft_policy::{Endpoint, Instant, Slot, Turn, wire};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Numbers the routers of a process.
static ROUTERS: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Shared {
    /// Tells the routers of a process apart.
    pub(crate) id: u64,
    /// What the ids of its invalidations begin with, as a number.
    maker: u32,
    pub(crate) opener: Opener,
    pub(crate) table: ArcSwap<Table>,
    cluster: Mutex<Cluster>,
    /// Moves on whenever the routes change, and when the router closes.
    changed: watch::Sender<()>,
    pub(crate) control: Control,
    pub(crate) loads: Loads,
    pub(crate) tally: Tally,
    pub(crate) fills: Fills,
    pub(crate) copies: Copies,
    /// What is known of the keys in the cluster.
    pub(crate) memory: Memory,
    /// Those that equal reads share.
    pub(crate) requests: Requests,
    /// What is done behind reads.
    pub(crate) behind: UnderWay,
    /// A read of a near copy is to be compared.
    pub(crate) passed_on: AtomicBool,
    /// Keys that do not exist, if they are remembered.
    pub(crate) absent: Option<Absent>,
    /// Of the keys of a near cache, if there is one.
    pub(crate) generations: Option<Generations>,
    /// What reads have to know of invalidations.
    pub(crate) gate: Gate,
    /// Whether the conductor panicked in its last round.
    pub(crate) stalled: AtomicBool,
    /// Tests let the conductor panic.
    #[cfg(test)]
    pub(crate) defect: AtomicBool,
    closed: AtomicBool,
    /// Everything that runs in the background.
    tasks: Mutex<JoinSet<()>>,
}

/// What a read waits for a change of.
pub(crate) struct Sources {
    slot: Slot,
    route: Route,
    changes: watch::Receiver<()>,
}

impl Shared {
    pub(crate) fn new(opener: Opener, seeds: Vec<Endpoint>) -> Self {
        let mut cluster = Cluster::new(&opener.config, seeds, opener.clock.now());
        Self {
            id: ROUTERS.fetch_add(1, Ordering::Relaxed),
            maker: fastrand::u32(..),
            table: ArcSwap::from_pointee(Table::new(cluster.snapshot())),
            cluster: Mutex::new(cluster),
            changed: watch::Sender::new(()),
            control: Control::new(opener.clone()),
            loads: Loads::new(&opener.config),
            tally: Tally::new(),
            fills: Fills::default(),
            copies: Copies::new(&opener.config),
            memory: Memory::default(),
            requests: Requests::new(opener.config.coalesce()),
            behind: UnderWay::new(0),
            passed_on: AtomicBool::new(false),
            absent: Absent::new(&opener.config),
            generations: (opener.config.near_cache_bytes() > 0).then(Generations::new),
            gate: Gate::new(),
            stalled: AtomicBool::new(false),
            #[cfg(test)]
            defect: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            tasks: Mutex::new(JoinSet::new()),
            opener,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.opener.config
    }

    pub(crate) fn now(&self) -> Instant {
        self.opener.clock.now()
    }

    /// An id for an invalidation or a writer of this router.
    pub(crate) fn draw_id(&self) -> [u8; 16] {
        wire::id(u64::from(self.maker) | u64::from(fastrand::u32(..)) << u32::BITS)
    }

    /// What those of this router begin with.
    pub(crate) fn maker(&self) -> String {
        String::from_utf8_lossy(wire::maker(&wire::id(self.maker.into()))).into_owned()
    }

    /// What bounds a read that begins now.
    #[inline]
    pub(crate) fn bounds(&self, now: Instant) -> Bounds {
        Bounds::new(self.config(), now)
    }

    /// Reads or changes what is known of the cluster, for a read or a write. New routes are in force
    /// when this returns; the conductor is woken if that left something to be asked or closed.
    pub(crate) fn with_cluster<R>(&self, f: impl FnOnce(&mut Cluster, Instant) -> R) -> R {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let result = f(&mut cluster, self.now());
        let errands = cluster.has_errands();
        let published = self.publish(&mut cluster);
        drop(cluster);
        if errands || published {
            self.wake();
        }
        result
    }

    /// Looks at what is known of the cluster, which changes nothing.
    pub(crate) fn look_at_cluster<R>(&self, look: impl FnOnce(&Cluster) -> R) -> R {
        look(&self.cluster.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the machine of a read of this slot what to do next. Where that is to wait, it comes with what the read
    /// waits for: no change falls between the machine's word and the wait.
    pub(crate) fn ask(&self, slot: Slot, next: impl FnOnce(Turn<'_>) -> Action) -> (Action, Option<Sources>) {
        self.with_cluster(|cluster, now| {
            let action = next(Turn { cluster: &mut *cluster, now, dice: fastrand::u32(..) });
            let waits = matches!(action, Action::Wait { .. });
            let sources = || Sources { slot, route: cluster.route(slot), changes: self.changes() };
            (action, waits.then(sources))
        })
    }

    /// The same for the answers to the conductor's questions: what to ask next follows from each.
    pub(crate) fn tell_cluster<R>(&self, f: impl FnOnce(&mut Cluster, Instant) -> R) -> R {
        let result = self.with_cluster(f);
        self.wake();
        result
    }

    /// The same for the conductor itself, who needs no waking.
    pub(crate) fn conduct<R>(&self, f: impl FnOnce(&mut Cluster, Instant) -> R) -> R {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let result = f(&mut cluster, self.now());
        self.publish(&mut cluster);
        result
    }

    /// Wakes the conductor.
    pub(crate) fn wake(&self) {
        self.opener.endings.wake.notify_one();
    }

    /// Puts new routes in force, if there are any.
    fn publish(&self, cluster: &mut Cluster) -> bool {
        self.gate.update(cluster);
        if !cluster.is_dirty() || self.is_closed() {
            return false;
        }
        let snapshot = cluster.snapshot();
        self.table.store(Arc::new(self.table.load().next(snapshot, cluster.members())));
        self.changed.send_replace(());
        true
    }

    /// Sees every change of the routes after this call, and the router's closing.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits for a change of the routes, or until then.
    pub(crate) async fn wait(&self, mut changes: watch::Receiver<()>, until: Instant) {
        // It may have been closed before the changes were looked out for.
        if self.is_closed() {
            return;
        }
        tokio::select! {
            // An error would mean that the sender is gone, and it is ours.
            _ = changes.changed() => {}
            () = tokio::time::sleep_until(self.opener.clock.std(until)) => {}
        }
    }

    /// Waits until a slot has other sources than it had, or until then. Where many nodes are in trouble the table
    /// changes all the time, and few of the changes concern a read that waits.
    pub(crate) async fn wait_for_sources(&self, sources: Sources, until: Instant) {
        let Sources { slot, route, mut changes } = sources;
        if self.is_closed() {
            return;
        }
        let others = async {
            // An error would mean that the sender is gone, and it is ours.
            while changes.changed().await.is_ok() {
                let same = self.table.load().snapshot.route(slot).offers_the_same(&route);
                if !same || self.is_closed() {
                    return;
                }
            }
        };
        tokio::select! {
            () = others => {}
            () = tokio::time::sleep_until(self.opener.clock.std(until)) => {}
        }
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Runs something in the background until it ends or the router closes; none if it is closed.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        (!self.is_closed()).then(|| tasks.spawn_on(task, &self.opener.runtime))
    }

    /// Ends everything: no task stays, every waiting read is answered. Gives the tasks that are
    /// ending, for those who want to wait for them.
    pub(crate) fn shut_down(&self) -> JoinSet<()> {
        // First, so that a callback's task that ends from here on finds its waiters answered.
        self.loads.close(self.config());
        self.closed.store(true, Ordering::Release);
        self.copies.clear();
        let mut tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        tasks.abort_all();
        // Under the policy's lock no new table can be published meanwhile.
        let cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        for member in self.table.load().members() {
            member.retire();
        }
        drop(cluster);
        self.control.close();
        self.changed.send_replace(());
        tasks
    }
}
