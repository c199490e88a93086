//! What must hold of the loads: one for a key, within their time, and for somebody.

use super::Check;
use crate::model::{KEYS, MS, Time};
use crate::router::{Place, Router, Running};

impl Check {
    /// A callback begins: nobody else in this process loads one of its keys.
    pub(crate) fn load_begins(&mut self, r: usize, keys: &[u8]) {
        for &key in keys {
            let loading = &mut self.routers[r].loading;
            let twice = loading.contains(&key);
            loading.push(key);
            self.that(!twice, || format!("router {r} runs two loads of key {key} at a time"));
        }
        let all = self.routers[r].loading.len();
        self.that(all <= KEYS, || format!("router {r}: {all} loads hold keys"));
    }

    /// A callback ended, or was stopped.
    pub(crate) fn load_ends(&mut self, r: usize, running: &Running) {
        if !running.timed_out {
            self.routers[r].loading.retain(|l| !running.holds(*l));
        }
    }

    /// Another load of this key may begin.
    pub(crate) fn load_let_go(&mut self, r: usize, key: u8) {
        self.routers[r].loading.retain(|l| *l != key);
    }

    /// A load reached its limit: its keys are free for another one.
    pub(crate) fn load_detached(&mut self, r: usize, running: &Running) {
        self.routers[r].loading.retain(|l| !running.holds(*l));
    }

    /// No callback runs for nobody, or for longer than twice its limit.
    pub(super) fn loads_in_bounds(&mut self, r: usize, router: &Router, now: Time) {
        let limit = router.config.load_timeout().as_nanos() as Time;
        for (load, running) in &router.running {
            let awaited = router.callers.iter().flatten().any(|c| c.awaited.iter().any(|a| a.0 == *load));
            self.that(running.timed_out || awaited, || format!("router {r}: {load:?} runs for nobody"));
            let paused = router.suspended - running.suspended_before;
            let most = if running.timed_out { 2 * limit } else { limit } + paused;
            let lasted = now - running.began;
            self.that(lasted <= most, || {
                format!("router {r}: {load:?} runs for {} ms, not {} ms at the most", lasted / MS, most / MS)
            });
        }
        let limit = router.config.max_concurrent_loads() as usize;
        let of = |place| router.running.values().filter(|l| l.place == place).count();
        let (counted, beside, line) = (of(Place::Counted), of(Place::Beside), of(Place::Line));
        self.that(counted <= limit, || format!("router {r}: {counted} loads run, not {limit} at the most"));
        self.that(line == 0 || counted + beside >= limit, || {
            format!("router {r}: {line} loads wait, though only {} of {limit} run", counted + beside)
        });
        self.that(line == router.loads.queued(), || {
            format!("router {r}: {line} loads wait, not {}", router.loads.queued())
        });
        let counts = router.loads.counts();
        let mine = router.running.values().filter(|l| !l.timed_out).count();
        self.that(counts.loads == mine, || format!("router {r}: {} loads are known, {mine} run", counts.loads));
        let waiting = router.callers.iter().flatten().filter(|c| !c.awaited.is_empty()).count();
        self.that(counts.waiters == waiting, || {
            format!("router {r}: {} waiters are known, {waiting} wait", counts.waiters)
        });
    }
}
