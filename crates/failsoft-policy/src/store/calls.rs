//! The calls of the store that run now, by their age.

use super::window::{Seen, Window};
use crate::flight::LoadId;
use crate::load::Ending;
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

/// What the end of a call says of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) latency: Duration,
    pub(super) seen: Seen,
}

/// See the module. As many as there are callbacks that run.
#[derive(Debug)]
pub(super) struct Calls {
    slo: Option<Duration>,
    timeout: Duration,
    began: BTreeMap<LoadId, Instant>,
    /// Those within the objective when last looked at, and those that had passed it.
    young: BTreeSet<(Instant, LoadId)>,
    old: BTreeSet<(Instant, LoadId)>,
}

impl Calls {
    pub(super) fn new(slo: Option<Duration>, timeout: Duration) -> Self {
        Self { slo, timeout, began: BTreeMap::new(), young: BTreeSet::new(), old: BTreeSet::new() }
    }

    pub(super) fn begin(&mut self, load: LoadId, now: Instant) {
        self.began.insert(load, now);
        self.young.insert((now, load));
    }

    /// A load has ended; nothing if its call does not run, or says nothing of the store.
    pub(super) fn end(&mut self, load: LoadId, ending: Ending, now: Instant) -> Option<Ended> {
        let began = self.forget(load)?;
        let latency = now.since(began);
        let slow = self.slo.is_some_and(|slo| latency > slo);
        let failed = match ending {
            Ending::Loaded { .. } | Ending::Unusable => false,
            Ending::Failed => true,
            // It was stopped, or its loop is gone: that is no failure. But what had taken too long by then was slow.
            Ending::Gone | Ending::Shed if slow => false,
            Ending::Gone | Ending::Shed => return None,
        };
        Some(Ended { latency, seen: Seen { calls: 1, failures: failed.into(), slow: slow.into() } })
    }

    /// Nothing follows from how this call ends. When it began.
    pub(super) fn forget(&mut self, load: LoadId) -> Option<Instant> {
        let began = self.began.remove(&load)?;
        let _ = self.young.remove(&(began, load)) || self.old.remove(&(began, load));
        Some(began)
    }

    pub(super) fn forget_all(&mut self) {
        self.began.clear();
        self.young.clear();
        self.old.clear();
    }

    /// A call that has outlasted its limit: it has failed, however it ends.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(LoadId, Ended)> {
        while let Some(slo) = self.slo
            && let Some(&(began, load)) = self.young.first()
            && began + slo < now
        {
            self.young.pop_first();
            self.old.insert((began, load));
        }
        let (began, load) = self.oldest().filter(|(began, _)| *began + self.timeout <= now)?;
        self.forget(load);
        let slow = self.slo.is_some_and(|slo| self.timeout > slo);
        Some((load, Ended { latency: now.since(began), seen: Seen { calls: 1, failures: 1, slow: slow.into() } }))
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.oldest().map(|(began, _)| began + self.timeout)
    }

    /// What ended in the window, and what has passed the objective and runs on; as many seconds as it takes for enough.
    pub(super) fn seen_with_running(&self, window: &Window, enough: u64, now: Instant) -> Seen {
        let running = self.old.len() as u64;
        let mut seen = window.seen(enough.saturating_sub(running), now);
        seen += Seen { calls: running, failures: 0, slow: running };
        seen
    }

    /// The same, with the latency that 95 of 100 of them do not exceed so far.
    pub(super) fn with_running(&self, window: &Window, enough: u64, now: Instant) -> (Seen, Option<Duration>) {
        let mut latencies = window.latencies(enough.saturating_sub(self.old.len() as u64), now);
        self.old.iter().for_each(|(began, _)| latencies.note(now.since(*began)));
        (self.seen_with_running(window, enough, now), latencies.p95())
    }

    fn oldest(&self) -> Option<(Instant, LoadId)> {
        self.old.first().into_iter().chain(self.young.first()).min().copied()
    }
}
