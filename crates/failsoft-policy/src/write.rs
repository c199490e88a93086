//! One write as a machine: `set`, the fill of a loaded value, or a step of an invalidation.
//!
//! A write goes only to a node that the write gate lets through, follows MOVED and ASK as reads do,
//! and is tried again where a failover moved its slot. A fill is tried once: what stands in
//! its way is counted, never waited for. A `set` deletes the lease of its key in the same write ([`crate::lease`]): what
//! was loaded before is not written after it. Where a writer holds the key, it deletes the key instead.
//!
//! A `set` and the steps of an invalidation are scripts of several keys. While a slot is moved by hand, the server answers these with
//! ASK or TRYAGAIN for as long as that lasts; then, and where a user may run no scripts, they are sent as single commands
//! ([`Batch`]): first the node that hands the slot over, until it says that it has nothing more of the key, then the one
//! that takes it.

use crate::cluster::WriteGate;
use crate::config::Config;
use crate::invalidations::Reign;
use crate::lease::Lessor;
use crate::read::Answer;
use crate::replication::Landed;
use crate::reply::{ErrorReply, Target};
use crate::text::{Text, Then};
use crate::time::Instant;
use crate::turn::Turn;
use crate::wire::Filled;
use crate::words::{NodeKey, Slot};
use alloc::vec::Vec;
use cause::cause_of;
use core::time::Duration;

mod action;
mod batch;
mod cause;
mod heed;
mod kind;

pub use crate::text::Which;
pub use action::{WriteAction, WriteEvent};
pub use batch::Batch;
pub use cause::Cause;
pub(crate) use cause::cause_of_answer;
pub(crate) use heed::{Hope, heed};
use kind::{Form, Kind};

/// How long a `set` waits at a time for the routes to change.
const PAUSE: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Clone, Debug)]
pub struct Write {
    slot: Slot,
    kind: Kind,
    form: Form,
    /// Under whom it was last sent.
    reign: Option<Reign>,
    line: u64,
    text: Text,
    /// It was last sent with `ASKING`.
    asking: bool,
    deadline: Instant,
    attempt: Duration,
    max_redirects: u32,
    max_retries: u32,
    redirects: u32,
    /// Nodes that redirected it.
    redirected_by: Vec<NodeKey>,
    retries: u32,
    node: Option<NodeKey>,
    /// When its node was sent a `PING`, until it is sent the write.
    pinged: Option<Instant>,
    /// When its node was last sent the write.
    sent_at: Instant,
    in_doubt: bool,
    was_held: bool,
    cause: Option<Cause>,
}

impl Write {
    fn new(config: &Config, slot: Slot, kind: Kind, deadline: Instant) -> Self {
        Self {
            slot,
            kind,
            form: kind.form(),
            reign: None,
            line: 0,
            text: Text::default(),
            asking: false,
            deadline,
            attempt: config.attempt_timeout(),
            max_redirects: config.max_redirects(),
            max_retries: config.max_retries(),
            redirects: 0,
            redirected_by: Vec::new(),
            retries: 0,
            node: None,
            pinged: None,
            sent_at: Instant::ZERO,
            in_doubt: false,
            was_held: false,
            cause: None,
        }
    }

    /// The first action.
    pub fn start(&mut self, mut turn: Turn<'_>) -> WriteAction {
        self.advance(&mut turn)
    }

    /// What happened, and when.
    pub fn on(&mut self, event: WriteEvent, mut turn: Turn<'_>) -> WriteAction {
        let turn = &mut turn;
        match event {
            WriteEvent::Woken => self.advance(turn),
            WriteEvent::Pinged(answered) => {
                let Some(node) = self.node else { return WriteAction::Refused(Cause::NoContact) };
                if answered {
                    turn.cluster.handle_contact(node, self.pinged.unwrap_or(turn.now));
                    return self.advance(turn);
                }
                self.put_off(Cause::NoContact, turn.now)
            }
            WriteEvent::Returned { number, line } => {
                self.line = line;
                match (self.kind, Filled::of(number)) {
                    (Kind::Fill(_), Some(Filled::LeaseGone)) => WriteAction::Refused(Cause::LeaseGone),
                    (Kind::Set, Some(Filled::LeaseGone)) => {
                        self.was_held = true;
                        WriteAction::Written
                    }
                    (Kind::Fill(_), Some(Filled::Exists)) => WriteAction::Refused(Cause::Exists),
                    (_, Some(Filled::Written)) => WriteAction::Written,
                    _ => self.answered(Answer::Protocol, None, turn),
                }
            }
            WriteEvent::Answered { answer, line, contact } => {
                self.line = line;
                if let (Answer::Error(ErrorReply::NoScript), Form::Script(which), Some(node)) =
                    (&answer, self.form, self.node)
                    && let Then::Again { .. } = self.text.is_unknown(which, node, line, turn)
                {
                    // The map does not lead to the target of an `ASK`.
                    if self.asking {
                        let gate = turn.cluster.gate_of(node, turn.now);
                        return self.through(gate, true, turn.now);
                    }
                    return self.advance(turn);
                }
                self.answered(answer, contact, turn)
            }
        }
    }

