//! One key that was invalidated, by this process or by another one.

use super::{Id, Reign};
use crate::time::Instant;

/// One key that was invalidated.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// From when on it is kept: when it was last called for, or heard of.
    pub(super) kept_from: Instant,
    /// When it was last called for. An acknowledgement of an earlier call is none of this one.
    pub(super) called_at: Instant,
    /// The node has to be told, as far as this process knows.
    pub(super) owed: bool,
    /// Another process made it, and the owner has changed since: it may be read only together with its mark.
    pub(super) in_doubt: bool,
    /// The key was told to its node, but not announced elsewhere.
    pub(super) unannounced: bool,
    /// Attempts under way.
    pub(super) under_way: u32,
    /// Attempts to announce it that failed in a row.
    pub(super) failed: u32,
    /// When it is sent again.
    pub(super) due: Option<Instant>,
    /// When the last acknowledgement came, and of whom; or when it was last heard of, and who owned its slot then.
    pub(super) told: Option<(Instant, Option<Reign>)>,
    /// This process made it, and sends it again.
    pub(super) own: bool,
    /// The id of its own last attempt, whose bells tell it nothing.
    pub(super) sent: Option<Id>,
    /// The id of the last one that is known, whoever made it.
    pub(super) last: Option<Id>,
    /// The last one of others whose bell was heard in the key's own slot: that of its echo tells nothing more.
    pub(super) heard: Option<Id>,
}

impl Entry {
    pub(super) fn new(called_at: Instant) -> Self {
        Self {
            kept_from: called_at,
            called_at,
            owed: false,
            in_doubt: false,
            unannounced: false,
            under_way: 0,
            failed: 0,
            due: None,
            told: None,
            own: false,
            sent: None,
            last: None,
            heard: None,
        }
    }

    /// The hot path has nothing to do with it.
    pub(super) fn is_closed(&self) -> bool {
        self.owed || self.in_doubt
    }
}
