//! One connection to one node, as its owner and its callers hold it.

use super::error::SubmitError;
use super::guarded::{Guarded, Report};
use super::handshake::{self, Greeted};
use super::notices::{Caller, Sink};
use super::outbox::LONG_REQUEST;
use super::resp::Reply;
use super::tls::TlsSetup;
use super::{encode, io};
use crate::clock::Clock;
use failsoft_policy::connection::{Attempt, Failure, Phase};
use failsoft_policy::{Endpoint, Instant};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;

/// How a lane is opened, and its limits.
#[derive(Clone)]
pub(crate) struct LaneConfig {
    /// Where the node is reached (already mapped).
    pub(crate) endpoint: Endpoint,
    /// The node that is meant; another one that answers is a stranger. Without an id, any node is taken.
    pub(crate) node_id: Option<Arc<str>>,
    /// Say `READONLY` in the handshake: a replica then answers reads of its slots.
    pub(crate) readonly: bool,
    /// For name resolution, TCP, TLS and the handshake together.
    pub(crate) connect_timeout: Duration,
    /// A node that owes a reply may say nothing for so long; a long transfer may take this for each 64 KiB.
    pub(crate) attempt_timeout: Duration,
    /// Requests in flight, those whose caller gave up included.
    pub(crate) max_in_flight: usize,
    /// The ACL user; without one, a password is the default user's.
    pub(crate) username: Option<String>,
    /// Without one, no authentication.
    pub(crate) password: Option<String>,
    /// The name in the server's `CLIENT LIST`.
    pub(crate) client_name: Option<String>,
    /// TLS, if the connection is to be encrypted.
    pub(crate) tls: Option<Arc<TlsSetup>>,
    /// Takes what the node is to blame for.
    pub(crate) report: Option<Arc<Report>>,
    /// Takes what the server pushes. Without one, pushes are stepped over.
    pub(crate) pushes: Option<Arc<Pushes>>,
}

/// Takes the elements of a push, its kind first. Pushes come in order with the replies: those that came before one were
/// delivered before it is handed out. It is called on the I/O thread and must not block.
pub(crate) type Pushes = dyn Fn(Vec<Reply>) + Send + Sync;

/// One connection. Dropping it closes it.
pub(crate) struct Lane {
    guarded: Arc<Guarded>,
    /// A number that no other one in this process has.
    line: u64,
    /// Whether the node that answers has been, or will be, asked for its id.
    identified: AtomicBool,
}

