//! Who vouches for the nodes that come back: the view of another node, asked for after they had answered.
//!
//! Each of a few nodes in trouble has a witness of its own. When many are in trouble at once, as in a large
//! cluster that takes itself for down, they share one: a view a second, which vouches for all that had
//! answered before it was asked for, and answer once more.

use super::Cluster;
use crate::nodes::Node;
use crate::partition::{Ballot, Verdict};
use crate::refresh::Scope;
use crate::time::Instant;
use crate::topology::Applied;
use crate::view::View;
use crate::words::{Endpoint, NodeKey};
use core::time::Duration;

/// Up to so many nodes in trouble have a witness each.
const ALONE: usize = 16;
/// A node for which no witness can be had returns when it has been ready for so long, by its own word.
const OWN_WORD: Duration = Duration::from_secs(1);
/// The shortest time between two witnesses that more nodes share.
const PAUSE: Duration = Duration::from_secs(1);

/// The last witness.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    next_at: Instant,
    /// When the last one was asked that sees a majority.
    asked_at: Option<Instant>,
    said: Option<(View, Option<Ballot>)>,
}

impl Cluster {
    /// Another node to ask what it thinks of `key`: one out of trouble, if there is one, and never one
    /// that is cut off from the majority. None if `key` needs no witness, or is to share one.
    pub(super) fn call_witness(&mut self, key: NodeKey, dice: u32, now: Instant) -> Option<Endpoint> {
        if !self.nodes.get(key).is_some_and(waits) || (self.share_a_witness() && now < self.witness.next_at) {
            return None;
        }
        let mut others = self.rotated(dice).filter(|n| n.key() != key && n.verdict() != Verdict::Minority);
        let chosen = others.next()?.endpoint().clone();
        drop(others);
        self.witness.next_at = now + PAUSE;
        Some(chosen)
    }

    /// What a witness said. It is no ballot, for it was asked for alone, but it can raise the suspicion.
    pub(super) fn hear_witness(&mut self, view: View, now: Instant) {
        let foreign = self.take_in(&view, true, now) == Applied::Foreign;
        let ballot = Ballot::of(&view, &self.nodes, now);
        if let Some(ballot) = &ballot {
            if !ballot.majority() {
                self.refresh.want(Scope::Ballot, false);
            }
            self.look_at_accused(ballot, now);
        }
        let speaks = !foreign && view.covers_anything();
        if speaks && ballot.as_ref().is_none_or(Ballot::majority) {
            self.witness.asked_at = self.witness.asked_at.max(Some(view.asked_at));
        }
        self.witness.said = speaks.then_some((view, ballot));
    }

    /// Whether the last witness speaks for this node: it names it, sees a majority and that node in it.
    /// One that was not asked for this node's sake has to have been asked after it was ready, and counts only
    /// while so many share it.
    pub(super) fn is_vouched_for(&self, key: NodeKey, for_its_sake: bool) -> bool {
        let Some((view, ballot)) = &self.witness.said else { return false };
        let Some(node) = self.nodes.get(key) else { return false };
        let later = || node.ready_at().is_some_and(|at| view.asked_at > at) && view.by.as_deref() != node.id();
        (for_its_sake || (self.share_a_witness() && later()))
            && view.nodes.iter().flatten().any(|n| Some(n.id.as_str()) == node.id())
            && ballot.as_ref().is_none_or(|b| b.majority() && !b.accuses(key))
    }

    /// Whether a node's own word is enough, because no witness can be had: all others are away, or see no majority
    /// themselves. It has been ready for a second, so that it has heard of what was decided while it was hung; it has
    /// seen the highest epoch that we know of; and it has the role and the epoch that the last views gave it. So it
    /// is what it was when it last served us, and is believed no more than if we had never missed it.
    pub(super) fn is_its_own_witness(&self, key: NodeKey, now: Instant) -> bool {
        let ready = self.nodes.get(key).and_then(|n| n.ready_at());
        ready.is_some_and(|at| now.since(at) >= OWN_WORD && self.witness.asked_at.is_none_or(|asked| asked < at))
            && self.is_up_to_date(key)
    }

    fn share_a_witness(&self) -> bool {
        self.nodes.troubled().filter(|n| waits(n)).nth(ALONE).is_some()
    }
}

/// Whether a node needs a witness. While the ballots hold it in the minority, none can clear it.
fn waits(node: &Node) -> bool {
    node.is_in_trouble() && node.verdict() != Verdict::Minority
}
