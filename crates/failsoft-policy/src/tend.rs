//! What a load does for a lease of its own ([`crate::fleet`]): it prolongs it while it runs, and releases it when nothing
//! came of it.
//!
//! Both are scripts that compare the token, on the server: a lease that was replaced meanwhile is another's. They go to
//! the process that gave the lease, on the same connection, as the fill does. A lease that can't be used for a fill any
//! more is not prolonged either, and is gone by itself after `lease_ttl`.

use crate::config::Config;
use crate::connection::Attempt;
use crate::lease::Lease;
use crate::read::Answer;
use crate::reply::ErrorReply;
use crate::text::{Text, Then, Which};
use crate::time::Instant;
use crate::turn::Turn;
use crate::words::Slot;
use crate::write::heed;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tend {
    /// It stands for `lease_ttl` from now on.
    Prolong,
    /// It is deleted.
    Release,
}

impl Tend {
    /// By which script.
    pub fn script(self) -> Which {
        match self {
            Self::Prolong => Which::Prolong,
            Self::Release => Which::Release,
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tended {
    /// Send the script again, in the time that was said at first.
    Again {
        /// With its text in the same write, before it.
        with_text: bool,
    },
    /// The lease stands, as far as is known.
    Stands,
    /// It is gone, or of no use any more.
    Gone,
}

/// One lease that is being prolonged or released.
#[derive(Clone, Debug)]
pub struct Tending {
    what: Tend,
    lease: Lease,
    slot: Slot,
    sent_at: Instant,
    text: Text,
}

impl Tending {
    /// Begins. Gives the time that the script has; nothing if its node is not the slot's owner any more, under the same
    /// epoch, or gets no traffic.
    pub fn begin(
        what: Tend,
        lease: &Lease,
        slot: Slot,
        config: &Config,
        turn: &mut Turn<'_>,
    ) -> Option<(Self, Attempt)> {
        let (cluster, now, lessor) = (&turn.cluster, turn.now, lease.lessor);
        let same = cluster.owns(lessor.node, slot) && cluster.epoch(lessor.node) == Some(lessor.epoch);
        if !same || !cluster.admits(lessor.node) {
            return None;
        }
        let until = now + config.attempt_timeout();
        let tending = Self { what, lease: lease.clone(), slot, sent_at: now, text: Text::default() };
        Some((tending, Attempt { until, limit: until }))
    }

    /// What the script returned, or why it did not. The node last answered anything at `contact`.
    pub fn on(&mut self, came: Result<i64, Answer>, contact: Option<Instant>, turn: &mut Turn<'_>) -> Tended {
        let lessor = self.lease.lessor;
        let answer = match came {
            Ok(0) => return Tended::Gone,
            Ok(_) => return Tended::Stands,
            Err(answer) => answer,
        };
        match &answer {
            Answer::Error(ErrorReply::NoScript) => {
                match self.text.is_unknown(self.what.script(), lessor.node, lessor.line, turn) {
                    Then::Again { with_text } => return Tended::Again { with_text },
                    Then::GiveUp => return Tended::Gone,
                }
            }
            Answer::Error(ErrorReply::Moved(slot, target)) if *slot == self.slot => {
                turn.cluster.handle_moved(self.slot, target, lessor.node, turn.now);
            }
            Answer::Error(ErrorReply::Ask(..)) => {}
            Answer::Error(ErrorReply::Denied) => turn.cluster.handle_lease(lessor.node, false, turn.now),
            _ => {
                heed(&answer, lessor.node, (self.sent_at, contact), turn);
            }
        }
        // The next time may be in time.
        match answer {
            Answer::Timeout | Answer::Saturated => Tended::Stands,
            _ => Tended::Gone,
        }
    }
}
