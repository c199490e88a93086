//! One run of a callback in another language: the question, the answer, and what happens if nobody answers or nobody
//! waits for the answer any more.

use super::channel::{Callee, Channel, Completion};
use crate::error::{BadResult, CallbackGone};
use crate::frame::{self, Frame};
use crate::loads::{BoxError, Call, Question, Values};
use crate::reads::{Fallback, Why};
use bytes::Bytes;
use failsoft_policy::Reason;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::oneshot;

/// Numbers the runs of a process.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// The result of a callback.
#[derive(Debug)]
pub enum Answer {
    /// For a load of one key: its value; none if it does not exist.
    Value(Option<Bytes>),
    /// For a load of many keys: the values of those that exist.
    Values(HashMap<Bytes, Bytes>),
    /// The callback failed: everyone who waits gets this error in [`Error::Fallback`](crate::Error::Fallback).
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// A callback that is to be run. Dropping it without an answer means that its loop or thread is gone.
pub struct Run {
    /// The token of the call whose callback it is.
    pub token: u64,
    /// The keys to load: one, unless many were asked for.
    pub keys: Vec<Bytes>,
    /// Why the primary did not serve the key; none if many keys were asked for.
    pub reason: Option<Reason>,
    /// How many attempts were sent to nodes before; 0 if many keys were asked for.
    pub attempts: u32,
    /// The caller's `recompute` is to be run, and not its `fallback`.
    pub recompute: bool,
    id: u64,
    parent: Parent,
    over: Arc<AtomicBool>,
    answer: oneshot::Sender<Answer>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, id, keys, reason, .. } = self;
        let mut shown = f.debug_struct("Run");
        shown.field("token", token).field("id", id).field("keys", &keys.len()).field("reason", reason);
        shown.finish_non_exhaustive()
    }
}

impl Run {
    /// The number by which [`Completion::Stop`] names it. It is never used again in this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Calls made inside the callback have to be started with this as their [`Caller::parent`](super::Caller::parent).
    pub fn parent(&self) -> &Parent {
        &self.parent
    }

    /// Whether anybody still waits for the answer.
    pub fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    /// Whether the callback should still begin; to be asked right before it does. It should not once its call has
    /// ended, or when nobody waits for the answer any more. The run has to be dropped then: if others wait, one of
    /// their callbacks takes over.
    pub fn may_begin(&self) -> bool {
        self.is_wanted() && !self.call_is_over()
    }

    pub(super) fn call_is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The name of the callback that is to be run, as its caller's argument has it.
    pub fn callback(&self) -> &'static str {
        if self.recompute { "recompute" } else { "fallback" }
    }

    /// The answer that stands for a result which is none; `problem` says what it was, and what is allowed.
    pub fn refused(&self, problem: String) -> Answer {
        Answer::Failed(Box::new(BadResult { argument: self.callback(), problem }))
    }

    /// Ends the run with an answer. If nobody waits for it any more, the answer is dropped.
    pub fn finish(self, answer: Answer) {
        // An error means that nobody waits.
        let _ = self.answer.send(answer);
    }
}

/// The load inside which a callback runs.
#[derive(Clone)]
pub struct Parent(Arc<Frame>);

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parent")
    }
}

impl Parent {
    /// For a blocking call on a thread that is inside two callbacks, the one `beneath` and this one, which was called
    /// while the other waited: neither load can continue before the call has ended.
    #[must_use]
    pub fn on_top_of(&self, beneath: &Self) -> Self {
        Self(self.0.on_top_of(Arc::clone(&beneath.0)))
    }

    pub(super) fn frame(&self) -> Arc<Frame> {
        Arc::clone(&self.0)
    }
}

/// The callbacks of a caller in another language, in the form in which loads run callbacks.
pub(super) fn fallback(callee: Callee, recompute: bool) -> Fallback {
    Box::new(move |why| {
        callee.channel.push_loading(callee.token);
        call(callee, Some(why), recompute)
    })
}

/// The same for many keys.
pub(super) fn many(callee: Callee) -> Call {
    call(callee, None, false)
}

fn call(callee: Callee, why: Option<Why>, recompute: bool) -> Call {
    Call::again(move |Question { keys, marked }| {
        let (sender, answer) = oneshot::channel();
        let id = RUNS.fetch_add(1, Ordering::Relaxed);
        let Callee { channel, token, over } = callee.clone();
        let (reason, attempts) = (why.map(|why| why.asked(marked)), why.map_or(0, |why| why.attempts));
        let recompute = recompute && reason.is_some_and(|(_, recomputes)| recomputes);
        let reason = reason.map(|(reason, _)| reason);
        let run = move |parent| Run { token, keys, reason, attempts, recompute, id, parent, over, answer: sender };
        Box::pin(ask(channel, id, run, answer))
    })
}

async fn ask(
    channel: Arc<Channel>,
    id: u64,
    run: impl FnOnce(Parent) -> Run,
    answer: oneshot::Receiver<Answer>,
) -> Result<Values, BoxError> {
    let Some(frame) = frame::current() else { return Err("a load without its frame".into()) };
    channel.push_run(run(Parent(frame)));
    let mut wanted = Wanted { channel: Some(channel), id };
    let answer = answer.await;
    wanted.channel = None;
    match answer {
        Ok(Answer::Value(value)) => Ok(Values::One(value)),
        Ok(Answer::Values(values)) => Ok(Values::Many(values)),
        Ok(Answer::Failed(error)) => Err(error),
        Err(_) => Err(CallbackGone.into()),
    }
}

/// Tells the consumer that nobody wants the answer any more, if it is dropped before there is one.
struct Wanted {
    channel: Option<Arc<Channel>>,
    id: u64,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            channel.push(Completion::Stop { id: self.id });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::Final;
    use super::*;
    use crate::loads;
    use crate::{Error, Router};
    use failsoft_policy::load::Wanted;

    #[tokio::test]
    async fn no_run_follows_the_last_completion_of_its_token() {
        let router = Router::builder(["127.0.0.1:1"]).build().expect("good settings");
        let shared = router.shared();
        let channel = Channel::new(|| {});
        let mut ending = channel.ending(7);
        let call = many(ending.callee());
        ending.complete(Final::Done(Ok(())));
        let wanted = vec![Wanted {
            key: Bytes::from_static(b"k"),
            confirmed: None,
            lease_by: None,
            over: None,
            since: failsoft_policy::Instant::ZERO,
        }];
        let got = loads::load(shared, wanted, shared.now(), None, call).await.expect("an open router");
        let Err(Error::Fallback(error)) = &got[0].result else { panic!("{:?}", got[0].result) };
        assert!(error.is::<CallbackGone>(), "others who wait take over: {error}");
        let mut come = Vec::new();
        channel.drain(&mut come);
        assert!(matches!(come[..], [Completion::Done { token: 7, .. }]), "{come:?}");
    }
}