impl Lane {
    /// Starts connecting in the background. Requests may be submitted at once: they are sent after the handshake.
    pub(crate) fn open(config: Arc<LaneConfig>, clock: Clock, runtime: &Handle) -> Arc<Self> {
        let guarded = Arc::new(Guarded::new(config.attempt_timeout, config.max_in_flight, config.report.clone()));
        let identified = AtomicBool::new(config.node_id.is_some());
        runtime.spawn(io::run(io::Ended(guarded.clone()), config, clock));
        static LINES: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self { guarded, line: LINES.fetch_add(1, Ordering::Relaxed), identified })
    }

    /// A number that no other lane in this process has.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Submits `GET key`; with `asking`, `ASKING` goes before it.
    ///
    /// # Errors
    /// The lane has no room, or is dead; nothing was sent.
    #[inline]
    pub(crate) fn get(&self, key: &[u8], asking: bool, attempt: Attempt) -> Result<Pending, SubmitError> {
        let place = self.submit_get(key, asking, attempt, Caller::Waiting(None))?;
        Ok(Pending { guarded: Some(self.guarded.clone()), place })
    }

    /// Submits `GET key` on a lane whose node tells what happens to the keys that are asked for so.
    ///
    /// # Errors
    /// The lane has no room, or is dead, or the key is long; nothing was sent.
    pub(crate) fn get_tracked(&self, key: &[u8], attempt: Attempt) -> Result<Pending, SubmitError> {
        if key.len() > LONG_REQUEST {
            return Err(SubmitError::Full);
        }
        let caller = Caller::Waiting(None);
        let place = self.guarded.submit(true, attempt, caller, |out| encode::tracked_get(out.tail(), key))?;
        Ok(Pending { guarded: Some(self.guarded.clone()), place })
    }

    /// Submits `GET key`; its outcome goes to `sink`.
    ///
    /// # Errors
    /// The lane has no room, or is dead; nothing was sent, and `sink` gets nothing.
    #[inline]
    pub(crate) fn get_for(&self, sink: Arc<dyn Sink>, key: &[u8], attempt: Attempt) -> Result<Sent, SubmitError> {
        let place = self.submit_get(key, false, attempt, Caller::Sink(sink))?;
        Ok(Sent { guarded: self.guarded.clone(), place })
    }

    /// Submits any command that is answered by one reply; with `asking`, `ASKING` goes before it.
    ///
    /// # Errors
    /// The lane has no room, or is dead; nothing was sent.
    pub(crate) fn command(&self, args: &[&[u8]], asking: bool, attempt: Attempt) -> Result<Pending, SubmitError> {
        let place = self.submit_command(args, asking, attempt, Caller::Waiting(None))?;
        Ok(Pending { guarded: Some(self.guarded.clone()), place })
    }

    /// Subscribes to these channels, which nothing answers but pushes, and pings: what is answered is the ping, or the
    /// error of a subscription that is refused.
    ///
    /// # Errors
    /// The lane has no room, or is dead; nothing was sent.
    pub(crate) fn subscribe(&self, channels: &[&[u8]], attempt: Attempt) -> Result<Pending, SubmitError> {
        let words: Vec<&[u8]> = [&b"SUBSCRIBE"[..]].into_iter().chain(channels.iter().copied()).collect();
        let place = self.guarded.submit(false, attempt, Caller::Waiting(None), |out| {
            encode::command(out.tail(), &words, false);
            encode::command(out.tail(), &[b"PING"], false);
        })?;
        Ok(Pending { guarded: Some(self.guarded.clone()), place })
    }

    #[inline]
    fn submit_get(&self, key: &[u8], asking: bool, attempt: Attempt, caller: Caller) -> Result<u32, SubmitError> {
        if key.len() > LONG_REQUEST {
            return self.submit_command(&[b"GET", key], asking, attempt, caller);
        }
        self.guarded.submit(asking, attempt, caller, |out| encode::get(out.tail(), key, asking))
    }

    fn submit_command(
        &self,
        args: &[&[u8]],
        asking: bool,
        attempt: Attempt,
        caller: Caller,
    ) -> Result<u32, SubmitError> {
        let length = encode::command_length(args);
        if length > LONG_REQUEST {
            let mut request = Vec::with_capacity(length);
            encode::command(&mut request, args, asking);
            return self.guarded.submit(asking, attempt, caller, |out| out.push(request));
        }
        self.guarded.submit(asking, attempt, caller, |out| encode::command(out.tail(), args, asking))
    }

    /// Where the lane is in its life.
    pub(crate) fn state(&self) -> Phase {
        self.guarded.phase()
    }

    /// Ends the lane: every request in flight gets `why`. A lane that is dead already keeps its own reason.
    pub(crate) fn close(&self, why: Failure) {
        self.guarded.end(why);
    }

    /// The node is in trouble: ends the lane, unless it is only being opened. Who waits goes elsewhere.
    pub(crate) fn fail_over(&self) {
        self.guarded.fail_over();
    }

    /// Whether the node was asked for its id: in the handshake, if it was known which node is meant, or since.
    pub(crate) fn knows_who_answers(&self) -> bool {
        self.identified.load(Ordering::Relaxed)
    }

    /// Asks the node for its id, now that it is known which one is meant. Ends the lane if it is another one, or if it
    /// does not answer this question: the next lane asks before everything else, and in other ways, too. Returns why the
    /// lane ended.
    pub(crate) async fn identify(&self, meant: &str, attempt: Attempt) -> Option<Failure> {
        let said = match self.command(&[b"CLUSTER", b"MYID"], false, attempt) {
            Ok(pending) => pending.await.ok()?,
            Err(_) => return None,
        };
        let why = match handshake::id_in(&said) {
            Ok(Some(id)) if id == meant => {
                self.identified.store(true, Ordering::Relaxed);
                return None;
            }
            Ok(Some(id)) => Failure::Stranger(id.into()),
            Ok(None) => Failure::Closed,
            Err(why) => why,
        };
        self.close(why.clone());
        Some(why)
    }

    /// What the server said of itself in the handshake, once that is done.
    pub(crate) fn greeted(&self) -> Option<&Greeted> {
        self.guarded.greeted()
    }

    /// When the node is known to have been there: when what it last answered was sent.
    pub(crate) fn contact(&self) -> Option<Instant> {
        self.guarded.contact()
    }

    /// Requests submitted, and neither answered, timed out nor dropped.
    pub(crate) fn in_flight(&self) -> usize {
        self.guarded.in_flight()
    }
}

/// A request whose outcome goes to a [`Sink`].
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    guarded: Arc<Guarded>,
    place: u32,
}

impl Sent {
    /// Abandons it; false if the sink has got its outcome, or is about to.
    pub(crate) fn withdraw<S: Sink>(&self, sink: &Arc<S>) -> bool {
        self.guarded.withdraw(self.place, Arc::as_ptr(sink).cast())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.guarded.end(Failure::Closed);
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("state", &self.state()).field("in_flight", &self.in_flight()).finish()
    }
}

/// A reply to come. Dropping it abandons the request: its place is free at once, its late reply is discarded.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Until the result was taken.
    guarded: Option<Arc<Guarded>>,
    place: u32,
}

impl Future for Pending {
    type Output = Result<Reply, Failure>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(guarded) = &self.guarded else { return Poll::Ready(Err(Failure::Closed)) };
        let polled = guarded.poll(self.place, cx);
        if polled.is_ready() {
            self.guarded = None;
        }
        polled
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(guarded) = &self.guarded {
            guarded.release(self.place);
        }
    }
}
