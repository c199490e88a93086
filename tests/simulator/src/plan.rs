//! What a seed stands for: the cluster, the routers with their settings, the faults, and the calls.
//!
//! A plan is plain data, so that a failing one can be shrunk by leaving out faults and calls.

mod calls;
mod faults;
mod settings;

pub(crate) use calls::{Behaviour, CallPlan, End, What};
pub(crate) use faults::{Denied, Fault, FaultPlan, Misbehaviour};

use crate::model::{MS, Setup, Time};
use failsoft_policy::config::Config;
use std::collections::BTreeSet;

/// So long after it begins a router knows its cluster, if nothing is wrong.
const KNOWN: Time = 300 * MS;

/// A router of the plan.
#[derive(Clone, Debug)]
pub(crate) struct RouterPlan {
    pub(crate) config: Config,
    pub(crate) begins: Time,
    /// The addresses that it was given.
    pub(crate) seeds: Vec<usize>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) setup: Setup,
    pub(crate) primaries: usize,
    pub(crate) replicas: usize,
    /// Whether the keys are there at the beginning.
    pub(crate) warm: bool,
    pub(crate) routers: Vec<RouterPlan>,
    pub(crate) faults: Vec<FaultPlan>,
    pub(crate) calls: Vec<CallPlan>,
    /// When all faults are over.
    pub(crate) heals: Time,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EED);
        let (primaries, replicas) = match rng.u8(0..24) {
            0 => (3, 0),
            1..=9 => (3, 1),
            10..=12 => (3, 2),
            13..=15 => (4, 1),
            16 => (5, 0),
            17 => (1, 0),
            18 => (1, 1),
            19 => (2, 0),
            20 => (2, 1),
            _ => (5, 1),
        };
        let setup = settings::servers(&mut rng);
        let count = if rng.u8(0..3) == 0 { 3 } else { 2 };
        let heals = rng.u64(1_200..3_600) * MS;
        let addresses = primaries * (1 + replicas);
        let mut routers: Vec<RouterPlan> = (0..count).map(|_| settings::router(&mut rng, addresses)).collect();
        let faults = faults::draw(&mut rng, (primaries, replicas), count, heals, &setup);
        // A router that begins when all its seeds are gone for good cannot find the cluster: one of them stays.
        let lost = |at: &usize| faults.iter().any(|f| matches!(f.fault, Fault::Lost(a) if usize::from(a) == *at));
        for router in routers.iter_mut().filter(|r| r.seeds.iter().all(lost)) {
            router.seeds.extend((0..addresses).find(|at| !lost(at)));
        }
        let calls = calls::draw(&mut rng, count, heals);
        let warm = rng.u8(0..4) != 0;
        let mut plan = Self { seed, setup, primaries, replicas, warm, routers, faults, calls, heals };
        if rng.u8(0..16) == 0 {
            plan.begin_with_a_stranger(&mut rng);
        }
        plan
    }

    /// A cluster that is not ours lives at one address when the routers begin. Each of them can tell: two more of its
    /// seeds are ours, and nothing else is wrong until all have begun.
    fn begin_with_a_stranger(&mut self, rng: &mut fastrand::Rng) {
        let addresses = self.addresses();
        if addresses < 3 {
            return;
        }
        for router in &mut self.routers {
            let seeds: BTreeSet<usize> = router.seeds.iter().copied().collect();
            let others = (0..addresses).filter(|at| !seeds.contains(at));
            router.seeds.extend(others.take(3_usize.saturating_sub(seeds.len())));
        }
        let known = self.routers.iter().map(|r| r.begins).max().unwrap_or(0) + KNOWN;
        for fault in &mut self.faults {
            fault.at = fault.at.max(known);
            fault.until = fault.until.max(known);
        }
        let address = self.routers[0].seeds[rng.usize(0..self.routers[0].seeds.len())] as u8;
        let until = rng.u64(known..known + self.heals);
        self.heals = self.heals.max(until);
        self.faults.push(FaultPlan { at: 0, until, fault: Fault::Stranger { address, alone: false } });
        self.faults.sort_by_key(|f| f.at);
    }

    pub(crate) fn addresses(&self) -> usize {
        self.primaries * (1 + self.replicas)
    }
}
