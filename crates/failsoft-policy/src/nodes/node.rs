//! One node: who it is, how it stands with us, and what is known of its state.

use super::step::{Offsets, Step};
use crate::breaker::{Admission, Breaker};
use crate::pace;
use crate::partition::Verdict;
use crate::time::Instant;
use crate::view::{NodeReport, Role};
use crate::words::{Endpoint, NodeKey, Reason};
use alloc::string::String;
use core::time::Duration;

/// A node that does not prove itself to a write that waits for it is not asked again sooner than this.
const PROOF_PAUSE: Duration = Duration::from_millis(50);

/// Why a node gets no reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: Instant,
    /// The first cause.
    pub reason: Reason,
    /// Whether it had answered shortly before.
    pub sudden: bool,
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
    /// Whether it has said itself, at this address, that it is this node.
    pub identified: bool,
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
    /// When what it last answered had been sent to it.
    pub contact: Option<Instant>,
    /// Its last report.
    pub report: NodeReport,
    /// When that was asked for.
    pub looked_at: Option<Instant>,
    /// When that came.
    pub reported_at: Instant,
    /// Whether its own word and a view agree that it is the primary it is taken for.
    pub validated: bool,
    /// Whether a probe is under way.
    pub probing: bool,
    /// When the last one was sent.
    pub probed_at: Option<Instant>,
    /// When the next routine probe is due.
    pub probe_at: Instant,
    /// Whether a write waits for it to prove itself.
    pub wanted: bool,
    /// While its breaker lets no reads through: since when it has been ready to serve, by its own word.
    pub ready_at: Option<Instant>,
    /// From when on the next probe may be sent, if it is one that other routers want to send, too.
    pub held_until: Option<Instant>,
    /// Round-trip time of the last probe.
    pub latency: Option<Duration>,
    /// For a replica: how far it had come when it was last compared with its primary.
    pub step: Step,
    /// A primary's offsets.
    pub offsets: Offsets,
}

impl Node {
    pub(super) fn new(key: NodeKey, id: Option<String>, endpoint: Endpoint, role: Role<NodeKey>, now: Instant) -> Self {
        Self {
            key,
            id,
            endpoint,
            identified: false,
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
            looked_at: None,
            reported_at: now,
            validated: false,
            probing: false,
            probed_at: None,
            probe_at: now,
            wanted: false,
            ready_at: None,
            held_until: None,
            latency: None,
            step: Step::default(),
            offsets: Offsets::default(),
        }
    }

    /// Whether its breaker lets reads through at all.
    pub fn admits(&self) -> bool {
        self.breaker.admission() != Admission::Closed
    }

    /// Whether it holds its address: it has named itself there, and is in no trouble.
    pub fn is_at_home(&self) -> bool {
        self.identified && self.admits()
    }

    /// When it is to be probed next: routinely, or by its breaker while that lets no reads through.
    pub fn probe_due(&self) -> Option<Instant> {
        let due = match (self.probing, self.admits()) {
            (true, _) => None,
            (false, true) => Some(self.probe_at),
            (false, false) => self.breaker.next_timeout(),
        };
        due.map(|at| at.max(self.held_until.unwrap_or(Instant::ZERO)))
    }

    /// When it has to be looked at next: for a probe, or for the next step of its readmission.
    pub fn due(&self) -> Option<Instant> {
        let step = self.breaker.next_timeout().filter(|_| self.admits());
        [self.probe_due(), step].into_iter().flatten().min()
    }

    /// A write waits for it to prove itself: it is probed now, but not again and again.
    pub fn want_proof(&mut self, turn: Duration, now: Instant) {
        if self.probing {
            return;
        }
        let soonest = self.probed_at.map_or(now, |at| (at + turn.max(PROOF_PAUSE)).max(now));
        if soonest < self.probe_at {
            (self.probe_at, self.wanted) = (soonest, true);
            self.held_until = self.held_until.map(|at| at.min(soonest));
        }
    }

    /// Whether a probe that is due has to wait for its turn first: once, for a part of `turn`. What somebody waits
    /// for takes a short one: whether a node that was just well has really failed, and the proof that a write needs.
    pub fn hold_back(&mut self, turn: Duration, now: Instant, dice: u32) -> bool {
        let first = self.trouble.is_some_and(|t| t.sudden) && self.breaker.failures() == 1;
        let turn = if self.wanted || first { turn.min(pace::SHORT_TURN) } else { turn };
        let part = turn / 1000 * (dice % 1000);
        if part.is_zero() || self.held_until.is_some() {
            return false;
        }
        self.held_until = Some(now + part);
        true
    }

    /// A probe is sent; the next one is due after `pause`.
    pub fn probed(&mut self, now: Instant, pause: Duration) {
        self.breaker.take_probe(now);
        self.probing = true;
        (self.held_until, self.wanted) = (None, false);
        (self.probed_at, self.probe_at) = (Some(now), now + pause);
    }

    /// Whether its own word fits what the views say of it: its role, and as a primary its epoch, where the views
    /// have any.
    pub fn agrees(&self) -> bool {
        let primary = self.role == Role::Primary;
        let fits = |epoch| epoch == self.epoch || self.epoch == 0;
        self.report.primary == primary && (!primary || self.report.my_epoch.is_none_or(fits))
    }

    /// It has another role: what was measured was about another history.
    pub fn turn_into(&mut self, role: Role<NodeKey>) {
        self.role = role;
        self.validated = false;
        self.step = Step::default();
        self.offsets.clear();
    }

    /// It listens elsewhere: who answers there has to say that it is this node.
    pub fn move_to(&mut self, endpoint: Endpoint) {
        self.endpoint = endpoint;
        self.identified = false;
    }
}
