//! One binding in one scenario: its routers, its calls under way, and what they came to.

use crate::check::{Check, Expect};
use crate::driver::{Callbacks, Driver, Pending};
use crate::load::Load;
use crate::protocol::{self, Answer, Blob, Op, Outcome, Read, ReadMany};
use crate::scenario::{Call, Config, Fallback, Finish, Open, Start, Step};
use crate::value::{Text, shown, with_addresses};
use crate::world::{Received, Wanted, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than anything here takes: what lasts until then hangs.
const CALL: Duration = Duration::from_secs(40);
/// How long something may take to be seen.
const SEEN: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Client {
    driver: Arc<Driver>,
    /// Tells this run's routers from all others of the driver.
    prefix: String,
    config: Config,
    routers: Vec<String>,
    calls: BTreeMap<String, Vec<Pending>>,
    load: Option<Load>,
    /// Callbacks before the last `mark`.
    marked: Callbacks,
}

impl Client {
    /// A client whose routers have these settings unless a step says otherwise.
    pub(crate) fn new(driver: Arc<Driver>, prefix: String, config: Config) -> Self {
        Self {
            driver,
            prefix,
            config,
            routers: Vec::new(),
            calls: BTreeMap::new(),
            load: None,
            marked: Callbacks::default(),
        }
    }

    /// Opens `main` and waits until it has heard of every node.
    pub(crate) async fn open_main(&mut self, world: &World) -> Result<(), String> {
        let open = Open { router: "main".to_owned(), nodes: None, config: Config::new(), expect: Expect::default() };
        self.open(&open, world).await?;
        self.until(async |client| {
            let health = client.health().await?;
            let nodes = health.get("nodes").and_then(Value::as_array).filter(|nodes| !nodes.is_empty());
            let heard = |node: &Value| node.get("contact_ms").is_some_and(|ms| !ms.is_null());
            let known = health.get("kind").and_then(Value::as_str) != Some("unknown");
            let ready = known && nodes.is_some_and(|nodes| nodes.iter().all(heard));
            if ready { Ok(()) } else { Err(format!("the router has not heard of every node: {health}")) }
        })
        .await
    }

    /// Carries out a step that is about calls, and what is to be seen of them.
    pub(crate) async fn take(&mut self, step: &Step, world: &World) -> Result<(), String> {
        match step {
            Step::Open(open) => self.open(open, world).await,
            Step::Call(call) => self.call(call, world).await,
            Step::Start(start) => self.start(start),
            Step::Finish(finish) => self.finish(finish, world).await,
            Step::Cancel { calls, index } => self.cancel(calls, *index).await,
            Step::Release => self.release().await,
            Step::Close => self.done("main", Op::Close {}).await,
            Step::Mark => {
                self.marked = self.callbacks();
                world.mark().await
            }
            Step::Wait(check) => self.until(async |client| client.check(check, world).await).await,
            Step::Check(check) => self.check(check, world).await,
            Step::Load(shape) => {
                self.load = Some(Load::start(&self.driver, &self.name("main"), shape).await?);
                Ok(())
            }
            Step::Reads(count) => self.load()?.reads(*count).await,
            Step::Until(seen) => self.load()?.until(seen, &world.addresses()).await,
            Step::Label(label) => {
                self.load()?.label(label);
                Ok(())
            }
            Step::Stop(stop) => match self.load.take() {
                Some(load) => load.stop(stop, &world.addresses()).await,
                None => Err("no load to stop".to_owned()),
            },
            _ => Err("a step that is about the nodes".to_owned()),
        }
    }

    /// Ends what is under way. A router that does not close in time is a failure, too.
    pub(crate) async fn end(&mut self) -> Result<(), String> {
        self.load = None;
        for router in std::mem::take(&mut self.routers) {
            self.done(&router, Op::Close {}).await.map_err(|e| format!("close: {e}"))?;
        }
        Ok(())
    }

    fn name(&self, router: &str) -> String {
        format!("{}.{router}", self.prefix)
    }

    fn send(&self, router: &str, op: Op) -> Pending {
        self.driver.send(&self.name(router), op)
    }

    fn load(&mut self) -> Result<&mut Load, String> {
        self.load.as_mut().ok_or_else(|| "no load".to_owned())
    }

    /// A request that has no result but that it is done.
    async fn done(&self, router: &str, op: Op) -> Result<(), String> {
        match self.send(router, op).result(CALL).await? {
            Outcome::Ok(_) => Ok(()),
            Outcome::Error(failure) => Err(format!("{}: {}", failure.code, failure.message)),
        }
    }

    async fn open(&mut self, open: &Open, world: &World) -> Result<(), String> {
        let addresses = world.addresses();
        let nodes = match &open.nodes {
            Some(nodes) => nodes.iter().map(|node| with_addresses(node, &addresses)).collect(),
            None => addresses.values().cloned().collect(),
        };
        let mut config = match world {
            // Enough time for a busy machine, where a scenario is not about time.
            World::Scripted(_) => Config::from([
                ("attempt_timeout_ms".to_owned(), json!(4000)),
                ("connect_timeout_ms".to_owned(), json!(4000)),
                ("deadline_ms".to_owned(), json!(16000)),
            ]),
            World::Real(servers) => {
                let map = servers.address_map().map(|map| ("address_map".to_owned(), json!(map)));
                Config::from_iter(map)
            }
        };
        // Which values are copied is a matter of chance.
        config.insert("standin_bytes".to_owned(), json!(0));
        config.extend(self.config.clone());
        config.extend(open.config.clone());
        let result = self.send(&open.router, Op::Open { nodes, config }).result(CALL).await?;
        open.expect.check(&result, &addresses)?;
        if matches!(result, Outcome::Ok(_)) {
            self.routers.push(open.router.clone());
        }
        Ok(())
    }

    async fn call(&self, call: &Call, world: &World) -> Result<(), String> {
        let (callbacks, sent) = (self.callbacks().started, world.received(&call.expect.sent).await?);
        let result = self.send(&call.router, op(call)?).result(CALL).await?;
        call.expect.check(&result, &world.addresses())?;
        if let Some(wanted) = call.expect.callbacks {
            wanted.check("callbacks", self.callbacks().started - callbacks)?;
        }
        check_received(&call.expect.sent, &sent, world).await
    }

    fn start(&mut self, start: &Start) -> Result<(), String> {
        for _ in 0..start.times {
            let pending = self.send(&start.call.router, op(&start.call)?);
            self.calls.entry(start.name.clone()).or_default().push(pending);
        }
        Ok(())
    }

    async fn finish(&mut self, finish: &Finish, world: &World) -> Result<(), String> {
        let calls = self.calls.remove(&finish.calls).ok_or_else(|| format!("no calls {}", finish.calls))?;
        let mut coalesced = 0;
        for call in calls {
            let result = call.result(CALL).await?;
            finish.expect.check(&result, &world.addresses())?;
            coalesced += u64::from(matches!(&result, Outcome::Ok(Answer::Outcome(got)) if got.coalesced));
        }
        finish.coalesced.map_or(Ok(()), |wanted| wanted.check("coalesced calls", coalesced))
    }

    /// Cancels one call; it is then no longer one of those to be finished.
    async fn cancel(&mut self, calls: &str, index: usize) -> Result<(), String> {
        let calls = self.calls.get_mut(calls).filter(|calls| index < calls.len());
        let call = calls.ok_or_else(|| format!("no call {index}"))?.remove(index);
        self.done("main", Op::Cancel { call: call.id }).await?;
        match call.result(CALL).await? {
            Outcome::Error(failure) if failure.code == "CANCELLED" => Ok(()),
            other => Err(format!("a cancelled call came to {other:?}")),
        }
    }

    async fn release(&self) -> Result<(), String> {
        for router in &self.routers {
            self.done(router, Op::Release {}).await?;
        }
        Ok(())
    }

    async fn health(&self) -> Result<Value, String> {
        match self.send("main", Op::Health {}).result(CALL).await? {
            Outcome::Ok(Answer::Health(health)) => Ok(health),
            other => Err(format!("health() came to {other:?}")),
        }
    }

    /// All callbacks of this run.
    fn callbacks(&self) -> Callbacks {
        let each = self.routers.iter().map(|router| self.driver.callbacks(&self.name(router)));
        each.fold(Callbacks::default(), |mut sum, one| {
            sum.started += one.started;
            sum.cancelled += one.cancelled;
            sum.reasons.extend(one.reasons);
            sum
        })
    }

    async fn check(&self, check: &Check, world: &World) -> Result<(), String> {
        if check.wants_health() {
            check.check_health(&self.health().await?, &world.addresses())?;
        }
        let (now, before) = (self.callbacks(), &self.marked);
        if let Some(wanted) = check.callbacks {
            wanted.check("callbacks", now.started - before.started)?;
        }
        if let Some(wanted) = check.cancelled {
            wanted.check("cancelled callbacks", now.cancelled - before.cancelled)?;
        }
        if let Some(wanted) = &check.reasons {
            let told = &now.reasons[before.reasons.len()..];
            if told != wanted {
                return Err(format!("the callbacks were told {told:?}, expected {wanted:?}"));
            }
        }
        check_received(&check.received, &Received::new(), world).await?;
        for (node, keys) in &check.stored {
            for (key, wanted) in keys {
                let wanted = wanted.as_ref().map(Text::bytes).transpose()?;
                let got = world.stored(node, key)?;
                if got != wanted {
                    let told = |value: &Option<Vec<u8>>| value.as_deref().map_or("nothing".to_owned(), shown);
                    return Err(format!("{node} holds {} at {key}, expected {}", told(&got), told(&wanted)));
                }
            }
        }
        Ok(())
    }

    /// Looks until it holds.
    async fn until(&self, holds: impl AsyncFn(&Self) -> Result<(), String>) -> Result<(), String> {
        let deadline = Instant::now() + SEEN;
        loop {
            match holds(self).await {
                Err(why) if Instant::now() >= deadline => return Err(format!("not within {SEEN:?}: {why}")),
                Err(_) => tokio::time::sleep(PAUSE).await,
                Ok(()) => return Ok(()),
            }
        }
    }
}

async fn check_received(wanted: &Wanted, before: &Received, world: &World) -> Result<(), String> {
    for (at, count) in world.received(wanted).await? {
        let number = wanted[&at.0][&at.1];
        number.check(&format!("{} to {}", at.1, at.0), count - before.get(&at).copied().unwrap_or(0))?;
    }
    Ok(())
}

fn op(call: &Call) -> Result<Op, String> {
    let recompute = || call.recompute.as_ref().map(fallback).transpose();
    let fallback = || call.fallback.as_ref().map(fallback).transpose();
    let Call { ttl_ms, deadline_ms, staleness_budget_ms, .. } = *call;
    let read = |key: &Text| {
        let (fallback, recompute) = (fallback()?, recompute()?);
        Ok::<_, String>(Read { key: key.blob()?, fallback, recompute, ttl_ms, deadline_ms, staleness_budget_ms })
    };
    let many = |keys: &Vec<Text>| {
        let fallback = fallback()?.ok_or("a call for many keys has a fallback")?;
        Ok::<_, String>(ReadMany { keys: blobs(keys)?, fallback, ttl_ms, deadline_ms, staleness_budget_ms })
    };
    let set = |key: &Text| {
        let value = call.value.as_ref().ok_or("a `set` has a value")?.blob()?;
        Ok::<_, String>(Op::Set { key: key.blob()?, value, ttl_ms: call.ttl_ms })
    };
    let given = [
        call.get.as_ref().map(|key| read(key).map(Op::Get)),
        call.resolve.as_ref().map(|key| read(key).map(Op::Resolve)),
        call.get_many.as_ref().map(|keys| many(keys).map(Op::GetMany)),
        call.resolve_many.as_ref().map(|keys| many(keys).map(Op::ResolveMany)),
        call.set.as_ref().map(set),
        call.invalidate.as_ref().map(|keys| Ok(Op::Invalidate { keys: blobs(keys)? })),
        call.last_invalidation.as_ref().map(|key| Ok(Op::LastInvalidation { key: key.blob()? })),
        call.within_staleness_budget.as_ref().map(|key| {
            let max_age_ms = call.max_age_ms.ok_or("a question of an age has `max_age_ms`")?;
            Ok(Op::WithinStalenessBudget { key: key.blob()?, max_age_ms })
        }),
        call.ready_ms.map(|timeout_ms| Ok(Op::Ready { timeout_ms })),
    ];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(op), None) => op,
        _ => Err("a call is one of those in README.md, and only one".to_owned()),
    }
}

