//! The facts that a driver reports, and what each of them changes.

use super::{Cluster, PROBE_BURST, PROBE_SPREAD};
use crate::breaker::Admission;
use crate::nodes::{Node, Trouble};
use crate::partition::Verdict;
use crate::refresh::{RoundEnd, Scope};
use crate::reply::{ErrorReply, Target};
use crate::time::Instant;
use crate::topology::{Applied, Kind};
use crate::view::{NodeReport, Probe, Role, View};
use crate::words::{Endpoint, NodeKey, Reason, Slot};
use core::time::Duration;

impl Cluster {
    /// A read on this node failed because of `reason`; its last answer came at `contact`. The node
    /// gets no more reads until a probe clears it, and unless it merely is not ready yet, views of
    /// other nodes are asked for.
    pub fn failed(&mut self, node: NodeKey, reason: Reason, contact: Option<Instant>, now: Instant) {
        let Some(node) = self.nodes.get_mut(node) else { return };
        node.contact = node.contact.max(contact);
        let before = node.breaker.admission();
        node.breaker.on_failure(now);
        node.trouble.get_or_insert(Trouble { since: now, reason });
        let opened = before != node.breaker.admission();
        self.dirty |= opened;
        let key = node.key;
        if opened && matches!(reason, Reason::Timeout | Reason::Connection | Reason::Protocol) {
            self.closing.push(key);
        }
        if opened {
            // A replica that was behind when it was last compared is as old as that: look again.
            for replica in self.nodes.iter_mut().filter(|n| n.role == Role::Replica(Some(key))) {
                if replica.behind_since.is_some() {
                    replica.probe_at = replica.probe_at.min(now);
                }
            }
        }
        if opened && reason != Reason::Loading {
            // A node that sees no working cluster may be on the wrong side of a cut.
            let scope = if reason == Reason::ClusterDown { Scope::Ballot } else { Scope::Suspicion };
            self.refresh.want(scope, true);
        }
        if opened {
            self.look_around(now);
        }
    }

    /// A connection found another node at this one's address than the one that was meant: ours is not there any
    /// more, and who is there is asked for nothing. It is in trouble until it is found somewhere, and nodes far
    /// and wide are asked what became of it.
    pub fn handle_stranger(&mut self, node: NodeKey, now: Instant) {
        let opens = self.admits(node);
        self.failed(node, Reason::Connection, None, now);
        self.refresh.want(Scope::Broad, opens);
        if let Some(node) = self.nodes.get_mut(node) {
            node.validated = false;
            node.ready_at = None;
        }
    }

    /// A node answered in a way that the map does not explain: views of other nodes are asked for.
    pub fn doubt(&mut self) {
        self.refresh.want(Scope::Suspicion, false);
    }

