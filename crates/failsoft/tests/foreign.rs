//! Reads for other languages: completions, callbacks that run elsewhere, and what happens when nobody
//! answers, nobody waits, or nobody is there.

mod support;

use failsoft::foreign::{Answer, Caller, Channel, Completion, Foreign, Parent, ReadOptions, Run};
use failsoft::{Bytes, Error, ServedBy};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{LONG, Pair, in_time, patient, scripted};
use tokio::sync::Notify;

/// A consumer: what an event loop is to a binding.
struct Consumer {
    channel: Arc<Channel>,
    rung: Arc<Notify>,
    wakes: Arc<AtomicUsize>,
    come: Vec<Completion>,
}

impl Consumer {
    fn new() -> Self {
        let (rung, wakes) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (bell, count) = (Arc::clone(&rung), Arc::clone(&wakes));
        let channel = Channel::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            bell.notify_one();
        });
        Self { channel, rung, wakes, come: Vec::new() }
    }

    fn caller(&self, token: u64) -> Caller<'_> {
        Caller { channel: &self.channel, token, parent: None }
    }

    fn inside<'a>(&'a self, token: u64, parent: &'a Parent) -> Caller<'a> {
        Caller { channel: &self.channel, token, parent: Some(parent) }
    }

    /// Waits for a completion of which `wanted` makes something.
    async fn until<T>(
        &mut self,
        what: &str,
        wanted: impl Fn(&Completion) -> bool,
        take: impl Fn(Completion) -> T,
    ) -> T {
        let began = Instant::now();
        loop {
            let mut batch = Vec::new();
            self.channel.drain(&mut batch);
            self.come.append(&mut batch);
            if let Some(place) = self.come.iter().position(&wanted) {
                return take(self.come.remove(place));
            }
            assert!(began.elapsed() < LONG, "{what} did not come; there are {:?}", self.come);
            in_time(what, self.rung.notified()).await;
        }
    }

    async fn run(&mut self, token: u64) -> Run {
        let wanted = |c: &Completion| matches!(c, Completion::Run(run) if run.token == token);
        let take = |c| if let Completion::Run(run) = c { run } else { unreachable!("it was chosen") };
        self.until("a run", wanted, take).await
    }

    async fn value(&mut self, token: u64) -> Result<Option<Bytes>, Error> {
        let wanted = |c: &Completion| matches!(c, Completion::Value { token: t, .. } if *t == token);
        let take = |c| if let Completion::Value { result, .. } = c { result } else { unreachable!("it was chosen") };
        self.until("a value", wanted, take).await
    }

    async fn see(&mut self, what: &str, wanted: impl Fn(&Completion) -> bool) {
        self.until(what, wanted, drop).await;
    }
}

async fn node() -> (failsoft_testkit::ScriptedNode, Foreign) {
    let node = scripted().await;
    let foreign = Foreign::open(patient([node.address()])).expect("good settings");
    (node, foreign)
}

fn get(foreign: &Foreign, caller: Caller<'_>, key: &'static str) -> failsoft::foreign::Pending {
    foreign.get(caller, Bytes::from_static(key.as_bytes()), ReadOptions::default(), true).expect("an open router")
}

