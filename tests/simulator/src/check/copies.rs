//! What must hold of copies that stand in: they are inside their budgets, and lack nothing that the router was told of, nor,
//! beyond `staleness_budget`, what was complete before.

use super::Check;
use crate::model::{MS, Time};
use failsoft_policy::copies::Held;

impl Check {
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
}
