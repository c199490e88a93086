//! When a near copy serves a read: a plain look at what is known in that moment.
//!
//! What has to be heard meanwhile is told by [`Trust`], which says itself until when it counts.

use crate::cluster::Trust;
use crate::config::Config;
use crate::copies::Held;
use crate::route::{Route, Snapshot};
use crate::time::Instant;
use crate::words::Slot;
use core::time::Duration;

/// What makes a copy a near one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    /// The key's slot.
    pub slot: Slot,
    /// When the key's time to live has passed.
    pub expires_at: Instant,
    /// The key's generation when its node was asked: it advances with all that is known to have happened to the key.
    pub generation: u64,
}

/// What is known when a read asks for the key.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// When.
    pub now: Instant,
    /// What is known of the near copies of the node that was asked; none if none may be served.
    pub trust: Option<Trust>,
    /// The key's generation.
    pub generation: u64,
    /// The routes.
    pub snapshot: &'a Snapshot,
}

/// Whether a near copy serves; if so, how old it is at the most.
#[inline]
pub fn serves(config: &Config, held: &Held, near: &Near, known: &Known<'_>) -> Option<Duration> {
    let Known { now, trust: Some(trust), generation, snapshot } = *known else { return None };
    let heard = held.current_at >= trust.since && now < trust.until;
    if !heard || now >= near.expires_at || generation != near.generation {
        return None;
    }
    // Another owner does not tell us of changes, and one that may not be asked is not to be believed either.
    let Route::Primary { node, .. } = snapshot.route(near.slot) else { return None };
    if held.node != Some(node) {
        return None;
    }
    // The proof that counts until then was begun a window before.
    let known_at = trust.until - config.trust_window();
    Some(now.since(known_at.max(held.current_at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::StandIn;
    use crate::words::{NodeKey, Reason};
    use alloc::vec;

    const OWNER: NodeKey = NodeKey { index: 3, generation: 1 };

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// A copy, and what is known of it.
    struct Case {
        held: Held,
        near: Near,
        now: Instant,
        trust: Option<Trust>,
        generation: u64,
        route: Route,
    }

    impl Case {
        /// One that serves.
        fn new() -> Self {
            Self {
                held: Held { current_at: at(5_000), node: Some(OWNER) },
                near: Near { slot: Slot(0), expires_at: at(8_000), generation: 4 },
                now: at(7_000),
                trust: Some(Trust { line: 9, since: at(4_000), until: at(7_500) }),
                generation: 4,
                route: Route::Primary { node: OWNER, backed: true },
            }
        }

        fn age(&self) -> Option<Duration> {
            let slots = vec![0; usize::from(Slot::COUNT)].into();
            let snapshot = Snapshot { slots, routes: vec![self.route] };
            let Self { now, trust, generation, .. } = *self;
            let known = Known { now, trust, generation, snapshot: &snapshot };
            serves(&Config::default(), &self.held, &self.near, &known)
        }

        fn heard(self, since: u64, until: u64) -> Self {
            Self { trust: Some(Trust { line: 9, since: at(since), until: at(until) }), ..self }
        }
    }

    #[test]
    fn it_is_as_old_as_the_proof_that_counts_or_as_the_question_if_that_is_later() {
        assert_eq!(Case::new().age(), Some(Duration::from_millis(500)), "trust_window is 1 s");
        let fresh = Case { held: Held { current_at: at(6_800), node: Some(OWNER) }, ..Case::new() };
        assert_eq!(fresh.age(), Some(Duration::from_millis(200)));
    }

    #[test]
    fn its_node_has_to_be_heard_since_it_was_asked_and_up_to_now() {
        assert_eq!(Case { trust: None, ..Case::new() }.age(), None);
        assert!(Case::new().heard(5_000, 7_500).age().is_some());
        assert_eq!(Case::new().heard(5_001, 7_500).age(), None, "there was a gap after it was asked");
        assert!(Case::new().heard(4_000, 7_001).age().is_some());
        assert_eq!(Case::new().heard(4_000, 7_000).age(), None, "the last proof is too old");
    }

    #[test]
    fn nothing_happened_to_its_key_and_its_time_to_live_has_not_passed() {
        assert_eq!(Case { generation: 5, ..Case::new() }.age(), None);
        let expires = |millis| Case { near: Near { expires_at: at(millis), ..Case::new().near }, ..Case::new() };
        assert!(expires(7_001).age().is_some());
        assert_eq!(expires(7_000).age(), None);
    }

    #[test]
    fn its_node_owns_the_slot_still_and_may_be_asked() {
        let other = NodeKey { generation: 2, ..OWNER };
        let replica = StandIn { node: OWNER, current_at: Some(at(6_000)), until: at(9_000) };
        let reason = Reason::BreakerOpen;
        for route in [
            Route::Primary { node: other, backed: true },
            Route::Readmitting { node: OWNER, permille: 1_000, replica, reason },
            Route::Replica { replica, reason },
            Route::Secondary { reason },
            Route::Await { until: at(9_000) },
        ] {
            assert_eq!(Case { route, ..Case::new() }.age(), None, "{route:?}");
        }
        let of_no_primary = Case { held: Held { node: None, ..Case::new().held }, ..Case::new() };
        assert_eq!(of_no_primary.age(), None);
    }
}
