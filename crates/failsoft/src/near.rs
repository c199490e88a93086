//! Makes near copies, and serves them without asking a node.
//!
//! Every `CELLS`th of all keys shares a generation, which advances when anything is known to have happened to one of them.
//! A read takes the generation before it asks; the copy that it makes is served only while that is still the same, so an
//! answer that was on its way when the key was changed is none. What has to be heard meanwhile is the policy's, and shown
//! to readers without a lock ([`Shown`]); so is the rule by which a copy serves.

use crate::connection::Reply;
use crate::copies::Copy;
use crate::driver::{AttemptResult, Target, result_of};
use crate::member::Member;
use crate::opener::Use;
use crate::shared::Shared;
use bytes::Bytes;
use failsoft_policy::cluster::{Cluster, Trust};
use failsoft_policy::copies::{Held, looks_at};
use failsoft_policy::near::{Known, Near, serves};
use failsoft_policy::route::Source;
use failsoft_policy::slot::slot_of;
use failsoft_policy::{Instant, NodeKey};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many generations there are.
const CELLS: usize = 16_384;
/// How often it is noted that copies of a node's keys are being used.
const NOTED: Duration = Duration::from_millis(100);

/// The generations of a router's keys.
pub(crate) struct Generations {
    cells: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Generations {
    pub(crate) fn new() -> Self {
        Self { cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }

    fn cell(&self, key: &[u8]) -> usize {
        self.hasher.hash_one(key) as usize % CELLS
    }

    /// Something has happened to this key.
    pub(crate) fn advance(&self, key: &[u8]) {
        self.cells[self.cell(key)].fetch_add(1, Ordering::Release);
    }
}

/// What the policy knows of the near copies of a node's keys, as readers see it.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    line: AtomicU64,
    since: AtomicU64,
    /// Zero: none may be served.
    until: AtomicU64,
    /// When a copy was last served, about.
    used: AtomicU64,
}

impl Shown {
    /// Called under the lock of what the policy knows.
    fn show(&self, trust: Option<Trust>) {
        // What is from before a gap must not be taken for what is from after it.
        if trust.is_none_or(|trust| trust.since.as_nanos() != self.since.load(Ordering::Relaxed)) {
            self.until.store(0, Ordering::Release);
        }
        let Some(trust) = trust else { return };
        self.line.store(trust.line, Ordering::Relaxed);
        self.since.store(trust.since.as_nanos(), Ordering::Release);
        self.until.store(trust.until.as_nanos(), Ordering::Release);
    }

    /// The connection on which a key may be asked for now.
    fn line(&self, now: Instant) -> Option<u64> {
        (now.as_nanos() < self.until.load(Ordering::Acquire)).then(|| self.line.load(Ordering::Relaxed))
    }

    /// What is shown now. What counts until a time goes with a `since` that was shown with it, or with a later one.
    fn trust(&self) -> Trust {
        let until = Instant::from_nanos(self.until.load(Ordering::Acquire));
        let since = Instant::from_nanos(self.since.load(Ordering::Acquire));
        Trust { line: self.line.load(Ordering::Relaxed), since, until }
    }

