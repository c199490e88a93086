//! One node: who it is, how it stands with us, and what is known of its state.

use super::schedule::Schedule;
use super::standing::{Standing, Trouble};
use super::step::{Mark, Offsets, Step};
use crate::breaker::Admission;
use crate::partition::Verdict;
use crate::time::Instant;
use crate::view::{NodeReport, Role};
use crate::words::{Endpoint, NodeKey};
use alloc::string::String;
use core::time::Duration;

/// The servers cut off the seconds for which a link has been down: it may be so much longer.
const CUT_OFF: Duration = Duration::from_secs(1);

/// One known node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name in the policy.
    pub key: NodeKey,
    /// Its node id; none for a server without cluster mode, or known from a redirect alone.
    pub id: Option<String>,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Its role by the newest view.
    pub role: Role<NodeKey>,
    /// The highest config epoch known of it.
    pub epoch: u64,
    /// When the newest view that names it was asked for.
    pub seen_at: Instant,
    /// Whether the cluster counts it as failed.
    pub failed: bool,
    /// On which side of a partition it is.
    pub verdict: Verdict,
    /// When the ballots were asked for that last put it with the majority.
    pub vouched_at: Option<Instant>,
    /// The highest epoch that it was last heard to have seen (`cluster_current_epoch`).
    pub current_epoch: Option<u64>,
    /// Whether its last probe was answered.
    pub heard: bool,
    /// Whether all seemed well with it in its last probe: it was ready, reached everybody, and agreed
    /// with the views.
    pub seems_well: bool,
    /// When what it last answered had been sent to it.
    pub contact: Option<Instant>,
    /// Its last report.
    pub report: NodeReport,
    /// When that was asked for.
    pub looked_at: Option<Instant>,
    /// When that came.
    pub reported_at: Instant,
    /// Round-trip time of the last probe.
    pub latency: Option<Duration>,
    standing: Standing,
    /// When it was last let in again after trouble.
    readmitted_at: Option<Instant>,
    schedule: Schedule,
    /// Whether it has said itself, at this address, that it is this node.
    identified: bool,
    /// Whether it ever said so anywhere: some servers have no command for it.
    names_itself: bool,
    /// Whether its own word and a view agree that it is the primary it is taken for.
    proved: bool,
    /// For a replica: how far it had come when it was last compared with its primary.
    step: Step,
    /// For a replica: when it was last asked and said that its link to its primary was up.
    linked_at: Option<Instant>,
    /// A primary's offsets.
    offsets: Offsets,
}

impl Node {
    pub(super) fn new(key: NodeKey, id: Option<String>, endpoint: Endpoint, role: Role<NodeKey>, now: Instant) -> Self {
        Self {
            key,
            id,
            endpoint,
            role,
            epoch: 0,
            seen_at: now,
            failed: false,
            verdict: Verdict::Majority,
            vouched_at: None,
            current_epoch: None,
            heard: false,
            seems_well: false,
            contact: None,
            report: NodeReport::default(),
            looked_at: None,
            reported_at: now,
            latency: None,
            standing: Standing::default(),
            readmitted_at: None,
            schedule: Schedule::new(now),
            identified: false,
            names_itself: false,
            proved: false,
            step: Step::default(),
            linked_at: None,
            offsets: Offsets::default(),
        }
    }

    /// How many of its reads its breaker lets through.
    pub fn admission(&self) -> Admission {
        self.standing.admission()
    }

    /// Whether it lets any through.
    pub fn admits(&self) -> bool {
        self.admission() != Admission::Closed
    }

    /// Why it does not get all its reads.
    pub fn trouble(&self) -> Option<Trouble> {
        self.standing.trouble()
    }

    /// Whether it does not get all its reads.
    pub fn is_in_trouble(&self) -> bool {
        self.trouble().is_some()
    }

