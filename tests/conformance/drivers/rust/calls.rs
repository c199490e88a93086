//! The calls of the Rust driver: each request becomes a task, and its result a line.

use crate::Lines;
use crate::fallback::{self, Place};
use crate::protocol::{Account, Answer, Blob, Failure, FromDriver, Last, Op, Outcome, Read, ReadMany, Request};
use failsoft::{Builder, Error, Router, Setting};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Calls under way, to be cancelled.
type Calls = Arc<Mutex<HashMap<u64, AbortHandle>>>;

pub(crate) struct Driver {
    lines: Lines,
    routers: HashMap<String, Place>,
    calls: Calls,
}

impl Driver {
    pub(crate) fn new(lines: Lines) -> Self {
        Self { lines, routers: HashMap::new(), calls: Calls::default() }
    }

    pub(crate) fn take(&mut self, request: Request) {
        let Request { id, router, op } = request;
        match op {
            Op::Open { nodes, config } => {
                let opened = self.open(router, nodes, config).map(|()| Answer::Done {});
                answer(&self.lines, id, opened);
            }
            Op::Cancel { call } => {
                let task = self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&call);
                if let Some(task) = task {
                    task.abort();
                    let failure = Failure { code: "CANCELLED".to_owned(), message: "cancelled".to_owned() };
                    // Nobody listens if this fails.
                    let _ = self.lines.send(FromDriver::Reply { id: call, result: Outcome::Error(failure) });
                }
                answer(&self.lines, id, Ok(Answer::Done {}));
            }
            op => match self.routers.get(&router) {
                Some(place) => self.call(id, place.clone(), op),
                None => answer(&self.lines, id, Err(Error::Internal("no router of that name"))),
            },
        }
    }

    fn open(&mut self, name: String, nodes: Vec<String>, config: BTreeMap<String, Value>) -> Result<(), Error> {
        let builder = config.into_iter().fold(Router::builder(nodes), set);
        let place = Place {
            name: name.clone(),
            router: builder.build()?,
            lines: self.lines.clone(),
            releases: Arc::new(watch::Sender::new(0)),
        };
        self.routers.insert(name, place);
        Ok(())
    }

    fn call(&self, id: u64, place: Place, op: Op) {
        let (calls, lines) = (Arc::clone(&self.calls), self.lines.clone());
        // Held while the task begins, so that it cannot end before it is entered.
        let mut entered = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let task = tokio::spawn(async move {
            let result = perform(place, op).await;
            // Whoever takes the call out of the list answers it.
            if calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&id).is_some() {
                answer(&lines, id, result);
            }
        });
        entered.insert(id, task.abort_handle());
    }
}

fn answer(lines: &Lines, id: u64, result: Result<Answer, Error>) {
    let result = match result {
        Ok(answer) => Outcome::Ok(answer),
        Err(error) => Outcome::Error(failure(&error)),
    };
    // Nobody listens if this fails.
    let _ = lines.send(FromDriver::Reply { id, result });
}

fn failure(error: &Error) -> Failure {
    Failure { code: error.code().to_owned(), message: error.to_string() }
}

