//! The faults of a run.

use crate::model::{BLOCKS, KEYS, MS, Setup, Time};

/// What an address does wrong on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misbehaviour {
    TryAgain,
    OutOfMemory,
    Garbage,
    TooManyClients,
    Denied,
    /// `MOVED` for everything, to where nobody is.
    Lies,
}

/// Questions that the user of the routers has no right to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Denied {
    /// `CLUSTER NODES`.
    pub(crate) nodes: bool,
    /// `INFO`.
    pub(crate) info: bool,
    /// `CLUSTER INFO`.
    pub(crate) cluster_info: bool,
    /// `CLUSTER SHARDS` and `CLUSTER SLOTS`.
    pub(crate) shards: bool,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The owner of a block dies, or whoever lives at an address.
    CrashOwner(u8),
    Crash(u8),
    HangOwner(u8),
    Hang(u8),
    /// All nodes at once.
    CrashAll,
    HangAll,
    /// These addresses and routers are on one side; what goes out, and what comes in, is lost.
    Cut {
        side: u32,
        routers: u8,
        outward: bool,
        inward: bool,
    },
    CutRouter {
        router: u8,
        from: u32,
        out: bool,
        back: bool,
    },
    SlowRouter {
        router: u8,
        by: Time,
    },
    SlowNode {
        address: u8,
        by: Time,
    },
    Loss {
        router: u8,
        permille: u16,
    },
    Suspend {
        router: u8,
    },
    SlowStore {
        by: Time,
    },
    /// A block moves to another primary; `early` tells its old owner first that it is done.
    Migrate {
        block: u8,
        to: u8,
        early: bool,
    },
    Failover(u8),
    TakeOver(u8),
    /// Another node, empty and with another id, at the same address.
    Replace(u8),
    AnotherCluster,
    OtherType(u8),
    /// A router's process gets little of the processor: it runs and stops in turns.
    Throttle {
        router: u8,
        run: Time,
        stop: Time,
    },
    /// A cluster that is not ours lives at this address for a while; with `alone` nobody else is there.
    Stranger {
        address: u8,
        alone: bool,
    },
    /// A node goes on at another address, with its id and its data.
    Move(u8),
    /// Two nodes change places.
    Swap(u8, u8),
    /// A replica is lost for good, and nobody forgets it.
    Lost(u8),
    /// Another primary joins and takes a block; in the end it gives it back, leaves and is forgotten.
    ScaleOut(u8),
    /// The link of a replica to its primary is down.
    NoLink(u8),
    /// The servers close connections that nothing is asked on.
    IdleClose,
    /// The routers may not ask these questions any more.
    Deny(Denied),
    Misbehave {
        address: u8,
        what: Misbehaviour,
    },
}

/// A fault and its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultPlan {
    pub(crate) at: Time,
    pub(crate) until: Time,
    pub(crate) fault: Fault,
}

pub(super) fn draw(
    rng: &mut fastrand::Rng,
    (primaries, replicas): (usize, usize),
    routers: usize,
    heals: Time,
    setup: &Setup,
) -> Vec<FaultPlan> {
    let addresses = primaries * (1 + replicas);
    let count = match rng.u8(0..10) {
        0..=3 => 1,
        4..=6 => 2,
        7..=8 => 3,
        _ => rng.usize(4..7),
    };
    let mut faults = Vec::with_capacity(count);
    let mut another = false;
    for _ in 0..count {
        let address = rng.u8(0..addresses as u8);
        let block = rng.u8(0..BLOCKS as u8);
        let router = rng.u8(0..routers as u8);
        let side = rng.u32(1..1 << addresses);
        let fault = match rng.u8(0..60) {
            0..=3 => Fault::CrashOwner(block),
            4 => Fault::Crash(address),
            5..=8 => Fault::HangOwner(block),
            9 => Fault::Hang(address),
            10 => Fault::CrashAll,
            11 => Fault::HangAll,
            12..=18 => {
                // Mostly a clean cut with one or two primaries inside, sometimes one way only.
                let side = match rng.u8(0..3) {
                    0 => side,
                    1 => 1 << rng.usize(0..primaries),
                    _ => (1 << rng.usize(0..primaries)) | (1 << address),
                };
                let way = rng.u8(0..8);
                Fault::Cut { side, routers: rng.u8(0..8), outward: way != 0, inward: way != 1 }
            }
            19 | 20 => {
                let way = rng.u8(0..4);
                Fault::CutRouter { router, from: side, out: way != 0, back: way != 1 }
            }
            21 => Fault::SlowRouter { router, by: rng.u64(2..300) * MS },
            22 | 23 => Fault::SlowNode { address, by: rng.u64(2..400) * MS },
            24 | 25 => Fault::Loss { router, permille: rng.u16(10..400) },
            26 | 27 => Fault::Suspend { router },
            28 => Fault::SlowStore { by: rng.u64(20..1_500) * MS },
            29..=32 => Fault::Migrate { block, to: rng.u8(0..primaries as u8), early: rng.u8(0..3) == 0 },
            33 => Fault::Failover(address),
            34 => Fault::TakeOver(address),
            35 => Fault::Replace(address),
            36 if !another => {
                another = true;
                Fault::AnotherCluster
            }
            37 => Fault::OtherType(rng.u8(0..KEYS as u8)),
            38 | 39 => Fault::IdleClose,
            40..=42 => Fault::Throttle { router, run: rng.u64(1..60) * MS, stop: rng.u64(30..450) * MS },
            43..=45 => Fault::Stranger { address, alone: rng.u8(0..3) == 0 },
            46 | 47 => Fault::Move(address),
            48 | 49 => Fault::Swap(address, rng.u8(0..addresses as u8)),
            50 | 51 => Fault::Lost(address),
            52 | 53 => Fault::ScaleOut(block),
            54 | 55 => Fault::NoLink(address),
            56..=58 => {
                let mut any = || rng.u8(0..3) == 0;
                Fault::Deny(Denied { nodes: any(), info: any(), cluster_info: any(), shards: any() })
            }
            _ => {
                let all = [
                    Misbehaviour::TryAgain,
                    Misbehaviour::OutOfMemory,
                    Misbehaviour::Garbage,
                    Misbehaviour::TooManyClients,
                    Misbehaviour::Denied,
                    Misbehaviour::Lies,
                ];
                Fault::Misbehave { address, what: all[rng.usize(0..all.len())] }
            }
        };
        let at = match fault {
            // Some links are down since the start.
            Fault::NoLink(_) if rng.bool() => 0,
            _ => rng.u64(50 * MS..heals * 2 / 3),
        };
        let lasts = match fault {
            Fault::Migrate { .. } => rng.u64(20..600) * MS,
            Fault::Misbehave { .. } | Fault::Suspend { .. } => rng.u64(20..800) * MS,
            // Long enough for a failover, or too short for one.
            _ if rng.u8(0..3) == 0 => rng.u64(20..400) * MS,
            _ => setup.node_timeout + rng.u64(200..2_500) * MS,
        };
        faults.push(FaultPlan { at, until: (at + lasts).min(heals), fault });
    }
    faults.sort_by_key(|f| f.at);
    faults
}
