//! The calls of a run, and how their callbacks behave.

use crate::model::{KEYS, MS, Time};

/// How a callback ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Value,
    Absent,
    Fails,
    Never,
    /// Its event loop or thread goes away.
    Gone,
}

/// A callback: what it asks the router for first, how long it takes then, and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    pub(crate) end: End,
    pub(crate) takes: Time,
    /// It asks for the first of these, with a callback that asks for the second.
    pub(crate) asks: [Option<u8>; 2],
}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A read of one key or of several.
    Read {
        keys: [u8; 3],
        count: u8,
        callback: Option<Behaviour>,
    },
    Set {
        key: u8,
    },
    Invalidate {
        key: u8,
    },
    /// A writer holds the key, changes it in the store, which takes so long, and invalidates it, unless it is gone.
    Write {
        key: u8,
        takes: Time,
        dies: bool,
    },
    /// A client that is no router writes or deletes.
    Stranger {
        key: u8,
        delete: bool,
    },
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallPlan {
    pub(crate) at: Time,
    pub(crate) router: u8,
    pub(crate) what: What,
    /// The caller goes away, or gives the call a limit of its own.
    pub(crate) cancelled_after: Option<Time>,
    pub(crate) deadline: Option<Time>,
}

pub(super) fn draw(rng: &mut fastrand::Rng, routers: usize, heals: Time) -> Vec<CallPlan> {
    let mut calls = Vec::with_capacity(160);
    let mean = rng.u64(8..40) * MS;
    let mut at = 2 * MS;
    while at < heals {
        at += rng.u64(MS / 10..2 * mean);
        let router = rng.u8(0..routers as u8);
        let key = rng.u8(0..KEYS as u8);
        match rng.u8(0..10) {
            0 if rng.bool() => calls.push(plain(at, router, What::Set { key })),
            0 if rng.bool() => calls.push(plain(at, router, What::Invalidate { key })),
            0 => {
                let takes = rng.u64(0..400) * MS;
                calls.push(plain(at, router, What::Write { key, takes, dies: rng.bool() }));
            }
            1 | 2 => calls.push(plain(at, router, What::Stranger { key, delete: rng.u8(0..3) != 0 })),
            3 => {
                // A herd on one key.
                for _ in 0..rng.u8(3..8) {
                    let soon = at + rng.u64(0..3 * MS);
                    calls.push(read(rng, soon, router, key));
                }
            }
            _ => calls.push(read(rng, at, router, key)),
        }
    }
    calls.sort_by_key(|c| c.at);
    calls
}

fn plain(at: Time, router: u8, what: What) -> CallPlan {
    CallPlan { at, router, what, cancelled_after: None, deadline: None }
}

fn read(rng: &mut fastrand::Rng, at: Time, router: u8, key: u8) -> CallPlan {
    let any = |rng: &mut fastrand::Rng| rng.u8(0..KEYS as u8);
    let count = if rng.u8(0..6) == 0 { rng.u8(2..4) } else { 1 };
    let keys = [key, (key + 1 + rng.u8(0..4)) % KEYS as u8, (key + 5 + rng.u8(0..4)) % KEYS as u8];
    let callback = (count > 1 || rng.u8(0..6) != 0).then(|| behaviour(rng));
    let mut call = plain(at, router, What::Read { keys, count, callback });
    match rng.u8(0..16) {
        0 => call.cancelled_after = Some(rng.u64(0..120) * MS),
        1 => call.deadline = Some(rng.u64(1..400) * MS),
        _ => {}
    }
    // What a callback asks for is a key like any other; sometimes its own.
    if let What::Read { callback: Some(b), .. } = &mut call.what
        && rng.u8(0..12) == 0
    {
        let other = if rng.u8(0..3) == 0 { key } else { any(rng) };
        b.asks = [Some(other), (rng.bool()).then_some(if rng.bool() { key } else { any(rng) })];
    }
    call
}

fn behaviour(rng: &mut fastrand::Rng) -> Behaviour {
    let (end, takes) = match rng.u8(0..24) {
        0 => (End::Fails, rng.u64(0..40)),
        1 => (End::Never, 0),
        2 => (End::Absent, rng.u64(0..20)),
        3 => (End::Gone, rng.u64(0..20)),
        4 | 5 => (End::Value, rng.u64(50..900)),
        _ => (End::Value, rng.u64(0..20)),
    };
    Behaviour { end, takes: takes * MS + rng.u64(1..MS), asks: [None, None] }
}
