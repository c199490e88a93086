//! What the end of a probe changes: what is known of its node, how old replicas are, and who may return.

use super::Cluster;
use crate::nodes::{Mark, Node, Nodes, Step};
use crate::partition::Verdict;
use crate::rank::{self, Dated};
use crate::refresh::Scope;
use crate::time::Instant;
use crate::topology::Kind;
use crate::view::{NodeReport, Probe, Role};
use crate::words::{NodeKey, Reason};
use alloc::vec::Vec;

impl Cluster {
    /// A probe ended.
    pub fn handle_probe(&mut self, probe: Probe, now: Instant) {
        let Some(node) = self.nodes.get_mut(probe.node) else { return };
        if !node.end_probe() {
            node.clear(false, now);
            return node.probe_by(now);
        }
        let answered = probe.report.is_ok();
        let there = node.note_probed(answered, probe.sent_at, now);
        let report = match probe.report {
            Ok(report) => report,
            // Whatever became of the probe's connection, the node is there.
            Err(Reason::Timeout | Reason::Connection) if there => return,
            Err(reason) if node.admits() => return self.handle_failure(probe.node, reason, probe.sent_at, None, now),
            Err(_) => return node.clear(false, now),
        };
        let troubled = node.is_in_trouble();
        if node.is_not(&report) {
            // Another node lives at this address: ours is gone, perhaps the whole cluster is.
            self.handle_stranger(probe.node, now);
            if let Some(node) = self.nodes.get_mut(probe.node) {
                node.clear(false, now);
            }
            return;
        }
        node.note_contact(Some(probe.sent_at));
        if report.id.is_some() && node.id() == report.id.as_deref() {
            node.identify();
            self.census.heard_ours();
        }
        if troubled {
            // Its replicas that stand in are as young as this.
            self.rejuvenate(now);
        }
        self.take_report(probe.node, report, probe.sent_at, now);
        let own = probe.witness.is_some();
        if let Some(view) = probe.witness {
            self.hear_witness(view, now);
        }
        let alone = self.topology.kind() == Kind::Standalone || self.nodes.len() == 1;
        let witnessed =
            self.is_vouched_for(probe.node, own) || (alone && !own) || self.is_its_own_witness(probe.node, now);
        self.judge(probe.node, witnessed, now);
        if let Some(node) = self.nodes.get_mut(probe.node) {
            node.note_ready(node.report().unready().is_none(), now);
        }
    }

    /// Takes over what a node said of itself; replicas are dated by their primary's offsets.
    fn take_report(&mut self, key: NodeKey, report: NodeReport, sent_at: Instant, now: Instant) {
        let Some(before) = self.nodes.get(key).map(|n| Before::of(&self.nodes, n)) else { return };
        let Some(node) = self.nodes.get_mut(key) else { return };
        let (primary, has_offset) = (report.primary, report.offset.is_some());
        // That it misses somebody is the earliest sign of a cut.
        if node.report().sees_all() && !report.sees_all() {
            self.refresh.want(Scope::Ballot, false);
        }
        // Who takes itself for a primary does not stand in.
        self.dirty |= node.report().primary != report.primary;
        // Until then it was not known what a server without cluster mode is.
        self.dirty |= node.looked_at().is_none() && self.topology.kind() == Kind::Standalone;
        let epoch = report.current_epoch;
        let clients = (node.report().clients, report.clients);
        let role = node.role();
        // Where no view tells epochs, the node's own word is all there is.
        if self.topology.is_blind() {
            node.raise_epoch(report.my_epoch.unwrap_or(0));
        }
        node.take_report(report, sent_at, now);
        // The offset was read after the probe was sent; how long its answer took says nothing of it.
        if node.mark().is_some_and(|mark| primary && node.sample_offset(sent_at, mark)) {
            self.compare_all(key);
        }
        if self.topology.is_blind() {
            self.compare_reigns(now);
        }
        self.count_clients(clients.0, clients.1);
        self.heard_epoch(key, epoch, now);
        match role {
            Role::Primary if has_offset => {
                let half = self.interval / 2;
                let due = |n: &Node| {
                    let old = n.looked_at().is_some_and(|at| now.since(at) > half);
                    old || (n.step() == Step::Unmeasured && n.report().offset.is_some())
                };
                self.look_at_replicas(key, now, due);
            }
            Role::Replica(Some(of)) => self.compare(key, of, &before, now),
            Role::Primary | Role::Replica(None) => {}
        }
    }

