//! Carries out invalidations: those of callers, and those that are sent again in the background.

use crate::commands::{Message, Writer};
use crate::error::{Error, Incomplete};
use crate::log;
use crate::near;
use crate::panics;
use crate::replicas;
use crate::shared::Shared;
use crate::writes;
use bytes::Bytes;
use failsoft_policy::cluster::Cluster;
use failsoft_policy::invalidate::{Invalidation, Pending};
use failsoft_policy::invalidations::Id;
use failsoft_policy::log::notes;
use failsoft_policy::replication::Wait;
use failsoft_policy::slot::slot_of;
use failsoft_policy::{Instant, NodeKey, Slot, Turn};
use futures_util::future::{join, try_join_all};
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{Notify, oneshot};

/// How many invalidations of one call are under way at a time to a node, and how many of those that are sent again.
const WINDOW: usize = 512;
/// How many keys are put down at a time, under locks that reads wait for.
const CHUNK: usize = 1_024;

/// What the hot path has to know of the invalidations.
pub(crate) struct Gate {
    /// One bit for each slot that has keys which no node may be asked for.
    owed: [AtomicU64; Slot::COUNT as usize / 64],
    /// Any is known, so that a replica has to be looked at twice.
    any: AtomicBool,
    /// When the background has something to do, in nanoseconds.
    due: AtomicU64,
    earlier: Notify,
    /// How many are under way.
    under_way: AtomicUsize,
    /// Told when the last one has ended.
    idle: Notify,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (any, due) = (AtomicBool::new(false), AtomicU64::new(u64::MAX));
        let (under_way, earlier, idle) = (AtomicUsize::new(0), Notify::new(), Notify::new());
        Self { owed: std::array::from_fn(|_| AtomicU64::new(0)), any, due, earlier, under_way, idle }
    }

    /// Waits until none is under way.
    pub(crate) async fn done(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            // From here on no end is missed.
            idle.as_mut().enable();
            if self.under_way.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Whether a key of the slot may be one that no node is asked for.
    #[inline]
    pub(crate) fn is_owed(&self, slot: Slot) -> bool {
        self.owed[slot.index() / 64].load(Ordering::Relaxed) >> (slot.index() % 64) & 1 == 1
    }

    /// Whether any invalidation is known.
    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Takes over what has changed. Called under the lock of what the policy knows, before new routes are in force.
    pub(crate) fn update(&self, cluster: &mut Cluster) {
        let known = cluster.invalidations();
        let any = !known.is_empty();
        if !any && !self.has_any() {
            return;
        }
        for (slot, owed) in known.take_changes() {
            let (word, bit) = (&self.owed[slot.index() / 64], 1 << (slot.index() % 64));
            if owed {
                word.fetch_or(bit, Ordering::Relaxed)
            } else {
                word.fetch_and(!bit, Ordering::Relaxed)
            };
        }
        self.any.store(any, Ordering::Relaxed);
        let due = cluster.next_again().map_or(u64::MAX, Instant::as_nanos);
        if due < self.due.swap(due, Ordering::Relaxed) {
            self.earlier.notify_one();
        }
    }
}

/// What a writer does about the keys beside invalidating them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    No,
    /// Holds them first.
    Begins(Writer),
    /// Lifts its hold afterwards.
    Ends(Writer),
}

/// Invalidates these keys: when this returns the future, no read of this process gets anything older of them. Gives what
/// was not acknowledged.
pub(crate) fn invalidate(
    shared: &Arc<Shared>,
    keys: &[Bytes],
    holding: Holding,
) -> Result<impl Future<Output = Result<Vec<Incomplete>, Error>> + Send + use<>, Error> {
    shared.check_open()?;
    // One node that does not answer keeps nobody else's keys waiting.
    let mut nodes: BTreeMap<Option<NodeKey>, Vec<UnderWay>> = BTreeMap::new();
    let (id, notes) = (shared.draw_id(), notes(keys));
    for chunk in keys.chunks(CHUNK) {
        near::invalidated(shared, chunk);
        shared.loads.detach(chunk);
        shared.with_cluster(|cluster, now| {
            for key in chunk {
                let mut turn = Turn { cluster: &mut *cluster, now, dice: 0 };
                let call = Invalidation::call(shared.config(), slot_of(key), key.clone(), &mut turn);
                let node = cluster.reign(call.slot()).map(|(node, _)| node);
                nodes.entry(node).or_default().push(UnderWay::new(shared, call, id, holding));
            }
        });
    }
    // A caller who goes away leaves them to themselves.
    let (done, result) = oneshot::channel();
    let router = Arc::clone(shared);
    let busy = Busy::new(shared);
    shared.spawn(async move {
        let nodes = nodes.into_values().map(|calls| {
            let each = stream::iter(calls).map(UnderWay::carry_out).buffer_unordered(WINDOW);
            each.try_filter_map(|lacks| std::future::ready(Ok(lacks))).try_collect::<Vec<_>>()
        });
        let ended = panics::caught(try_join_all(nodes)).await.unwrap_or_else(|_| {
            router.tally.panicked();
            Err(Error::Internal("an invalidation panicked"))
        });
        // Nobody may wait any more.
        let _ = done.send(ended.map(|nodes| nodes.concat()));
        log::write(&router, notes, id).await;
        drop(busy);
    });
    Ok(async move { result.await.unwrap_or(Err(Error::Closed)) })
}

