//! What a node says of itself, and how far a replica has come by that.

use super::Node;
use crate::nodes::step::{Mark, Step};
use crate::time::Instant;
use crate::view::{NodeReport, Role};
use core::time::Duration;

/// The servers cut off the seconds for which a link has been down: it may be so much longer.
const CUT_OFF: Duration = Duration::from_secs(1);

impl Node {
    /// Its last report.
    pub fn report(&self) -> &NodeReport {
        &self.report
    }

    /// When that was asked for.
    pub fn looked_at(&self) -> Option<Instant> {
        self.looked_at
    }

    /// When that came; before the first one, when the node became known.
    pub fn reported_at(&self) -> Instant {
        self.reported_at
    }

    /// Round-trip time of the last probe.
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// The highest epoch that it was last heard to have seen (`cluster_current_epoch`).
    pub fn current_epoch(&self) -> Option<u64> {
        self.current_epoch
    }

    /// It has seen this epoch, if it says so.
    pub fn note_current_epoch(&mut self, epoch: Option<u64>) {
        self.current_epoch = epoch.or(self.current_epoch);
    }

    /// What it said of itself, asked at `sent_at`.
    pub fn take_report(&mut self, report: NodeReport, sent_at: Instant, now: Instant) {
        if report.link_up == Some(true) {
            self.linked_at = self.linked_at.max(Some(sent_at));
        }
        // A counter that is lower than before is another process's.
        if matches!((report.evicted, self.report.evicted), (Some(now), Some(before)) if now > before) {
            self.evicting_at = Some(sent_at);
        }
        self.report = report;
        self.latency = Some(now.since(sent_at));
        self.looked_at = self.looked_at.max(Some(sent_at));
        self.reported_at = now;
    }

    /// When it was last seen to have evicted keys since the look before.
    pub fn evicting_at(&self) -> Option<Instant> {
        self.evicting_at
    }

    /// When the link of a replica to its primary broke, at the earliest: it told for how long it has been down, in
    /// whole seconds that are cut off, and before that it may have said that it was up. None if nobody can say.
    pub fn link_broke_at(&self) -> Option<Instant> {
        let (down, looked_at) = (self.report.link_down_for?, self.looked_at?);
        // Before the clock's origin there is no instant.
        let ago = |time: Duration| (looked_at.since(Instant::ZERO) >= time).then(|| looked_at - time);
        let linked = self.linked_at.filter(|&at| ago(down) >= Some(at));
        ago(down + CUT_OFF).max(linked)
    }

    /// Where it stands in the stream of writes that it sends or copies, by its report.
    pub fn mark(&self) -> Option<Mark> {
        Some(Mark { offset: self.report.offset?, history: self.report.history })
    }

    /// A primary's offset, asked for at `at`; whether its replicas may be compared with it as they are.
    pub fn sample_offset(&mut self, at: Instant, mark: Mark) -> bool {
        self.offsets.sample(at, mark)
    }

    /// Whether a replica can be compared with it.
    pub fn has_offsets(&self) -> bool {
        !self.offsets.is_empty()
    }

    /// For a replica: how far it had come when it was last compared with its primary.
    pub fn step(&self) -> Step {
        self.step
    }

    /// How far it has come by its report, compared with `primary`; by the report before it was at the mark `before`.
    pub fn step_behind(&self, primary: &Self, before: Option<Mark>) -> Step {
        self.mark().map_or(Step::Unmeasured, |mark| primary.offsets.step_of(mark, self.step, before))
    }

    /// It has been compared.
    pub fn set_step(&mut self, step: Step) {
        self.step = step;
    }

    /// Whether its own word fits what the views say of it: its role, and as a primary its epoch, where the views
    /// have any.
    pub fn agrees(&self) -> bool {
        let primary = self.role == Role::Primary;
        let fits = |epoch| epoch == self.epoch || self.epoch == 0;
        self.report.primary == primary && (!primary || self.report.my_epoch.is_none_or(fits))
    }

    /// Whether this report is another one's: it has another id, or none and no cluster mode, though this node has named
    /// itself before.
    pub fn is_not(&self, report: &NodeReport) -> bool {
        let other = self.id.is_some() && report.id.is_some() && self.id != report.id;
        other || (report.standalone && self.names_itself)
    }
}
