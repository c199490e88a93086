//! Many keys in one call: one pipeline for each node, one run of the callback, an outcome for each.

use crate::absent;
use crate::account::ReadEnd;
use crate::copies;
use crate::driver::{self, FirstAttempt, Unserved};
use crate::error::Error;
use crate::loads::{self, BoxError, Call, Values};
use crate::near;
use crate::outcome::Outcome;
use crate::reads::{self, Missed, ReadOptions, Side};
use crate::resolve::Resolve;
use crate::router::{Router, check_string, check_ttl};
use bytes::Bytes;
use failsoft_policy::load::Wanted;
use failsoft_policy::route::{Bounds, Step, batch_window};
use failsoft_policy::{NodeKey, Reason};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

/// The most keys of one call.
pub const MAX_KEYS: usize = 65_536;

/// Many keys, and who is asked for those that are missing.
pub struct ManyKeys {
    keys: Result<Asked, Error>,
    call: Call,
}

impl<'r> IntoFuture for Resolve<'r, ManyKeys> {
    type Output = Result<Vec<Result<Outcome, Error>>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'r>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { router, asked: ManyKeys { keys, call }, options } = self;
        Box::pin(router.read_keys(keys, options, call))
    }
}

impl fmt::Debug for ManyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManyKeys").finish_non_exhaustive()
    }
}

/// The keys of one call. Duplicates are read once.
pub(crate) struct Asked {
    different: Vec<Bytes>,
    /// For each key given, which of the different ones it is.
    places: Vec<usize>,
}

impl Asked {
    pub(crate) fn of<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Result<Self, Error> {
        let (mut different, mut places) = (Vec::new(), Vec::new());
        let mut known: HashMap<Bytes, usize> = HashMap::new();
        for key in keys {
            check_string("keys", key.as_ref().len())?;
            if places.len() == MAX_KEYS {
                let problem = format!("more than {MAX_KEYS} keys in one call");
                return Err(Error::InvalidArgument { argument: "keys", problem });
            }
            let key = Bytes::copy_from_slice(key.as_ref());
            let place = *known.entry(key.clone()).or_insert(different.len());
            if place == different.len() {
                different.push(key);
            }
            places.push(place);
        }
        Ok(Self { different, places })
    }
}

