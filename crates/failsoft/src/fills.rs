//! Writes loaded values back in the background, as many at a time as the policy lets through.

use crate::panics;
use crate::shared::Shared;
use crate::{tending, writes};
use bytes::Bytes;
use failsoft_policy::NodeKey;
use failsoft_policy::fills::{Fill, Fills as Lines, Offer, time_to_live};
use failsoft_policy::lease::Lease;
use failsoft_policy::write::Cause;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What is written back.
struct Pair {
    key: Bytes,
    value: Bytes,
    ttl: Duration,
    /// How long its load took.
    took: Duration,
    lease: Lease,
}

/// The fills of a router that wait or are under way.
#[derive(Default)]
pub(crate) struct Fills {
    lines: Mutex<Lines<Pair>>,
    /// Told when the last one has ended.
    idle: Notify,
}

impl Fills {
    fn lock(&self) -> MutexGuard<'_, Lines<Pair>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until none waits or is under way.
    pub(crate) async fn done(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            // From here on no end is missed.
            idle.as_mut().enable();
            if self.lock().is_idle() {
                return;
            }
            idle.await;
        }
    }
}

/// Loaded values with their keys, and the leases that their load took, or why it has none; how long they live, and how long
/// their load took.
pub(crate) fn offer(
    shared: &Arc<Shared>,
    values: impl Iterator<Item = (Bytes, Bytes, Result<Lease, Cause>)>,
    (ttl, took): (Duration, Duration),
) {
    let deadline = shared.now() + shared.config().deadline();
    for (value, key, lease) in values {
        let lease = match lease {
            Ok(lease) => lease,
            Err(cause) => {
                shared.tally.fill(Some(cause));
                continue;
            }
        };
        let ttl = time_to_live(ttl, shared.config().ttl_jitter(), fastrand::u32(..));
        let over = lease.over.as_ref().map_or(0, Bytes::len);
        let (node, bytes) = (lease.lessor.node, key.len() + value.len() + over);
        let offer =
            shared.fills.lock().offer(Fill { node, deadline, bytes, what: Pair { key, value, ttl, took, lease } });
        match offer {
            Offer::Write(fill) => {
                let worker = Worker { shared: Arc::clone(shared), node };
                // A closed router writes nothing any more.
                shared.spawn(worker.write(fill));
            }
            Offer::Waits => {}
            Offer::Dropped(fill) => {
                shared.tally.fill(Some(Cause::Busy));
                tending::release(shared, vec![(fill.what.key, fill.what.lease)]);
            }
        }
    }
}

/// One of those who write to a node, one value after the other.
struct Worker {
    shared: Arc<Shared>,
    node: NodeKey,
}

impl Worker {
    async fn write(self, first: Fill<Pair>) {
        let mut next = Some(first);
        while let Some(Fill { bytes, deadline, what, .. }) = next {
            let Pair { key, value, ttl, took, lease } = what;
            let filled = writes::fill(&self.shared, (&key, &value), ttl, &lease, deadline);
            // A panic is a defect, which must not take the place of this worker away. An error means that the
            // router was closed.
            match panics::caught(filled).await {
                Ok(Ok(written)) => {
                    if written.is_ok() {
                        let now = self.shared.now();
                        self.shared.memory.filled(&key, self.node, took, now + ttl, now);
                    }
                    self.shared.tally.fill(written.err());
                    if written.is_err() {
                        tending::release(&self.shared, vec![(key, lease)]);
                    }
                }
                Ok(Err(_)) => {}
                Err(_) => self.shared.tally.panicked(),
            }
            next = self.written(bytes);
        }
    }

    fn written(&self, bytes: usize) -> Option<Fill<Pair>> {
        let mut late = Vec::new();
        let (next, idle) = {
            let mut lines = self.shared.fills.lock();
            let next = lines.written(self.node, bytes, self.shared.now(), &mut late);
            (next, lines.is_idle())
        };
        for _ in &late {
            self.shared.tally.fill(Some(Cause::Busy));
        }
        tending::release(&self.shared, late.into_iter().map(|fill| (fill.what.key, fill.what.lease)).collect());
        if idle {
            self.shared.fills.idle.notify_waiters();
        }
        next
    }
}
