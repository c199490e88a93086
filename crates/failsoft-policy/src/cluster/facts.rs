//! The facts that a driver reports, and what each of them changes.

use super::routes::CONTACT;
use super::timers::Timer;
use super::{Cluster, PROBE_BURST, PROBE_SPREAD};
use crate::denied;
use crate::nodes::{Node, Trouble};
use crate::refresh::Scope;
use crate::reply::{ErrorReply, Target};
use crate::text::Which;
use crate::time::Instant;
use crate::topology::{Applied, Kind};
use crate::view::{Role, View};
use crate::words::{Endpoint, NodeKey, Reason, Slot};
use core::time::Duration;

impl Cluster {
    /// What was sent to this node at `sent_at` failed because of `reason`; its last answer was to what was sent at
    /// `contact`. The node gets no more reads until a probe clears it, and unless it merely is not ready yet, views of
    /// other nodes are asked for. A failure that is reported late, when more is known of the node, changes nothing.
    pub fn handle_failure(
        &mut self,
        node: NodeKey,
        reason: Reason,
        sent_at: Instant,
        contact: Option<Instant>,
        now: Instant,
    ) {
        let Some(node) = self.nodes.get_mut(node) else { return };
        let lost = matches!(reason, Reason::Timeout | Reason::Connection);
        let outlived = node.has_outlived(sent_at, lost);
        node.note_contact(contact);
        if outlived {
            return;
        }
        let sudden = lost && node.contact().is_some_and(|at| now.since(at) < CONTACT);
        let opened = node.fail(Trouble { since: now, reason, sudden });
        self.dirty |= opened;
        let key = node.key();
        if opened && matches!(reason, Reason::Timeout | Reason::Connection | Reason::Protocol) {
            self.closing.push(key);
        }
        if opened {
            // Its replicas may have come further since they were last looked at.
            self.look_at_replicas(key, now, |n| n.report().offset.is_some());
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
    /// more, and the other one is asked for nothing. Ours is in trouble until it is found somewhere, and views of many
    /// nodes are asked for to find it.
    pub fn handle_stranger(&mut self, node: NodeKey, now: Instant) {
        let opens = self.admits(node);
        self.handle_failure(node, Reason::Connection, now, None, now);
        self.refresh.want(Scope::Broad, opens);
        if let Some(node) = self.nodes.get_mut(node) {
            node.lose_address(now);
        }
    }

    /// A node answered in a way that the map does not explain: views of other nodes are asked for.
    pub fn handle_doubt(&mut self) {
        self.refresh.want(Scope::Suspicion, false);
    }

    /// A node that was taken for a primary refused a write as a replica: it needs a new proof.
    pub fn handle_disproof(&mut self, node: NodeKey, now: Instant) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.prove(false);
            node.probe_by(now);
        }
        self.refresh.want(Scope::Suspicion, true);
    }

    /// A node has given a lease, or has refused it, or a fill, for want of rights. Then it is not asked for any for a
    /// while: rights may be given.
    pub(crate) fn handle_lease(&mut self, node: NodeKey, given: bool, now: Instant) {
        let until = (!given).then(|| now + denied::pause(self.interval));
        if let Some(node) = self.nodes.get_mut(node) {
            node.deny_leases(until);
        }
    }

    /// A node has refused to wait for its replicas, and is not asked again for a while.
    pub(crate) fn handle_no_wait(&mut self, node: NodeKey, now: Instant) {
        let until = now + denied::pause(self.interval);
        if let Some(node) = self.nodes.get_mut(node) {
            node.deny_waits(until);
        }
    }

    /// A node has refused an entry of the log, and is sent none for a while.
    pub(crate) fn handle_no_log(&mut self, node: NodeKey, now: Instant) {
        let until = now + denied::pause(self.interval);
        if let Some(node) = self.nodes.get_mut(node) {
            node.deny_log(until);
        }
    }

    /// A node does not know a script. Whether another call has sent it the text on this connection; otherwise this one
    /// does.
    pub(crate) fn handle_no_script(&mut self, node: NodeKey, which: Which, line: u64) -> bool {
        self.nodes.get_mut(node).is_some_and(|node| node.texts().replace(which, line))
    }