fn answer(text: &'static str) -> Answer {
    Answer::Value(Some(Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn a_value_needs_no_callback_and_a_miss_asks_the_callers_own() {
    let (node, foreign) = node().await;
    node.set("there", "v");
    let mut consumer = Consumer::new();
    get(&foreign, consumer.caller(1), "there");
    assert_eq!(consumer.value(1).await.expect("a value").as_deref(), Some(&b"v"[..]));
    get(&foreign, consumer.caller(2), "not there");
    consumer.see("loading", |c| matches!(c, Completion::Loading { token: 2 })).await;
    let run = consumer.run(2).await;
    assert_eq!(
        (run.keys.as_slice(), run.reason),
        (&[Bytes::from_static(b"not there")][..], Some(failsoft::Reason::Absent))
    );
    run.finish(answer("loaded"));
    assert_eq!(consumer.value(2).await.expect("a value").as_deref(), Some(&b"loaded"[..]));
    get(&foreign, consumer.caller(3), "fails");
    consumer.run(3).await.finish(Answer::Failed("broken".into()));
    assert_eq!(consumer.value(3).await.expect_err("an error").to_string(), "the fallback failed: broken");
    foreign.close(consumer.caller(4)).expect("the same process");
    consumer.see("closed", |c| matches!(c, Completion::Done { token: 4, result: Ok(()) })).await;
    assert!(matches!(foreign.check(), Err(Error::Closed)));
}

#[tokio::test]
async fn a_call_goes_on_behind_what_was_served_and_its_callback_runs() {
    let node = scripted().await;
    node.set("there", "v");
    let foreign = Foreign::open(patient([node.address()]).verify_sample(1.0)).expect("good settings");
    let mut consumer = Consumer::new();
    foreign.ready(consumer.caller(9), LONG).expect("an open router");
    consumer.see("a view", |c| matches!(c, Completion::Done { token: 9, result: Ok(()) })).await;
    let served = |c: &Completion| matches!(c, Completion::Served(first) if matches!(&**first, Completion::Value { token: 1, result: Ok(Some(value)) } if value == "v"));
    get(&foreign, consumer.caller(1), "there");
    consumer.see("the value", served).await;
    let run = consumer.run(1).await;
    assert_eq!((run.reason, run.recompute), (Some(failsoft::Reason::Unknown), false));
    run.finish(answer("v"));
    consumer.see("the end", |c| matches!(c, Completion::Done { token: 1, result: Ok(()) })).await;
    let verified = foreign.health().expect("this process").counters.verified;
    assert_eq!(verified.iter().map(|c| (c.what, c.count)).collect::<Vec<_>>(), [("fresh", 1)]);
    // One that is cancelled meanwhile ends.
    let pending = get(&foreign, consumer.caller(1), "there");
    consumer.see("the value", served).await;
    let _run = consumer.run(1).await;
    pending.cancel();
    consumer.see("the end", |c| matches!(c, Completion::Cancelled { token: 1 })).await;
    // Without a callback nothing follows.
    let options = ReadOptions::default();
    foreign.get(consumer.caller(2), Bytes::from_static(b"there"), options, false).expect("an open router");
    assert_eq!(consumer.value(2).await.expect("a value").as_deref(), Some(&b"v"[..]));
}

#[tokio::test]
async fn one_wake_up_for_many_completions() {
    let (_node, foreign) = node().await;
    let mut consumer = Consumer::new();
    for token in 0..100 {
        get(&foreign, consumer.caller(token), "herd");
    }
    // Nothing is taken until all wait, so there is one wake-up only.
    let began = Instant::now();
    while foreign.health().expect("this process").waiters < 100 {
        assert!(began.elapsed() < LONG, "not all wait");
        tokio::task::yield_now().await;
    }
    assert_eq!(consumer.wakes.load(Ordering::SeqCst), 1);
    let run = consumer.until(
        "a run",
        |c| matches!(c, Completion::Run(_)),
        |c| if let Completion::Run(run) = c { run } else { unreachable!("it was chosen") },
    );
    run.await.finish(answer("one"));
    for token in 0..100 {
        assert_eq!(consumer.value(token).await.expect("a value").as_deref(), Some(&b"one"[..]));
    }
    assert!(!consumer.come.iter().any(|c| matches!(c, Completion::Run(_))), "one load for all");
}

#[tokio::test]
async fn a_load_goes_on_while_anyone_waits_and_stops_when_nobody_does() {
    let (_node, foreign) = node().await;
    let mut consumer = Consumer::new();
    let first = get(&foreign, consumer.caller(1), "k");
    let run = consumer.run(1).await;
    let second = get(&foreign, consumer.caller(2), "k");
    consumer.see("it waits", |c| matches!(c, Completion::Loading { token: 2 })).await;
    first.cancel();
    consumer.see("the first is gone", |c| matches!(c, Completion::Cancelled { token: 1 })).await;
    assert!(!consumer.come.iter().any(|c| matches!(c, Completion::Stop { .. })));
    second.cancel();
    let id = run.id();
    consumer.see("a stop", |c| matches!(c, Completion::Stop { id: stopped } if *stopped == id)).await;
    run.finish(answer("too late"));
    let health = foreign.health().expect("this process");
    assert_eq!((health.flights, health.waiters), (0, 0));
}

#[tokio::test]
async fn a_callback_does_not_begin_for_a_call_that_is_over() {
    let (_node, foreign) = node().await;
    let mut consumer = Consumer::new();
    let first = get(&foreign, consumer.caller(1), "k");
    let run = consumer.run(1).await;
    get(&foreign, consumer.caller(2), "k");
    consumer.see("it waits", |c| matches!(c, Completion::Loading { token: 2 })).await;
    assert!(run.may_begin());
    first.cancel();
    consumer.see("the first is gone", |c| matches!(c, Completion::Cancelled { token: 1 })).await;
    assert!(run.is_wanted() && !run.may_begin(), "another one waits for the load, with a callback of its own");
    drop(run);
    let second = consumer.run(2).await;
    assert!(second.may_begin());
    second.finish(answer("the second's"));
    assert_eq!(consumer.value(2).await.expect("it answered"), Some(Bytes::from_static(b"the second's")));
}

#[tokio::test]
async fn another_waiters_callback_takes_over_when_a_loop_is_gone() {
    let (_node, foreign) = node().await;
    let (mut gone, mut here) = (Consumer::new(), Consumer::new());
    get(&foreign, gone.caller(1), "k");
    let run = gone.run(1).await;
    get(&foreign, here.caller(1), "k");
    here.see("it waits", |c| matches!(c, Completion::Loading { .. })).await;
    gone.channel.close();
    drop(run);
    here.run(1).await.finish(answer("taken over"));
    assert_eq!(here.value(1).await.expect("a value").as_deref(), Some(&b"taken over"[..]));
    // With nobody to take over, the one who asked is told.
    get(&foreign, here.caller(2), "alone");
    drop(here.run(2).await);
    let error = here.value(2).await.expect_err("an error");
    assert!(matches!(error, Error::Fallback(e) if e.is::<failsoft::CallbackGone>()));
}

#[tokio::test]
async fn one_who_has_loaded_other_keys_takes_over_too() {
    let (_node, foreign) = node().await;
    let mut consumer = Consumer::new();
    let [a, b, c] = ["a", "b", "c"].map(Bytes::from);
    foreign
        .resolve_many(consumer.caller(1), vec![a.clone(), b.clone()], ReadOptions::default())
        .expect("an open router");
    let gone = consumer.run(1).await;
    foreign
        .resolve_many(consumer.caller(2), vec![b.clone(), c.clone()], ReadOptions::default())
        .expect("an open router");
    let own = consumer.run(2).await;
    assert_eq!(own.keys, std::slice::from_ref(&c));
    own.finish(Answer::Values(HashMap::from([(c, Bytes::from_static(b"own"))])));
    drop(gone);
    let other = consumer.run(2).await;
    assert_eq!(other.keys, std::slice::from_ref(&b));
    other.finish(Answer::Values(HashMap::from([(b, Bytes::from_static(b"taken over"))])));
    let wanted = |c: &Completion| matches!(c, Completion::Many { token: 2, .. });
    let take = |c| if let Completion::Many { result, .. } = c { result } else { unreachable!("it was chosen") };
    let outcomes = consumer.until("outcomes", wanted, take).await.expect("outcomes");
    let values: Vec<_> = outcomes.iter().map(|o| o.as_ref().ok().and_then(|o| o.value.clone())).collect();
    assert_eq!(values, [Some(Bytes::from_static(b"taken over")), Some(Bytes::from_static(b"own"))]);
}

#[tokio::test]
async fn a_callback_that_asks_for_its_own_key_is_told() {
    let (_node, foreign) = node().await;
    let mut consumer = Consumer::new();
    get(&foreign, consumer.caller(1), "a");
    let outer = consumer.run(1).await;
    get(&foreign, consumer.inside(2, outer.parent()), "b");
    let inner = consumer.run(2).await;
    get(&foreign, consumer.inside(3, inner.parent()), "a");
    assert!(matches!(consumer.value(3).await, Err(Error::Reentrant { key }) if key == "a"));
    inner.finish(answer("b"));
    outer.finish(answer("a"));
    assert!(consumer.value(1).await.is_ok() && consumer.value(2).await.is_ok());
}

#[tokio::test]
async fn many_keys_and_writes() {
    let pair = Pair::start().await;
    let foreign = Foreign::open(patient(pair.addresses())).expect("good settings");
    let mut consumer = Consumer::new();
    foreign.ready(consumer.caller(1), LONG).expect("an open router");
    consumer.see("ready", |c| matches!(c, Completion::Done { token: 1, result: Ok(()) })).await;
    let (a, b) = (Bytes::from(pair.key_a()), Bytes::from(pair.key_b()));
    foreign.set(consumer.caller(2), a.clone(), Bytes::from_static(b"v"), None).expect("an open router");
    consumer.see("written", |c| matches!(c, Completion::Done { token: 2, result: Ok(()) })).await;
    foreign.resolve_many(consumer.caller(3), vec![a, b.clone()], ReadOptions::default()).expect("an open router");
    let run = consumer.run(3).await;
    assert_eq!((run.keys.as_slice(), run.reason), (&[b.clone()][..], None));
    run.finish(Answer::Values(HashMap::from([(b, Bytes::from_static(b"w"))])));
    let wanted = |c: &Completion| matches!(c, Completion::Many { token: 3, .. });
    let take = |c| if let Completion::Many { result, .. } = c { result } else { unreachable!("it was chosen") };
    let outcomes = consumer.until("outcomes", wanted, take).await.expect("outcomes");
    let sources: Vec<_> = outcomes.iter().map(|o| o.as_ref().map(|o| o.served_by).ok()).collect();
    assert_eq!(sources, [Some(ServedBy::Primary), Some(ServedBy::Secondary)]);
}

#[tokio::test]
async fn a_deadline_of_a_batch_costs_only_those_keys_that_the_callback_was_asked_for() {
    let pair = Pair::start().await;
    let foreign = Foreign::open(patient(pair.addresses())).expect("good settings");
    let mut consumer = Consumer::new();
    let (a, b) = (Bytes::from(pair.key_a()), Bytes::from(pair.key_b()));
    foreign.set(consumer.caller(1), a.clone(), Bytes::from_static(b"v"), None).expect("an open router");
    consumer.see("written", |c| matches!(c, Completion::Done { token: 1, result: Ok(()) })).await;
    let options = ReadOptions { deadline: Some(Duration::from_millis(300)), ..ReadOptions::default() };
    foreign.resolve_many(consumer.caller(2), vec![a, b], options).expect("an open router");
    // It is never answered.
    let run = consumer.run(2).await;
    let wanted = |c: &Completion| matches!(c, Completion::Many { token: 2, .. });
    let take = |c| if let Completion::Many { result, .. } = c { result } else { unreachable!("it was chosen") };
    let outcomes = consumer.until("outcomes", wanted, take).await.expect("outcomes");
    assert_eq!(outcomes[0].as_ref().expect("a read").value.as_deref(), Some(&b"v"[..]));
    assert!(matches!(outcomes[1], Err(Error::DeadlineExceeded { limit: "deadline" })), "{:?}", outcomes[1]);
    let id = run.id();
    consumer.see("a stop", |c| matches!(c, Completion::Stop { id: stopped } if *stopped == id)).await;
    let bad = ReadOptions { ttl: Some(Duration::ZERO), ..ReadOptions::default() };
    let refused = foreign.resolve_many(consumer.caller(3), vec![], bad);
    assert!(matches!(refused, Err(Error::InvalidArgument { argument: "ttl", .. })));
}

#[tokio::test]
async fn closing_answers_everybody() {
    let (node, foreign) = node().await;
    let mut consumer = Consumer::new();
    get(&foreign, consumer.caller(1), "loading");
    let run = consumer.run(1).await;
    node.on("GET", failsoft_testkit::Behaviour::Silence);
    get(&foreign, consumer.caller(2), "silent");
    node.wait_for("GET", 2).await.expect("a second read");
    foreign.close(consumer.caller(3)).expect("the same process");
    for token in [1, 2] {
        assert!(matches!(consumer.value(token).await, Err(Error::Closed)));
    }
    let id = run.id();
    consumer.see("a stop", |c| matches!(c, Completion::Stop { id: stopped } if *stopped == id)).await;
    let late = foreign.get(consumer.caller(4), Bytes::new(), ReadOptions::default(), true);
    assert!(matches!(late, Err(Error::Closed)));
}

#[tokio::test]
async fn a_read_on_its_way_is_cancelled_once_and_takes_nothing_with_it() {
    let (node, foreign) = node().await;
    node.set("there", "v");
    let mut consumer = Consumer::new();
    node.on("GET", failsoft_testkit::Behaviour::Silence);
    let first = get(&foreign, consumer.caller(1), "there");
    node.wait_for("GET", 1).await.expect("a read");
    first.cancel();
    first.cancel();
    consumer.see("the first is gone", |c| matches!(c, Completion::Cancelled { token: 1 })).await;
    assert!(consumer.come.is_empty());
    let in_flight: usize = foreign.health().expect("this process").nodes.iter().map(|n| n.in_flight).sum();
    assert_eq!(in_flight, 0);
    // After its end there is nothing to cancel.
    node.on("GET", failsoft_testkit::Behaviour::Normal);
    let second = get(&foreign, consumer.caller(2), "there");
    assert_eq!(consumer.value(2).await.expect("a value").as_deref(), Some(&b"v"[..]));
    second.cancel();
    get(&foreign, consumer.caller(3), "there");
    assert_eq!(consumer.value(3).await.expect("a value").as_deref(), Some(&b"v"[..]));
    assert!(consumer.come.is_empty());
}

#[tokio::test]
async fn a_read_that_went_on_from_its_first_attempt_can_be_cancelled() {
    let (node, foreign) = node().await;
    node.set("there", "v");
    let mut consumer = Consumer::new();
    // The node is known from here on.
    get(&foreign, consumer.caller(1), "there");
    consumer.value(1).await.expect("a value");
    let pending = get(&foreign, consumer.caller(2), "not there");
    let run = consumer.run(2).await;
    pending.cancel();
    consumer.see("it is gone", |c| matches!(c, Completion::Cancelled { token: 2 })).await;
    let id = run.id();
    consumer.see("a stop", |c| matches!(c, Completion::Stop { id: stopped } if *stopped == id)).await;
}
