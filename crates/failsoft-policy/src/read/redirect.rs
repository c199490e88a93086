//! Redirects: which ones a read follows, and when they lead in a circle.

use super::{Action, REFRESH_WAIT, Read, State, Then};
use crate::connection::Attempt;
use crate::reply::Target;
use crate::route::Source;
use crate::time::Instant;
use crate::turn::Turn;
use crate::words::{NodeKey, Reason};

impl Read {
    pub(super) fn follow_moved(&mut self, target: &Target, from: NodeKey, turn: &mut Turn<'_>) -> Action {
        // Also one that is not followed says where the slot is.
        let owner = turn.cluster.handle_moved(self.slot, target, from, turn.now);
        // A node that names itself: its address may lead to another server by now than this connection does.
        let renew = owner == Some(from) && self.redirects == 0;
        if let Some(limit) = self.count_redirect(from, owner.filter(|_| !renew), turn) {
            return self.give_up(limit, turn.now);
        }
        if *target == Target::Unknown {
            return self.wait(turn.now + REFRESH_WAIT, Then::Follow(from));
        }
        if owner.is_none() {
            return self.give_up(Reason::RedirectLimit, turn.now);
        }
        let Some(owner) = turn.cluster.open_primary(self.slot) else {
            self.reason.get_or_insert(Reason::BreakerOpen);
            return self.next_source(true, turn);
        };
        let action = self.ask_primary(owner, turn);
        let renew = renew && turn.cluster.budget().take_renewal(owner, turn.now);
        match action {
            Action::Send { node, source, asking, marked, until, limit, .. } => {
                Action::Send { node, source, asking, marked, renew, until, limit }
            }
            other => other,
        }
    }

    pub(super) fn follow_ask(&mut self, target: &Target, from: NodeKey, turn: &mut Turn<'_>) -> Action {
        let node = turn.cluster.handle_ask(target, from, turn.now);
        if let Some(limit) = self.count_redirect(from, node, turn) {
            return self.give_up(limit, turn.now);
        }
        match node {
            Some(node) if turn.cluster.admits(node) => self.ask_again(node, true, turn.now),
            Some(_) => {
                self.reason.get_or_insert(Reason::BreakerOpen);
                self.next_source(true, turn)
            }
            None => self.give_up(Reason::RedirectLimit, turn.now),
        }
    }

    /// A view was waited for, because `from` did not say where the slot went.
    pub(super) fn follow_view(&mut self, from: NodeKey, until: Instant, turn: &mut Turn<'_>) -> Action {
        match turn.cluster.open_primary(self.slot) {
            Some(owner) if owner == from && turn.now < until => self.wait(until, Then::Follow(from)),
            Some(owner) => {
                if owner == from {
                    // By the views it is the owner all the same.
                    turn.cluster.budget().saw_circle(self.slot, turn.now);
                    if !turn.cluster.take_retry() {
                        return self.give_up(Reason::RedirectLimit, turn.now);
                    }
                }
                self.tried.retain(|&n| n != owner);
                self.ask_primary(owner, turn)
            }
            None if turn.now < until => self.wait(until, Then::Follow(from)),
            None => {
                self.reason.get_or_insert(Reason::BreakerOpen);
                self.next_source(false, turn)
            }
        }
    }

    /// Asks a node for what the map does not say: after ASK with `ASKING`, or once more after `TRYAGAIN`.
    pub(super) fn ask_again(&mut self, node: NodeKey, asking: bool, now: Instant) -> Action {
        let source = Source::Primary;
        let attempt = self.bounds.attempt(now, 1);
        self.ask(node, source, attempt, now);
        if let State::Asking { asking: with, .. } = &mut self.state {
            *with = asking;
        }
        let Attempt { until, limit } = attempt;
        Action::Send { node, source, asking, marked: false, renew: false, until, limit }
    }

    /// The limit that a further redirect breaks, if it does. One that leads back to a node that has
    /// redirected this read closes a circle: then no redirect of the slot is followed for a while.
    fn count_redirect(&mut self, from: NodeKey, to: Option<NodeKey>, turn: &mut Turn<'_>) -> Option<Reason> {
        let first = self.redirects == 0;
        self.redirects += 1;
        self.redirected_by.push(from);
        let circle = to.is_some_and(|to| self.redirected_by.contains(&to));
        if self.redirects > self.max_redirects {
            return Some(Reason::RedirectLimit);
        }
        // An attempt without time left would only fail.
        if turn.now >= self.bounds.deadline {
            return Some(Reason::Deadline);
        }
        let budget = turn.cluster.budget();
        let follow = to != Some(from) && budget.take_redirect(self.slot, first, turn.now);
        if circle {
            budget.saw_circle(self.slot, turn.now);
        }
        (!follow).then_some(Reason::RedirectLimit)
    }
}
