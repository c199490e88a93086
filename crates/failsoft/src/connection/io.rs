//! The I/O task of a lane: connects, then turns queued requests into few large writes and replies into wake-ups.

use super::core::{Core, Park, WakeFor};
use super::error::LaneError;
use super::handshake::{self, Greeted};
use super::lane::LaneConfig;
use super::notices::Notices;
use super::outbox::Outbox;
use super::progress::Progress;
use super::resp::{Decoder, MAX_LINE, Reply};
use super::stream::Stream;
use super::timer::Timer;
use crate::clock::Clock;
use bytes::BufMut;
use failsoft_policy::Instant;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Reads in one turn, before others get theirs.
const MAX_READS: usize = 16;

/// Runs a lane from its connecting to its death.
pub(super) async fn run(core: Arc<Core>, config: Arc<LaneConfig>, clock: Clock) {
    // Should the runtime drop this task, its callers still get an answer.
    let ended = Ended(core);
    let core = &*ended.0;
    let mut timer = Timer::new(clock);
    let why = match opening(core, &config, &mut timer, clock).await {
        Ok((wire, greeted)) => {
            core.opened(clock.now(), greeted);
            let mut pump = Pump {
                core,
                clock,
                timer,
                wire,
                attempt_timeout: config.attempt_timeout,
                out: Outbox::default(),
                flush: false,
                yielded: false,
                progress: Progress::default(),
                replies: Vec::new(),
                notices: Notices::default(),
            };
            poll_fn(|cx| pump.poll(cx)).await
        }
        Err(why) => why,
    };
    core.die(why);
}

struct Ended(Arc<Core>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.die(LaneError::Closed);
    }
}

/// Connects and shakes hands, while the deadlines of what queues meanwhile are kept.
async fn opening(
    core: &Core,
    config: &LaneConfig,
    timer: &mut Timer,
    clock: Clock,
) -> Result<(Wire, Greeted), LaneError> {
    let until = tokio::time::Instant::now() + config.connect_timeout;
    let mut open = pin!(tokio::time::timeout_at(until, async { handshake::open(config, until).await }));
    let mut notices = Notices::default();
    poll_fn(|cx| {
        loop {
            if let Some(why) = core.death() {
                return Poll::Ready(Err(why));
            }
            let now = clock.now();
            if timer.fired(now, cx) {
                core.expire(now, &mut notices);
            }
            if let Poll::Ready(opened) = open.as_mut().poll(cx) {
                return Poll::Ready(opened.unwrap_or_else(|_| {
                    let within = config.connect_timeout.as_millis();
                    Err(LaneError::Connect(format!("{}: not ready within {within} ms", config.endpoint).into()))
                }));
            }
            match core.park(cx.waker(), timer.covers(), WakeFor::Deadline) {
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
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), LaneError> {
        self.stream.write_all(bytes).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)
    }

    /// The next reply.
    pub(super) async fn reply(&mut self) -> Result<Reply, LaneError> {
        loop {
            if let Some(reply) = self.decode()? {
                return Ok(reply);
            }
            poll_fn(|cx| self.poll_fill(cx)).await?;
        }
    }

    #[inline]
    fn decode(&mut self) -> Result<Option<Reply>, LaneError> {
        self.decoder.decode(&self.buffer, &mut self.used).map_err(|e| LaneError::Protocol(e.0.into()))
    }

    /// Reads what is there: into the long string that is arriving, or into the buffer.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LaneError>> {
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
                Err(LaneError::Lost("closed by the server".into()))
            }
            Ok(0) => Err(LaneError::Lost("closed by the server in the middle of a reply".into())),
            Ok(_) => Ok(()),
            Err(e) => Err(lost(e)),
        })
    }
}

fn lost(e: std::io::Error) -> LaneError {
    LaneError::Lost(e.to_string().into())
}

/// An open lane at work.
struct Pump<'a> {
    core: &'a Core,
    clock: Clock,
    timer: Timer,
    wire: Wire,
    attempt_timeout: Duration,
    /// What is being written.
    out: Outbox,
    flush: bool,
    /// Others had their turn since the last write, and could add to the next one.
    yielded: bool,
    progress: Progress,
    replies: Vec<Reply>,
    notices: Notices,
}

impl Pump<'_> {
    /// One turn; ready when the lane is at its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LaneError> {
        let now = self.clock.now();
        if self.timer.fired(now, cx) {
            self.core.expire(now, &mut self.notices);
            self.follow_long_reply(now);
        }
        let delivered = match self.read(cx, now) {
            Ok(delivered) => delivered,
            Err(why) => return Poll::Ready(why),
        };
        if !self.yielded {
            // Cork: whoever is ready to run appends first, and one system call carries it all.
            self.yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let blocked = match self.write(cx) {
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

    fn sleep(&mut self, cx: &mut Context<'_>, wake_for: WakeFor) -> Poll<LaneError> {
        loop {
            match self.core.park(cx.waker(), self.timer.covers(), wake_for) {
                Park::Asleep => {
                    self.yielded = false;
                    return Poll::Pending;
                }
                Park::Arm(at) => self.timer.arm(at, cx),
                Park::Stay => {
                    if let Some(why) = self.core.death() {
                        return Poll::Ready(why);
                    }
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads and hands out replies; whether there were any.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, LaneError> {
        let mut delivered = false;
        for _ in 0..MAX_READS {
            let filled = match self.wire.poll_fill(cx) {
                Poll::Pending => return Ok(delivered),
                Poll::Ready(filled) => filled,
            };
            let decoded = filled.and_then(|()| self.decode());
            if !self.replies.is_empty() {
                // Those that came whole are handed out even if the stream ends here.
                self.core.deliver(&mut self.replies, now, &mut self.notices)?;
                delivered = true;
            }
            decoded?;
            self.follow_long_reply(now);
        }
        cx.waker().wake_by_ref();
        Ok(delivered)
    }

    fn decode(&mut self) -> Result<(), LaneError> {
        while let Some(reply) = self.wire.decode()? {
            self.replies.push(reply);
        }
        Ok(())
    }

    /// A long reply that keeps arriving keeps its request waiting; one nobody waits for is thrown away.
    fn follow_long_reply(&mut self, now: Instant) {
        let Some((here, total)) = self.wire.decoder.progress() else {
            self.progress.reset();
            return;
        };
        let earned = self.progress.on(here, total, now, self.attempt_timeout);
        if !self.core.extend_first(earned.unwrap_or(Instant::ZERO)) {
            self.wire.decoder.discard();
        }
    }

    /// Writes what is queued; whether the socket takes no more for now.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, LaneError> {
        if self.out.is_empty() {
            self.core.take_out(&mut self.out);
        }
        while !self.out.is_empty() {
            match Pin::new(&mut self.wire.stream).poll_write(cx, self.out.next()) {
                Poll::Pending => return Ok(true),
                Poll::Ready(Ok(0)) => return Err(LaneError::Lost("the connection takes no more bytes".into())),
                Poll::Ready(Ok(n)) => self.out.wrote(n),
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
