//! The I/O task of a lane: connects, then turns queued requests into few large writes and replies into wake-ups.

use super::guarded::{Guarded, Park, WakeFor};
use super::handshake::{self, Greeted};
use super::lane::{LaneConfig, Pushes};
use super::notices::Notices;
use super::outbox::Outbox;
use super::resp::{Decoder, Incoming, MAX_LINE, ProtocolError, Reply};
use super::stream::Stream;
use super::timer::Timer;
use crate::clock::Clock;
use bytes::BufMut;
use failsoft_policy::Instant;
use failsoft_policy::connection::Failure;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Reads in one turn, before others get theirs.
const MAX_READS: usize = 16;
/// Timers wait until everything that has arrived was read, but no longer than so many turns.
const MAX_TURNS: u32 = 8;
/// A timer that comes later than this shows that this process had no time.
const LATE: Duration = Duration::from_millis(25);
/// Only larger writes are followed while they leave.
const LONG_WRITE: usize = 64 * 1024;

/// Runs a lane from its connecting to its death.
pub(super) async fn run(ended: Ended, config: Arc<LaneConfig>, clock: Clock) {
    let guarded = &*ended.0;
    let mut timer = Timer::new(clock);
    let begun = clock.now();
    let why = match opening(guarded, &config, &mut timer, clock).await {
        Ok((mut wire, greeted)) => {
            guarded.opened(begun, greeted);
            if config.pushes.is_some() {
                wire.decoder.want_pushes();
            }
            let mut pump = Pump {
                guarded,
                clock,
                timer,
                wire,
                pushes: config.pushes.as_deref(),
                out: Outbox::default(),
                long: false,
                flush: false,
                yielded: false,
                undrained: 0,
                replies: Vec::new(),
                notices: Notices::default(),
            };
            poll_fn(|cx| pump.poll(cx)).await
        }
        Err(why) => why,
    };
    guarded.end(why);
}

/// Ends the lane with its task: should the runtime drop that, even before it ran, its callers still get an answer.
pub(super) struct Ended(pub(super) Arc<Guarded>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end(Failure::Closed);
    }
}

/// Connects and shakes hands, while the deadlines of what queues meanwhile are kept.
async fn opening(
    guarded: &Guarded,
    config: &LaneConfig,
    timer: &mut Timer,
    clock: Clock,
) -> Result<(Wire, Greeted), Failure> {
    let mut until = tokio::time::Instant::now() + config.connect_timeout;
    let mut limit = pin!(tokio::time::sleep_until(until));
    let mut excused = false;
    let mut open = pin!(handshake::open(config, until));
    let mut notices = Notices::default();
    poll_fn(|cx| {
        loop {
            if let Some(why) = guarded.ended() {
                return Poll::Ready(Err(why));
            }
            // Before the timers: what was ready while this process had no time is not late.
            if let Poll::Ready(opened) = open.as_mut().poll(cx) {
                return Poll::Ready(opened);
            }
            if limit.as_mut().poll(cx).is_ready() {
                if until.elapsed() < LATE || excused {
                    let within = config.connect_timeout.as_millis();
                    let why = format!("{}: not ready within {within} ms", config.endpoint);
                    return Poll::Ready(Err(Failure::Connect(why.into())));
                }
                // This process had no time, and a handshake takes several turns: it gets its time again, once.
                excused = true;
                until = tokio::time::Instant::now() + config.connect_timeout;
                limit.as_mut().reset(until);
                continue;
            }
            let now = clock.now();
            if timer.fired(now, cx) {
                guarded.expire(now, &mut notices);
            }
            match guarded.park(cx.waker(), timer.covers(), WakeFor::Deadline) {
                Park::Asleep => return Poll::Pending,
                Park::Arm(at) => timer.arm(at, cx),
                Park::Stay => {}
            }
        }
    })
    .await
}

/// A stream with its decoder and what was read ahead.
pub(super) struct Wire {
    stream: Stream,
    decoder: Decoder,
    buffer: Vec<u8>,
    used: usize,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, decoder: Decoder::default(), buffer: Vec::with_capacity(MAX_LINE), used: 0 }
    }

    /// Writes all of it.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)
    }

    /// The next reply.
    pub(super) async fn reply(&mut self) -> Result<Reply, Failure> {
        loop {
            match self.decode()? {
                Some(Incoming::Reply(reply)) => return Ok(reply),
                // None was asked for before the handshake is done.
                Some(Incoming::Push(_)) => continue,
                None => {}
            }
            poll_fn(|cx| self.poll_fill(cx)).await?;
        }
    }

    /// Takes the replies up to the next push, or to the end of what is here.
    fn decode_to_push(&mut self, replies: &mut Vec<Reply>) -> Result<Option<Vec<Reply>>, Failure> {
        while let Some(incoming) = self.decode()? {
            match incoming {
                Incoming::Reply(reply) => replies.push(reply),
                Incoming::Push(push) => return Ok(Some(push)),
            }
        }
        Ok(None)
    }

    #[inline(always)]
    fn decode(&mut self) -> Result<Option<Incoming>, Failure> {
        Ok(self.decoder.decode(&self.buffer, &mut self.used)?)
    }

    /// Reads what is there: into the long string that is arriving, or into the buffer.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let read = if let Some(mut body) = self.decoder.body() {
            ready!(pin!(self.stream.read_buf(&mut body)).poll(cx))
        } else {
            // What is left is less than one reply; it goes to the front.
            self.buffer.drain(..self.used);
            self.used = 0;
            let room = MAX_LINE - self.buffer.len();
            let mut free = (&mut self.buffer).limit(room);
            ready!(pin!(self.stream.read_buf(&mut free)).poll(cx))
        };
        Poll::Ready(match read {
            Ok(0) if self.decoder.at_rest() && self.buffer.len() == self.used => {
                Err(Failure::Lost("closed by the server".into()))
            }
            Ok(0) => Err(Failure::Lost("closed by the server in the middle of a reply".into())),
            Ok(_) => Ok(()),
            Err(e) => Err(lost(e)),
        })
    }
}

