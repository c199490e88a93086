//! How a node stands with us, what has come back from it, and when it is probed.

use super::Node;
use crate::breaker::Admission;
use crate::nodes::standing::Trouble;
use crate::time::Instant;
use core::time::Duration;

impl Node {
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

    /// When what it last answered had been sent to it.
    pub fn contact(&self) -> Option<Instant> {
        self.contact
    }

    /// It answered what was sent to it at this time.
    pub fn note_contact(&mut self, sent_at: Option<Instant>) {
        self.contact = self.contact.max(sent_at);
    }

    /// Whether its last probe was answered, or reads were meanwhile.
    pub fn is_heard(&self) -> bool {
        self.heard
    }

    /// Its probe, sent at `sent_at`, was `answered` or not; whether the node is there. Reads may have been answered
    /// meanwhile: then it is.
    pub fn note_probed(&mut self, answered: bool, sent_at: Instant, now: Instant) -> bool {
        self.heard = answered || (self.admits() && self.contact > Some(sent_at));
        if !answered {
            self.note_ready(false, now);
        }
        self.seems_well &= answered;
        self.heard
    }

    /// Whether all seemed well with it in its last probe: it was ready, reached everybody, and agreed with the views.
    pub fn seems_well(&self) -> bool {
        self.seems_well
    }

    /// All seems well with it, or not; true if it does now and did not before.
    pub fn note_well(&mut self, well: bool) -> bool {
        let before = core::mem::replace(&mut self.seems_well, well);
        well && !before
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
}
