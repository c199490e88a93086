//! Loads that are shed to spare the store, and whether there was any reason to.

use super::running::Running;
use super::state::Failure;
use crate::model::Time;
use crate::sim::Sim;
use failsoft_policy::load::{Ending, LONGEST_LINE};
use failsoft_policy::store::ShedCause;

impl Sim<'_> {
    /// The loads that waited in line when the breaker opened: their callers hear of it.
    pub(super) fn shed_line(&mut self, r: usize) {
        let mut over = Vec::new();
        for load in self.routers[r].loads.shed() {
            self.check_shed(r, ShedCause::BreakerOpen);
            let Some(running) = self.routers[r].running.remove(&load) else { continue };
            self.trace.say(self.now, || format!("router {r}: {load:?} is shed"));
            self.check.load_ends(r, &running);
            let waiting = self.routers[r].callers.iter().flatten();
            let waiting = waiting.filter(|c| c.awaited.iter().any(|a| a.0 == load)).count();
            over.extend(self.tell(r, load, (&Err(Failure::Shed), Ending::Shed, self.now), true, waiting));
        }
        self.rounds_over(r, over);
    }

    /// A load is over: was it a bad one?
    pub(super) fn note_end(&mut self, r: usize, running: &Running, failed: bool) {
        let bad = failed || self.is_slow(r, running);
        self.routers[r].bad_loads += u64::from(bad);
    }

    /// Nobody is sent away by a store of which all is well: of twenty calls two have to be slow, or ten to fail.
    pub(super) fn check_shed(&mut self, r: usize, cause: ShedCause) {
        let router = &self.routers[r];
        let running = router.running.values().filter(|running| self.is_slow(r, running)).count() as u64;
        let (bad, line) = (router.bad_loads + running, router.loads.queued());
        let due = match cause {
            ShedCause::BreakerOpen => bad >= 2,
            ShedCause::QueueFull => line >= LONGEST_LINE,
        };
        self.check.that(due, || format!("router {r}: {cause}, but {bad} loads were bad, and {line} wait"));
    }

    fn is_slow(&self, r: usize, running: &Running) -> bool {
        let slo = self.routers[r].config.slo();
        // One that outlasts its limit has failed.
        running.timed_out || slo.is_some_and(|slo| self.now - running.began > slo.as_nanos() as Time)
    }
}