    /// A primary told its offset: replicas that have reached it by what they last said are the younger for that. One that
    /// was never compared may turn out to be older than its primary's last answer, from which its age was counted so far.
    fn compare_all(&mut self, primary: NodeKey) {
        let Some(node) = self.nodes.get(primary) else { return };
        let standing_in = node.is_in_trouble();
        let younger = |n: &Node| {
            let step = n.step_behind(node, n.mark());
            (step.held() > n.step().held()).then(|| (n.key(), step, Before::of(&self.nodes, n)))
        };
        let younger: Vec<_> = self.nodes.replicas_of(primary).filter_map(younger).collect();
        for (key, step, before) in younger {
            if let Some(replica) = self.nodes.get_mut(key) {
                replica.set_step(step);
            }
            let after = self.nodes.get(key).map(|n| Before::of(&self.nodes, n));
            self.dirty |= standing_in && after.is_some_and(|after| after.is_worse_than(&before));
        }
    }

    /// How far a replica has come: it was `before` that at this mark and of this age.
    fn compare(&mut self, key: NodeKey, of: NodeKey, before: &Before, now: Instant) {
        let Some((node, primary)) = self.nodes.get(key).zip(self.nodes.get(of)) else { return };
        let step = node.step_behind(primary, before.mark);
        let standing_in = primary.is_in_trouble();
        if let Some(node) = self.nodes.get_mut(key) {
            node.set_step(step);
        }
        let after = self.nodes.get(key).map(|n| Before::of(&self.nodes, n));
        // Its rank, and how old its answers are, stand in the routes.
        match after.filter(|_| standing_in) {
            Some(after) if after.is_worse_than(before) => self.dirty = true,
            Some(_) => self.rejuvenate(now),
            None => {}
        }
    }

    /// Probes those of a primary's replicas soon that are `such`.
    pub(super) fn look_at_replicas(&mut self, primary: NodeKey, now: Instant, such: impl Fn(&Node) -> bool) {
        let keys: Vec<NodeKey> =
            self.nodes.replicas_of(primary).filter(|n| !n.is_probed() && such(n)).map(|n| n.key()).collect();
        for key in keys {
            if let Some(replica) = self.nodes.get_mut(key) {
                replica.probe_by(now);
            }
        }
    }

    /// The most clients that any node has: they are counted anew only when the one that had most has fewer.
    fn count_clients(&mut self, before: Option<u64>, after: Option<u64>) {
        if after >= Some(self.clients) {
            self.clients = after.unwrap_or(self.clients);
        } else if before == Some(self.clients) {
            self.clients = self.nodes.iter().filter_map(|n| n.report().clients).max().unwrap_or(0);
        }
    }

    /// Decides what a node that answered may do: a node in trouble returns when it is ready, and its
    /// role and epoch agree with what another node was heard to say after it had answered.
    fn judge(&mut self, key: NodeKey, witnessed: bool, now: Instant) {
        let standalone = self.topology.kind() == Kind::Standalone;
        let Some(node) = self.nodes.get_mut(key) else { return };
        let agrees = node.agrees();
        let free = node.verdict() != Verdict::Minority;
        node.prove(agrees && node.role() == Role::Primary && free);
        // A server without cluster mode may copy another one: it is all there is to read from, and is never written to.
        let agrees = agrees || standalone;
        let unready = node.report().unready();
        let seems_well = unready.is_none() && agrees && node.report().sees_all();
        let recovered = node.note_well(seems_well);
        if seems_well && node.verdict() != Verdict::Majority {
            // Only fresh ballots can set it free, or end the doubt.
            self.refresh.want(Scope::Ballot, recovered);
        }
        let Some(node) = self.nodes.get_mut(key) else { return };
        match unready {
            _ if !node.admits() => {
                node.clear(unready.is_none() && witnessed && agrees && free, now);
                if node.admits() {
                    self.dirty = true;
                    self.partition.forgive(key);
                    self.look_around(now);
                }
            }
            Some(reason) => return self.handle_failure(key, reason, now, None, now),
            None if self.partition.accused(key) => self.conclude(now),
            None => {}
        }
        if !agrees {
            let urgent = self.nodes.get(key).is_some_and(|n| n.admits());
            self.refresh.want(Scope::Suspicion, urgent);
        }
    }
}

/// What was known of a replica before it was looked at again.
struct Before {
    mark: Option<Mark>,
    dated: Option<Dated>,
    /// Who is asked first of all that copy the same primary.
    best: Option<NodeKey>,
}

impl Before {
    fn of(nodes: &Nodes, node: &Node) -> Self {
        let best = match node.role() {
            Role::Replica(Some(of)) => rank::ranked(nodes, of).first().map(|n| n.key()),
            Role::Replica(None) | Role::Primary => None,
        };
        Self { mark: node.mark(), dated: rank::dated(nodes, node), best }
    }

    /// Whether its answers are older now, or of another kind, or another replica is the best: no read may go by what
    /// was known before.
    fn is_worse_than(&self, before: &Self) -> bool {
        let from = |b: &Self| b.dated.map(|d| d.counts_from);
        let known = |b: &Self| b.dated.map(|d| d.current_at.is_some());
        from(self) < from(before) || known(self) != known(before) || self.best != before.best
    }
}
