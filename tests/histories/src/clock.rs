//! The one clock of all processes of this machine.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of `CLOCK_MONOTONIC`, which is the same in every process here, also in those of other languages.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // Time since the machine was started: neither part is below zero.
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000
}

/// Milliseconds as microseconds.
pub(crate) const fn millis(ms: u64) -> u64 {
    ms * 1_000
}
