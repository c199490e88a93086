//! One node: who it is, where it is, and what the views say of it.
//!
//! What it says of itself is in `node/reports.rs`; how it stands with us, and when it is probed, in `node/standing.rs`.

mod reports;
mod standing;

use super::schedule::Schedule;
use super::standing::Standing;
use super::step::{Offsets, Step};
use crate::partition::Verdict;
use crate::text::Sent;
use crate::time::Instant;
use crate::view::{NodeReport, Role};
use crate::words::{Endpoint, NodeKey};
use alloc::borrow::ToOwned;
use alloc::string::String;
use core::time::Duration;

/// One known node. Each kind of fact changes it by one method, and what follows from that is in one place.
#[derive(Clone, Debug)]
pub struct Node {
    key: NodeKey,
    id: Option<String>,
    endpoint: Endpoint,
    role: Role<NodeKey>,
    epoch: u64,
    seen_at: Instant,
    failed: bool,
    verdict: Verdict,
    vouched_at: Option<Instant>,
    current_epoch: Option<u64>,
    heard: bool,
    seems_well: bool,
    contact: Option<Instant>,
    report: NodeReport,
    looked_at: Option<Instant>,
    reported_at: Instant,
    latency: Option<Duration>,
    standing: Standing,
    /// When it was last let in again after trouble.
    readmitted_at: Option<Instant>,
    schedule: Schedule,
    /// Whether it has said itself, at this address, that it is this node.
    identified: bool,
    /// Whether it ever said so anywhere: some servers have no command for it.
    names_itself: bool,
    proved: bool,
    /// For a replica: how far it had come when it was last compared with its primary.
    step: Step,
    /// For a replica: when it was last asked and said that its link to its primary was up.
    linked_at: Option<Instant>,
    /// A primary's offsets.
    offsets: Offsets,
    /// It has refused a lease, or a fill, for want of rights, and is not asked for one until then.
    leases_denied: Option<Instant>,
    /// It has refused a `WAIT`, and is not asked for one until then.
    waits_denied: Option<Instant>,
    /// When it was last seen to have evicted keys.
    evicting_at: Option<Instant>,
    /// It has refused an entry of the log, and is sent none until then.
    log_denied: Option<Instant>,
    texts: Sent,
}

impl Node {
    pub(super) fn new(key: NodeKey, id: Option<String>, endpoint: Endpoint, role: Role<NodeKey>, now: Instant) -> Self {
        Self {
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
            contact: None,
            report: NodeReport::default(),
            looked_at: None,
            reported_at: now,
            latency: None,
            standing: Standing::default(),
            readmitted_at: None,
            schedule: Schedule::new(now),
            identified: false,
            names_itself: false,
            proved: false,
            step: Step::default(),
            linked_at: None,
            offsets: Offsets::default(),
            leases_denied: None,
            waits_denied: None,
            evicting_at: None,
            log_denied: None,
            texts: Sent::default(),
        }
    }

    /// It is not asked for leases until then, or it has given one.
    pub(crate) fn deny_leases(&mut self, until: Option<Instant>) {
        self.leases_denied = until;
    }

    /// Until when it is not asked for leases, if it has refused one and given none since.
    pub(crate) fn leases_denied(&self) -> Option<Instant> {
        self.leases_denied
    }

    /// It is not asked to wait for its replicas until then.
    pub(crate) fn deny_waits(&mut self, until: Instant) {
        self.waits_denied = Some(until);
    }

    /// Until when it is not asked for that, if it has refused it.
    pub(crate) fn waits_denied(&self) -> Option<Instant> {
        self.waits_denied
    }

    /// It is sent no entries of the log until then.
    pub(crate) fn deny_log(&mut self, until: Instant) {
        self.log_denied = Some(until);
    }

    /// Until when it is sent none, if it has refused one.
    pub(crate) fn log_denied(&self) -> Option<Instant> {
        self.log_denied
    }

    /// On which connections it was sent the texts of scripts.
    pub(crate) fn texts(&mut self) -> &mut Sent {
        &mut self.texts
    }

    /// Its name in the policy.
    pub fn key(&self) -> NodeKey {
        self.key
    }

    /// Its node id; none for a server without cluster mode, or known from a redirect alone.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its role by the newest view.
    pub fn role(&self) -> Role<NodeKey> {
        self.role
    }

    /// The highest config epoch known of it; 0 if none is.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When the newest view that names it was asked for.
    pub fn seen_at(&self) -> Instant {
        self.seen_at
    }

    /// Whether the cluster counts it as failed.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// A view that was asked for at `asked_at` names it, with what is known by that of its config epoch; true if the
    /// cluster counts it as failed now and did not before, or the other way round.
    pub fn see(&mut self, id: &str, epoch: u64, failed: bool, asked_at: Instant) -> bool {
        self.id.get_or_insert_with(|| id.to_owned());
        self.epoch = epoch;
        self.seen_at = self.seen_at.max(asked_at);
        core::mem::replace(&mut self.failed, failed) != failed
    }

    /// It says itself that it has this config epoch.
    pub fn raise_epoch(&mut self, epoch: u64) {
        self.epoch = self.epoch.max(epoch);
    }

    /// On which side of a partition it is.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// It is on this side; true if that is news.
    pub fn set_verdict(&mut self, verdict: Verdict) -> bool {
        core::mem::replace(&mut self.verdict, verdict) != verdict
    }

    /// When the ballots were asked for that last put it with the majority.
    pub fn vouched_at(&self) -> Option<Instant> {
        self.vouched_at
    }

    /// Ballots that were asked for at this time put it with the majority.
    pub fn vouch(&mut self, at: Instant) {
        self.vouched_at = Some(at);
    }

    /// Whether it holds its address: it has named itself there, and gets reads.
    pub fn is_at_home(&self) -> bool {
        self.identified && self.admits()
    }

    /// It has named itself at its address.
    pub fn identify(&mut self) {
        (self.identified, self.names_itself) = (true, true);
    }

    /// Another one answers at its address.
    pub fn lose_address(&mut self, now: Instant) {
        (self.identified, self.proved) = (false, false);
        self.standing.note_ready(false, now);
    }

    /// It listens elsewhere: who answers there has to say that it is this node.
    pub fn move_to(&mut self, endpoint: Endpoint) {
        self.endpoint = endpoint;
        self.identified = false;
        self.schedule.mislead();
    }

    /// Whether its own word and a view agree that it is the primary it is taken for.
    pub fn is_proved(&self) -> bool {
        self.proved
    }

    /// Its own word and a view agree on that, or not.
    pub fn prove(&mut self, proved: bool) {
        self.proved = proved;
    }

    /// It has another role: what was measured was about another history.
    pub fn turn_into(&mut self, role: Role<NodeKey>) {
        self.role = role;
        self.proved = false;
        (self.step, self.linked_at) = (Step::default(), None);
        // As a replica it takes no `WAIT` either, which is no matter of rights.
        self.waits_denied = None;
        self.log_denied = None;
        self.offsets.clear();
    }
}
