//! The limits of loads and of callers, and callers that go away.

use super::running::Place;
use super::state::Failure;
use crate::model::{MS, Time};
use crate::plan::{End, Fault};
use crate::sim::{Sim, instant};
use failsoft_policy::load::Ending;

impl Sim<'_> {
    /// Carries out the limits of the loads that are due; when the next one is.
    pub(super) fn expire(&mut self, r: usize) -> Option<Time> {
        let now = instant(self.now);
        let router = &mut self.routers[r];
        let due = router.loads.expire(now);
        due.dropped.iter().for_each(|load| drop(router.results.remove(load)));
        // All that are late have lost their flights at once, before any caller goes on.
        let mut over = Vec::new();
        for late in due.timed_out {
            let router = &mut self.routers[r];
            let limit = router.config.load_timeout().as_nanos() as Time;
            let mut excused = true;
            if let Some(running) = router.running.get_mut(&late) {
                running.timed_out = true;
                excused = self.now - running.began >= limit;
                self.check.load_detached(r, running);
            }
            self.trace.say(self.now, || format!("router {r}: {:?} has reached its limit", late));
            self.check.that(excused, || format!("router {r}: {:?} was given up before its limit", late));
            let waiters =
                self.routers[r].callers.iter().flatten().filter(|c| c.awaited.iter().any(|a| a.0 == late)).count();
            over.extend(self.tell(r, late, (&Err(Failure::LoadTimeout), Ending::Failed, self.now), excused, waiters));
        }
        self.rounds_over(r, over);
        self.shed_line(r);
        for load in due.stop {
            self.abort(r, load);
        }
        self.routers[r].loads.next_timeout().map(failsoft_policy::Instant::as_nanos)
    }

    pub(super) fn on_cancelled(&mut self, r: usize, id: u32, serial: u32) {
        self.drop_caller(r, id, serial, Failure::Cancelled);
        self.settle(r, false);
    }

    pub(super) fn on_deadline(&mut self, r: usize, id: u32, serial: u32) {
        self.drop_caller(r, id, serial, Failure::Deadline);
        self.settle(r, false);
    }

    /// A caller goes away, with all that it began.
    pub(super) fn drop_caller(&mut self, r: usize, id: u32, serial: u32, failure: Failure) {
        let router = &mut self.routers[r];
        let there = router.callers.get_mut(id as usize).and_then(Option::as_mut).filter(|c| c.serial == serial);
        let Some(caller) = there else { return };
        let excused =
            failure != Failure::Deadline || router.suspended != caller.suspended_before || !self.had_time(r, id);
        let router = &mut self.routers[r];
        let Some(caller) = router.callers[id as usize].as_mut() else { return };
        (caller.failure, caller.excused) = (Some(failure), excused);
        let waiter = caller.waiter.take();
        self.drop_calls(r, |call| call.caller == id);
        if let Some(waiter) = waiter {
            self.leave(r, waiter);
        }
        self.end_caller(r, id);
    }

    /// Whether a caller's own callback would have answered in time: half of a call's deadline is the callback's.
    fn had_time(&self, r: usize, id: u32) -> bool {
        let Some(caller) = &self.routers[r].callers[id as usize] else { return false };
        let (Some(callback), Some(deadline)) = (caller.callback, caller.deadline) else { return false };
        let answers = matches!(callback.end, End::Value | End::Absent) && callback.asks == [None, None];
        // Loads of others, and a store that is slow, take what time they take.
        let running = |load| self.routers[r].running.get(&load);
        let at_once = |load| running(load).is_none_or(|l| !l.waited && l.place != Place::Line);
        let own = caller.awaited.iter().all(|a| Some(a.0) == caller.led && at_once(a.0));
        let slow = self.plan.faults.iter().any(|f| matches!(f.fault, Fault::SlowStore { .. }));
        answers && own && caller.rounds <= 1 && !slow && callback.takes + 2 * MS < (deadline - caller.began) / 2
    }
}
