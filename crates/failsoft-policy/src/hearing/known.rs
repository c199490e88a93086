//! For which span of time every invalidation of a node's keys is known, by what was heard from it and from its echoes.

use super::Hearing;
use super::listener::Phase;
use crate::time::Instant;
use crate::words::NodeKey;

impl Hearing {
    /// Until when every invalidation of a node's keys after `since` is known: either the node itself has been heard since
    /// then, or all nodes that ring its echoes have.
    pub fn complete_until(&self, node: NodeKey, since: Instant) -> Option<Instant> {
        self.heard_until(node, since).max(self.echoed_until(node, since))
    }

    /// The same, where the node's own word is not enough: it may not have owned the keys since then.
    pub fn echoed_until(&self, node: NodeKey, since: Instant) -> Option<Instant> {
        let echoes = self.listeners.get(&node)?.echoes.iter().map(|&echo| self.heard_until(echo, since));
        echoes.reduce(|a, b| a.zip(b).map(|(a, b)| a.min(b))).flatten()
    }

    /// Since when every invalidation of a node's keys is known until now, by the node itself, which has owned them since
    /// `owned_from`, or by its echoes.
    pub fn complete_since(&self, node: NodeKey, owned_from: Instant, now: Instant) -> Option<Instant> {
        let heard = self.listeners.get(&node).and_then(|l| l.heard);
        let own = heard.map(|heard| (heard.since.max(owned_from), heard.until + self.trust_window));
        let spans = [own, self.echoes_heard(node)].into_iter().flatten();
        spans.filter(|&(_, until)| now <= until).map(|(since, _)| since).min()
    }

    /// The span in which all nodes that ring the echoes of this node's slots have been heard without a gap: since when, and
    /// until when that counts.
    pub fn echoes_heard(&self, node: NodeKey) -> Option<(Instant, Instant)> {
        let echoes = self.listeners.get(&node)?.echoes.iter().map(|&echo| {
            let heard = self.listeners.get(&echo)?.heard?;
            Some((heard.since, heard.until + self.trust_window))
        });
        echoes.reduce(|a, b| a.zip(b).map(|(a, b)| (a.0.max(b.0), a.1.min(b.1)))).flatten()
    }

    /// The connection on which a node tells, from when it is heard without a lapse, and until when that counts.
    pub fn heard(&self, node: NodeKey) -> Option<(u64, Instant, Instant)> {
        let listener = self.listeners.get(&node)?;
        let (Phase::Open { line }, Some(heard)) = (listener.phase, listener.heard) else { return None };
        Some((line, heard.since, heard.until + self.trust_window))
    }

    fn heard_until(&self, node: NodeKey, since: Instant) -> Option<Instant> {
        let heard = self.listeners.get(&node)?.heard?;
        (heard.since <= since).then_some(heard.until + self.trust_window)
    }
}
