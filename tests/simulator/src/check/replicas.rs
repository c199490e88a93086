//! What must hold of replicas that stand in for their primaries: who is asked, and how old its answers are said to be.

use super::Check;
use crate::model::{MS, Model, Time};
use crate::router::{Call, Router};
use crate::sim::instant;
use failsoft_policy::view::Role;
use failsoft_policy::{Instant, NodeKey};
use std::cmp::Reverse;

impl Check {
    /// A replica is asked: its answers are not older than the budget allows, nor said to be younger than what the
    /// router was told of its link and of its primary, and no better replica is there; `asked` are those that were asked
    /// before it, if the order still tells anything.
    pub(crate) fn stands_in(&mut self, r: usize, node: NodeKey, asked: Option<u64>, router: &Router, now: Time) {
        let current_at = router.cluster.current_at(node);
        let budget = router.config.outage_budget().min(router.config.invalidation_ttl());
        // Where nobody can say how old its answers are, its primary's last answer is not older.
        let dated = router.cluster.dated(node);
        let fits = dated.is_some_and(|d| instant(now).since(d.counts_from) < budget);
        self.that(fits, || format!("router {r} asks a replica, dated {dated:?}, with a budget of {budget:?}"));
        let told = self.routers[r].node(node).clone();
        self.that(!told.primary, || format!("router {r} asks {node:?} as a replica, which says that it is a primary"));
        // That holds for one of unknown age, too: what its link has not carried for so long it does not have.
        let budget_over = |at: Time| now >= at + budget.as_nanos() as Time;
        let cut_off = told.linked_at.filter(|&at| budget_over(at));
        self.that(cut_off.is_none(), || {
            let at = cut_off.unwrap_or(0) / MS;
            format!(
                "router {r} asks a replica that said that its link is down since {at} ms, with a budget of {budget:?}"
            )
        });
        let claimed = current_at.map_or(0, Instant::as_nanos);
        let linked = told.linked_at.is_none_or(|at| claimed <= at);
        self.that(linked, || {
            let (at, claimed) = (told.linked_at.unwrap_or(0) / MS, claimed / MS);
            format!(
                "router {r}: a replica said that its link is down since {at} ms, but counts as current at {claimed} ms"
            )
        });
        let report = router.cluster.report(instant(now));
        let Some(status) = report.nodes.iter().find(|n| n.key == node) else { return };
        let Role::Replica(Some(of)) = &status.role else { return };
        let out = self.routers[r].votes.out_since(crate::model::address(of)).filter(|_| !self.clings(r));
        self.that(out.is_none_or(|since| claimed <= since), || {
            let (since, claimed) = (out.unwrap_or(0) / MS, claimed / MS);
            format!("router {r}: a replica is dated {claimed} ms by a primary that was voted out at {since} ms")
        });
        let Some(asked) = asked else { return };
        let rank = |n: &failsoft_policy::cluster::NodeStatus| {
            (n.report.link_up == Some(false), Reverse(n.report.offset.unwrap_or(0)))
        };
        let better = report.nodes.iter().find(|n| {
            n.role == status.role
                && !matches!(n.breaker, "open" | "half_open")
                && !n.report.primary
                && asked.checked_shr(n.key.index).unwrap_or(0) & 1 == 0
                && n.lag.is_some_and(|lag| lag < budget.min(router.config.staleness_budget()))
                && rank(n) < rank(status)
        });
        self.that(better.is_none(), || {
            let better = better.map(|n| (&n.endpoint, rank(n)));
            format!("router {r} asks {:?} with {:?}, though there is {better:?}", status.endpoint, rank(status))
        });
    }

    /// A replica's answer is not said to be younger than the first write that it lacks.
    pub(super) fn stood_in(&mut self, r: usize, at: usize, call: &Call, model: &Model) {
        let Some(lacks) = model.listening(at).and_then(|n| model.lacks_since(n)) else { return };
        let current_at = call.current_at;
        let honest = current_at.is_none_or(|at| at.as_nanos() <= lacks);
        self.that(honest, || {
            let lacks = lacks / MS;
            format!(
                "router {r}: address {at} lacks what was written at {lacks} ms, but is said to be as of {current_at:?}"
            )
        });
    }
}
