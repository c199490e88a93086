//! The one timer of a lane, on a grid of 5 ms: deadlines are kept without a timer per request.

use crate::clock::Clock;
use failsoft_policy::Instant;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;
use tokio::time::Sleep;

/// Timers fire on multiples of this, so that near deadlines share one.
const GRID_NANOS: u64 = 5_000_000;
const GRID: Duration = Duration::from_nanos(GRID_NANOS);

pub(super) struct Timer {
    clock: Clock,
    sleep: Pin<Box<Sleep>>,
    armed: Instant,
}

impl Timer {
    /// Must be made inside a runtime.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, sleep: Box::pin(tokio::time::sleep_until(clock.std(Instant::MAX))), armed: Instant::MAX }
    }

    /// Deadlines from here on are covered: the timer fires on the first point of the grid after this one, or it is
    /// not set and only "no limit" is covered.
    pub(super) fn covers(&self) -> Instant {
        self.armed - GRID
    }

    /// True once after it fired; it is not set any more then. If it did not, it wakes the task of `cx`.
    pub(super) fn fired(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let fired = self.armed != Instant::MAX && (now >= self.armed || self.sleep.as_mut().poll(cx).is_ready());
        if fired {
            self.armed = Instant::MAX;
        }
        fired
    }

    /// Sets it to the first point of the grid that is after `at`, to wake the task of `cx`.
    pub(super) fn arm(&mut self, at: Instant, cx: &mut Context<'_>) {
        self.armed = Instant::from_nanos((at.as_nanos() / GRID_NANOS).saturating_add(1).saturating_mul(GRID_NANOS));
        self.sleep.as_mut().reset(self.clock.std(self.armed));
        if self.sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}
