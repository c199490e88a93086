//! The table of known nodes: who they are, and what is known of their state.

use crate::breaker::{Admission, Breaker};
use crate::partition::Verdict;
use crate::time::Instant;
use crate::view::{NodeReport, Role};
use crate::words::{Endpoint, NodeKey, Reason};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// The most nodes a router keeps in mind; redirects to further addresses are not followed.
pub const MAX_NODES: usize = 8192;
/// How many samples of a primary's offset are kept to date its replicas by.
const SAMPLES: usize = 8;

/// Why a node gets no reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: Instant,
    /// The first cause.
    pub reason: Reason,
}

/// One known node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name in the policy.
    pub key: NodeKey,
    /// Its node id; none for a server without cluster mode, or known from a redirect alone.
    pub id: Option<String>,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Its role by the newest view.
    pub role: Role<NodeKey>,
    /// The highest config epoch known of it.
    pub epoch: u64,
    /// When the newest view that names it was asked for.
    pub seen_at: Instant,
    /// Whether the cluster counts it as failed.
    pub failed: bool,
    /// On which side of a partition it is.
    pub verdict: Verdict,
    /// When the ballots were asked for that last put it with the majority.
    pub vouched_at: Option<Instant>,
    /// The highest epoch that it was last heard to have seen (`cluster_current_epoch`).
    pub current_epoch: Option<u64>,
    /// Whether its last probe was answered.
    pub heard: bool,
    /// Whether all seemed well with it in its last probe: it was ready, reached everybody, and agreed
    /// with the views.
    pub seems_well: bool,
    /// Its breaker.
    pub breaker: Breaker,
    /// Why it gets no reads, while its breaker is open.
    pub trouble: Option<Trouble>,
    /// When it last answered anything.
    pub contact: Option<Instant>,
    /// Its last report.
    pub report: NodeReport,
    /// When that came.
    pub reported_at: Instant,
    /// Whether its own word and a view agree that it is the primary it is taken for.
    pub validated: bool,
    /// Whether a probe is under way.
    pub probing: bool,
    /// When the next routine probe is due.
    pub probe_at: Instant,
    /// Round-trip time of the last probe.
    pub latency: Option<Duration>,
    /// For a replica that was behind its primary when both were last compared: the moment up to which
    /// it held all that the primary had.
    pub behind_since: Option<Instant>,
    /// A primary's offsets, newest last.
    samples: Vec<(Instant, u64)>,
}

impl Node {
    /// Whether its breaker lets reads through at all.
    pub fn admits(&self) -> bool {
        self.breaker.admission() != Admission::Closed
    }

    /// When it is to be probed next: routinely, or by its breaker while that lets no reads through.
    pub fn probe_due(&self) -> Option<Instant> {
        match (self.probing, self.admits()) {
            (true, _) => None,
            (false, true) => Some(self.probe_at),
            (false, false) => self.breaker.next_timeout(),
        }
    }

    /// Whether its own word fits what the views say of it: its role, and as a primary its epoch.
    pub fn agrees(&self) -> bool {
        let primary = self.role == Role::Primary;
        self.report.primary == primary && (!primary || self.report.my_epoch.is_none_or(|e| e == self.epoch))
    }

    /// A primary's offset, read at `at`.
    pub fn sample_offset(&mut self, at: Instant, offset: u64) {
        if self.samples.len() == SAMPLES {
            self.samples.remove(0);
        }
        self.samples.push((at, offset));
    }

    /// Since when a replica at `offset` is behind: the newest sample it covers, or none if that is the
    /// newest one. None if there is nothing to compare.
    pub fn behind_since(&self, offset: u64) -> Option<Option<Instant>> {
        let newest = self.samples.last()?;
        let covered = self.samples.iter().rev().find(|&&(_, o)| o <= offset).or(self.samples.first())?;
        Some((covered != newest || newest.1 > offset).then_some(covered.0))
    }

    /// Forgets the offsets: they are of another history.
    pub fn forget_offsets(&mut self) {
        self.samples.clear();
    }
}

/// See the module. Positions are reused with a higher generation.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    places: Vec<(u32, Option<Node>)>,
    free: Vec<u32>,
}

impl Nodes {
    /// The node of this name, if it is still known.
    pub fn get(&self, key: NodeKey) -> Option<&Node> {
        let (generation, node) = self.places.get(key.index as usize)?;
        node.as_ref().filter(|_| *generation == key.generation)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: NodeKey) -> Option<&mut Node> {
        let (generation, node) = self.places.get_mut(key.index as usize)?;
        node.as_mut().filter(|_| *generation == key.generation)
    }

    /// All nodes, by position.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.places.iter().filter_map(|(_, n)| n.as_ref())
    }

    /// All nodes, by position, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.places.iter_mut().filter_map(|(_, n)| n.as_mut())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The node at this endpoint: one that a view named before one from a redirect, the newest first.
    pub fn at(&self, endpoint: &Endpoint) -> Option<NodeKey> {
        let here = self.iter().filter(|n| n.endpoint == *endpoint);
        here.max_by_key(|n| (n.id.is_some(), n.seen_at)).map(|n| n.key)
    }

    /// Adds a node; none if there is no room.
    pub fn insert(
        &mut self,
        id: Option<String>,
        endpoint: Endpoint,
        role: Role<NodeKey>,
        now: Instant,
    ) -> Option<NodeKey> {
        if self.len() >= MAX_NODES {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        let key = NodeKey { index, generation: place.0 };
        place.1 = Some(Node {
            key,
            id,
            endpoint,
            role,
            epoch: 0,
            seen_at: now,
            failed: false,
            verdict: Verdict::Majority,
            vouched_at: None,
            current_epoch: None,
            heard: false,
            seems_well: false,
            breaker: Breaker::default(),
            trouble: None,
            contact: None,
            report: NodeReport::default(),
            reported_at: now,
            validated: false,
            probing: false,
            probe_at: now,
            latency: None,
            behind_since: None,
            samples: Vec::new(),
        });
        Some(key)
    }

    /// Forgets a node; its name will not be used again.
    pub fn remove(&mut self, key: NodeKey) {
        if self.get(key).is_some() {
            let place = &mut self.places[key.index as usize];
            place.0 = place.0.wrapping_add(1);
            place.1 = None;
            self.free.push(key.index);
        }
    }

    /// Forgets all nodes.
    pub fn clear(&mut self) {
        let keys: Vec<_> = self.iter().map(|n| n.key).collect();
        for key in keys {
            self.remove(key);
        }
    }
}
