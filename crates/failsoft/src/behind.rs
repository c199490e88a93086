//! What is done behind a read that was served: its caller's callback is run for an early refresh, or to compare.
//!
//! The policy decides when ([`failsoft_policy::behind`]). The load is like any other: one for a key at a time, in line with
//! the others, and not while the store is spared. Nobody waits for it.

use crate::driver::Served;
use crate::loads;
use crate::reads::{self, Fallback, ReadOptions, Why};
use crate::shared::Shared;
use bytes::Bytes;
use failsoft_policy::behind::{Behind as What, refreshes, verified, verifies};
use failsoft_policy::copies::looks_at;
use failsoft_policy::load::Wanted;
use failsoft_policy::route::Source;
use failsoft_policy::{Instant, NodeKey};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// So many at a time: further ones are left out.
const MOST: usize = 64;

/// What is to be done.
pub(crate) struct Behind {
    what: What,
    key: Bytes,
    /// What was served.
    value: Bytes,
    /// By whom, if it is to be replaced there.
    node: Option<NodeKey>,
    place: Place,
}

impl Behind {
    /// None if too much is under way.
    fn new(shared: &Arc<Shared>, what: What, key: &[u8], value: &Bytes, node: Option<NodeKey>) -> Option<Self> {
        // A value may be a part of a larger buffer.
        let [key, value] = [key, &value[..]].map(Bytes::copy_from_slice);
        Place::take(shared).map(|place| Self { what, key, value, node, place })
    }
}

/// A node has served this value at once, asked for it at this time. `dice` is the read's: of most reads nothing follows.
#[inline]
pub(crate) fn of(
    shared: &Arc<Shared>,
    key: &[u8],
    served: &Served,
    (asked_at, dice): (Instant, u32),
) -> Option<Behind> {
    let looks = looks_at(dice);
    if (looks || shared.config().verify_sample() > 0.0) && served.source == Source::Primary && !served.coalesced {
        return seldom(shared, key, served, asked_at, looks);
    }
    None
}

/// Not part of the hot path.
#[inline(never)]
fn seldom(shared: &Arc<Shared>, key: &[u8], served: &Served, asked_at: Instant, looks: bool) -> Option<Behind> {
    let config = shared.config();
    if looks {
        shared.memory.looked(key, served.node, asked_at);
        shared.copies.consider(key, served, asked_at);
        if config.fill() && refreshes(config, shared.memory.known(key), asked_at, fastrand::u32(..)) {
            return Behind::new(shared, What::Refresh, key, &served.value, Some(served.node));
        }
    }
    let verifies = verifies(config, fastrand::u32(..));
    if verifies { Behind::new(shared, What::Verify, key, &served.value, None) } else { None }
}

/// A near copy has served this value: sometimes that is compared.
#[inline]
pub(crate) fn of_near(shared: &Arc<Shared>, key: &[u8], value: &Bytes) -> Option<Behind> {
    if verifies(shared.config(), fastrand::u32(..)) {
        return Behind::new(shared, What::Verify, key, value, None);
    }
    None
}

/// The same for a near copy that is about to be served where no callback can be run: true if it is to be compared, so that
/// the read goes the longer way, at the end of which [`of_passed_on`] is asked.
#[inline]
pub(crate) fn passes_on(shared: &Shared) -> bool {
    let passes = verifies(shared.config(), fastrand::u32(..));
    if passes {
        shared.passed_on.store(true, Relaxed);
    }
    passes
}

/// A near copy has served this value to a read that was passed on, or to another one at the same time.
#[inline]
pub(crate) fn of_passed_on(shared: &Arc<Shared>, key: &[u8], value: &Bytes) -> Option<Behind> {
    if shared.config().verify_sample() > 0.0 && shared.passed_on.swap(false, Relaxed) {
        return Behind::new(shared, What::Verify, key, value, None);
    }
    None
}

/// A place among those that are under way.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let place = Self(Arc::clone(shared));
        (shared.behind.fetch_add(1, Relaxed) < MOST).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.behind.fetch_sub(1, Relaxed);
    }
}

/// How many are under way.
pub(crate) type UnderWay = AtomicUsize;

/// Does it, with the callbacks of the read that was served.
pub(crate) fn start(shared: &Arc<Shared>, behind: Behind, fallback: Fallback) {
    let router = Arc::clone(shared);
    shared.spawn(async move { carry_out(&router, behind, fallback).await });
}

/// The same for who waits for it.
pub(crate) async fn carry_out(shared: &Arc<Shared>, behind: Behind, fallback: Fallback) {
    let Behind { what, key, value, node, place } = behind;
    let over = (what == What::Refresh).then(|| value.clone());
    let wanted = vec![Wanted { key: key.clone(), confirmed: node, lease_by: None, over, since: shared.now() }];
    let call = fallback(Why::behind(what));
    // The time from when nothing of an earlier load is an answer.
    let Ok(got) = loads::load(shared, wanted, shared.now(), None, call).await else { return };
    let Some(Ok(loaded)) = got.into_iter().next().map(|got| got.result) else { return };
    if what == What::Refresh {
        return;
    }
    if loaded.as_ref() == Some(&value) {
        shared.tally.verified(verified(true, false));
        return;
    }
    // Who waits, waits for the callback, not for this.
    let router = Arc::clone(shared);
    shared.spawn(async move {
        // A writer who is about to invalidate what it has committed is given as long as a listener.
        tokio::time::sleep(router.config().trust_window()).await;
        let read = reads::read_with(&router, &key, ReadOptions::default(), None).await;
        // Without an answer nothing is known.
        if let Ok(read) = read.uncounted() {
            router.tally.verified(verified(false, read.as_ref() == Some(&value)));
        }
        drop(place);
    });
}
