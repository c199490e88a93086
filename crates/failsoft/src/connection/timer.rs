//! The one timer of a lane, on a grid of 5 ms: deadlines are kept without a timer per request.

use crate::clock::Clock;
use failsoft_policy::Instant;
use std::pin::Pin;
use std::task::Context;
use tokio::time::Sleep;

/// Timers fire on multiples of this, so that near deadlines share one.
const GRID_NANOS: u64 = 5_000_000;

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

    /// When it will fire; [`Instant::MAX`] if it is not set.
    pub(super) fn armed(&self) -> Instant {
        self.armed
    }

    /// True once after it fired; it is not set any more then.
    pub(super) fn fired(&mut self, now: Instant) -> bool {
        let fired = self.armed != Instant::MAX && (now >= self.armed || self.sleep.is_elapsed());
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
