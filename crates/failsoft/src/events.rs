//! Delivers events for operators to the router's observer. The policy decides which events, and how often.

use crate::shared::Shared;
use failsoft_policy::events::{Event, Journal};
use failsoft_policy::{Instant, Kind};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The shortest time between two looks at the nodes, where many of them change.
const LOOK: Duration = Duration::from_millis(100);

/// The function that gets the events.
#[derive(Clone)]
pub(crate) struct Observer(pub(crate) Arc<dyn Fn(&Event) + Send + Sync>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// What the conductor keeps for its observer.
pub(crate) struct Watch {
    observer: Observer,
    journal: Journal,
    next: Instant,
}

impl Watch {
    pub(crate) fn new(shared: &Shared) -> Option<Self> {
        let observer = shared.opener.observer.clone()?;
        Some(Self { observer, journal: Journal::default(), next: shared.now() })
    }

    /// Looks at what has changed and delivers what is due; returns the time of the next look if this one was too early.
    pub(crate) fn look(&mut self, shared: &Shared) -> Option<Instant> {
        let now = shared.now();
        if now < self.next {
            return Some(self.next);
        }
        self.next = now + LOOK;
        let report = shared.conduct(|cluster, now| cluster.report(now));
        self.journal.nodes(&report.nodes);
        self.journal.without_view(match report.kind {
            Kind::Unknown => shared.control.reasons(),
            Kind::Cluster | Kind::Standalone => BTreeMap::new(),
        });
        for (cause, count) in shared.tally.skipped() {
            self.journal.fills(cause, count);
        }
        let store = shared.loads.store(now);
        self.journal.store(store.trouble, store.opened);
        self.journal.store_pace(store.slow, store.slowed);
        self.journal.panics(shared.tally.panics());
        for event in self.journal.due(now) {
            // A panic in the observer must not end the conductor.
            let _ = catch_unwind(AssertUnwindSafe(|| (self.observer.0)(&event)));
        }
        None
    }
}
