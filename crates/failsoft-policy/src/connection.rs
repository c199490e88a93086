//! One connection to a node as a machine without I/O: what waits to be sent, what is in flight, how long that may
//! take, and when the connection itself is at fault.
//!
//! Requests and replies are opaque: a caller `C` for each request, a reply `R` for each answer. The bytes stay with
//! the driver, which passes how many there are. The time is an argument. The router's I/O task and the simulator drive
//! the same code. Modelled on the way quinn documents its connection:
//!
//! | | |
//! |---|---|
//! | commands | [`submit`](Connection::submit), [`release`](Connection::release), [`fail_over`](Connection::fail_over), [`end`](Connection::end) |
//! | facts | [`handle_opened`](Connection::handle_opened), [`take`](Connection::take), [`handle_written`](Connection::handle_written), [`handle_replies`](Connection::handle_replies), [`handle_arriving`](Connection::handle_arriving), [`handle_timeout`](Connection::handle_timeout) |
//! | getters | [`phase`](Connection::phase), [`next_timeout`](Connection::next_timeout), [`contact`](Connection::contact), … |
//!
//! The order that matters: a driver that wakes for a timer first reads everything that has arrived and reports it
//! ([`handle_replies`](Connection::handle_replies), [`handle_arriving`](Connection::handle_arriving)), and only then calls
//! [`handle_timeout`](Connection::handle_timeout). A process that had no processor for a while so finds its replies
//! in its buffer, instead of holding its own pause against the node.
//!
//! Two different things can take too long:
//!
//! - **A request.** At `until` its caller gets [`Failure::Timeout`] and goes elsewhere. That says nothing of the node:
//!   the caller may have been in a hurry. Behind a long transfer that advances no request is late before its `limit`, and
//!   a timer that comes late itself leaves requests as much longer, up to that limit: what they waited for was held up
//!   with us.
//! - **The connection.** Something was sent, and for `attempt_timeout` no reply came and no transfer advanced: it ends
//!   as [`Failure::Hung`], whether or not a caller still waits. That is the node's fault, and is noticed without a caller.
//! - **Connecting.** Something was queued, and `attempt_timeout` later the connection is not open: the node is to blame,
//!   and what is queued fails as [`Failure::Hung`]. But the connection goes on being made, for as long as its driver
//!   allows: a handshake may take longer than an answer, and one begun anew would take as long. It is held against the
//!   node once: perhaps a packet was lost, and the node is long known to be well when the next request waits.
//!
//! A connection at rest can be lost without a trace, and a server may close it: what is found when it is used again says
//! nothing of the node. If it is closed then, without an answer, its requests fail as [`Failure::Closed`] and are put
//! anew; if it is silent after more than a keepalive's time, they fail as [`Failure::Timeout`]. However short the rest
//! was, a server's limit may have fallen into it. But that explains only the end of a connection that had served before:
//! a new one that is closed at its first request shows that the node closes what it is asked.
//!
//! What a server pushes is no reply: the driver hands it out between the replies it stands between, and the machine need
//! not know. Its bytes count as a transfer while they arrive ([`handle_arriving`](Connection::handle_arriving)), which a
//! hung node sends none of.
//!
//! A request given up before it was sent is not sent ([`Connection::take`]). One given up after that keeps its place
//! in flight until its reply came, so what a connection holds is bounded by `max_in_flight`.

mod failure;
mod requests;
#[cfg(test)]
mod tests;
mod watch;

pub use failure::Failure;
pub use requests::Attempt;

use crate::time::Instant;
use crate::words::Reason;
use alloc::vec::Vec;
use core::time::Duration;
use requests::Requests;
use watch::Watch;

/// A connection that has served nothing yet, and was closed after so long a rest, had perhaps been closed before it was
/// used: servers and what lies between close what is idle.
const IDLE: Duration = Duration::from_secs(5);
/// One that is silent after so long a rest may have been forgotten on the way: until then keepalives see to that.
const FORGOTTEN: Duration = Duration::from_secs(15);

/// Where a connection is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It connects and shakes hands; requests queue.
    Connecting,
    /// Requests are sent.
    Open,
    /// It is over, for this reason.
    Ended(Failure),
}

/// How a request ended.
pub type Outcome<R> = Result<R, Failure>;

/// Where the outcomes of requests go.
pub trait Deliver<C, R> {
    /// Whether the outcome of this caller's request is kept for it: it asks for it with [`Connection::poll`], and is
    /// to be woken for that.
    fn wakes(&mut self, caller: &mut C) -> bool;

    /// The one outcome of a request whose caller does not fetch it itself.
    fn deliver(&mut self, caller: C, outcome: Outcome<R>);
}

