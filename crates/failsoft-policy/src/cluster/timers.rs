//! The timers of a cluster that are no node's: each is off, or due at one moment.
//!
//! When a node is due stands in the agenda of [`crate::nodes`], which has thousands. When views are asked for stands in
//! [`crate::refresh`]: it is worked out from what is wished for, the round under way and a pause that grows, and no event
//! could set it once.

use crate::time::Instant;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The end of the time for which reads wait for the very first view.
    Starting,
    /// At the start: the answers of the first seeds decide, without those that are still to come.
    Election,
    /// The routes are worked out again, because answers of replicas have become younger.
    Ages,
}

impl Timer {
    const ALL: [Self; 3] = [Self::Starting, Self::Election, Self::Ages];
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    /// When a timer is due; none if it is off.
    pub(super) fn get(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    /// Sets a timer, unless it is set already.
    pub(super) fn start(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize].get_or_insert(at);
    }

    /// Turns a timer off; true if it was set.
    pub(super) fn stop(&mut self, timer: Timer) -> bool {
        self.0[timer as usize].take().is_some()
    }

    /// A timer that is due, which is off from now on.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Timer> {
        let due = Timer::ALL.into_iter().find(|&timer| self.get(timer).is_some_and(|at| at <= now))?;
        self.stop(due);
        Some(due)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Instant {
        Instant::from_millis(n)
    }

    #[test]
    fn a_timer_that_runs_is_not_set_anew_and_goes_off_once() {
        let mut timers = Timers::default();
        timers.start(Timer::Ages, ms(50));
        timers.start(Timer::Ages, ms(90));
        timers.start(Timer::Starting, ms(20));
        assert_eq!((timers.next(), timers.expire(ms(19))), (Some(ms(20)), None));
        assert_eq!((timers.expire(ms(60)), timers.expire(ms(60))), (Some(Timer::Starting), Some(Timer::Ages)));
        assert_eq!((timers.expire(ms(60)), timers.next()), (None, None));
        timers.start(Timer::Election, ms(1));
        assert!(timers.stop(Timer::Election) && !timers.stop(Timer::Election));
    }
}
