//! What must hold of invalidations that others make: what a router heard of it does not give an older value of, and a
//! replica that stands in for longer than `staleness_budget` lacks nothing that was completed before.

use super::Check;
use crate::model::{BLOCKS, KEYS, MS, Model, Time, address, number_of, slot_number};
use crate::router::{Call, Router, slot_of};
use crate::sim::{Rung, instant};
use failsoft_policy::hearing::Listening;
use failsoft_policy::{NodeKey, Slot};
use std::collections::BTreeMap;

/// An attempt to invalidate a key.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    router: usize,
    key: u8,
    floor: u32,
    /// The true owner of the key that has deleted it, and whether that of the echo's slot has told it.
    deleted_by: Option<usize>,
    echoed: bool,
}

/// Invalidations as they are, whatever anybody knows of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Bells {
    /// Attempts, by their numbers.
    attempts: BTreeMap<u32, Attempt>,
    /// Of each key those that were complete: by whom, what the store had, and since when.
    completed: [Vec<(usize, u32, Time)>; KEYS],
}

impl Bells {
    /// A `set` has brought an older value.
    pub(super) fn overruled(&mut self, key: u8, value: u32) {
        self.completed[usize::from(key)].retain(|&(_, floor, _)| floor <= value);
        let older = self.attempts.values_mut().filter(|attempt| attempt.key == key && attempt.floor > value);
        older.for_each(|attempt| attempt.deleted_by = None);
    }
}

impl Check {
    /// An attempt begins.
    pub(crate) fn sets_out(&mut self, number: u32, router: usize, key: u8, floor: u32) {
        self.bells.attempts.insert(number, Attempt { router, key, floor, deleted_by: None, echoed: false });
    }

    /// A node has rung a bell. What one does that only believes to be the owner is lost.
    pub(crate) fn rung(&mut self, bell: Rung, n: usize, model: &Model) {
        let Some(attempt) = self.bells.attempts.get_mut(&bell.number) else { return };
        if model.true_owner(usize::from(bell.at) % BLOCKS) == Some(n) {
            let own = bell.at == bell.key;
            attempt.deleted_by = attempt.deleted_by.or(own.then_some(n));
            attempt.echoed |= !own;
        }
    }

    /// Both steps of an attempt were acknowledged.
    pub(crate) fn completed(&mut self, number: u32, now: Time) {
        let Some(&Attempt { router, key, floor, deleted_by, echoed }) = self.bells.attempts.get(&number) else {
            return;
        };
        if deleted_by.is_some() && echoed {
            self.bells.completed[usize::from(key)].push((router, floor, now));
        }
    }

    /// A router was told a bell of another one by who owns the key, as far as it knows: from now on it gives nothing
    /// older of the key, whoever owns that later.
    pub(crate) fn told(&mut self, r: usize, bell: Rung, router: &Router, now: Time) {
        let Some(&Attempt { router: by, key, floor, deleted_by, .. }) = self.bells.attempts.get(&bell.number) else {
            return;
        };
        let owner = router.cluster.reign(slot_of(key)).and_then(|(owner, _)| router.cluster.id(owner)).map(number_of);
        if by != r && deleted_by.is_some() && owner == deleted_by {
            let known = &mut self.routers[r].told[usize::from(key)];
            if known.is_none_or(|(least, _)| least <= floor) {
                *known = Some((floor, now));
            }
        }
    }

    /// A replica has given this value, which was the key's until `last`: others had not completed an invalidation of it
    /// that the router must have heard of by now, or the replica is inside the budget for what may have been missed.
    pub(super) fn lacks_nothing(&mut self, r: usize, call: &Call, value: u32, last: Time) {
        let stale = self.routers[r].stale;
        if call.counts_from.is_none_or(|from| call.sent < from.as_nanos() + stale) {
            return;
        }
        let missed = self.missed(r, (call.key, value), last, call.begun);
        self.that(missed.is_none(), || {
            let (by, floor, at) = missed.unwrap_or_default();
            format!(
                "router {r}: a replica gives {value} of key {} for {} ms, which router {by} invalidated at {} ms, when it \
                 was {floor}; the read set out at {} ms",
                call.key,
                (call.sent - call.counts_from.map_or(0, failsoft_policy::Instant::as_nanos)) / MS,
                at / MS,
                call.begun / MS
            )
        });
    }

    /// The invalidation of another router that was complete `trust_window` before `began`, and that this value lacks, which
    /// was the key's until `last`: by whom, what the store had, and since when.
    pub(super) fn missed(
        &self,
        r: usize,
        (key, value): (u8, u32),
        last: Time,
        began: Time,
    ) -> Option<(usize, u32, Time)> {
        let trust = self.routers[r].trust;
        let missed = |&&(by, floor, at): &&(usize, u32, Time)| {
            // What came back since then was lost with the node that had it.
            by != r && value < floor && at + trust < began && last <= at
        };
        self.bells.completed[usize::from(key)].iter().find(missed).copied()
    }

    /// All is well, and all keys are being read: every owner of slots is heard. One that gave slots away while it was cut
    /// off, and keeps the higher epoch, is taken for their owner until a redirect tells of each that is read; it answers
    /// for none of the others.
    pub(crate) fn hears_all(&mut self, r: usize, router: &Router, model: &Model, now: Time) {
        let report = router.cluster.report(instant(now));
        let gave_away = |node: NodeKey, at: usize| {
            let claims = (0..BLOCKS).filter(|&block| {
                let middle = slot_number(block as u8);
                [middle - slot_number(0), middle]
                    .into_iter()
                    .filter_map(Slot::new)
                    .any(|slot| router.cluster.owns(node, slot))
            });
            let owner = |block| model.true_owner(block).map(|n| model.nodes[n].address);
            claims.into_iter().any(|block| owner(block) != Some(at) || self.contradicted >> block & 1 == 1)
        };
        // Who has only just been read from again is asked twice before it counts.
        let heard = &self.routers[r];
        let just = |node: NodeKey| now < heard.used_since(node) + heard.trust;
        let deaf = report.nodes.iter().find(|n| {
            let excused = just(n.key) || gave_away(n.key, address(&n.endpoint));
            n.listening.is_some_and(|l| l != Listening::Heard) && !excused
        });
        self.that(deaf.is_none(), || {
            let deaf = deaf.map(|n| (&n.endpoint, n.listening));
            format!("router {r}: all is whole, but it does not hear {deaf:?}")
        });
    }
}
