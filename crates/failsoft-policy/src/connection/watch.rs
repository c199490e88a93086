//! Whether the peer of a connection is at work: it answers, or a long transfer to or from it advances.

use crate::time::Instant;
use core::time::Duration;

/// A transfer advances when this much of it goes through within an attempt timeout; less of a value than this is no
/// transfer.
pub(super) const STEP: usize = 64 * 1024;
/// What was written may lie in buffers on its way: for each so many bytes the reply may take an attempt timeout more,
const IN_BUFFERS: usize = 1024 * 1024;
/// but for no more of them than this: systems give a connection no larger buffers.
const MOST_IN_BUFFERS: usize = 8;
/// A timer that comes later than this was not late because of the node: our own process had no time.
const LATE: Duration = Duration::from_millis(25);

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    timeout: Duration,
    /// Since when something is owed and nothing has moved.
    silent_since: Option<Instant>,
    /// Since when nothing was owed.
    at_rest_since: Instant,
    /// For how long nothing had been owed when what is owed now was sent; none once the peer has moved.
    rested: Option<Duration>,
    /// How much longer than `timeout` the silence may last, for what is in buffers.
    extra: Duration,
    /// How many requests are answered when those buffers are empty.
    emptied_by: u64,
    /// Until when an advancing transfer, or a pause of our own, keeps all requests waiting.
    advancing_until: Instant,
    /// How much of the reply that is arriving was there when it last counted as advancing.
    arrived: Option<usize>,
    /// The bytes of what is being written, and how many of them were.
    writing: usize,
    written: usize,
    /// How many had been when it last counted as advancing.
    counted: usize,
    /// Whether a pause of our own was allowed for since the peer last moved: its silence, and to the requests.
    excused: bool,
    given_back: bool,
}

impl Watch {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            silent_since: None,
            at_rest_since: Instant::ZERO,
            rested: None,
            extra: Duration::ZERO,
            emptied_by: 0,
            advancing_until: Instant::ZERO,
            arrived: None,
            writing: 0,
            written: 0,
            counted: 0,
            excused: false,
            given_back: false,
        }
    }

    /// An answer is waited for from now on; none is waited for already.
    pub(super) fn begin(&mut self, now: Instant) {
        self.moved(now);
    }

    /// So many bytes are about to be written; when they are answered, `requests` are.
    #[inline]
    pub(super) fn writing(&mut self, bytes: usize, requests: u64, now: Instant) {
        self.writing = bytes;
        (self.written, self.counted) = (0, 0);
        if bytes > IN_BUFFERS {
            self.emptied_by = requests;
        }
        if self.silent_since.is_none() {
            self.moved(now);
            self.rested = Some(now.since(self.at_rest_since));
        }
    }

    #[inline]
    pub(super) fn written(&mut self, bytes: usize, all: bool, now: Instant) {
        self.written += bytes;
        if self.writing > STEP && (self.written >= self.counted + STEP || all) {
            self.counted = self.written;
            let buffers = (self.written / IN_BUFFERS).min(MOST_IN_BUFFERS);
            self.extra = self.extra.max(self.timeout * buffers as u32);
            self.advanced(now);
        }
    }

    /// A reply was completed, and so many requests are answered by now; `owed` if there are more to come.
    #[inline]
    pub(super) fn answered(&mut self, owed: bool, requests: u64, now: Instant) {
        self.arrived = None;
        // The answer to what was sent before a long request says nothing of that.
        if requests >= self.emptied_by {
            self.extra = Duration::ZERO;
        }
        (self.excused, self.given_back) = (false, false);
        self.rested = None;
        self.at_rest_since = now;
        self.silent_since = owed.then_some(now);
    }

    pub(super) fn arriving(&mut self, here: usize, total: usize, now: Instant) {
        // Less than before is something else that arrives: what came first was no reply, but a push.
        if total > STEP && self.arrived.is_none_or(|before| here >= before + STEP || here < before) {
            self.arrived = Some(here);
            self.advanced(now);
        }
    }

    fn advanced(&mut self, now: Instant) {
        self.advancing_until = now + self.timeout + self.extra;
        self.moved(now);
    }

    fn moved(&mut self, now: Instant) {
        self.silent_since = Some(now);
        self.rested = None;
        (self.excused, self.given_back) = (false, false);
    }

    /// A timer for requests that was `due` comes only now. Time in which we ourselves did not run is given back to them
    /// once: they may not have been sent yet, or what they wait for was held up with us.
    pub(super) fn give_back(&mut self, due: Instant, now: Instant) {
        let late = now.since(due);
        if late > LATE && !self.given_back {
            self.given_back = true;
            self.advancing_until = self.advancing_until.max(now + late.min(self.timeout));
        }
    }

    /// Nothing is expected any more.
    pub(super) fn rest(&mut self, since: Instant) {
        self.silent_since = None;
        self.at_rest_since = since;
    }

    /// Whether something is expected.
    #[inline]
    pub(super) fn expects(&self) -> bool {
        self.silent_since.is_some()
    }

    /// Since when something is owed and nothing has moved.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.silent_since
    }

    /// For how long nothing had been owed when what is owed now was sent, the first of it at `first`; none if something
    /// was, or once the peer has moved. Sent in the moment in which the last replies were read, it follows them: they may
    /// have been here for as long as our own process had no time, and the peer at rest.
    pub(super) fn rested(&self, first: Option<Instant>) -> Option<Duration> {
        let follows = first >= Some(self.at_rest_since) && self.silent_since == Some(self.at_rest_since);
        self.rested.or(follows.then_some(Duration::ZERO))
    }

    pub(super) fn advancing_until(&self) -> Instant {
        self.advancing_until
    }

    /// When the silence has lasted too long.
    #[inline]
    pub(super) fn hung_at(&self) -> Instant {
        self.silent_since.map_or(Instant::MAX, |since| since + self.timeout + self.extra)
    }

    /// Whether the silence has lasted too long. Time in which we ourselves did not run is given back once: the reply
    /// may have been held up with us.
    pub(super) fn is_hung(&mut self, now: Instant) -> bool {
        let late = now.since(self.hung_at());
        if now < self.hung_at() {
            return false;
        }
        if late > LATE && !self.excused {
            self.excused = true;
            self.silent_since = self.silent_since.map(|since| since + late + late.min(self.timeout));
            return false;
        }
        true
    }
}
