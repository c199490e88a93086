//! The router of one environment. Each call has a token, which stands for its promise in JavaScript.

use crate::config;
use crate::failure::Failure;
use crate::given::{Given, Member};
use crate::key::{Octets, duration, octets};
use crate::near;
use crate::reads::{Reads, Waiting};
use bytes::Bytes;
use failsoft::foreign::{Caller, Foreign, Inside, Parent, Pending, ReadOptions};
use failsoft::{Error, WITHIN};
use napi::bindgen_prelude::{Either, Either3, Null, Unknown};
use napi::{Env, JsString, Result};
use napi_derive::napi;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What a read asks for besides its key.
#[napi(object, object_to_js = false)]
pub struct Wish {
    /// Whether the caller has a callback.
    pub ask: bool,
    /// Whether an outcome is wanted, and not the value alone.
    pub account: bool,
    /// The load inside which the call is made.
    pub parent: Option<f64>,
    /// `ttlMs`.
    pub ttl: Option<f64>,
    /// `deadlineMs`.
    pub deadline: Option<f64>,
    /// `stalenessBudgetMs`.
    pub staleness_budget: Option<f64>,
    /// Whether the caller has a `recompute`, too.
    pub recompute: bool,
}

impl Wish {
    fn options(&self) -> std::result::Result<ReadOptions, Failure> {
        Ok(ReadOptions {
            ttl: duration("ttl", self.ttl)?,
            deadline: duration("deadline", self.deadline)?,
            staleness_budget: duration("staleness_budget", self.staleness_budget)?,
            recompute: self.recompute,
        })
    }
}

/// A writer's place inside `writing`. Dropping it ends the writing, unless that was ended before.
#[napi]
pub struct NativeWriting {
    inside: Inside,
}

/// The native part of the package's `Router`. A call returns an error that is known at once; it has no completion then.
#[napi]
pub struct NativeRouter {
    foreign: Rc<Foreign>,
    waiting: Rc<Waiting>,
    text: bool,
}

/// What is known of a read at once: its value, from the near cache; an error; or nothing yet, and then it has a completion.
type AtOnce<'e> = Either3<JsString<'e>, Failure, Null>;

#[napi]
impl NativeRouter {
    /// Opens a router whose calls complete in `reads`, or says why it cannot. Its messages carry `number`. With `text`,
    /// values that are known at once are strings; without, strings that have a character for each byte.
    #[napi(catch_unwind)]
    pub fn open(
        reads: &Reads,
        number: u32,
        nodes: Given,
        settings: Vec<Member>,
        text: bool,
    ) -> Either<NativeRouter, Failure> {
        let opened = config::read(nodes, settings).map_err(|error| {
            // It names the key as JavaScript writes it already.
            Failure::config(&error)
        });
        let aside = Arc::clone(&reads.aside);
        let opened = opened.map(|builder| builder.observer(move |event| aside.message(number, event)));
        let opened = opened.and_then(|builder| Foreign::open(builder).map_err(|error| Failure::of(&error)));
        match opened {
            Ok(foreign) => Either::A(Self { foreign: Rc::new(foreign), waiting: Rc::clone(&reads.waiting), text }),
            Err(failure) => Either::B(failure),
        }
    }

