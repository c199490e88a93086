//! One write as a machine: `set`, or the fill of a loaded value.
//!
//! A write goes only to a node that the write gate lets through, follows MOVED and ASK as reads do,
//! and a `set` is tried again where a failover moved its slot. A fill is tried once: what stands in
//! its way is counted, never waited for.

use crate::cluster::{Blocked, Cluster, WriteGate};
use crate::config::Config;
use crate::read::Answer;
use crate::reply::{ErrorReply, Target};
use crate::time::Instant;
use crate::words::{NodeKey, Reason, Slot, words};
use core::time::Duration;

/// How long a `set` waits at a time for the routes to change.
const PAUSE: Duration = Duration::from_millis(50);

words! {
    /// Why a write was refused or skipped.
    Cause {
        /// Nobody owns the slot.
        SlotUncovered = "slot_uncovered",
        /// No view of the cluster has come yet.
        NoView = "no_view",
        /// The owner gets no traffic now: its breaker is open.
        BreakerOpen = "breaker_open",
        /// The owner was voted into the minority of a partition.
        Quarantined = "quarantined",
        /// It is not known whether the owner is in the majority: a fill is skipped, a `set` goes ahead.
        VerdictUnknown = "verdict_unknown",
        /// The owner says the cluster is down, or no majority is in reach.
        ClusterDown = "cluster_down",
        /// The owner is loading its data set, or busy.
        Loading = "loading",
        /// The owner has not answered within the last second.
        NoContact = "no_contact",
        /// The owner is not proved to be a primary.
        NotProved = "not_proved",
        /// The slot has another owner than the one that confirmed the miss.
        OwnerChanged = "owner_changed",
        /// More redirects than `max_redirects`.
        RedirectLimit = "redirect_limit",
        /// The key has a value: a fill never overwrites one.
        Exists = "exists",
        /// The server takes no writes: out of memory, too few replicas, or unable to save.
        ServerRefused = "server_refused",
        /// The server does not permit it: no password, a wrong one, or an ACL.
        Denied = "denied",
        /// Another error reply.
        ErrorReply = "error_reply",
        /// A reply that is no answer to the question.
        Protocol = "protocol",
        /// No answer in time: whether it was written is not known.
        Timeout = "timeout",
        /// The connection was lost: whether it was written is not known.
        Connection = "connection",
        /// Too many writes are under way.
        Busy = "busy",
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteEvent {
    /// The command's answer; a value or `OK` means written, nil that the key exists.
    Answered {
        /// How it ended.
        answer: Answer,
        /// When the node last answered anything.
        contact: Option<Instant>,
    },
    /// The `PING` was answered, or not.
    Pinged(bool),
    /// The time of a wait came, or the routes changed.
    Woken,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteAction {
    /// Send a `PING` to this node on its primary connection.
    Ping {
        /// Whom.
        node: NodeKey,
        /// When it is given up.
        until: Instant,
    },
    /// Send the write to this node on its primary connection.
    Send {
        /// Whom.
        node: NodeKey,
        /// With `ASKING` before the command, in one write.
        asking: bool,
        /// When it is given up.
        until: Instant,
    },
    /// Wait until then, or until the routes change.
    Wait {
        /// The latest moment.
        until: Instant,
    },
    /// It is written.
    Written,
    /// It is not written, or nobody can say.
    Refused(Cause),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Write {
    slot: Slot,
    /// For a fill: the primary that confirmed the miss.
    fill: Option<NodeKey>,
    deadline: Instant,
    attempt: Duration,
    max_redirects: u32,
    max_retries: u32,
    redirects: u32,
    retries: u32,
    node: Option<NodeKey>,
    pinged: bool,
    in_doubt: bool,
    cause: Option<Cause>,
}

impl Write {
    /// A `set` in `slot`, that has until `deadline`.
    pub fn set(config: &Config, slot: Slot, deadline: Instant) -> Self {
        Self {
            slot,
            fill: None,
            deadline,
            attempt: config.attempt_timeout(),
            max_redirects: config.max_redirects(),
            max_retries: config.max_retries(),
            redirects: 0,
            retries: 0,
            node: None,
            pinged: false,
            in_doubt: false,
            cause: None,
        }
    }

    /// The fill of a value whose absence `confirmed_by` reported.
    pub fn fill(config: &Config, slot: Slot, confirmed_by: NodeKey, deadline: Instant) -> Self {
        Self { fill: Some(confirmed_by), ..Self::set(config, slot, deadline) }
    }

    /// The first action.
    pub fn start(&mut self, cluster: &mut Cluster, now: Instant) -> WriteAction {
        if now >= self.deadline {
            return WriteAction::Refused(self.cause.unwrap_or(Cause::Timeout));
        }
        match cluster.write_gate(self.slot, now) {
            WriteGate::Open(node)
            | WriteGate::InDoubt(node)
            | WriteGate::NeedsContact(node)
            | WriteGate::NeedsProof(node)
                if self.fill.is_some_and(|by| by != node) =>
            {
                WriteAction::Refused(Cause::OwnerChanged)
            }
            WriteGate::Open(node) => self.send(node, false, now),
            WriteGate::InDoubt(node) => self.send_in_doubt(node, false, now),
            WriteGate::NeedsContact(_) if self.pinged => self.hold(Cause::NoContact, now),
            WriteGate::NeedsContact(node) => self.ping(node, now),
            WriteGate::NeedsProof(_) => self.hold(Cause::NotProved, now),
            WriteGate::Closed(blocked) => self.hold(cause_of(blocked), now),
        }
    }

    /// What happened, and when.
    pub fn on(&mut self, event: WriteEvent, cluster: &mut Cluster, now: Instant) -> WriteAction {
        match event {
            WriteEvent::Woken => self.start(cluster, now),
            WriteEvent::Pinged(answered) => {
                let Some(node) = self.node else { return WriteAction::Refused(Cause::NoContact) };
                if answered {
                    cluster.saw(node, now);
                    return self.start(cluster, now);
                }
                cluster.failed(node, Reason::Timeout, None, now);
                self.hold(Cause::NoContact, now)
            }
            WriteEvent::Answered { answer, contact } => self.answered(answer, contact, cluster, now),
        }
    }

    fn answered(
        &mut self,
        answer: Answer,
        contact: Option<Instant>,
        cluster: &mut Cluster,
        now: Instant,
    ) -> WriteAction {
        let Some(node) = self.node else { return WriteAction::Refused(Cause::Protocol) };
        let mut failed = |reason, cause| {
            cluster.failed(node, reason, contact, now);
            cause
        };
        let cause = match answer {
            Answer::Value => return WriteAction::Written,
            Answer::Nil => return WriteAction::Refused(Cause::Exists),
            Answer::Error(ErrorReply::Moved(slot, target)) if slot == self.slot => {
                return self.follow(target, false, node, cluster, now);
            }
            Answer::Error(ErrorReply::Ask(slot, target)) if slot == self.slot => {
                return self.follow(target, true, node, cluster, now);
            }
            Answer::Error(ErrorReply::ReadOnly) => {
                cluster.disproved(node, now);
                Cause::NotProved
            }
            Answer::Error(ErrorReply::WriteRefused) => return WriteAction::Refused(Cause::ServerRefused),
            Answer::Error(ErrorReply::Denied) | Answer::Refused(ErrorReply::Denied) => {
                return WriteAction::Refused(Cause::Denied);
            }
            Answer::Error(ErrorReply::SlotUncovered) => {
                cluster.doubt();
                Cause::SlotUncovered
            }
            Answer::Error(ErrorReply::ClusterDown) => failed(Reason::ClusterDown, Cause::ClusterDown),
            Answer::Error(ErrorReply::Unwilling) | Answer::Refused(ErrorReply::Unwilling) => {
                failed(Reason::Loading, Cause::Loading)
            }
            Answer::Error(ErrorReply::TryAgain) => Cause::ErrorReply,
            Answer::Error(_) | Answer::Refused(_) => return WriteAction::Refused(Cause::ErrorReply),
            Answer::Protocol => failed(Reason::Protocol, Cause::Protocol),
            Answer::Timeout => failed(Reason::Timeout, Cause::Timeout),
            Answer::Connection => failed(Reason::Connection, Cause::Connection),
            Answer::Saturated => Cause::Busy,
        };
        self.retries += 1;
        if self.retries > self.max_retries {
            return WriteAction::Refused(cause);
        }
        self.hold(cause, now)
    }

    fn follow(
        &mut self,
        target: Target,
        asking: bool,
        from: NodeKey,
        cluster: &mut Cluster,
        now: Instant,
    ) -> WriteAction {
        if self.fill.is_some() {
            return WriteAction::Refused(Cause::OwnerChanged);
        }
        self.redirects += 1;
        if self.redirects > self.max_redirects {
            return WriteAction::Refused(Cause::RedirectLimit);
        }
        if asking {
            let Some(node) = cluster.asked(&target, from, now) else {
                return WriteAction::Refused(Cause::RedirectLimit);
            };
            return match cluster.gate_of(node, now) {
                WriteGate::Open(node) => self.send(node, true, now),
                WriteGate::InDoubt(node) => self.send_in_doubt(node, true, now),
                // After the answer the owner is asked anew, and redirects again.
                WriteGate::NeedsContact(node) => self.ping(node, now),
                WriteGate::NeedsProof(_) => self.hold(Cause::NotProved, now),
                WriteGate::Closed(blocked) => self.hold(cause_of(blocked), now),
            };
        }
        cluster.moved(self.slot, &target, from, now);
        // Only a view can tell where that is.
        if target == Target::Unknown { self.hold(Cause::NotProved, now) } else { self.start(cluster, now) }
    }

    /// Whether it was sent without knowing that its node is in the majority.
    pub fn in_doubt(&self) -> bool {
        self.in_doubt
    }

    fn ping(&mut self, node: NodeKey, now: Instant) -> WriteAction {
        self.node = Some(node);
        self.pinged = true;
        WriteAction::Ping { node, until: self.attempt_until(now) }
    }

    /// A `set` has no other place to go; a fill is only a copy of what the store has.
    fn send_in_doubt(&mut self, node: NodeKey, asking: bool, now: Instant) -> WriteAction {
        if self.fill.is_some() {
            return self.hold(Cause::VerdictUnknown, now);
        }
        let action = self.send(node, asking, now);
        self.in_doubt = true;
        action
    }

    fn send(&mut self, node: NodeKey, asking: bool, now: Instant) -> WriteAction {
        self.node = Some(node);
        self.pinged = false;
        self.in_doubt = false;
        WriteAction::Send { node, asking, until: self.attempt_until(now) }
    }

    /// Something stands in the way: a fill gives up, a `set` waits for the routes to change while it
    /// has time. The first cause is told, unless a later one leaves open whether it was written.
    fn hold(&mut self, cause: Cause, now: Instant) -> WriteAction {
        if matches!(cause, Cause::Timeout | Cause::Connection | Cause::Protocol) {
            self.cause = Some(cause);
        }
        let first = *self.cause.get_or_insert(cause);
        let patient = self.fill.is_none() || cause == Cause::NotProved;
        if !patient || now >= self.deadline {
            return WriteAction::Refused(first);
        }
        self.pinged = false;
        WriteAction::Wait { until: (now + PAUSE).min(self.deadline) }
    }

    fn attempt_until(&self, now: Instant) -> Instant {
        (now + self.attempt).min(self.deadline)
    }
}

fn cause_of(blocked: Blocked) -> Cause {
    match blocked {
        Blocked::Uncovered => Cause::SlotUncovered,
        Blocked::NoView => Cause::NoView,
        Blocked::Trouble(Reason::ClusterDown) => Cause::ClusterDown,
        Blocked::Trouble(Reason::Quarantined) => Cause::Quarantined,
        Blocked::Trouble(Reason::Loading) => Cause::Loading,
        Blocked::Trouble(Reason::ErrorReply) => Cause::Denied,
        Blocked::Trouble(_) => Cause::BreakerOpen,
    }
}
