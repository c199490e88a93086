//! What a read does next when a node could not answer: other sources, further attempts, redirects.

use super::{Action, REFRESH_WAIT, Read, Then};
use crate::cluster::Cluster;
use crate::reply::Target;
use crate::route::{Source, Step, step_of};
use crate::time::Instant;
use crate::words::{NodeKey, Reason, Status};
use core::time::Duration;

impl Read {
    /// The source that was asked failed. A replica that was not asked yet comes next; the first one
    /// is free, others cost a token. Then the primary, if it may have recovered: after a `lost`
    /// connection it may be a matter of milliseconds, while a cluster that says it is down is not
    /// waited for by a caller who has a callback.
    pub(super) fn next_source(&mut self, lost: bool, cluster: &mut Cluster, now: Instant, dice: u32) -> Action {
        if now >= self.bounds.deadline {
            return self.give_up(Reason::Deadline);
        }
        if let Some(replica) = cluster.replica(self.slot, &self.tried, now)
            && (self.replica_attempts == 0 || cluster.take_retry())
        {
            let until = self.bounds.attempt_until(now, 1);
            return self.ask(replica.node, Source::Replica, false, until, now);
        }
        if self.callback && !lost {
            return self.give_up(Reason::Connection);
        }
        self.retry(now, dice)
    }

    /// A further attempt on the primary: the first waits for a refresh, the others back off.
    pub(super) fn retry(&mut self, now: Instant, dice: u32) -> Action {
        if self.retries >= self.max_retries {
            return self.give_up(Reason::Connection);
        }
        self.retries += 1;
        let pause = if self.retries == 1 { REFRESH_WAIT } else { self.backoff(dice) };
        self.wait(now + pause, Then::Retry)
    }

    /// Full jitter: anything up to the doubled base (Brooker, "Exponential Backoff And Jitter").
    fn backoff(&self, dice: u32) -> Duration {
        let cap = self.base_backoff * (1 << self.retries.saturating_sub(1).min(16));
        cap.mul_f64(f64::from(dice) / f64::from(u32::MAX))
    }

    pub(super) fn woken(
        &mut self,
        until: Instant,
        then: Then,
        cluster: &mut Cluster,
        now: Instant,
        dice: u32,
    ) -> Action {
        if now >= self.bounds.deadline {
            return self.give_up(Reason::Deadline);
        }
        match then {
            Then::Begin => match step_of(cluster.route(self.slot), now, self.bounds, dice) {
                Step::Wait(_) if now < until => self.wait(until, then),
                Step::Wait(_) => self.resume(Step::Secondary(Reason::Connection), now),
                step => self.resume(step, now),
            },
            Then::Again { node, asking } if now >= until => {
                let again = cluster.admits(node) && cluster.take_retry();
                let attempt = self.bounds.attempt_until(now, 1);
                if again {
                    self.ask(node, Source::Primary, asking, attempt, now)
                } else {
                    self.give_up(Reason::ErrorReply)
                }
            }
            Then::Again { .. } => self.wait(until, then),
            // The owner that failed is not asked again before its breaker lets reads through.
            Then::Follow(_) | Then::Retry => match cluster.open_primary(self.slot) {
                Some(owner) if then == Then::Follow(owner) && now < until => self.wait(until, then),
                Some(owner) if then != Then::Retry || self.primary_attempts == 0 || cluster.take_retry() => {
                    self.tried.retain(|&n| n != owner);
                    self.ask_primary(owner, cluster, now)
                }
                None if now < until => self.wait(until, then),
                _ if self.callback || !cluster.is_covered(self.slot) => self.give_up(Reason::Connection),
                _ => match cluster.replica(self.slot, &self.tried, now) {
                    Some(replica) if self.replica_attempts == 0 || cluster.take_retry() => {
                        let until = self.bounds.attempt_until(now, 1);
                        self.ask(replica.node, Source::Replica, false, until, now)
                    }
                    _ => self.retry(now, dice),
                },
            },
        }
    }

    pub(super) fn follow_moved(
        &mut self,
        target: Target,
        from: NodeKey,
        cluster: &mut Cluster,
        now: Instant,
        dice: u32,
    ) -> Action {
        // Also one that is not followed says where the slot is.
        let owner = cluster.moved(self.slot, &target, from, now);
        if let Some(limit) = self.count_redirect(now) {
            return self.give_up(limit);
        }
        match (target, owner) {
            (Target::Unknown, _) => self.wait(now + REFRESH_WAIT, Then::Follow(from)),
            (_, None) => self.give_up(Reason::RedirectLimit),
            (_, Some(_)) => match cluster.open_primary(self.slot) {
                Some(owner) => self.ask_primary(owner, cluster, now),
                None => {
                    self.reason.get_or_insert(Reason::BreakerOpen);
                    self.next_source(true, cluster, now, dice)
                }
            },
        }
    }

    pub(super) fn follow_ask(
        &mut self,
        target: Target,
        from: NodeKey,
        cluster: &mut Cluster,
        now: Instant,
        dice: u32,
    ) -> Action {
        if let Some(limit) = self.count_redirect(now) {
            return self.give_up(limit);
        }
        match cluster.asked(&target, from, now) {
            Some(node) if cluster.admits(node) => {
                let until = self.bounds.attempt_until(now, 1);
                self.ask(node, Source::Primary, true, until, now)
            }
            Some(_) => {
                self.reason.get_or_insert(Reason::BreakerOpen);
                self.next_source(true, cluster, now, dice)
            }
            None => self.give_up(Reason::RedirectLimit),
        }
    }

    pub(super) fn again(&mut self, node: NodeKey, asking: bool, cluster: &Cluster, now: Instant, dice: u32) -> Action {
        if self.retries >= self.max_retries || !cluster.is_covered(self.slot) {
            self.note(Status::Error, Some(Reason::ErrorReply));
            return self.give_up(Reason::ErrorReply);
        }
        self.retries += 1;
        self.wait(now + self.backoff(dice), Then::Again { node, asking })
    }

    /// The limit that a further redirect breaks, if it does: an attempt without time left would
    /// only fail.
    fn count_redirect(&mut self, now: Instant) -> Option<Reason> {
        self.redirects += 1;
        if self.redirects > self.max_redirects {
            Some(Reason::RedirectLimit)
        } else if now >= self.bounds.deadline {
            Some(Reason::Deadline)
        } else {
            None
        }
    }
}
