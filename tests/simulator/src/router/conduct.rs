//! The background: asks the policy what is to be asked, sends it out, and brings the answers back.

use crate::check::Heed;
use crate::model::{MS, STRANGERS, Time, address, number_of};
use crate::sim::{Ev, Local, Question, Sim, instant};
use failsoft_policy::cluster::Command;
use failsoft_policy::partition::Verdict;
use failsoft_policy::reply::ErrorReply;
use failsoft_policy::view::{Probe, View};

/// How often successes are paid into the retry budget and contacts are noted.
const TICK: Time = 1_000 * MS;

impl Sim<'_> {
    pub(super) fn conduct(&mut self, r: usize) {
        let now = instant(self.now);
        let router = &mut self.routers[r];
        router.cluster.handle_successes(router.successes - router.credited);
        self.check.credited(r, router.successes - router.credited);
        router.credited = router.successes;
        for member in router.members.iter().flatten() {
            if let Some(at) = member.contact() {
                router.cluster.handle_contact(member.key, at);
            }
            if let Some(at) = member.used() {
                router.cluster.handle_use(member.key, at, now);
            }
        }
        self.send_again(r);
        let mut commands = 0;
        loop {
            let dice = self.rng.u32(..);
            let Some(command) = self.routers[r].cluster.poll(now, dice) else { break };
            self.note_take_up(r);
            commands += 1;
            if commands > 200 {
                return self.check.that(false, || format!("router {r}: poll does not end: {command:?}"));
            }
            self.carry_out(r, command);
        }
        self.listen(r);
        self.publish(r);
        let limits = self.expire(r);
        let router = &mut self.routers[r];
        let next = router.cluster.next_timeout().map(failsoft_policy::Instant::as_nanos);
        let again = router.cluster.invalidations().next_timeout().map(failsoft_policy::Instant::as_nanos);
        let listens = router.cluster.next_listening_timeout().map(failsoft_policy::Instant::as_nanos);
        let soonest = next.into_iter().chain(limits).chain(again).chain(listens).fold(self.now + TICK, Time::min);
        self.check.that(soonest > self.now, || format!("router {r}: something is due still after all was polled"));
        if soonest != router.conduct_at {
            router.conduct_at = soonest;
            self.at(soonest, Ev::Local(r as u8, Local::Conduct));
        }
        self.check.closings(r, &self.routers[r], self.now);
        self.look(r);
        self.check.bounds(r, &self.routers[r], self.now);
    }

    fn carry_out(&mut self, r: usize, command: Command) {
        self.trace.say(self.now, || format!("router {r}: {command:?}"));
        match command {
            Command::Close { node } => {
                self.close_after_failure(r, node);
            }
            Command::Refresh { round, targets, epochs } => {
                self.check.refreshed(r, round, targets.len(), epochs, self.now);
                self.routers[r].round_left = (round, targets.len());
                if targets.is_empty() {
                    self.routers[r].cluster.handle_refresh_done(round, instant(self.now));
                }
                for target in targets {
                    self.ask(r, address(&target), Question::View { round, epochs });
                }
            }
            Command::Probe { node, endpoint, witness } => {
                self.check.probed(r, node, address(&endpoint), self.now);
                let witness = witness.as_ref().map(address);
                self.ask(r, address(&endpoint), Question::Report { node, witness });
            }
        }
    }

    pub(super) fn on_view(&mut self, r: usize, round: u64, view: Option<Box<View>>, loading: bool) {
        let now = instant(self.now);
        match view {
            Some(view) => {
                self.trace.mix(view.nodes.iter().flatten().filter_map(|n| n.epoch).sum());
                // By its id: where two nodes changed places, its address is still another one's to the router. One that
                // is known from a redirect alone has no id yet.
                let cluster = &self.routers[r].cluster;
                let named = cluster.members().find(|(_, _, id)| *id == view.by.as_deref());
                let nameless = || cluster.members().find(|(_, at, id)| id.is_none() && **at == view.via);
                let by = named.or_else(nameless).map(|(key, ..)| key);
                let out = by.and_then(|by| cluster.verdict(by)) == Some(Verdict::Minority);
                if self.is_others(&view) && !self.check.moved_on(r) {
                    self.check.heard_other(r, round, &view);
                }
                if !self.is_foreign(r, view.by.as_deref()) {
                    self.check.heard_view(r, round, &view, by, out, self.now);
                }
                self.trace.say(self.now, || {
                    let nodes = view.nodes.iter().flatten().map(|n| {
                        let flags = if n.failed {
                            " FAIL"
                        } else if n.suspected {
                            " PFAIL"
                        } else {
                            ""
                        };
                        format!("{}{flags} @{:?} {:?}", n.id, n.epoch, n.slots)
                    });
                    let nodes: Vec<String> = nodes.collect();
                    format!("router {r} heard the view of {:?} of {:?}: {}", view.by, view.asked_at, nodes.join(", "))
                });
                self.routers[r].cluster.handle_view(round, *view, now);
                self.note_take_up(r);
            }
            None => self.routers[r].cluster.handle_no_view(loading.then_some(&ErrorReply::Unwilling)),
        }
        let router = &mut self.routers[r];
        if router.round_left.0 == round {
            router.round_left.1 = router.round_left.1.saturating_sub(1);
            if router.round_left.1 == 0 {
                router.cluster.handle_refresh_done(round, now);
                self.note_take_up(r);
                self.check.round_done(r, self.now);
            }
        }
        self.check.verdicts(r, &self.routers[r], &self.model, self.now);
        self.settle(r, true);
    }

    /// Whether a word comes from a cluster that is not this router's: nothing of it is to be heeded.
    fn is_foreign(&self, r: usize, by: Option<&str>) -> bool {
        let group = by.map(|id| self.model.nodes[number_of(id)].group);
        group.is_some_and(|group| group == STRANGERS || (self.check.moved_on(r) && group != self.model.ours))
    }

    /// Whether a view names a node of the cluster that is in the place of the first one.
    fn is_others(&self, view: &View) -> bool {
        let ours = self.model.ours;
        ours != 0 && view.nodes.iter().flatten().any(|n| self.model.nodes[number_of(&n.id)].group == ours)
    }

    /// Whether the router has just taken that cluster up.
    fn note_take_up(&mut self, r: usize) {
        let ours = self.model.ours;
        if ours == 0 || self.check.moved_on(r) {
            return;
        }
        let group = |id: &str| self.model.nodes[number_of(id)].group;
        if self.routers[r].cluster.members().any(|(_, _, id)| id.is_some_and(|id| group(id) == ours)) {
            self.check.took_up(r, self.now);
        }
    }

    pub(super) fn on_probed(&mut self, r: usize, probe: Probe) {
        if let Some(at) = self.routers[r].cluster.endpoint(probe.node).map(address) {
            let out = self.routers[r].cluster.verdict(probe.node) == Some(Verdict::Minority);
            let said = probe.report.as_ref().ok().and_then(|r| r.id.as_deref());
            let foreign = self.is_foreign(r, said);
            let witness = probe.witness.as_ref().is_none_or(|view| !self.is_foreign(r, view.by.as_deref()));
            let known = self.routers[r].cluster.id(probe.node);
            let ours = known.is_none() || said.is_none() || known == said;
            let alone = self.routers[r].members.iter().flatten().count() == 1;
            self.check.heard_probe(r, &probe, Heed { out, ours, foreign, witness, alone, at }, self.now);
        }
        let words = self.trace.lines.is_some().then(|| format!("{probe:?}"));
        let node = probe.node;
        let admitted = self.routers[r].cluster.admits(node);
        self.routers[r].cluster.handle_probe(probe, instant(self.now));
        if !admitted && self.routers[r].cluster.admits(node) {
            self.check.cleared(r, node, self.now);
        }
        self.check.verdicts(r, &self.routers[r], &self.model, self.now);
        if let Some(words) = words {
            let admits = self.routers[r].cluster.admits(node);
            self.trace.say(self.now, || format!("router {r} heard {words}: admitted {admits}"));
        }
        self.settle(r, true);
    }
}
