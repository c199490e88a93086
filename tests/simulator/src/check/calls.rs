//! What must hold of a read when the cluster side of it is over, of a write, and of a caller at its end.

use super::Check;
use crate::model::{BLOCKS, MS, Model, Said, Time};
use crate::router::{Call, Caller, Failure, Job, Part, Work};
use failsoft_policy::config::Config;
use failsoft_policy::read::Answer;
use failsoft_policy::route::Source;
use failsoft_policy::write::{Batch, Cause};
use failsoft_policy::{NodeKey, Reason};

impl Check {
    /// The cluster side of a read is over.
    pub(crate) fn routed(&mut self, r: usize, call: &Call, config: &Config, now: Time) {
        self.reads += 1;
        self.attempts(r, call, config);
        let heard = &self.routers[r];
        let deadline = call.bounds.deadline.as_nanos();
        let paused = heard.suspended_until > call.begun;
        self.that(paused || now <= deadline, || {
            format!("router {r}: a read's cluster side ended {} ms after its deadline", (now - deadline) / MS)
        });
    }

    /// The attempts of a read are inside its limits.
    fn attempts(&mut self, r: usize, call: &Call, config: &Config) {
        let (retries, redirects) = (config.max_retries(), config.max_redirects());
        let [primary, replica] = call.attempts;
        self.that(primary <= 1 + retries + redirects + call.closed, || {
            format!("router {r}: {primary} attempts on primaries, with {retries} retries and {redirects} redirects")
        });
        self.that(replica <= 8 + retries + call.closed, || format!("router {r}: {replica} attempts on replicas"));
    }

    /// A read goes to the callback.
    pub(crate) fn load_asked(&mut self, r: usize, call: &Call, reason: Reason, confirmed: Option<NodeKey>, now: Time) {
        if let Some(by) = confirmed {
            let said = matches!(&call.last, Some((node, _, Source::Primary, Answer::Nil)) if *node == by);
            self.that(said, || {
                format!("router {r}: a miss that no primary confirmed; the last word was {:?}", call.last)
            });
        }
        let misses = confirmed.is_some() || reason == Reason::Invalidated;
        let judged = self.judging && !self.routers[r].crowded;
        self.that(!judged || misses, || {
            format!(
                "router {r}: at {} ms all is whole, but a read of block {} is not served by its primary: {reason}",
                now / MS,
                usize::from(call.key) % BLOCKS
            )
        });
    }

    /// A read ended with "no such key".
    pub(crate) fn missing(&mut self, r: usize, call: &Call, reason: Reason) {
        let said = matches!(call.last, Some((_, _, Source::Primary, Answer::Nil))) || reason == Reason::Invalidated;
        self.that(said, || format!("router {r}: a key is called missing after {:?}", call.last));
    }

    /// A node's value is the outcome.
    pub(crate) fn served(&mut self, r: usize, call: &Call, model: &mut Model, now: Time) {
        let Some((node, at, source, answer)) = &call.last else { return };
        self.that(*answer == Answer::Value, || format!("router {r}: a value of {node:?} after {:?}", call.last));
        let block = usize::from(call.key) % BLOCKS;
        if self.judging && !self.routers[r].crowded {
            let owner = model.true_owner(block).map(|n| model.nodes[n].address);
            let right = *source == Source::Primary && owner == Some(*at);
            self.that(right, || {
                format!(
                    "router {r}: all is whole, but block {block} is read from address {at} as {source:?}, not {owner:?}"
                )
            });
        }
        self.value(r, call, model, now);
        if *source == Source::Replica {
            self.stood_in(r, *at, call, model);
        }
    }

    /// A write ended.
    pub(crate) fn write_ended(&mut self, r: usize, call: &Call, refused: Option<Cause>, now: Time) {
        let Work::Write { job, batch, .. } = &call.work else { return };
        // With the key gone, its mark may be lost.
        let marks = matches!(job, Job::Step(Part::Key, _)) && *batch == Some(Batch::Mark);
        let held = matches!(job, Job::Set { .. }) && call.said == Some(Said::Held);
        let said = marks || held || matches!(call.last, Some((_, _, _, Answer::Value)));
        if refused.is_none() {
            self.write_done(r, call, job);
        }
        self.that(refused.is_some() || said, || format!("router {r}: a write counts as written after {:?}", call.last));
        let deadline = call.bounds.deadline.as_nanos();
        let paused = self.routers[r].suspended_until > call.begun;
        self.that(paused || now <= deadline, || {
            format!("router {r}: {job:?} ended {} ms after its deadline", (now - deadline) / MS)
        });
    }

    /// A caller has its answer.
    pub(crate) fn caller_ends(
        &mut self,
        r: usize,
        caller: &Caller,
        config: &Config,
        suspended: Time,
        unseen: bool,
        now: Time,
    ) {
        let paused = suspended - caller.suspended_before;
        let loads = u64::from(caller.rounds) * config.load_timeout().as_nanos() as Time;
        let most = config.deadline().as_nanos() as Time + loads + paused;
        let took = now - caller.began;
        self.that(took <= most, || {
            format!("router {r}: a caller waited {} ms, not {} ms at the most", took / MS, most / MS)
        });
        if let Some(deadline) = caller.deadline {
            self.that(now <= deadline + paused, || format!("router {r}: a caller waited past its own deadline"));
        }
        let excused = caller.failure.is_none() || caller.excused;
        self.that(excused, || {
            let gave = caller.callback;
            format!("router {r}: a caller got {:?}, but its callback would have answered: {gave:?}", caller.failure)
        });
        // Before the first view there is nothing that could be said, and the wait for it takes all the time there is.
        let all = caller.deadline.map_or(Time::MAX, |end| end - caller.began).min(config.deadline().as_nanos() as Time);
        let patient = !unseen || took + MS >= all || !matches!(caller.failure, Some(Failure::Unavailable(_)));
        self.that(patient, || {
            format!(
                "router {r}: a caller got {:?} after {} of {} ms, before the first view",
                caller.failure,
                took / MS,
                all / MS
            )
        });
        let known = !matches!(caller.failure, Some(Failure::Unavailable(_))) || caller.callback.is_none();
        self.that(known, || format!("router {r}: a caller with a callback was told that nobody could say"));
    }
}