impl Router {
    /// Reads many keys at once; the values are in the order of the keys, none for a key that does not
    /// exist. `fallback` is called once, with the missing keys that are not being loaded yet, and
    /// returns a mapping: a key that is not in it does not exist.
    ///
    /// # Errors
    /// The first error of any key: see [`Self::get_with_fallback`]. More than 65,536 keys are an
    /// [`Error::InvalidArgument`].
    pub async fn get_many_with_fallback<K, F, Fut, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        fallback: F,
    ) -> Result<Vec<Option<Bytes>>, Error>
    where
        K: AsRef<[u8]>,
        F: FnOnce(Vec<Bytes>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<HashMap<Bytes, Bytes>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let outcomes = self.resolve_many(keys, fallback).await?;
        outcomes.into_iter().map(|outcome| Ok(outcome?.value)).collect()
    }

    /// The same with options, and an outcome or an error for each key, in the order of the keys:
    /// `router.resolve_many(keys, fallback).deadline(…).await`. A callback that fails, fails the keys it was asked for
    /// and no others.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more than 65,536 keys, one over 512 MiB, or a time to live out of range.
    pub fn resolve_many<K, F, Fut, E>(&self, keys: impl IntoIterator<Item = K>, fallback: F) -> Resolve<'_, ManyKeys>
    where
        K: AsRef<[u8]>,
        F: FnOnce(Vec<Bytes>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<HashMap<Bytes, Bytes>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let call =
            Call::once(move |keys| Box::pin(async move { fallback(keys).await.map(Values::Many).map_err(Into::into) }));
        Resolve::of(self, ManyKeys { keys: Asked::of(keys), call })
    }

    /// The same with a callback as the loads run it.
    pub(crate) async fn read_keys(
        &self,
        asked: Result<Asked, Error>,
        options: ReadOptions,
        call: Call,
    ) -> Result<Vec<Result<Outcome, Error>>, Error> {
        check_ttl(options.ttl)?;
        let Asked { different, places } = asked?;
        let outcomes = self.read_many(different, options, call).await;
        Ok(places.into_iter().map(|place| outcomes[place].clone()).collect())
    }

    async fn read_many(&self, keys: Vec<Bytes>, options: ReadOptions, call: Call) -> Vec<Result<Outcome, Error>> {
        let shared = self.shared();
        // Nothing is begun that has no time.
        if options.deadline.is_some_and(|limit| limit.is_zero()) {
            return keys.iter().map(|_| reads::past_deadline().into_outcome(shared)).collect();
        }
        let now = shared.now();
        let bounds = options.bounds(shared, now, true);
        // The keys of one node are submitted without waiting for replies, and its writer sends what queued up at
        // once; but no more at a time than a batch may have there.
        let window = batch_window(shared.config());
        let mut nodes: BTreeMap<Option<NodeKey>, Vec<usize>> = BTreeMap::new();
        for (place, key) in keys.iter().enumerate() {
            let (_, target) = driver::target(shared, key, bounds, (now, fastrand::u32(..)));
            nodes.entry(target.map(|target| target.node.key)).or_default().push(place);
        }
        let keys = &keys;
        let routed = join_all(nodes.into_iter().map(|(node, places)| {
            let one = move |place: usize| async move { (place, self.read_one(&keys[place], node, bounds).await) };
            stream::iter(places).map(one).buffer_unordered(window).collect::<Vec<_>>()
        }))
        .await;
        let or_stale = |place: usize, end| copies::or_stale(shared, &keys[place], end, true, bounds.staleness);
        let lease_by = options.deadline.map(|_| bounds.deadline);
        let mut wanted = Vec::new();
        let mut asked: HashMap<&Bytes, (usize, Missed)> = HashMap::new();
        let mut outcomes: Vec<Result<Outcome, Error>> =
            keys.iter().map(|_| Err(Error::Internal("a key that was not loaded"))).collect();
        let mut routed: Vec<_> = routed.into_iter().flatten().collect();
        // The callback is asked in the order of the keys.
        routed.sort_unstable_by_key(|(place, _)| *place);
        for (place, side) in routed {
            match side {
                Side::Over(end) => outcomes[place] = or_stale(place, end).into_outcome(shared),
                Side::Load(Missed { reason, attempts, .. }) if absent::is_absent(shared, &keys[place]) => {
                    outcomes[place] = ReadEnd::Missing { reason, attempts }.into_outcome(shared);
                }
                Side::Load(missed) => {
                    wanted.push(Wanted { key: keys[place].clone(), confirmed: missed.confirmed, lease_by });
                    asked.insert(&keys[place], (place, missed));
                }
            }
        }
        if wanted.is_empty() {
            return outcomes;
        }
        let load = loads::load(shared, wanted, now, options.ttl, call);
        let got = match options.deadline {
            // What the cluster gave in time is not lost when the callback takes longer.
            Some(deadline) => match tokio::time::timeout_at(shared.opener.clock.std(now + deadline), load).await {
                Ok(got) => got,
                Err(_) => Err(Error::DeadlineExceeded { limit: "deadline" }),
            },
            None => load.await,
        };
        match got {
            Ok(got) => {
                for got in got {
                    let Some((place, missed)) = asked.get(&got.key) else { continue };
                    outcomes[*place] = or_stale(*place, missed.got(got)).into_outcome(shared);
                }
            }
            Err(error) => {
                for (place, missed) in asked.into_values() {
                    outcomes[place] = or_stale(place, missed.failed(error.clone())).into_outcome(shared);
                }
            }
        }
        outcomes
    }

    /// The cluster side of one key of a batch. `node` is the node that the first step asks.
    async fn read_one(&self, key: &Bytes, node: Option<NodeKey>, bounds: Bounds) -> Side {
        let shared = self.shared();
        if let Some(hit) = near::hit(shared, key) {
            return Side::Over(ReadEnd::Near(hit));
        }
        let member = node.and_then(|node| shared.table.load().member(node).map(Arc::clone));
        let room = match &member {
            Some(member) => {
                let room = member.batches(batch_window(shared.config())).acquire();
                // An error would mean that the semaphore was closed; it never is.
                tokio::time::timeout_at(shared.opener.clock.std(bounds.deadline), room).await.ok()
            }
            None => None,
        };
        let (now, dice) = (shared.now(), fastrand::u32(..));
        let first = if now < bounds.deadline {
            driver::first_attempt(shared, key, bounds, (now, dice)).await
        } else {
            let step = Step::Secondary(Reason::Deadline);
            FirstAttempt::Unserved(Unserved { step, begun: now, result: None })
        };
        drop(room);
        match first {
            FirstAttempt::Served(served) => {
                shared.copies.see(key, &served, (now, dice));
                Side::Over(ReadEnd::AtOnce(served))
            }
            FirstAttempt::Unserved(unserved) => Box::pin(reads::route(shared, key, bounds, true, unserved)).await,
        }
    }
}