    /// Where it was written: the owner as it was when this was sent, and the connection.
    pub fn written_at(&self) -> Option<Lessor> {
        self.reign.map(|(node, epoch)| Lessor { node, epoch, line: self.line })
    }

    /// Where it was acknowledged, for who asks about its replicas.
    pub fn landed(&self) -> Option<Landed> {
        let (node, reign) = (self.node?, self.reign?);
        Some(Landed { node, line: self.line, reign, slot: self.slot, sent_at: self.sent_at })
    }

    /// Whether it was sent without knowing that its node is in the majority.
    pub fn in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Whether a `set` found that a writer holds its key, which was deleted instead.
    pub fn was_held(&self) -> bool {
        self.was_held
    }

    /// Goes on as far as the write gate allows.
    fn advance(&mut self, turn: &mut Turn<'_>) -> WriteAction {
        let now = turn.now;
        if now >= self.deadline {
            return WriteAction::Refused(self.cause.unwrap_or(Cause::Timeout));
        }
        let gate = turn.cluster.write_gate(self.slot, now);
        if let WriteGate::Open(node)
        | WriteGate::InDoubt(node)
        | WriteGate::NeedsContact(node)
        | WriteGate::NeedsProof(node) = gate
        {
            self.reign = turn.cluster.epoch(node).map(|epoch| (node, epoch));
            match self.kind {
                Kind::Fill(by) if self.reign != Some((by.node, by.epoch)) => {
                    return WriteAction::Refused(Cause::OwnerChanged);
                }
                Kind::Log if !turn.cluster.takes_log(node, now) => return WriteAction::Refused(Cause::Denied),
                _ => self.form = self.kind.form_for(turn.cluster.takes_leases(node, now)),
            }
        }
        match gate {
            WriteGate::NeedsContact(_) if self.pinged.is_some() => self.put_off(Cause::NoContact, now),
            _ => self.through(gate, false, now),
        }
    }

    fn through(&mut self, gate: WriteGate, asking: bool, now: Instant) -> WriteAction {
        match gate {
            WriteGate::Open(node) => self.send(node, asking, now),
            // The others have no other place to go; a fill is only a copy of what the store has.
            WriteGate::InDoubt(_) if self.kind.is_fill() => self.put_off(Cause::VerdictUnknown, now),
            WriteGate::InDoubt(node) => {
                let action = self.send(node, asking, now);
                self.in_doubt = true;
                action
            }
            // After the answer the owner is asked anew, and redirects again.
            WriteGate::NeedsContact(node) => self.ping(node, now),
            WriteGate::NeedsProof(_) => self.put_off(Cause::NotProved, now),
            WriteGate::Closed(blocked) => self.put_off(cause_of(blocked), now),
        }
    }

    fn answered(&mut self, answer: Answer, contact: Option<Instant>, turn: &mut Turn<'_>) -> WriteAction {
        let Some(node) = self.node else { return WriteAction::Refused(Cause::Protocol) };
        let cause = cause_of_answer(&answer);
        if cause == Cause::Denied && matches!(self.form, Form::Script(_)) {
            turn.cluster.handle_lease(node, false, turn.now);
        }
        // The key is gone; its mark may be lost.
        if self.kind == Kind::Invalidate && self.form == Form::Batch(Batch::Mark) {
            return WriteAction::Written;
        }
        if self.kind == Kind::Log && matches!(answer, Answer::Error(ErrorReply::Denied | ErrorReply::Other)) {
            turn.cluster.handle_no_log(node, turn.now);
        }
        if let Some(form) = self.next_form(&answer) {
            self.form = form;
            let gate = turn.cluster.gate_of(node, turn.now);
            return self.through(gate, false, turn.now);
        }
        match answer {
            Answer::Value if matches!(self.form, Form::Batch(_)) => return WriteAction::Written,
            Answer::Error(ErrorReply::Moved(slot, target)) if slot == self.slot => {
                return self.follow(&target, false, node, turn);
            }
            Answer::Error(ErrorReply::Ask(slot, target)) if slot == self.slot => {
                return self.follow(&target, true, node, turn);
            }
            _ => {}
        }
        if heed(&answer, node, (self.sent_at, contact), turn) == Hope::None {
            return self.refuse(cause);
        }
        self.retries += 1;
        if self.retries > self.max_retries {
            return self.refuse(cause);
        }
        self.put_off(cause, turn.now)
    }

