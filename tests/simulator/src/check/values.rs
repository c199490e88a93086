//! What a read says: a value that the key had within the age claimed, and never one of another cluster.

use super::Check;
use crate::model::{FOREIGN, MS, Model, Time};
use crate::router::Call;
use failsoft_policy::route::Source;
use failsoft_policy::{Instant, NodeKey};

impl Check {
    /// Whether it can't but be known how old a replica is that is asked.
    pub(crate) fn comparable(&mut self, r: usize, replica: NodeKey, primary: Option<NodeKey>) -> bool {
        primary.is_some_and(|primary| self.routers[r].comparable(replica, primary))
    }

    /// A read ends with a node's value. A primary's is the key's while the question was under way. A replica's is no
    /// older than the policy says.
    pub(crate) fn value(&mut self, r: usize, call: &Call, model: &mut Model, now: Time) {
        let Some((_, at, source, _)) = &call.last else { return };
        let (key, Some(value)) = (usize::from(call.key), call.value) else {
            return self.that(false, || format!("router {r}: a value of key {} that nobody gave", call.key));
        };
        self.fresh(r, (call.key, value), call.begun, now);
        self.that(value < FOREIGN, || format!("router {r}: key {key} is read from another cluster at address {at}"));
        let Some(last) = model.last_had(key, value, now) else {
            return self.that(false, || format!("router {r}: key {key} is said to be {value}, which it never was"));
        };
        let claimed = match source {
            Source::Primary => Some(call.sent),
            Source::Replica => call.current_at.map(Instant::as_nanos),
        };
        if *source == Source::Replica {
            self.lacks_nothing(r, call, value, last);
        }
        let comparable = *source == Source::Replica && call.comparable;
        let lost = self.rewritten || model.promotions > 0;
        self.that(call.current_at.is_some() || !comparable || lost, || {
            format!("router {r}: address {at} was compared with its primary, but its answer is of unknown age")
        });
        let honest = claimed.is_none_or(|claimed| last >= claimed);
        self.that(honest, || {
            let (last, claimed) = (last / MS, claimed.unwrap_or(0) / MS);
            format!(
                "router {r}: key {key} has not been {value} since {last} ms, but {source:?} at address {at} is said to \
                 be as of {claimed} ms"
            )
        });
    }
}
