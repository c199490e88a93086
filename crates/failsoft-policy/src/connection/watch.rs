//! Whether the peer of a connection is at work: it answers, or a long transfer to or from it advances.

use crate::time::Instant;
use core::time::Duration;

/// A transfer advances when this much of it goes through within an attempt timeout; less of a value than this is no
/// transfer.
pub(super) const STEP: usize = 64 * 1024;
/// What was written may lie in buffers on its way: for each so many bytes the reply may take an attempt timeout more.
const IN_BUFFERS: usize = 1024 * 1024;
/// A timer that comes later than this was not late because of the node: our own process had no time.
const LATE: Duration = Duration::from_millis(25);

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    timeout: Duration,
    /// Since when something is owed and nothing has moved.
    silent_since: Option<Instant>,
    /// How much longer than `timeout` the silence may last, for what is in buffers.
    extra: Duration,
    /// Until when an advancing transfer keeps all requests waiting.
    advancing_until: Instant,
    /// How much of the reply that is arriving was there when it last counted as advancing.
    arrived: Option<usize>,
    /// The bytes of what is being written.
    writing: usize,
    /// How much of that was written since it last counted as advancing.
    written: usize,
    /// Whether a pause of our own was allowed for since the peer last moved.
    excused: bool,
}

impl Watch {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            silent_since: None,
            extra: Duration::ZERO,
            advancing_until: Instant::ZERO,
            arrived: None,
            writing: 0,
            written: 0,
            excused: false,
        }
    }

    /// So many bytes are about to be written.
    #[inline]
    pub(super) fn writing(&mut self, bytes: usize, now: Instant) {
        self.writing = bytes;
        self.written = 0;
        if self.silent_since.is_none() {
            self.moved(now);
        }
    }

    #[inline]
    pub(super) fn written(&mut self, bytes: usize, all: bool, now: Instant) {
        self.written += bytes;
        if self.writing > STEP && (self.written >= STEP || all) {
            self.written = 0;
            self.extra = self.extra.max(self.timeout * u32::try_from(self.writing / IN_BUFFERS).unwrap_or(u32::MAX));
            self.advanced(now);
        }
    }

    /// A reply was completed; `owed` if there are more to come.
    #[inline]
    pub(super) fn answered(&mut self, owed: bool, now: Instant) {
        self.arrived = None;
        self.extra = Duration::ZERO;
        self.excused = false;
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
        self.excused = false;
    }

    /// Nothing is expected any more.
    pub(super) fn rest(&mut self) {
        self.silent_since = None;
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
