//! When a script is sent with its text: to a node that does not know it, by one call for all that are told so at once.
//!
//! A node that has started anew knows no script, and thousands of misses find that out together. Requests keep their order
//! on a connection: what is sent after the text needs none of its own.

use crate::turn::Turn;
use crate::wire::{
    FILL_SCRIPT, HOLD_SCRIPT, INVALIDATE_SCRIPT, LEASE_SCRIPT, MARK_SCRIPT, PROLONG_SCRIPT, PUT_SCRIPT, RELEASE_SCRIPT,
    Script,
};
use crate::words::NodeKey;

/// Which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Takes a lease.
    Lease,
    /// Writes a loaded value.
    Fill,
    /// Sets a key, unless a writer holds it.
    Put,
    /// Invalidates a key.
    Invalidate,
    /// Leaves a mark.
    Mark,
    /// Holds a key for a writer.
    Hold,
    /// Prolongs a lease.
    Prolong,
    /// Releases a lease.
    Release,
}

impl Which {
    /// How many there are.
    const COUNT: usize = 8;

    /// Its text and name.
    pub fn script(self) -> &'static Script {
        match self {
            Self::Lease => &LEASE_SCRIPT,
            Self::Fill => &FILL_SCRIPT,
            Self::Put => &PUT_SCRIPT,
            Self::Invalidate => &INVALIDATE_SCRIPT,
            Self::Mark => &MARK_SCRIPT,
            Self::Hold => &HOLD_SCRIPT,
            Self::Prolong => &PROLONG_SCRIPT,
            Self::Release => &RELEASE_SCRIPT,
        }
    }
}

/// On which connection a node was last sent the text of each script.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent([Option<u64>; Which::COUNT]);

impl Sent {
    /// Whether the text of a script went out on this connection; from now on it did.
    pub(crate) fn replace(&mut self, which: Which, line: u64) -> bool {
        self.0[which as usize].replace(line) == Some(line)
    }
}

/// What to do with a call whose script the node does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Again { with_text: bool },
    GiveUp,
}

/// How far one call has come with its script, at the last node that did not know it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Text {
    node: Option<NodeKey>,
    tried_again: bool,
    sent: bool,
}

impl Text {
    /// The node said so, on the connection of this number.
    pub(crate) fn is_unknown(&mut self, which: Which, node: NodeKey, line: u64, turn: &mut Turn<'_>) -> Then {
        if self.node != Some(node) {
            *self = Self { node: Some(node), ..Self::default() };
        }
        if self.sent {
            return Then::GiveUp;
        }
        let by_another = turn.cluster.handle_no_script(node, which, line) && !self.tried_again;
        self.tried_again = true;
        self.sent = !by_another;
        Then::Again { with_text: self.sent }
    }

    /// Whether the text goes along to this node.
    pub(crate) fn goes_to(&self, node: NodeKey) -> bool {
        self.node == Some(node) && self.sent
    }
}
