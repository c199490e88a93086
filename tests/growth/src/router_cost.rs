//! What a large cluster costs one router: memory for what it knows, and time.

use crate::fleet::settled;
use failsoft_policy::route::{Bounds, first_step};
use failsoft_policy::{Instant, Slot};
use std::hint::black_box;
use std::time::{Duration, Instant as Clock};

/// Reads whose first step is timed.
const READS: u32 = 4_000_000;
/// Times the routes are worked out anew.
const SNAPSHOTS: u32 = 50;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct RouterCost {
    /// Bytes held by what is known of the cluster and the routes.
    pub bytes: usize,
    /// The first step of one read: slot, route, node.
    pub step: Duration,
    /// Working out all routes, after a change.
    pub routes: Duration,
}

/// What a settled router of so many primaries, each with one replica, holds and spends. `held` tells the bytes that
/// are allocated now.
pub fn router_cost(primaries: usize, held: impl Fn() -> usize) -> RouterCost {
    let before = held();
    let mut cluster = settled(primaries);
    let snapshot = cluster.snapshot();
    let bytes = held().saturating_sub(before);
    let now = Instant::from_millis(1_000_000);
    let bounds = Bounds {
        attempt_timeout: Duration::from_millis(250),
        deadline: now + Duration::from_secs(1),
        ends_call: false,
        staleness: None,
    };
    let began = Clock::now();
    for n in 0..READS {
        // A stride that visits all slots, each far from the one before.
        let slot = Slot::new((n.wrapping_mul(7_919) % u32::from(Slot::COUNT)) as u16).expect("below the count");
        black_box(first_step(&snapshot, black_box(slot), now, bounds, n));
    }
    let step = began.elapsed() / READS;
    let began = Clock::now();
    for _ in 0..SNAPSHOTS {
        black_box(cluster.snapshot());
    }
    RouterCost { bytes, step, routes: began.elapsed() / SNAPSHOTS }
}
