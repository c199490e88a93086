//! Processor time of this process.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Processor time that all threads of this process have used so far.
pub(crate) fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), u32::try_from(spent.tv_nsec).unwrap_or(0))
}