impl From<ProtocolError> for Failure {
    fn from(e: ProtocolError) -> Self {
        Self::Protocol(e.0.into())
    }
}

fn lost(e: std::io::Error) -> Failure {
    Failure::Lost(e.to_string().into())
}

/// An open lane at work.
struct Pump<'a> {
    guarded: &'a Guarded,
    clock: Clock,
    timer: Timer,
    wire: Wire,
    pushes: Option<&'a Pushes>,
    /// What is being written.
    out: Outbox,
    /// Whether it is followed while it leaves.
    long: bool,
    flush: bool,
    /// Others had their turn since the last write, and could add to the next one.
    yielded: bool,
    /// Turns in a row that did not read everything that had arrived.
    undrained: u32,
    replies: Vec<Reply>,
    notices: Notices,
}

impl Pump<'_> {
    /// One turn; ready when the lane is at its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let now = self.clock.now();
        let delivered = match self.read(cx, now) {
            Ok(delivered) => delivered,
            Err(why) => return Poll::Ready(why),
        };
        // Only after the replies that had arrived: a process that was held up finds them here.
        if (self.undrained == 0 || self.undrained > MAX_TURNS) && self.timer.fired(now, cx) {
            self.undrained = 0;
            self.guarded.expire(now, &mut self.notices);
            self.follow_long_reply(now);
        }
        if !self.yielded {
            // Cork: tasks that are ready to run append first, and one system call carries it all.
            self.yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let blocked = match self.write(cx, now) {
            Ok(blocked) => blocked,
            Err(why) => return Poll::Ready(why),
        };
        if delivered {
            // Those just woken are about to ask again.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.sleep(cx, if blocked { WakeFor::Deadline } else { WakeFor::Request })
    }

    fn sleep(&mut self, cx: &mut Context<'_>, wake_for: WakeFor) -> Poll<Failure> {
        loop {
            match self.guarded.park(cx.waker(), self.timer.covers(), wake_for) {
                Park::Asleep => {
                    self.yielded = false;
                    return Poll::Pending;
                }
                Park::Arm(at) => self.timer.arm(at, cx),
                Park::Stay => {
                    if let Some(why) = self.guarded.ended() {
                        return Poll::Ready(why);
                    }
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads and hands out replies; whether there were any.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Failure> {
        let mut delivered = false;
        for _ in 0..MAX_READS {
            let filled = match self.wire.poll_fill(cx) {
                Poll::Pending => {
                    self.undrained = 0;
                    return Ok(delivered);
                }
                Poll::Ready(filled) => filled,
            };
            let decoded = filled.and_then(|()| self.decode(now));
            // Those that came whole are handed out even if the stream ends here.
            delivered |= self.deliver(now)?;
            delivered |= decoded?;
            self.follow_long_reply(now);
        }
        self.undrained += 1;
        cx.waker().wake_by_ref();
        Ok(delivered)
    }

    /// Takes what came whole; whether replies were delivered before a push.
    fn decode(&mut self, now: Instant) -> Result<bool, Failure> {
        let mut delivered = false;
        while let Some(push) = self.wire.decode_to_push(&mut self.replies)? {
            delivered |= self.deliver(now)?;
            if let Some(hand_out) = self.pushes {
                hand_out(push);
            }
        }
        Ok(delivered)
    }

    /// Delivers the replies that are here; whether there are any.
    fn deliver(&mut self, now: Instant) -> Result<bool, Failure> {
        if self.replies.is_empty() {
            return Ok(false);
        }
        self.guarded.deliver(&mut self.replies, now, &mut self.notices)?;
        Ok(true)
    }

    /// A long reply that keeps arriving keeps its request waiting; one that no request waits for is thrown away.
    fn follow_long_reply(&mut self, now: Instant) {
        if let Some((here, total)) = self.wire.decoder.progress()
            && !self.guarded.arriving(here, total, now)
        {
            self.wire.decoder.discard();
        }
    }

    /// Writes what is queued; whether the socket takes no more for now.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Failure> {
        if self.out.is_empty() {
            self.guarded.take_out(&mut self.out, now);
            self.long = self.out.len() > LONG_WRITE;
        }
        while !self.out.is_empty() {
            match Pin::new(&mut self.wire.stream).poll_write(cx, self.out.next()) {
                Poll::Pending => return Ok(true),
                Poll::Ready(Ok(0)) => return Err(Failure::Lost("the connection takes no more bytes".into())),
                Poll::Ready(Ok(n)) => {
                    self.out.wrote(n);
                    if self.long {
                        self.guarded.written(n, self.out.is_empty(), self.clock.now());
                    }
                }
                Poll::Ready(Err(e)) => return Err(lost(e)),
            }
            self.flush = true;
        }
        if self.flush {
            match Pin::new(&mut self.wire.stream).poll_flush(cx) {
                Poll::Pending => return Ok(true),
                Poll::Ready(Err(e)) => return Err(lost(e)),
                Poll::Ready(Ok(())) => self.flush = false,
            }
        }
        Ok(false)
    }
}