    /// A node answered something that was sent to it at this time.
    pub fn handle_contact(&mut self, node: NodeKey, at: Instant) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.note_contact(Some(at));
        }
    }

    /// This many reads were answered since the last call.
    pub fn handle_successes(&mut self, successes: u64) {
        self.budget.deposit(successes);
    }

    /// A `MOVED`: patches the slot and asks for a full view in the background. The new owner; none
    /// if the redirect does not say where it is (then the views will), or names too many strangers.
    pub fn handle_moved(&mut self, slot: Slot, target: &Target, from: NodeKey, now: Instant) -> Option<NodeKey> {
        self.refresh.want(Scope::Suspicion, false);
        let endpoint = self.resolve(target, from)?;
        let before = self.topology.owner(slot);
        let owner = self.topology.patch(&mut self.nodes, slot, &endpoint, now);
        if self.topology.owner(slot) != before {
            self.map_changed(now);
            self.compare_reigns(now);
        }
        owner
    }

    /// An `ASK`: the node to ask this one time. The map stays as it is.
    pub fn handle_ask(&mut self, target: &Target, from: NodeKey, now: Instant) -> Option<NodeKey> {
        let endpoint = self.resolve(target, from)?;
        let known = self.nodes.len();
        let node = self.topology.node_at(&mut self.nodes, &endpoint, now);
        self.dirty |= self.nodes.len() != known;
        node
    }

    /// A view was given. Its round may be over: what it says counts all the same.
    pub fn handle_view(&mut self, round: u64, view: View, now: Instant) {
        let scope = self.refresh.scope_of(round);
        let known = self.topology.kind() != Kind::Unknown;
        let ours = self.topology.is_ours(&self.nodes, &view);
        if ours == Some(false) || (ours == Some(true) && !known) {
            self.refresh.on_view(round, false);
            if known && scope != Some(Scope::Broad) {
                self.refresh.want(Scope::Broad, true);
            } else if scope.is_some() {
                self.hear_foreign(view, now);
            }
            return;
        }
        self.refresh.on_view(round, true);
        if ours == Some(true) {
            self.census.counted_ours(&view.via);
        }
        self.take_in(&view, scope.is_some_and(|s| s > Scope::Routine), now);
        self.cast(round, &view, now);
    }

    /// A node that was asked for its view gave none: it refused with `error`, or could not be reached.
    /// As long as no view has come at all, this is why reads can't be routed.
    pub fn handle_no_view(&mut self, error: Option<&ErrorReply>) {
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
    pub fn handle_refresh_done(&mut self, round: u64, now: Instant) {
        self.count_votes(round, now);
        if let Some(scope) = self.refresh.scope_of(round) {
            self.count_seeds(round, scope, self.refresh.has_ours(round), now);
        }
        if self.refresh.finish(round, self.next_wish(), self.unsettled).is_none() {
            return;
        }
        // The first round is over: reads no longer wait for it.
        self.dirty |= self.timers.stop(Timer::Starting);
    }

    /// `epochs`: the view was asked for with epochs, so it has them if its node has any.
    pub(super) fn take_in(&mut self, view: &View, epochs: bool, now: Instant) -> Applied {
        let applied = self.topology.take_in(&mut self.nodes, view, epochs);
        match applied {
            Applied::Changed => self.map_changed(now),
            Applied::Doubt => {
                self.map_changed(now);
                self.refresh.want(Scope::Suspicion, true);
            }
            Applied::Foreign => self.refresh.want(Scope::Broad, true),
            Applied::Nothing => {}
        }
        self.compare_reigns(now);
        applied
    }

    /// Owners, nodes or roles changed: new routes, and new or promoted nodes are probed soon.
    fn map_changed(&mut self, now: Instant) {
        (self.dirty, self.map_changed_at) = (true, now);
        self.slots = None;
        self.timers.stop(Timer::Starting);
        let many = self.nodes.len() as u32 > PROBE_BURST;
        let unproved = |n: &Node| match n.role() {
            Role::Primary => !n.is_proved(),
            Role::Replica(_) => n.report().primary,
        };
        self.nodes.change(
            |n| n.latency().is_none() || unproved(n),
            |node| {
                let spread = if many { PROBE_SPREAD * node.key().index } else { Duration::ZERO };
                node.probe_by(now + spread);
            },
        );
    }

    fn resolve(&self, target: &Target, from: NodeKey) -> Option<Endpoint> {
        match target {
            Target::At(endpoint) => Some(endpoint.clone()),
            Target::SameHost(port) => {
                self.nodes.get(from).map(|n| Endpoint { host: n.endpoint().host.clone(), port: *port })
            }
            Target::Unknown => None,
        }
    }
}