/// An error if anything was not acknowledged.
pub(crate) fn complete(incomplete: Vec<Incomplete>) -> Result<(), Error> {
    if incomplete.is_empty() { Ok(()) } else { Err(Error::InvalidationIncomplete { pending: incomplete.into() }) }
}

/// Sends again what was not acknowledged, or may be lost under another owner.
pub(crate) async fn send_again(shared: Arc<Shared>) {
    loop {
        let (due, behind, next) = shared.with_cluster(|cluster, now| {
            let due = cluster.invalidations().take_due(WINDOW, now);
            let again = |due| Invalidation::again(shared.config(), due);
            let due: Vec<_> = due.into_iter().map(again).collect();
            (due, cluster.behind().take_due(now), cluster.next_again())
        });
        if due.is_empty() && behind.is_empty() {
            let next = async {
                match next {
                    Some(at) => tokio::time::sleep_until(shared.opener.clock.std(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = next => {}
                () = shared.gate.earlier.notified() => {}
            }
            continue;
        }
        let calls = due.into_iter().map(|call| UnderWay::new(&shared, call, shared.draw_id(), Holding::No));
        let all = stream::iter(calls).map(UnderWay::carry_out).buffer_unordered(WINDOW);
        let behind = stream::iter(behind).map(|again| replicas::ask_again(&shared, again)).buffer_unordered(WINDOW);
        let all = async {
            tokio::join!(all.for_each(|_| std::future::ready(())), behind.for_each(|_| std::future::ready(())))
        };
        if panics::caught(all).await.is_err() {
            shared.tally.panicked();
        }
    }
}

/// Something of an invalidation is under way, for which a router that is closed waits a moment.
struct Busy(Arc<Shared>);

impl Busy {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.gate.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.gate.under_way.fetch_sub(1, Ordering::Release) == 1 {
            self.0.gate.idle.notify_waiters();
        }
    }
}

/// An invalidation that is to be carried out. One that is dropped before its end is sent again later.
struct UnderWay {
    busy: Busy,
    call: Option<Invalidation>,
    id: Id,
    holding: Holding,
}

impl UnderWay {
    fn new(shared: &Arc<Shared>, call: Invalidation, id: Id, holding: Holding) -> Self {
        Self { busy: Busy::new(shared), call: Some(call), id, holding }
    }

    /// Gives what was not acknowledged, if anything was not. An error means that the router was closed.
    async fn carry_out(mut self) -> Result<Option<Incomplete>, Error> {
        let (shared, id) = (Arc::clone(&self.busy.0), self.id);
        let Some(call) = self.call.as_mut() else { return Ok(None) };
        let key = call.key().clone();
        let epoch = shared.with_cluster(|cluster, now| call.begin(id, &mut Turn { cluster, now, dice: 0 }));
        let writer = match self.holding {
            Holding::No => Writer::default(),
            Holding::Begins(writer) | Holding::Ends(writer) => writer,
        };
        let message = Message::invalidation(&key, id, epoch, shared.config().invalidation_ttl(), writer);
        if let Holding::Begins(_) = self.holding {
            let held = writes::run(&shared, &mut call.hold(shared.config(), shared.now()), &message).await?;
            call.hold_ended(held.err());
        }
        if !call.is_told() {
            let mut key_step = call.key_step(shared.config(), shared.now());
            let told = writes::run(&shared, &mut key_step, &message).await?;
            shared.with_cluster(|cluster, now| {
                call.key_step_ended(&key_step, told.err(), &mut Turn { cluster, now, dice: 0 });
            });
        }
        if let Holding::Ends(_) = self.holding {
            // One that stays all the same ends by itself.
            let _ = writes::run(&shared, &mut call.lift(shared.config(), shared.now()), &message).await?;
        }
        let mut echo = call.echo(shared.config(), shared.now());
        let announced = writes::run(&shared, &mut echo, &message.echo(epoch)).await?;
        call.echo_ended(&echo, announced.err());
        let waits = shared.with_cluster(|cluster, now| call.waits(shared.config(), &Turn { cluster, now, dice: 0 }));
        if waits.iter().any(Option::is_some) {
            let ask = async |wait: Option<Wait>| {
                let said = replicas::ask(&shared, wait.as_ref()?).await;
                Some((wait?, said))
            };
            let [key, echo] = waits;
            let (key, echo) = join(ask(key), ask(echo)).await;
            shared.check_open()?;
            shared.with_cluster(|cluster, now| call.waits_ended([key, echo], &mut Turn { cluster, now, dice: 0 }));
        }
        let pending = self.end();
        shared.tally.invalidation(!pending.is_empty());
        Ok((!pending.is_empty()).then_some(Incomplete { key, pending }))
    }

    fn end(&mut self) -> Pending {
        let Some(call) = self.call.take() else { return Pending::default() };
        self.busy.0.with_cluster(|cluster, now| call.ended(&mut Turn { cluster, now, dice: 0 }))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.end();
    }
}