    /// What answers reads from the near cache in the call itself; none if there is no near cache.
    #[napi(catch_unwind)]
    pub fn near<'e>(&self, env: &'e Env) -> Result<Option<Unknown<'e>>> {
        self.foreign.has_near().then(|| near::function(env, &self.foreign, self.text)).transpose()
    }

    /// Reads a value, with or without a callback, outside of any load and without options.
    #[napi(catch_unwind)]
    pub fn get(&self, token: u32, key: Octets<'_>, ask: bool) -> Result<Option<Failure>> {
        let key = octets(key)?;
        Ok(self.start(token, None, |caller| self.foreign.get(caller, key, ReadOptions::default(), ask)))
    }

    /// Reads a value or an outcome.
    #[napi(catch_unwind)]
    pub fn read<'e>(&self, env: &'e Env, token: u32, key: Octets<'_>, wish: Wish) -> Result<AtOnce<'e>> {
        let key = octets(key)?;
        let options = match wish.options() {
            Ok(options) => options,
            Err(failure) => return Ok(Either3::B(failure)),
        };
        if wish.account {
            let start = |caller: Caller<'_>| self.foreign.resolve(caller, key, options, wish.ask);
            return Ok(begun(self.start(token, wish.parent, start)));
        }
        if let Some(known) = self.at_once(env, &key, &options, wish.ask)? {
            return Ok(known);
        }
        Ok(begun(self.start(token, wish.parent, |caller| self.foreign.get(caller, key, options, wish.ask))))
    }

    /// Reads many keys; `ask` and `account` of the wish are those of each.
    #[napi(catch_unwind)]
    pub fn read_many(&self, token: u32, keys: Vec<Octets<'_>>, wish: Wish) -> Result<Option<Failure>> {
        let keys = keys.into_iter().map(octets).collect::<Result<Vec<_>>>()?;
        let options = match wish.options() {
            Ok(options) => options,
            Err(failure) => return Ok(Some(failure)),
        };
        Ok(self.start_of(token, wish.parent, keys.clone(), |caller| self.foreign.resolve_many(caller, keys, options)))
    }

    /// Writes a value.
    #[napi(catch_unwind)]
    pub fn set(&self, token: u32, key: Octets<'_>, value: Octets<'_>, ttl: Option<f64>) -> Result<Option<Failure>> {
        let (key, value) = (octets(key)?, octets(value)?);
        Ok(match duration("ttl", ttl) {
            Ok(ttl) => self.start(token, None, |caller| self.foreign.set(caller, key, value, ttl)),
            Err(failure) => Some(failure),
        })
    }

    /// Invalidates keys, and holds them if `hold` is given.
    #[napi(catch_unwind)]
    pub fn invalidate(&self, token: u32, keys: Vec<Octets<'_>>, hold: Option<f64>) -> Result<Option<Failure>> {
        let keys = keys.into_iter().map(octets).collect::<Result<Vec<_>>>()?;
        Ok(match duration("hold", hold) {
            Ok(hold) => self.start(token, None, |caller| self.foreign.invalidate(caller, keys, hold)),
            Err(failure) => Some(failure),
        })
    }

    /// When a key was last invalidated.
    #[napi(catch_unwind)]
    pub fn last_invalidation(&self, token: u32, key: Octets<'_>) -> Result<Option<Failure>> {
        let key = octets(key)?;
        Ok(self.start(token, None, |caller| self.foreign.last_invalidation(caller, key)))
    }

    /// Whether it is known that nobody has invalidated a key for so long.
    #[napi(catch_unwind)]
    pub fn within_staleness_budget(
        &self,
        token: u32,
        key: Octets<'_>,
        max_age: Option<f64>,
    ) -> Result<Option<Failure>> {
        let key = octets(key)?;
        Ok(match duration("max_age", max_age) {
            Ok(max_age) => self.start(token, None, |caller| {
                self.foreign.within_staleness_budget(caller, key, max_age.unwrap_or(WITHIN))
            }),
            Err(failure) => Some(failure),
        })
    }

    /// Holds keys around a transaction. The writer is inside when the call has ended well.
    #[napi(catch_unwind)]
    pub fn begin_writing(&self, token: u32, keys: Vec<Octets<'_>>) -> Result<Either<NativeWriting, Failure>> {
        let keys = keys.into_iter().map(octets).collect::<Result<Vec<_>>>()?;
        let mut place = None;
        let failure = self.start(token, None, |caller| {
            let (pending, inside) = self.foreign.begin_writing(caller, keys)?;
            place = Some(NativeWriting { inside });
            Ok(pending)
        });
        Ok(match (place, failure) {
            (Some(writing), None) => Either::A(writing),
            (_, failure) => {
                Either::B(failure.unwrap_or_else(|| Failure::of(&Error::Internal("no place for a writer"))))
            }
        })
    }

    /// The transaction is over.
    #[napi(catch_unwind)]
    pub fn end_writing(&self, token: u32, writing: &NativeWriting) -> Option<Failure> {
        self.start(token, None, |caller| self.foreign.end_writing(caller, &writing.inside))
    }

    /// Waits for a first view of the cluster.
    #[napi(catch_unwind)]
    pub fn ready(&self, token: u32, timeout: f64) -> Option<Failure> {
        match duration("timeout", Some(timeout)) {
            Ok(timeout) => {
                self.start(token, None, |caller| self.foreign.ready(caller, timeout.unwrap_or(Duration::ZERO)))
            }
            Err(failure) => Some(failure),
        }
    }

    /// Ends the router.
    #[napi(catch_unwind)]
    pub fn close(&self, token: u32) -> Option<Failure> {
        self.start(token, None, |caller| self.foreign.close(caller))
    }

    /// What the router knows, as JSON.
    #[napi(catch_unwind)]
    pub fn health(&self) -> Either<String, Failure> {
        match self.foreign.health() {
            Ok(health) => Either::A(health.to_json()),
            Err(error) => Either::B(Failure::of(&error)),
        }
    }

    /// The value that the near cache has, as one string: to make a Buffer here would cost more than all the rest.
    fn at_once<'e>(&self, env: &'e Env, key: &[u8], options: &ReadOptions, ask: bool) -> Result<Option<AtOnce<'e>>> {
        Ok(match self.foreign.near(key, options, ask) {
            Ok(Some(value)) if self.text => Some(Either3::A(env.create_string(String::from_utf8_lossy(&value))?)),
            Ok(Some(value)) => Some(Either3::A(env.create_string_latin1(value)?)),
            Ok(None) => None,
            Err(error) => Some(Either3::B(Failure::of(&error))),
        })
    }

    fn start(
        &self,
        token: u32,
        run: Option<f64>,
        start: impl FnOnce(Caller<'_>) -> std::result::Result<Pending, Error>,
    ) -> Option<Failure> {
        self.start_of(token, run, Vec::new(), start)
    }

    /// The same for a call for several keys.
    fn start_of(
        &self,
        token: u32,
        run: Option<f64>,
        keys: Vec<Bytes>,
        start: impl FnOnce(Caller<'_>) -> std::result::Result<Pending, Error>,
    ) -> Option<Failure> {
        let parent: Option<Parent> = self.waiting.parent(run);
        let caller = Caller { channel: &self.waiting.channel, token: token.into(), parent: parent.as_ref() };
        match start(caller) {
            Ok(pending) => {
                self.waiting.started(token, pending, keys);
                None
            }
            Err(error) => Some(Failure::of(&error)),
        }
    }
}

/// The answer to a read that was started, unless that failed.
fn begun<'e>(failure: Option<Failure>) -> AtOnce<'e> {
    failure.map_or(Either3::C(Null), Either3::B)
}
