//! The network: which packets are lost, and how long the others take.

use crate::model::{ADDRESSES, MS, Time};
use std::collections::BTreeMap;

/// The most routers of a run.
pub(crate) const ROUTERS: usize = 3;

/// A set of addresses.
type Addresses = u32;

/// See the module. All links are coarse: cut or not, and a range of delays.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    /// Whom each address can't send to.
    nodes: [Addresses; ADDRESSES],
    /// Whom each router can't send to, and whose answers it can't get.
    out: [Addresses; ROUTERS],
    back: [Addresses; ROUTERS],
    /// How much longer each router's packets, and each node's answers, take at the most.
    pub(crate) router_delay: [Time; ROUTERS],
    pub(crate) node_delay: [Time; ADDRESSES],
    /// How many of a thousand packets of each router are lost.
    pub(crate) loss: [u16; ROUTERS],
}

/// When the last packet of each connection arrives, in both directions: none overtakes another one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// By router and connection.
    last: BTreeMap<(usize, u32), [Time; 2]>,
}

impl Order {
    /// A packet that would arrive at `at` by itself arrives then, or right after the one before it.
    pub(crate) fn next(&mut self, router: usize, connection: u32, back: bool, at: Time) -> Time {
        let last = &mut self.last.entry((router, connection)).or_default()[usize::from(back)];
        *last = at.max(*last + 1);
        *last
    }

    /// Whether a connection has brought an answer, and nothing is on its way on it.
    pub(crate) fn has_served(&self, router: usize, connection: u32, now: Time) -> bool {
        let rests = |[there, back]: &[Time; 2]| *there <= now && *back > 0 && *back <= now;
        self.last.get(&(router, connection)).is_some_and(rests)
    }

    /// Whether all that was sent on a connection has arrived.
    pub(crate) fn is_quiet(&self, router: usize, connection: u32, now: Time) -> bool {
        self.last.get(&(router, connection)).is_none_or(|[there, _]| *there <= now)
    }
}

impl Default for Net {
    fn default() -> Self {
        Self {
            nodes: [0; ADDRESSES],
            out: [0; ROUTERS],
            back: [0; ROUTERS],
            router_delay: [0; ROUTERS],
            node_delay: [0; ADDRESSES],
            loss: [0; ROUTERS],
        }
    }
}

impl Net {
    pub(crate) fn node_to_node(&self, from: usize, to: usize) -> bool {
        self.nodes[from] & (1 << to) == 0
    }

    pub(crate) fn router_to_node(&self, router: usize, to: usize) -> bool {
        self.out[router] & (1 << to) == 0
    }

    pub(crate) fn node_to_router(&self, from: usize, router: usize) -> bool {
        self.back[router] & (1 << from) == 0
    }

    /// Cuts the addresses of `side` off from the others, in both directions or in one. Routers of
    /// `routers` are on that side, the others on the other one.
    pub(crate) fn cut(&mut self, side: Addresses, routers: u8, outward: bool, inward: bool) {
        for from in 0..ADDRESSES {
            for to in 0..ADDRESSES {
                let (inside, target) = (side & (1 << from) != 0, side & (1 << to) != 0);
                if (outward && inside && !target) || (inward && !inside && target) {
                    self.nodes[from] |= 1 << to;
                }
            }
        }
        for router in 0..ROUTERS {
            let inside = routers & (1 << router) != 0;
            let across = if inside { !side } else { side };
            if (inside && outward) || (!inside && inward) {
                self.out[router] |= across;
            }
            if (inside && inward) || (!inside && outward) {
                self.back[router] |= across;
            }
        }
    }

    /// Cuts one router off from these addresses.
    pub(crate) fn cut_router(&mut self, router: usize, from: Addresses, out: bool, back: bool) {
        if out {
            self.out[router] |= from;
        }
        if back {
            self.back[router] |= from;
        }
    }

    /// All links work again.
    pub(crate) fn heal(&mut self) {
        *self = Self::default();
    }

    /// How long a packet between a router and a node takes; none if it is lost.
    pub(crate) fn travel(&self, rng: &mut fastrand::Rng, router: usize, address: usize) -> Option<Time> {
        if self.loss[router] > 0 && rng.u16(0..1000) < self.loss[router] {
            return None;
        }
        let extra = self.router_delay[router] + self.node_delay[address];
        let base = MS / 20 + rng.u64(0..MS / 2);
        Some(if extra > 0 { base + rng.u64(0..extra) } else { base })
    }
}