    /// Follows a redirect as reads do: the first one is free.
    fn follow(&mut self, target: &Target, asking: bool, from: NodeKey, turn: &mut Turn<'_>) -> WriteAction {
        let now = turn.now;
        let to = match asking {
            true => turn.cluster.handle_ask(target, from, now),
            // Also one that is not followed says where the slot is.
            false => turn.cluster.handle_moved(self.slot, target, from, now),
        };
        if self.kind.is_fill() {
            return WriteAction::Refused(Cause::OwnerChanged);
        }
        let first = self.redirects == 0;
        let renew = !asking && first && to == Some(from);
        self.redirects += 1;
        self.redirected_by.push(from);
        let budget = turn.cluster.budget();
        let circle = to.filter(|_| !renew);
        let follow = circle != Some(from) && budget.take_redirect(self.slot, first, now);
        if circle.is_some_and(|to| self.redirected_by.contains(&to)) {
            budget.saw_circle(self.slot, now);
        }
        if !follow || self.redirects > self.max_redirects {
            return self.refuse(Cause::RedirectLimit);
        }
        match (asking, to) {
            (true, Some(node)) => {
                if self.kind == Kind::Invalidate {
                    self.form = Form::Batch(Batch::DeleteAndMark);
                }
                let gate = turn.cluster.gate_of(node, now);
                self.through(gate, true, now)
            }
            (true, None) => self.refuse(Cause::RedirectLimit),
            // Only a view can tell where that is.
            (false, _) if *target == Target::Unknown => self.put_off(Cause::NotProved, now),
            (false, _) => match self.advance(turn) {
                WriteAction::Send { node, batch, asking, until, limit, .. } => {
                    let renew = renew && turn.cluster.budget().take_renewal(node, now);
                    WriteAction::Send { node, batch, asking, renew, until, limit }
                }
                WriteAction::Run { node, line, script, asking, with_text, until, limit, .. } => {
                    let renew = renew && turn.cluster.budget().take_renewal(node, now);
                    WriteAction::Run { node, line, script, asking, renew, with_text, until, limit }
                }
                other => other,
            },
        }
    }

    fn ping(&mut self, node: NodeKey, now: Instant) -> WriteAction {
        self.node = Some(node);
        self.pinged = Some(now);
        WriteAction::Ping { node, until: self.attempt_until(now) }
    }

    fn send(&mut self, node: NodeKey, asking: bool, now: Instant) -> WriteAction {
        self.node = Some(node);
        (self.pinged, self.asking) = (None, asking);
        self.sent_at = now;
        self.in_doubt = false;
        let (until, limit) = (self.attempt_until(now), self.deadline);
        let line = if let Kind::Fill(by) = self.kind { Some(by.line) } else { None };
        match self.form {
            Form::Script(script) => {
                let with_text = self.text.goes_to(node);
                WriteAction::Run { node, line, script, asking, renew: false, with_text, until, limit }
            }
            Form::Batch(batch) => WriteAction::Send { node, batch, asking, renew: false, until, limit },
        }
    }

    /// Something stands in the way: a fill gives up, the others wait for the routes to change while they
    /// have time. The first cause is told, unless a later one leaves open whether it was written.
    fn put_off(&mut self, cause: Cause, now: Instant) -> WriteAction {
        if may_be_written(cause) {
            self.cause = Some(cause);
        }
        let first = *self.cause.get_or_insert(cause);
        let patient = !self.kind.is_fill() || cause == Cause::NotProved;
        if !patient || now >= self.deadline {
            return WriteAction::Refused(first);
        }
        self.pinged = None;
        WriteAction::Wait { until: (now + PAUSE).min(self.deadline) }
    }

    /// It ends here. That an earlier attempt may have been written counts for more than what stands in the way now.
    fn refuse(&self, cause: Cause) -> WriteAction {
        WriteAction::Refused(self.cause.filter(|&earlier| may_be_written(earlier)).unwrap_or(cause))
    }

    fn attempt_until(&self, now: Instant) -> Instant {
        (now + self.attempt).min(self.deadline)
    }
}

/// Whether an attempt that ended so may have been written all the same.
fn may_be_written(cause: Cause) -> bool {
    matches!(cause, Cause::Timeout | Cause::Connection | Cause::Protocol)
}
