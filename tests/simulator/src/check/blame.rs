//! Blame: a router closes only nodes that gave it a reason, and opens them again soon once they give none.
//!
//! Judged by what is true at the router's host: what was sent, and whether its answer came back within
//! `attempt_timeout`, whatever the router's process made of it and when.

use super::Check;
use super::heard::Heard;
use crate::model::{ADDRESSES, MS, Time};
use crate::router::{Member, Router};
use crate::sim::is_dial;
use failsoft_policy::NodeKey;
use failsoft_policy::partition::Verdict;

/// How many answers are kept in mind for each address.
const REPLIES: usize = 64;

/// What one router's host saw of each address.
#[derive(Debug)]
pub(super) struct Wire {
    /// Until when something explains that the router closes it.
    explained: [Time; ADDRESSES],
    /// When questions were sent that have no answer yet, the oldest first.
    open: [Vec<(u64, Time)>; ADDRESSES],
    /// When questions were sent that were answered, and when the answers came, the newest last.
    replied: [Vec<(Time, Time)>; ADDRESSES],
    /// Since when all is well there, by what is true, and whether the router lets reads through.
    well: [Option<Time>; ADDRESSES],
}

impl Default for Wire {
    fn default() -> Self {
        let (open, replied) = (std::array::from_fn(|_| Vec::new()), std::array::from_fn(|_| Vec::new()));
        Self { explained: [0; ADDRESSES], open, replied, well: [None; ADDRESSES] }
    }
}

impl Wire {
    /// The router's process stops for a while: whatever it has not yet heard of, it hears so much later.
    pub(super) fn paused(&mut self, from: Time, until: Time) {
        let longer = until.saturating_sub(from);
        self.explained.iter_mut().filter(|explained| **explained >= from).for_each(|explained| *explained += longer);
    }
}

impl Heard {
    /// How long what happened at an address explains that it is closed: a probe that was on its way then may have had
    /// to be asked again on a new connection, and waits for the word of its witness.
    fn explains(&self) -> Time {
        3 * self.limit
    }

    /// Whether a failure of what was sent then says nothing of the node any more: it was cleared since, or, if nothing came
    /// back (`lost`), has answered a later question.
    pub(super) fn outlived(&mut self, node: NodeKey, at: usize, sent: Time, lost: bool, now: Time) -> bool {
        let replied = self.wire.replied.get(at);
        let later = replied.is_some_and(|r| r.iter().any(|&(asked, arrived)| asked > sent && arrived <= now));
        self.node(node).cleared > Some(sent) || (lost && later)
    }

    /// How long something that was sent explains it that nobody has answered: a connection may take longer to come
    /// about, and is found out when somebody needs it.
    fn waits(&self, id: u64) -> Time {
        self.explains() + if is_dial(id) { self.connect } else { 0 }
    }
}

impl Check {
    /// Something was sent to an address; `id` is its own.
    pub(crate) fn asked_at(&mut self, r: usize, at: usize, id: u64, now: Time) {
        let heard = &mut self.routers[r];
        // What nobody will answer any more explains nothing after a while.
        let awake = heard.suspended_until + heard.explains();
        let mut open = std::mem::take(&mut heard.wire.open[at]);
        open.retain(|&(id, sent)| now < sent + heard.attempt + heard.waits(id) || now < awake);
        open.push((id, now));
        heard.wire.open[at] = open;
    }

    /// The answer to it comes to the router's host at `arrives`.
    pub(crate) fn answered_at(&mut self, r: usize, at: usize, id: u64, arrives: Time) {
        let limit = self.routers[r].attempt;
        let wire = &mut self.routers[r].wire;
        let Some(place) = wire.open[at].iter().position(|o| o.0 == id) else { return };
        let (_, sent) = wire.open[at].remove(place);
        wire.replied[at].push((sent, arrives));
        let extra = wire.replied[at].len().saturating_sub(REPLIES);
        wire.replied[at].drain(..extra);
        if arrives - sent > limit {
            self.explained(r, at, arrives);
        }
    }

    /// A connection ended in a way that is held against its node at this address, which had owed something since then.
    /// Views are asked for if it was in no trouble before.
    pub(crate) fn blamed(&mut self, r: usize, node: NodeKey, at: usize, since: Time, admitted: bool, now: Time) {
        if self.routers[r].outlived(node, at, since, true, now) {
            return;
        }
        self.routers[r].node(node).failed.get_or_insert(now);
        if admitted {
            self.owes_views(r, "a connection ended", now);
        }
    }

    /// Something at this address, or on the way to it, explains that the router closes it, up to some time later.
    pub(crate) fn explained(&mut self, r: usize, at: usize, until: Time) {
        let heard = &mut self.routers[r];
        let late = until.max(heard.suspended_until) + heard.explains();
        if let Some(explained) = heard.wire.explained.get_mut(at) {
            *explained = late.max(*explained);
        }
    }

    /// All addresses at once.
    pub(crate) fn all_explained(&mut self, r: usize, until: Time) {
        (0..ADDRESSES).for_each(|at| self.explained(r, at, until));
    }

    /// After each thing that a router did: whom it closed gave it a reason.
    pub(crate) fn closings(&mut self, r: usize, router: &Router, now: Time) {
        if router.cluster.is_down() {
            self.all_explained(r, now);
        }
        // Who was forgotten is not closed.
        let known = |m: &&Member| router.cluster.endpoint(m.key).is_some();
        for member in router.members.iter().flatten().filter(known) {
            let open = router.cluster.admits(member.key);
            let told = self.routers[r].node(member.key);
            let was = std::mem::replace(&mut told.open, open);
            told.closed = if open { None } else { told.closed.or(Some(now)) };
            if was && !open {
                self.closed(r, member.key, crate::model::address(&member.endpoint), router, now);
            }
        }
    }

    fn closed(&mut self, r: usize, node: NodeKey, at: usize, router: &Router, now: Time) {
        let judged = router.cluster.verdict(node) == Some(Verdict::Minority);
        let heard = &self.routers[r];
        let late = |&(id, sent): &(u64, Time)| {
            now - sent >= heard.attempt && now <= (sent + heard.attempt).max(heard.suspended_until) + heard.waits(id)
        };
        let late = heard.wire.open[at].iter().any(late);
        let explained = judged || late || now <= heard.wire.explained[at];
        self.that(explained, || format!("router {r} closes address {at}, which has answered everything in time"));
    }

    /// What is true of an address for this router: whether nothing is wrong there, or on the way.
    pub(crate) fn well(&mut self, r: usize, at: usize, well: bool, now: Time) {
        let since = &mut self.routers[r].wire.well[at];
        *since = since.filter(|_| well).or(well.then_some(now));
    }

    /// A node where all has been well for long gets reads again, whatever else is wrong.
    pub(crate) fn returns(&mut self, r: usize, router: &Router, now: Time) {
        // To take up another cluster at the same addresses takes longer: the end of the run judges that.
        if self.clings(r) {
            return;
        }
        let (limit, moved_on) = (router.heals_within(), self.routers[r].moved_on.unwrap_or(0));
        for member in router.members.iter().flatten() {
            let at = crate::model::address(&member.endpoint);
            let Some(well) = self.routers[r].wire.well[at] else { continue };
            let closed =
                self.routers[r].node(member.key).closed.filter(|closed| now - well.max(*closed).max(moved_on) > limit);
            self.that(closed.is_none(), || {
                let (well, closed) = ((now - well) / MS, (now - closed.unwrap_or(now)) / MS);
                format!("router {r}: address {at} has been well for {well} ms, but gets no reads for {closed} ms")
            });
        }
    }
}