/// See the module.
#[derive(Debug)]
pub struct Connection<C, R> {
    phase: Phase,
    requests: Requests<C, R>,
    watch: Watch,
    max_in_flight: usize,
    /// No later than the earliest moment at which a request is late.
    next_late: Instant,
    /// When what the last reply answered was sent.
    contact: Option<Instant>,
    /// What its end, or its not being open yet, says of the node.
    blame: Option<Reason>,
    /// Since when the node had not answered then, if that is known.
    silent_since: Option<Instant>,
    /// While connecting: how many requests are accounted for by the watch; none once the node is known to be in trouble,
    /// because it does not open or otherwise.
    heeded: Option<u64>,
}

impl<C, R> Connection<C, R> {
    /// A connection that is being made. `attempt_timeout` bounds the silence of a node that owes a reply,
    /// `max_in_flight` the requests in flight, those given up included.
    pub fn new(attempt_timeout: Duration, max_in_flight: usize) -> Self {
        Self {
            phase: Phase::Connecting,
            requests: Requests::default(),
            watch: Watch::new(attempt_timeout),
            max_in_flight,
            next_late: Instant::MAX,
            contact: None,
            blame: None,
            silent_since: None,
            heeded: Some(0),
        }
    }

    /// Where it is in its life.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether it takes a further request.
    pub fn has_room(&self) -> bool {
        self.requests.in_flight() < self.max_in_flight
    }

    /// Requests whose caller waits.
    pub fn waiting(&self) -> usize {
        self.requests.waiting()
    }

    /// When the node is known to have been there: the moment at which what it last answered was sent. (A reply says
    /// that the node was well at some time after that, and no more.)
    pub fn contact(&self) -> Option<Instant> {
        self.contact
    }

    /// Queues a request of `bytes` bytes behind all others; with `asking` an `ASKING` goes before it in the same
    /// bytes. Its place, which is its own until its outcome was taken or it is released.
    #[inline]
    pub fn submit(&mut self, attempt: Attempt, bytes: usize, asking: bool, caller: C) -> u32 {
        self.next_late = self.next_late.min(attempt.until);
        self.requests.push(attempt, bytes, asking, caller)
    }

    /// The outcome of a request, if it is there: the place is given back with it. Else the caller, to change it.
    #[inline]
    pub fn poll(&mut self, place: u32) -> Result<Outcome<R>, &mut C> {
        self.requests.poll(place)
    }

    /// The caller of a request that waits, to change it.
    pub fn caller_mut(&mut self, place: u32) -> Option<&mut C> {
        self.requests.caller_mut(place)
    }

    /// The caller gave up, or does not want what lies ready. What it left is given back, to be dropped where that is
    /// convenient.
    pub fn release(&mut self, place: u32) -> (Option<C>, Option<Outcome<R>>) {
        self.requests.release(place)
    }

    /// Its node is in trouble: a connection that is open is closed, to be replaced. One that is being made is as new as
    /// any, and goes on, but its requests go elsewhere. It was begun before the trouble, and so says nothing of what comes
    /// after it.
    pub fn fail_over(&mut self, out: &mut impl Deliver<C, R>) {
        match self.phase {
            Phase::Connecting => self.send_away(&Failure::Closed, out),
            Phase::Open => self.end(Failure::Closed, out),
            Phase::Ended(_) => {}
        }
    }

    /// The connection is over: every request that waits fails with `why`. The first reason holds.
    pub fn end(&mut self, why: Failure, out: &mut impl Deliver<C, R>) {
        let asked = match self.phase {
            Phase::Connecting => self.watch.expects() || self.is_unheeded(),
            Phase::Open => self.requests.in_flight() > 0,
            Phase::Ended(_) => return,
        };
        match self.tells_nothing(&why) {
            Some(instead) => self.requests.end(&instead, out),
            None => {
                // A node may close a connection that is not in use.
                self.blame = why.blame().filter(|_| asked);
                self.silent_since = self.watch.silent_since();
                self.requests.end(&why, out);
            }
        }
        self.phase = Phase::Ended(why);
        self.next_late = Instant::MAX;
        self.watch.rest(Instant::MAX);
    }

