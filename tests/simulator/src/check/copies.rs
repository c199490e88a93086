//! What must hold of copies that stand in: they are inside their budgets, and lack nothing that the router was told of, nor,
//! beyond `staleness_budget`, what was complete before.

use super::Check;
use crate::model::{MS, Model, Time};
use failsoft_policy::copies::Held;

impl Check {
    /// A near copy is what a caller gets who sets out now: nothing that was complete `trust_window` before is missing, and
    /// where owners keep what they acknowledged, nobody else changed the key before that either.
    pub(crate) fn near(&mut self, r: usize, (key, value): (u8, u32), held: Held, model: &mut Model, now: Time) {
        self.reads += 1;
        self.fresh(r, (key, value), now, now);
        let at = held.current_at.as_nanos();
        let missed = self.missed(r, (key, value), at, now);
        self.that(missed.is_none(), || {
            let (by, floor, since) = missed.unwrap_or_default();
            format!(
                "router {r}: {value} of key {key} is near, which router {by} invalidated at {} ms, when it was {floor}",
                since / MS
            )
        });
        let plain = !self.cuts && model.promotions == 0 && !self.rewritten && !self.replaced && !self.moves;
        let last = model.last_had(usize::from(key), value, now);
        let trust = self.routers[r].trust;
        let current = last.is_some_and(|last| last + trust >= now);
        self.that(!plain || self.another_cluster || current, || {
            let last = last.map(|last| last / MS);
            format!("router {r}: {value} of key {key} is near, which it has not been since {last:?} ms")
        });
    }

    /// A copy is what a caller gets who set out at `began`.
    pub(crate) fn copied(&mut self, r: usize, (key, value): (u8, u32), held: Held, began: Time, now: Time) {
        self.fresh(r, (key, value), began, now);
        let at = held.current_at.as_nanos();
        let heard = &self.routers[r];
        let (stale, outage) = (heard.stale, heard.outage);
        self.that(now < at + stale.max(outage), || {
            format!(
                "router {r}: a copy of key {key} is {} ms old, with a budget of {} ms",
                (now - at) / MS,
                outage / MS
            )
        });
        let missed = if now < at + stale { None } else { self.missed(r, (key, value), at, began) };
        self.that(missed.is_none(), || {
            let (by, floor, since) = missed.unwrap_or_default();
            let (age, since) = ((now - at) / MS, since / MS);
            format!(
                "router {r}: a copy {value} of key {key} is {age} ms old, which router {by} invalidated at {since} ms, \
                 when it was {floor}"
            )
        });
    }

    /// A caller who joined a load at that time gets its value; its callback began at `at`. Where an invalidation may have
    /// been missed, that was no longer before than a copy may be old, or than anybody may be deaf.
    pub(crate) fn joined(&mut self, r: usize, (key, value): (u8, u32), at: Time, joined: Time) {
        let heard = &self.routers[r];
        let bound = heard.stale.max(heard.trust);
        let missed = if value == 0 || joined < at + bound { None } else { self.missed(r, (key, value), at, joined) };
        self.that(missed.is_none(), || {
            let (by, floor, since) = missed.unwrap_or_default();
            format!(
                "router {r}: who joins a load {} ms after it began gets {value} of key {key}, which router {by} \
                 invalidated at {} ms, when it was {floor}",
                (joined - at) / MS,
                since / MS
            )
        });
    }
}