    fn note(&self, now: Instant) {
        let used = Instant::from_nanos(self.used.load(Ordering::Relaxed));
        if now.since(used) > NOTED {
            self.used.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// When a copy was last served, about; none if none ever was.
    pub(crate) fn used(&self) -> Option<Instant> {
        Some(self.used.load(Ordering::Relaxed)).filter(|&at| at > 0).map(Instant::from_nanos)
    }
}

/// What makes a copy a near one.
#[derive(Debug)]
pub(crate) struct Tracked {
    near: Near,
    shown: Arc<Shown>,
    cell: usize,
}

/// A near copy that serves now.
pub(crate) struct Hit {
    pub(crate) copy: Arc<Copy>,
    /// How long ago it was last known to be current, at the most.
    pub(crate) age: Duration,
}

/// The near copy of a key, if one may be served now.
#[inline]
pub(crate) fn hit(shared: &Shared, key: &[u8]) -> Option<Hit> {
    hit_of(shared, shared.generations.as_ref()?, key)
}

/// Not part of the hot path where there is no near cache.
#[inline(never)]
fn hit_of(shared: &Shared, generations: &Generations, key: &[u8]) -> Option<Hit> {
    let copy = shared.copies.find(key)?;
    let tracked = copy.tracked.as_ref()?;
    if shared.is_closed() {
        return None;
    }
    let table = shared.table.load();
    let known = Known {
        now: shared.now(),
        trust: Some(tracked.shown.trust()),
        generation: generations.cells[tracked.cell].load(Ordering::Acquire),
        snapshot: &table.snapshot,
    };
    let age = serves(shared.config(), &copy.held, &tracked.near, &known)?;
    tracked.shown.note(known.now);
    Some(Hit { copy, age })
}

/// The connection on which this first attempt is to be made, if a near copy is to come of it. `dice` is the read's.
#[inline]
pub(crate) fn wanted(shared: &Shared, target: &Target, dice: u32) -> Option<u64> {
    shared.generations.as_ref()?;
    if target.source != Source::Primary {
        return None;
    }
    let line = target.node.near.line(shared.now())?;
    looks_at(dice).then_some(line)
}

/// Makes the first attempt so that a near copy comes of it. None if nothing was sent, or the connection has ended: that
/// says nothing of how the node serves, and the key is asked for on the usual one.
pub(crate) async fn fetch(
    shared: &Shared,
    key: &[u8],
    target: &Target,
    (line, asked_at): (u64, Instant),
) -> Option<AttemptResult> {
    let generations = shared.generations.as_ref()?;
    let cell = generations.cell(key);
    let generation = generations.cells[cell].load(Ordering::Acquire);
    let member = &target.node;
    let (value, ttl) = member
        .submit_on(Use::Keys, line, |lane| {
            let value = lane.get_tracked(key, target.attempt)?;
            Ok((value, lane.command(&[b"PTTL", key], false, target.attempt)))
        })
        .ok()?;
    let result = result_of(value.await, member);
    if result.is_of_connection() {
        return None;
    }
    let ttl = match ttl {
        Ok(ttl) => ttl.await.ok(),
        Err(_) => None,
    };
    if let (Some(value), Some(expires_at)) = (result.value(), ttl.and_then(|ttl| expiry(&ttl, asked_at))) {
        let near = Near { slot: slot_of(key), expires_at, generation };
        let tracked = Tracked { near, shown: Arc::clone(&member.near), cell };
        shared.copies.keep_tracked(key, value, Held { current_at: asked_at, node: Some(member.key) }, tracked);
        // The key was changed while its answer was on the way: that value must not stand in later either. A change from
        // here on removes the copy itself.
        if generations.cells[cell].load(Ordering::Acquire) != generation {
            shared.copies.forget(key);
        }
    }
    Some(result)
}

/// When a key expires that was asked for at this time. None if it is gone by now, or nobody says.
fn expiry(ttl: &Reply, asked_at: Instant) -> Option<Instant> {
    match ttl {
        Reply::Integer(-1) => Some(Instant::MAX),
        Reply::Integer(millis) => u64::try_from(*millis).ok().map(|millis| asked_at + Duration::from_millis(millis)),
        _ => None,
    }
}

/// What a node has told changes what may be served of its keys, and of those whose echoes it tells. Called under the lock
/// of what the policy knows.
pub(crate) fn show(shared: &Shared, cluster: &Cluster, node: NodeKey) {
    if shared.generations.is_none() {
        return;
    }
    let table = shared.table.load();
    for node in cluster.trusted_by(node).chain([node]) {
        if let Some(member) = table.member(node) {
            member.near.show(cluster.trust(node));
        }
    }
}

/// No copy of this node's keys may be served any more, whatever is known.
pub(crate) fn distrust(member: &Member) {
    member.near.show(None);
}

/// Something has happened to this key, or is about to: what is known of it is out of date.
pub(crate) fn changed(shared: &Shared, key: &[u8]) {
    if let Some(generations) = &shared.generations {
        generations.advance(key);
    }
    if let Some(absent) = &shared.absent {
        absent.forget(key);
    }
    shared.copies.forget(key);
}

/// The same of many.
pub(crate) fn all_changed<'a>(shared: &Shared, keys: impl IntoIterator<Item = &'a Bytes>) {
    keys.into_iter().for_each(|key| changed(shared, key));
}