/// `key_ms` is a duration; the rest goes by its JSON type.
fn set(builder: Builder, (key, value): (String, Value)) -> Builder {
    let setting = match &value {
        Value::Null => Setting::Off,
        Value::Bool(yes) => Setting::Bool(*yes),
        Value::String(text) => Setting::Text(text.clone()),
        Value::Array(list) => Setting::List(list.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        Value::Number(number) => match (key.strip_suffix("_ms"), number.as_i64(), number.as_f64()) {
            (Some(name), _, Some(ms)) => return builder.set(name, Setting::Millis(ms)),
            (_, Some(whole), _) => Setting::Integer(whole),
            (_, _, number) => Setting::Number(number.unwrap_or(f64::NAN)),
        },
        Value::Object(map) => {
            let pairs = map.iter().map(|(from, to)| format!("{from}={}", to.as_str().unwrap_or_default()));
            Setting::List(pairs.collect())
        }
    };
    builder.set(&key, setting)
}

async fn perform(place: Place, op: Op) -> Result<Answer, Error> {
    let router = place.router.clone();
    match op {
        Op::Ready { timeout_ms } => router.ready(Duration::from_millis(timeout_ms)).await.map(|()| Answer::Done {}),
        Op::Get(Read {
            key,
            fallback: Some(behaviour),
            recompute: None,
            ttl_ms: None,
            deadline_ms: None,
            staleness_budget_ms: None,
        }) => {
            let value = router.get_with_fallback(&key.0, fallback::one(&place, behaviour)).await?;
            Ok(Answer::Value(value.map(|value| Blob(value.to_vec()))))
        }
        Op::Get(read) => Ok(Answer::Value(resolve(&place, read).await?.value)),
        Op::Resolve(read) => resolve(&place, read).await.map(Answer::Outcome),
        Op::GetMany(ReadMany { keys, fallback, ttl_ms: None, deadline_ms: None, staleness_budget_ms: None }) => {
            let keys = keys.into_iter().map(|key| key.0);
            let values =
                router.get_many_with_fallback(keys, move |keys| fallback::run(place, fallback, keys, None)).await?;
            Ok(Answer::Values(values.into_iter().map(|v| v.map(|v| Blob(v.to_vec()))).collect()))
        }
        Op::GetMany(many) => {
            let values = resolve_many(place, many).await?.into_iter().map(|outcome| Ok(outcome?.value));
            let values = values.collect::<Result<Vec<_>, Error>>()?;
            Ok(Answer::Values(values.into_iter().map(|v| v.map(|v| Blob(v.to_vec()))).collect()))
        }
        Op::ResolveMany(many) => {
            let outcomes = resolve_many(place, many).await?;
            let told = |outcome| match outcome {
                Ok(outcome) => Outcome::Ok(Answer::Outcome(account(outcome))),
                Err(error) => Outcome::Error(failure(&error)),
            };
            Ok(Answer::Outcomes(outcomes.into_iter().map(told).collect()))
        }
        Op::Set { key, value, ttl_ms } => {
            router.set(key.0, value.0, ttl_ms.map(Duration::from_millis)).await.map(|()| Answer::Done {})
        }
        Op::Invalidate { keys } => router.invalidate(keys.into_iter().map(|key| key.0)).await.map(|()| Answer::Done {}),
        Op::LastInvalidation { key } => Ok(Answer::Last(router.last_invalidation(key.0).await?.map(last))),
        Op::WithinStalenessBudget { key, max_age_ms } => {
            router.within_staleness_budget(key.0, Duration::from_millis(max_age_ms)).await.map(Answer::Said)
        }
        Op::Release {} => {
            place.releases.send_modify(|count| *count += 1);
            Ok(Answer::Done {})
        }
        Op::Health {} => serde_json::from_str(&router.health().to_json())
            .map(Answer::Health)
            .map_err(|_| Error::Internal("health is no JSON")),
        Op::Close {} => {
            router.close().await;
            Ok(Answer::Done {})
        }
        Op::Open { .. } | Op::Cancel { .. } => Err(Error::Internal("taken care of before")),
    }
}

async fn resolve(place: &Place, read: Read) -> Result<Account, Error> {
    let mut resolve = place.router.resolve(read.key.0);
    if let Some(ttl) = read.ttl_ms {
        resolve = resolve.ttl(Duration::from_millis(ttl));
    }
    if let Some(deadline) = read.deadline_ms {
        resolve = resolve.deadline(Duration::from_millis(deadline));
    }
    if let Some(budget) = read.staleness_budget_ms {
        resolve = resolve.staleness_budget(Duration::from_millis(budget));
    }
    if let Some(behaviour) = read.fallback {
        resolve = resolve.fallback(fallback::one(place, behaviour));
    }
    if let Some(behaviour) = read.recompute {
        resolve = resolve.recompute(fallback::one(place, behaviour));
    }
    resolve.await.map(account)
}

async fn resolve_many(place: Place, many: ReadMany) -> Result<Vec<Result<failsoft::Outcome, Error>>, Error> {
    let (router, fallback) = (place.router.clone(), many.fallback);
    let keys = many.keys.into_iter().map(|key| key.0);
    let mut resolve = router.resolve_many(keys, move |keys| fallback::run(place, fallback, keys, None));
    if let Some(ttl) = many.ttl_ms {
        resolve = resolve.ttl(Duration::from_millis(ttl));
    }
    if let Some(deadline) = many.deadline_ms {
        resolve = resolve.deadline(Duration::from_millis(deadline));
    }
    if let Some(budget) = many.staleness_budget_ms {
        resolve = resolve.staleness_budget(Duration::from_millis(budget));
    }
    resolve.await
}

fn last(last: failsoft::LastInvalidation) -> Last {
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    Last {
        age_ms: last.age.map(millis),
        at_ms: last.at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(millis),
        id: last.id,
        own: last.own,
        record: last.record.as_str().to_owned(),
    }
}

fn account(outcome: failsoft::Outcome) -> Account {
    Account {
        value: outcome.value.map(|value| Blob(value.to_vec())),
        served_by: outcome.served_by.as_str().to_owned(),
        reason: outcome.reason.map(|reason| reason.as_str().to_owned()),
        age_ms: outcome.age.map(|age| age.as_secs_f64() * 1000.0),
        attempts: outcome.attempts,
        coalesced: outcome.coalesced,
        node: outcome.node.map(|node| node.to_string()),
    }
}
