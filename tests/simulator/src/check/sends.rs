//! What must hold of every attempt, when it is sent and when it ends.

use super::Check;
use crate::model::{ADDRESSES, Ask, BLOCKS, MS, Time, address};
use crate::router::{Call, Job, Work};
use failsoft_policy::NodeKey;
use failsoft_policy::partition::Verdict;
use failsoft_policy::read::Answer;
use failsoft_policy::reply::{ErrorReply, Target};
use failsoft_policy::route::Source;

impl Check {
    #[allow(clippy::too_many_arguments)] // the attempt, taken apart
    pub(crate) fn sent(
        &mut self,
        r: usize,
        call: &mut Call,
        node: NodeKey,
        at: usize,
        source: Source,
        asking: bool,
        ask: Ask,
        verdict: Option<Verdict>,
        now: Time,
    ) {
        let block = usize::from(call.key) % BLOCKS;
        self.routers[r].uses(node, now);
        let last = call.last.as_ref().map(|l| &l.3);
        let redirected =
            matches!(last, Some(Answer::Error(ErrorReply::Moved(..) | ErrorReply::Ask(..)))) && !call.woken;
        // The same node is asked in another form, which is no redirect that is followed.
        let asked = matches!(last, Some(Answer::Error(ErrorReply::Ask(..))));
        let commands = matches!(ask, Ask::Delete { .. } | Ask::Mark { .. })
            || (asked && matches!(ask, Ask::Set { script: false, .. }));
        let another_form = redirected && !asking && commands;
        call.redirects -= u32::from(another_form);
        let redirected = redirected && !another_form;
        let repeated = call.attempts[source as usize] > 0 && !redirected;
        let reads = matches!(call.work, Work::Read { .. });
        call.attempts[source as usize] += 1;
        // After a `MOVED` to an unknown place the wait for a view is part of following it.
        let followed = matches!(last, Some(Answer::Error(ErrorReply::Moved(_, Target::Unknown)) | Answer::Closed));
        let again = matches!(last, Some(Answer::Error(ErrorReply::TryAgain))) && source == Source::Primary;
        if reads && repeated && again {
            self.routers[r].tries_again -= 1_000;
            let left = self.routers[r].tries_again;
            self.that(left >= 0, || format!("router {r} asks again beyond its budget, {left} thousandths left"));
        } else if reads && repeated && !followed || redirected && call.redirects > 1 {
            self.routers[r].retries -= 1_000;
            let left = self.routers[r].retries;
            self.that(left >= 0, || format!("router {r} retries beyond its budget, {left} thousandths left"));
        }
        let heard = &mut self.routers[r];
        let failed = heard.node(node).failed;
        self.that(failed.is_none(), || {
            let since = failed.unwrap_or(0) / MS;
            format!("router {r} asks address {at}, which failed at {since} ms and was not cleared by a probe since")
        });
        let forbidden = self.routers[r].votes.forbids(at).filter(|_| !self.clings(r));
        self.that(forbidden.is_none(), || format!("router {r} asks address {at}, {}", forbidden.unwrap_or_default()));
        let quarantined = verdict == Some(Verdict::Minority);
        self.that(!quarantined, || format!("router {r} asks address {at}, which it holds in a minority"));
        if let Work::Write { job: Job::Fill { lease, .. }, .. } = &call.work {
            let by = lease.lessor.node;
            self.that(by == node, || format!("router {r} fills at {node:?}, but {by:?} gave the lease"));
        }
        let fills = matches!(ask, Ask::Fill { .. });
        let sure = verdict == Some(Verdict::Majority);
        self.that(!fills || sure, || format!("router {r} fills at address {at}, whose side is {verdict:?}"));
        if source == Source::Replica || asking || ask == Ask::Ping || self.clings(r) {
            return;
        }
        let heard = &mut self.routers[r];
        let named = heard.map.named(block, at);
        let superseded = heard.map.superseded(block, at);
        let patched = heard.map.patched(block).filter(|p| p.1 < call.begun && p.0 != at);
        self.that(named, || {
            format!("router {r} asks address {at} for block {block}, whose owner it was never said to be")
        });
        // Who said TRYAGAIN is asked again itself.
        let again = matches!(last, Some(Answer::Error(ErrorReply::TryAgain))) && reads;
        // Two nodes that name each other as the owner can both not be right.
        let again = again || self.contradicted & (1 << block) != 0 || self.replaced;
        // A redirect names an address, and its node may live elsewhere by now.
        let (superseded, patched) = (superseded && !again, patched.filter(|_| !again && !self.moves));
        if let Some((target, since)) = patched {
            self.that(false, || {
                let since = since / MS;
                format!("router {r} asks address {at} for block {block}, which moved to address {target} at {since} ms")
            });
        }
        self.that(!superseded, || {
            format!("router {r} asks address {at} for block {block}, which another one claims with a higher epoch")
        });
        let of_lease = matches!(ask, Ask::Lease { .. } | Ask::Prolong { .. } | Ask::Release { .. });
        if !of_lease && ask.key().is_some_and(|(_, writes)| writes) {
            self.write_sent(r, node, at, now);
        }
    }