    /// A node that was taken for a primary refused a write as a replica: it needs a new proof.
    pub fn disproved(&mut self, node: NodeKey, now: Instant) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.validated = false;
            node.probe_at = node.probe_at.min(now);
        }
        self.refresh.want(Scope::Suspicion, true);
    }

    /// A node answered something at this time.
    pub fn saw(&mut self, node: NodeKey, at: Instant) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.contact = node.contact.max(Some(at));
        }
    }

    /// This many reads were answered since the last call.
    pub fn credit(&mut self, successes: u64) {
        self.budget.deposit(successes);
    }

    /// A `MOVED`: patches the slot and asks for a full view in the background. The new owner; none
    /// if the redirect does not say where it is (then the views will), or names too many strangers.
    pub fn moved(&mut self, slot: Slot, target: &Target, from: NodeKey, now: Instant) -> Option<NodeKey> {
        self.refresh.want(Scope::Suspicion, false);
        let endpoint = self.resolve(target, from)?;
        let before = self.topology.owner(slot);
        let owner = self.topology.patch(&mut self.nodes, slot, &endpoint, now);
        if self.topology.owner(slot) != before {
            self.map_changed(now);
        }
        owner
    }

    /// An `ASK`: the node to ask this one time. The map stays as it is.
    pub fn asked(&mut self, target: &Target, from: NodeKey, now: Instant) -> Option<NodeKey> {
        let endpoint = self.resolve(target, from)?;
        let known = self.nodes.len();
        let node = self.topology.node_at(&mut self.nodes, &endpoint, now);
        self.dirty |= self.nodes.len() != known;
        node
    }

    /// A view was given. Its round may be over: what it says counts all the same.
    pub fn on_view(&mut self, round: u64, view: View, now: Instant) {
        let applied = self.take_in(&view, now);
        if applied != Applied::Foreign {
            self.cast(round, &view, now);
        }
        let counted = self.refresh.on_view(round, applied == Applied::Foreign);
        if counted && applied == Applied::Foreign && self.foreign.is_none() {
            self.foreign = Some(view);
        }
    }

    /// A node that was asked for its view gave none: it refused with `error`, or could not be reached.
    /// As long as no view has come at all, this is why reads can't be routed.
    pub fn on_no_view(&mut self, error: Option<&ErrorReply>) {
        let reason = match error {
            Some(ErrorReply::Unwilling) => Reason::Loading,
            Some(ErrorReply::ClusterDown) => Reason::ClusterDown,
            Some(_) => Reason::ErrorReply,
            None => Reason::Connection,
        };
        self.dirty |= self.no_view != reason && self.topology.kind() == Kind::Unknown;
        self.no_view = reason;
    }

    /// All who were asked in this round have answered or were given up.
    pub fn on_refresh_done(&mut self, round: u64, now: Instant) {
        self.count_votes(round, now);
        let Some(end) = self.refresh.finish(round, self.next_scope(), self.unsettled) else { return };
        let foreign = self.foreign.take();
        if let (RoundEnd::AnotherCluster, Some(view)) = (end, foreign) {
            self.topology.start_anew(&mut self.nodes, &view);
            (self.partition, self.down, self.isolated) = Default::default();
            self.highest = (0, now);
            self.map_changed(now);
        }
        // The first round is over: reads no longer wait for it.
        if self.starting_until.take().is_some() {
            self.dirty = true;
        }
    }

    /// A probe ended.
    pub fn on_probe(&mut self, probe: Probe, now: Instant) {
        let Some(node) = self.nodes.get_mut(probe.node) else { return };
        node.probing = false;
        node.heard = probe.report.is_ok();
        if !node.heard {
            node.ready_at = None;
        }
        node.seems_well &= node.heard;
        let report = match probe.report {
            Ok(report) => report,
            // It answered a read that was sent, or at least answered, after the probe: whatever became of the
            // probe's connection, the node is there.
            Err(Reason::Timeout | Reason::Connection) if node.contact > Some(probe.sent_at) && node.admits() => return,
            Err(reason) if node.admits() => return self.failed(probe.node, reason, None, now),
            Err(_) => return node.breaker.on_probe(false, now),
        };
        node.contact = node.contact.max(Some(now));
        // Its replicas that stand in are as young as this.
        self.dirty |= node.trouble.is_some();
        node.latency = Some(now.since(probe.sent_at));
        if node.id.is_some() && report.id.is_some() && node.id != report.id {
            // Another node lives at this address: ours is gone, perhaps the whole cluster is.
            self.handle_stranger(probe.node, now);
            if let Some(node) = self.nodes.get_mut(probe.node) {
                node.breaker.on_probe(false, now);
            }
            return;
        }
        self.take_report(probe.node, report, probe.sent_at, now);
        let own = probe.witness.is_some();
        if let Some(view) = probe.witness {
            self.hear_witness(view, now);
        }
        let alone = self.topology.kind() == Kind::Standalone || self.nodes.len() == 1;
        let witnessed = self.is_vouched_for(probe.node, own) || (alone && !own);
        self.judge(probe.node, witnessed, now);
        if let Some(node) = self.nodes.get_mut(probe.node) {
            let ready = !node.admits() && node.report.unready().is_none();
            node.ready_at = if ready { node.ready_at.or(Some(now)) } else { None };
        }
    }

    /// Takes over what a node said of itself; replicas are dated by their primary's offsets.
    fn take_report(&mut self, key: NodeKey, report: NodeReport, sent_at: Instant, now: Instant) {
        let Some(node) = self.nodes.get_mut(key) else { return };
        let offset = report.offset;
        let primary = report.primary;
        // That it misses somebody is the earliest sign of a cut.
        if node.report.sees_all() && !report.sees_all() {
            self.refresh.want(Scope::Ballot, false);
        }
        // Who takes itself for a primary does not stand in.
        self.dirty |= node.report.primary != report.primary;
        let epoch = report.current_epoch;
        node.report = report;
        node.reported_at = now;
        if let Some(offset) = offset.filter(|_| primary) {
            // The offset was read after the probe was sent; how long its answer took says nothing of it.
            node.sample_offset(sent_at, offset);
        }
        let role = node.role.clone();
        self.clients = self.nodes.iter().filter_map(|n| n.report.clients).max().unwrap_or(0);
        self.heard_epoch(key, epoch, now);
        let Role::Replica(Some(of)) = role else { return };
        let before = self.nodes.get(key).and_then(|n| n.behind_since);
        let behind = offset.and_then(|o| self.nodes.get(of)?.behind_since(o, before));
        let standing_in = self.nodes.get(of).is_some_and(|p| p.trouble.is_some());
        if let Some(node) = self.nodes.get_mut(key) {
            node.behind_since = behind.unwrap_or(node.behind_since);
        }
        // Its rank, and how old its answers are, stand in the snapshot.
        self.dirty |= standing_in;
    }

    /// Decides what a node that answered may do: a node in trouble returns when it is ready, and its
    /// role and epoch agree with what another node was heard to say after it had answered.
    fn judge(&mut self, key: NodeKey, witnessed: bool, now: Instant) {
        let Some(node) = self.nodes.get_mut(key) else { return };
        let agrees = node.agrees();
        let free = node.verdict != Verdict::Minority;
        node.validated = agrees && node.role == Role::Primary && free;
        let unready = node.report.unready();
        let seems_well = unready.is_none() && agrees && node.report.sees_all();
        let recovered = seems_well && !node.seems_well;
        node.seems_well = seems_well;
        if seems_well && !free {
            // Only a fresh ballot can set it free.
            self.refresh.want(Scope::Ballot, recovered);
        }
        let Some(node) = self.nodes.get_mut(key) else { return };
        match unready {
            _ if !node.admits() => {
                node.breaker.on_probe(unready.is_none() && witnessed && agrees && free, now);
                if node.admits() {
                    self.dirty = true;
                    self.partition.forgive(key);
                    self.look_around(now);
                }
            }
            Some(reason) => return self.failed(key, reason, Some(now), now),
            None if self.partition.accused(key) => self.conclude(now),
            None => {}
        }
        if !agrees {
            let urgent = self.nodes.get(key).is_some_and(|n| n.breaker.admission() != Admission::Closed);
            self.refresh.want(Scope::Suspicion, urgent);
        }
    }

    pub(super) fn take_in(&mut self, view: &View, now: Instant) -> Applied {
        let applied = self.topology.apply(&mut self.nodes, view);
        match applied {
            Applied::Changed => self.map_changed(now),
            Applied::Doubt => {
                self.map_changed(now);
                self.refresh.want(Scope::Suspicion, true);
            }
            Applied::Foreign => self.refresh.want(Scope::Broad, true),
            Applied::Nothing => {}
        }
        applied
    }

    /// Owners, nodes or roles changed: new routes, and new or promoted nodes are probed soon.
    fn map_changed(&mut self, now: Instant) {
        self.dirty = true;
        self.slots = None;
        self.starting_until = None;
        let many = self.nodes.len() as u32 > PROBE_BURST;
        let unproved = |n: &Node| match n.role {
            Role::Primary => !n.validated,
            Role::Replica(_) => n.report.primary,
        };
        for node in self.nodes.iter_mut().filter(|n| n.latency.is_none() || unproved(n)) {
            let spread = if many { PROBE_SPREAD * node.key.index } else { Duration::ZERO };
            node.probe_at = node.probe_at.min(now + spread).max(now);
        }
    }

    fn resolve(&self, target: &Target, from: NodeKey) -> Option<Endpoint> {
        match target {
            Target::At(endpoint) => Some(endpoint.clone()),
            Target::SameHost(port) => {
                self.nodes.get(from).map(|n| Endpoint { host: n.endpoint.host.clone(), port: *port })
            }
            Target::Unknown => None,
        }
    }
}