    /// Its breaker in a word: `closed`, `open`, `half_open` or `readmitting`.
    pub fn breaker(&self) -> &'static str {
        self.standing.as_str()
    }

    /// It failed; true if it gets fewer reads from now on.
    pub fn fail(&mut self, trouble: Trouble) -> bool {
        self.standing.fail(trouble)
    }

    /// It was voted out; true if that is news.
    pub fn quarantine(&mut self, now: Instant) -> bool {
        let news = self.standing.quarantine(now);
        self.proved &= !news;
        news
    }

    /// Moves its readmission on; true if that changed how many reads it gets.
    pub fn step_on(&mut self, now: Instant) -> bool {
        self.standing.step_on(now)
    }

    /// While it gets no reads: since when it has been ready to serve, by its own word.
    pub fn ready_at(&self) -> Option<Instant> {
        self.standing.ready_at()
    }

    /// By its own word it is ready to serve, or not.
    pub fn note_ready(&mut self, ready: bool, now: Instant) {
        self.standing.note_ready(ready, now);
    }

    /// Whether a probe is under way.
    pub fn is_probed(&self) -> bool {
        self.schedule.is_under_way()
    }

    /// A routine probe is due at this time at the latest.
    pub fn probe_by(&mut self, at: Instant) {
        self.schedule.by(at);
    }

    /// A probe is sent, which takes no longer than `limit`; the next one is due after `pause`.
    pub fn start_probe(&mut self, now: Instant, pause: Duration, limit: Duration) {
        self.standing.take_probe(now);
        self.schedule.send(now, pause, limit);
    }

    /// The probe under way has come to an end; what it means for a node in trouble is told by [`Self::clear`]. False if
    /// it went to an address where the node is not any more, and so says nothing of it.
    pub fn end_probe(&mut self) -> bool {
        self.schedule.end()
    }

    /// The node in trouble has `passed` its probe, or not.
    pub fn clear(&mut self, passed: bool, now: Instant) {
        let before = self.admits();
        self.standing.end_probe(passed, now);
        if !before && self.admits() {
            self.readmitted_at = Some(now);
        }
    }

    /// Whether that something failed which was sent to it at `sent_at` is old news: it was let in again since. And where
    /// nothing came back at all (`lost`), it has answered a later question, so that its connection was to blame.
    pub fn has_outlived(&self, sent_at: Instant, lost: bool) -> bool {
        self.readmitted_at > Some(sent_at) || (lost && self.contact > Some(sent_at))
    }

    /// When it is to be probed next: routinely, or by its breaker while that lets no reads through.
    pub fn probe_due(&self) -> Option<Instant> {
        self.schedule.next((!self.admits()).then(|| self.standing.next_timeout()))
    }

    /// When it has to be looked at next: for a probe, or for the next step of its readmission.
    pub fn due(&self) -> Option<Instant> {
        let step = self.standing.next_timeout().filter(|_| self.admits());
        [self.probe_due(), step].into_iter().flatten().min()
    }

    /// A write waits for it to prove itself: it is probed soon, but not again and again.
    pub fn want_proof(&mut self, turn: Duration, now: Instant) {
        self.schedule.want(turn, now);
    }

    /// Whether a probe that is due has to wait for its turn first. What somebody waits for takes a short one:
    /// whether a node that was just well has really failed, and the proof that a write needs.
    pub fn hold_back(&mut self, turn: Duration, now: Instant, dice: u32) -> bool {
        let first = self.trouble().is_some_and(|t| t.sudden) && self.standing.failed_once();
        self.schedule.hold_back(turn, first, now, dice)
    }

    /// Whether it holds its address: it has named itself there, and gets reads.
    pub fn is_at_home(&self) -> bool {
        self.identified && self.admits()
    }

    /// It has named itself at its address.
    pub fn identify(&mut self) {
        (self.identified, self.names_itself) = (true, true);
    }

    /// Whether this report is another one's: it has another id, or none and no cluster mode, though this node has named
    /// itself before.
    pub fn is_not(&self, report: &NodeReport) -> bool {
        let other = self.id.is_some() && report.id.is_some() && self.id != report.id;
        other || (report.standalone && self.names_itself)
    }

    /// Another one answers at its address.
    pub fn lose_address(&mut self, now: Instant) {
        (self.identified, self.proved) = (false, false);
        self.standing.note_ready(false, now);
    }

    /// It listens elsewhere: who answers there has to say that it is this node.
    pub fn move_to(&mut self, endpoint: Endpoint) {
        self.endpoint = endpoint;
        self.identified = false;
        self.schedule.mislead();
    }

    /// Whether its own word and a view agree that it is the primary it is taken for.
    pub fn is_proved(&self) -> bool {
        self.proved
    }

    /// Its own word and a view agree on that, or not.
    pub fn prove(&mut self, proved: bool) {
        self.proved = proved;
    }

    /// Whether its own word fits what the views say of it: its role, and as a primary its epoch, where the views
    /// have any.
    pub fn agrees(&self) -> bool {
        let primary = self.role == Role::Primary;
        let fits = |epoch| epoch == self.epoch || self.epoch == 0;
        self.report.primary == primary && (!primary || self.report.my_epoch.is_none_or(fits))
    }

    /// It has another role: what was measured was about another history.
    pub fn turn_into(&mut self, role: Role<NodeKey>) {
        self.role = role;
        self.proved = false;
        (self.step, self.linked_at) = (Step::default(), None);
        self.offsets.clear();
    }

    /// What it said of itself, asked at `sent_at`.
    pub fn take_report(&mut self, report: NodeReport, sent_at: Instant, now: Instant) {
        if report.link_up == Some(true) {
            self.linked_at = self.linked_at.max(Some(sent_at));
        }
        self.report = report;
        self.latency = Some(now.since(sent_at));
        self.looked_at = self.looked_at.max(Some(sent_at));
        self.reported_at = now;
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
}
