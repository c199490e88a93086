//! Which nodes are listened to, what that which was heard means to reads, and until when replicas may stand in for it.

use super::Cluster;
use crate::hearing::{Answer, Command, Ear, Hearing};
use crate::reply::ErrorReply;
use crate::time::Instant;
use crate::wire::{Bell, echo_slot};
use crate::words::{NodeKey, Slot};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Cluster {
    /// The next thing that the driver has to do to keep listening; none when all is done. A driver that never calls this
    /// does not listen to any node. To keys only a router listens that has a near cache, to evictions one with `eviction_events`.
    pub fn listen(&mut self, now: Instant, dice: u32) -> Option<(Ear, Command)> {
        if let Some((slots, _)) = &self.slots
            && !self.followed.as_ref().is_some_and(|followed| Arc::ptr_eq(followed, slots))
        {
            let slots = Arc::clone(slots);
            let listened = self.listened();
            for ear in Ear::ALL {
                if let Some(hearing) = self.ear(ear) {
                    hearing.follow(listened.clone(), now);
                }
            }
            self.followed = Some(slots);
        }
        let (nodes, down) = (&self.nodes, self.down);
        let admits = |node| !down && nodes.get(node).is_some_and(|n| n.admits());
        let clients = self.clients;
        let ears = [
            (Ear::Bells, Some(&mut self.hearing)),
            (Ear::Keys, self.keys.as_mut()),
            (Ear::Events, self.events.as_mut()),
        ];
        let command = ears
            .into_iter()
            .filter_map(|(ear, hearing)| hearing.map(|hearing| (ear, hearing)))
            .find_map(|(ear, hearing)| hearing.poll(admits, clients, now, dice).map(|command| (ear, command)));
        self.note_hearing(now);
        command
    }

    /// When [`Self::listen`] has something to do, if no fact comes before.
    pub fn next_listening_timeout(&self) -> Option<Instant> {
        [Some(&self.hearing), self.keys.as_ref(), self.events.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(Hearing::next_timeout)
            .min()
    }

    /// A node was read from at this time.
    pub fn handle_use(&mut self, node: NodeKey, at: Instant, now: Instant) {
        self.hearing.handle_use(node, at, now);
        if let Some(keys) = &mut self.keys {
            keys.handle_use(node, at, now);
        }
    }

    /// A [`Command::Open`] has ended.
    pub fn handle_listening(&mut self, ear: Ear, node: NodeKey, opened: Result<u64, Answer>, now: Instant, dice: u32) {
        if let Some(hearing) = self.ear(ear) {
            hearing.handle_opened(node, opened, now, dice);
        }
        self.note_hearing(now);
    }

    /// A [`Command::Probe`] has ended.
    pub fn handle_listening_probe(
        &mut self,
        ear: Ear,
        (node, line): (NodeKey, u64),
        sent_at: Instant,
        answer: &Answer,
        now: Instant,
        dice: u32,
    ) {
        // A node that is handing over the slot answers ASK for a key that it does not have: it is still the owner.
        let owner = matches!(answer, Answer::Refused(ErrorReply::Ask(..)));
        let answer = if owner { &Answer::Owner } else { answer };
        if matches!(
            answer,
            Answer::Refused(ErrorReply::Moved(..) | ErrorReply::ClusterDown | ErrorReply::SlotUncovered)
        ) {
            self.handle_doubt();
        }
        if let Some(hearing) = self.ear(ear) {
            hearing.handle_answer((node, line), sent_at, answer, now, dice);
        }
        self.note_hearing(now);
    }

    /// A node pushed the names of these bells. Returns the keys whose invalidation is news: loads of them that are under
    /// way must not serve callers who ask from now on.
    pub fn handle_bells<'n>(
        &mut self,
        node: NodeKey,
        names: impl IntoIterator<Item = &'n [u8]>,
        now: Instant,
        dice: u32,
    ) -> Vec<&'n [u8]> {
        self.hearing.handle_push(node, self.clients, now, dice);
        let mut news = Vec::new();
        for bell in names.into_iter().filter_map(Bell::of) {
            let reign = self.reign(bell.slot);
            let of_owner = reign.is_some_and(|(owner, _)| owner == node);
            if self.invalidations.heard(&bell, of_owner, reign, now) {
                news.push(bell.key);
            }
        }
        self.note_hearing(now);
        news
    }

    /// A node told that one of its keys was evicted, or has expired.
    pub fn handle_event(&mut self, node: NodeKey, now: Instant, dice: u32) {
        if let Some(events) = &mut self.events {
            events.handle_push(node, self.clients, now, dice);
        }
    }

    /// A node said that any of its keys may have changed.
    pub fn handle_flush(&mut self, node: NodeKey, now: Instant) {
        self.hearing.handle_flush(node, now);
        if let Some(keys) = &mut self.keys {
            keys.handle_flush(node, now);
        }
        self.note_hearing(now);
    }

    fn ear(&mut self, ear: Ear) -> Option<&mut Hearing> {
        match ear {
            Ear::Bells => Some(&mut self.hearing),
            Ear::Keys => self.keys.as_mut(),
            Ear::Events => self.events.as_mut(),
        }
    }

    /// The routes name until when replicas may stand in.
    fn note_hearing(&mut self, now: Instant) {
        let news = self.hearing.take_news();
        // A stand-in may be as old as is known to be complete, and that begins now: so is it compared with its primary.
        for of in news.gained.iter().flat_map(|&node| self.hearing.told_by(node)) {
            if self.nodes.replicas_of(of).next().is_some()
                && let Some(primary) = self.nodes.get_mut(of)
            {
                primary.probe_by(now);
            }
        }
        if (news.changed || news.renewed) && self.nodes.troubled().next().is_some() {
            self.dirty |= news.changed;
            self.rejuvenate(now);
        }
    }

    /// Every node that owns slots, with one of its slots and the nodes that own the opposite ones, where its echoes are
    /// rung. Where the opposite slot has no owner, the node itself stands for it, so that nothing else does.
    fn listened(&self) -> Vec<(NodeKey, Slot, Vec<NodeKey>)> {
        let ranges = self.topology.ranges();
        let owners: Vec<_> =
            ranges.iter().flat_map(|&(first, last, owner)| (first..=last).map(move |_| owner)).collect();
        let mut of: BTreeMap<NodeKey, (Slot, BTreeSet<NodeKey>)> = BTreeMap::new();
        for slot in (0..Slot::COUNT).filter_map(Slot::new) {
            let Some(owner) = owners[slot.index()] else { continue };
            let (_, echoes) = of.entry(owner).or_insert_with(|| (slot, BTreeSet::new()));
            echoes.insert(owners[echo_slot(slot).index()].unwrap_or(owner));
        }
        of.into_iter().map(|(owner, (slot, echoes))| (owner, slot, echoes.into_iter().collect())).collect()
    }
}