    fn write_sent(&mut self, r: usize, node: NodeKey, at: usize, now: Time) {
        let told = self.routers[r].node(node).clone();
        self.that(told.primary, || format!("router {r} writes to address {at}, which never said that it is a primary"));
        let fresh = told.heard.is_some_and(|heard| now - heard < 1_000 * MS);
        let (highest, since) = self.routers[r].highest;
        let lags = told.current_epoch.is_some_and(|epoch| epoch < highest);
        let counted = self.routers[r].votes.counted_at >= since || self.clings(r);
        self.that(!lags || counted, || {
            let epoch = told.current_epoch;
            format!("router {r} writes to address {at}, which has seen the epoch {epoch:?}, not yet {highest}")
        });
        self.that(fresh, || {
            let heard = told.heard.map(|h| h / MS);
            format!("router {r} writes to address {at}, last heard of at {heard:?} ms")
        });
    }

    /// An attempt ended.
    #[allow(clippy::too_many_arguments)] // the attempt, taken apart
    pub(crate) fn answered(
        &mut self,
        r: usize,
        call: &mut Call,
        node: NodeKey,
        at: usize,
        answer: &Answer,
        admitted: bool,
        now: Time,
    ) {
        let block = usize::from(call.key) % BLOCKS;
        let heard = &mut self.routers[r];
        let (limit, interval) = (heard.limit, heard.interval);
        let lost = matches!(answer, Answer::Hung | Answer::Connection);
        let outlived = heard.outlived(node, at, call.sent, lost, now);
        let told = heard.node(node);
        if !matches!(answer, Answer::Timeout | Answer::Hung | Answer::Connection | Answer::Saturated) {
            told.heard = Some(now);
        }
        let pings = matches!(call.work, Work::Write { pinging: true, .. });
        let fails = match answer {
            // What is wrong with a connection that a `PING` was sent on, that tells itself.
            _ if pings => false,
            Answer::Hung | Answer::Connection | Answer::Stranger | Answer::Protocol | Answer::Refused(_) => true,
            Answer::Error(error) => matches!(error, ErrorReply::ClusterDown | ErrorReply::Unwilling),
            Answer::Value | Answer::Nil | Answer::Saturated | Answer::Timeout | Answer::Closed => false,
        };
        let known = at < ADDRESSES && !outlived;
        if fails && known {
            told.failed.get_or_insert(now);
        }
        let unwilling = matches!(answer, Answer::Error(ErrorReply::Unwilling) | Answer::Refused(_));
        if fails && known && admitted && !unwilling {
            self.owes_views(r, "a node failed", now);
        }
        if let Answer::Error(ErrorReply::Moved(_, target) | ErrorReply::Ask(_, target)) = answer {
            call.redirects += 1;
            let moved = matches!(answer, Answer::Error(ErrorReply::Moved(..)));
            let to = match target {
                Target::At(endpoint) => Some(address(endpoint)),
                Target::SameHost(port) => {
                    Some(address(&failsoft_policy::Endpoint { host: String::new(), port: *port }))
                }
                Target::Unknown => None,
            };
            let within = call.redirects <= 17;
            self.that(within, || format!("router {r}: one call met {} redirects", call.redirects));
            if let Some(to) = to.filter(|_| moved) {
                self.routers[r].map.moved(block, to, now);
                self.owes(r, now + interval + interval / 5 + 3 * limit, "a slot moved");
            }
        }
    }

    /// What a node answered, and whether its breaker let reads through before and after.
    pub(crate) fn judged(&mut self, r: usize, answer: &Answer, before: bool, after: bool) {
        let harmless = match answer {
            Answer::Value | Answer::Nil | Answer::Saturated | Answer::Timeout | Answer::Closed => true,
            Answer::Error(error) => !matches!(error, ErrorReply::ClusterDown | ErrorReply::Unwilling),
            Answer::Protocol | Answer::Hung | Answer::Connection | Answer::Stranger | Answer::Refused(_) => false,
        };
        self.that(!harmless || !before || after, || format!("router {r} closes a node because of {answer:?}"));
    }

    pub(crate) fn credited(&mut self, r: usize, successes: u64) {
        let retries = &mut self.routers[r].retries;
        *retries = (*retries + successes as i64 * 200).min(100_000);
        let again = &mut self.routers[r].tries_again;
        *again = (*again + successes as i64 * 20).min(10_000);
    }
}
