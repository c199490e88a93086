//! What may be written, and in which form it is sent first.

use super::{Batch, Which, Write};
use crate::config::Config;
use crate::lease::Lessor;
use crate::time::Instant;
use crate::words::Slot;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Set,
    /// With the lease that this one gave.
    Fill(Lessor),
    /// A key and its lease are deleted, and its mark is left.
    Invalidate,
    /// The mark of an invalidation is left in another slot.
    Announce,
    /// A writer holds the key.
    Hold,
    /// It does not any more.
    Lift,
    /// An entry of the log.
    Log,
}

/// In which form a node is asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Script(Which),
    Batch(Batch),
}

impl Kind {
    pub(super) fn is_fill(self) -> bool {
        matches!(self, Self::Fill(_))
    }

    /// The form in which it is sent first.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Set => Form::Script(Which::Put),
            Self::Fill(_) => Form::Script(Which::Fill),
            Self::Invalidate => Form::Script(Which::Invalidate),
            Self::Announce => Form::Script(Which::Mark),
            Self::Hold => Form::Script(Which::Hold),
            Self::Lift => Form::Batch(Batch::Lift),
            Self::Log => Form::Batch(Batch::Log),
        }
    }

    /// The same at a node that runs scripts, or does not.
    pub(super) fn form_for(self, runs_scripts: bool) -> Form {
        match self {
            Self::Set if !runs_scripts => Form::Batch(Batch::Set),
            Self::Invalidate if !runs_scripts => Form::Batch(Batch::Delete),
            Self::Announce if !runs_scripts => Form::Batch(Batch::Mark),
            _ => self.form(),
        }
    }
}

impl Write {
    /// A `set` in `slot`, that has until `deadline`.
    pub fn set(config: &Config, slot: Slot, deadline: Instant) -> Self {
        Self::new(config, slot, Kind::Set, deadline)
    }

    /// The fill of a value whose load took a lease there.
    pub fn fill(config: &Config, slot: Slot, lessor: Lessor, deadline: Instant) -> Self {
        Self::new(config, slot, Kind::Fill(lessor), deadline)
    }

    /// The deletion of a key in `slot`, and of its lease.
    pub fn invalidate(config: &Config, slot: Slot, deadline: Instant) -> Self {
        Self::new(config, slot, Kind::Invalidate, deadline)
    }

    /// The mark of an invalidation, in a slot that is not its key's own.
    pub fn announce(config: &Config, slot: Slot, deadline: Instant) -> Self {
        Self::new(config, slot, Kind::Announce, deadline)
    }

    /// A writer's hold of a key in `slot`.
    pub fn hold(config: &Config, slot: Slot, deadline: Instant) -> Self {
        Self::new(config, slot, Kind::Hold, deadline)
    }

    /// The end of it.
    pub fn lift(config: &Config, slot: Slot, deadline: Instant) -> Self {
        Self::new(config, slot, Kind::Lift, deadline)
    }

    /// An entry of the log, whose stream is in `slot`.
    pub fn log(config: &Config, slot: Slot, deadline: Instant) -> Self {
        Self::new(config, slot, Kind::Log, deadline)
    }
}