    /// What an end that says nothing of the node, or nothing new, is to those who wait.
    fn tells_nothing(&self, why: &Failure) -> Option<Failure> {
        let rested = self.watch.rested(self.requests.owed_since());
        let (tells_nothing, instead) = match (&self.phase, why) {
            (Phase::Connecting, Failure::Connect(_) | Failure::Lost(_)) => (self.heeded.is_none(), Failure::Closed),
            (Phase::Open, Failure::Lost(_)) => {
                let had_served = self.requests.answered() > 0;
                let idle = rested.is_some_and(|rest| had_served || rest >= IDLE);
                (self.requests.owed() == 0 || idle, Failure::Closed)
            }
            (Phase::Open, Failure::Hung) => (rested.is_some_and(|rest| rest >= FORGOTTEN), Failure::Timeout),
            _ => return None,
        };
        tells_nothing.then_some(instead)
    }

    /// What its end, or its not being open yet, says of the node, if it says anything; once.
    pub fn take_blame(&mut self) -> Option<Reason> {
        self.blame.take()
    }

    /// Since when the node owed what it is to blame for, if that is known: what it answered to a later question says more.
    pub fn silent_since(&self) -> Option<Instant> {
        self.silent_since
    }

    /// The handshake is done, and was begun at `sent_at`.
    pub fn handle_opened(&mut self, sent_at: Instant) {
        if self.phase == Phase::Connecting {
            self.phase = Phase::Open;
            self.contact = Some(sent_at);
            self.watch.rest(sent_at);
        }
    }

    /// Everything queued is about to be written. Requests whose callers have left are left out:
    /// for each request in order its bytes, and whether they are to be sent. Empty if all of them are.
    pub fn take(&mut self, now: Instant) -> Vec<(usize, bool)> {
        let cut = self.requests.cut();
        let bytes = self.requests.take(now);
        if bytes > 0 {
            self.watch.writing(bytes, self.requests.next(), now);
        }
        cut
    }

    /// The socket took this many of the bytes, `all` if nothing is left of them.
    #[inline]
    pub fn handle_written(&mut self, bytes: usize, all: bool, now: Instant) {
        self.watch.written(bytes, all, now);
    }

    /// Replies came: they are those of the oldest requests, in order. False if there was one without a request.
    #[inline]
    pub fn handle_replies(
        &mut self,
        replies: impl IntoIterator<Item = R>,
        now: Instant,
        out: &mut impl Deliver<C, R>,
    ) -> bool {
        let mut asked = true;
        for reply in replies {
            asked &= self.requests.complete(reply, out);
        }
        self.contact = self.requests.answered_sent_at().max(self.contact);
        self.watch.answered(self.requests.owed() > 0, self.requests.answered(), now);
        asked
    }

    /// So many bytes of a long reply of at least `total` are here, and no reply is complete after it. False if no
    /// request waits for it: then its bytes need not be kept, but their arrival is to be reported all the same.
    pub fn handle_arriving(&mut self, here: usize, total: usize, now: Instant) -> bool {
        // A long push is no answer, and no request waits for its end.
        if self.requests.owed() > 0 {
            self.watch.arriving(here, total, now);
        }
        self.requests.first_waits()
    }

    /// The time of [`next_timeout`](Self::next_timeout) has come: late requests fail, and a node that hangs is found
    /// out. Everything that has arrived must have been reported before.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut impl Deliver<C, R>) {
        match self.phase {
            Phase::Open if self.watch.is_hung(now) => return self.end(Failure::Hung, out),
            Phase::Connecting if self.watch.is_hung(now) => {
                self.blame = Failure::Hung.blame();
                self.silent_since = self.watch.silent_since();
                return self.send_away(&Failure::Hung, out);
            }
            Phase::Connecting if self.is_unheeded() && !self.watch.expects() => {
                self.heeded = Some(self.requests.next());
                self.watch.begin(now);
            }
            _ => {}
        }
        if self.next_late <= now {
            self.watch.give_back(self.next_late, now);
            self.next_late = self.requests.expire(self.watch.advancing_until(), now, out);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; [`Instant::ZERO`] is at once.
    #[inline]
    pub fn next_timeout(&self) -> Instant {
        match self.phase {
            Phase::Connecting if self.is_unheeded() && !self.watch.expects() => Instant::ZERO,
            Phase::Connecting | Phase::Open => self.next_late.min(self.watch.hung_at()),
            Phase::Ended(_) => Instant::MAX,
        }
    }

    /// While connecting: whether something was queued of which the watch does not know.
    fn is_unheeded(&self) -> bool {
        self.heeded.is_some_and(|heeded| self.requests.next() > heeded)
    }

    /// While connecting, with the node in trouble: every request that waits fails with `why`, and will not be sent.
    fn send_away(&mut self, why: &Failure, out: &mut impl Deliver<C, R>) {
        self.requests.send_away(why, out);
        self.heeded = None;
        self.next_late = Instant::MAX;
        self.watch.rest(Instant::MAX);
    }
}