fn blobs(keys: &[Text]) -> Result<Vec<Blob>, String> {
    keys.iter().map(Text::blob).collect()
}

fn fallback(spec: &Fallback) -> Result<protocol::Fallback, String> {
    use protocol::Fallback as Wire;
    let boxed = |then: &Fallback| fallback(then).map(Box::new);
    Ok(match spec {
        Fallback::Value(value) => Wire::Value(value.blob()?),
        Fallback::Echo => Wire::Echo {},
        Fallback::Missing => Wire::Missing {},
        Fallback::Mapping(pairs) => {
            let pair = |(key, value): (&String, &Text)| Ok::<_, String>((Blob(key.as_bytes().to_vec()), value.blob()?));
            Wire::Mapping(pairs.iter().map(pair).collect::<Result<_, _>>()?)
        }
        Fallback::Error(text) => Wire::Error(text.clone()),
        Fallback::Panic(text) => Wire::Panic(text.clone()),
        Fallback::WrongType => Wire::WrongType {},
        Fallback::Never => Wire::Never {},
        Fallback::Hold(then) => Wire::Hold(boxed(then)?),
        Fallback::Slow { ms, then } => Wire::Slow { ms: *ms, then: boxed(then)? },
        Fallback::Ask { key, fallback } => Wire::Ask { key: key.blob()?, fallback: boxed(fallback)? },
        Fallback::Invalidate { keys, then } => Wire::Invalidate { keys: blobs(keys)?, then: boxed(then)? },
    })
}
