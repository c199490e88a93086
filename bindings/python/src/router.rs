//! The calls of both routers, each with its arguments once.

use crate::base::{Core, Manner, Opened};
use crate::caller;
use crate::config;
use crate::convert::{all_octets, octets, seconds};
use crate::ending;
use crate::errors::raised;
use crate::given::Form;
use crate::messages::Messages;
use failsoft::foreign::Foreign;
use failsoft::{Error, WITHIN};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use std::sync::Arc;
use std::time::Duration;

#[pymethods]
impl Core {
    /// For `__init__`.
    fn _open(&self, nodes: &Bound<'_, PyAny>, config: &Bound<'_, PyDict>) -> PyResult<()> {
        ending::watch();
        let settings = config::read(nodes, config)?;
        let messages = Messages::new(nodes.py())?;
        let put = Arc::clone(&messages);
        let builder = settings.builder.observer(move |event| put.put(event));
        let foreign = Foreign::open(builder).map_err(|error| raised(nodes.py(), &error))?;
        let opened = Opened { foreign, decode: settings.decode, seeds: settings.seeds, messages };
        self.opened.set(opened).map_err(|_| PyRuntimeError::new_err("`__init__` of the router was called before"))
    }

    /// Reads a key: from its primary, a replica, or `fallback`, in this order.
    ///
    /// `fallback` is asked when the primary says that there is no such key, or when no node may answer. It is called
    /// with the key as it was given, and with the reason (a word such as `absent` or `timeout`) if it takes a second
    /// argument without a default, or one that is named `reason`. It gives bytes, str (stored as UTF-8), bytearray, a
    /// memoryview, or None if the key does not exist. However many callers ask for a key at once, it runs once, and
    /// what it gives is written back if the primary confirmed the miss. With `failsoft.Router` it is `async def` or
    /// plain; with `failsoft.blocking.Router` it is plain and runs in the caller's own thread.
    ///
    /// Args:
    ///     key: bytes, str, bytearray or memoryview, at most 512 MiB.
    ///     fallback: your own store; without it a missing key is None.
    ///     recompute: called instead of `fallback`, by the same rules, where the primary says that there is no such key
    ///         and nobody is known to have changed it: for `absent`, `expired`, `unknown`, and for `evicted` unless the
    ///         key is read often. Everything else goes to `fallback`, which it takes beside it.
    ///     ttl: seconds that a loaded value lives in the cluster, instead of the setting `fill_ttl`.
    ///     deadline: seconds for the whole call, the fallback included; without it the settings `deadline` and
    ///         `load_timeout` hold.
    ///     staleness_budget: seconds; how old what stands in may be (the answer of a replica, or a copy in this process),
    ///         instead of the settings `staleness_budget` and `outage_budget`; 0: nothing stands in.
    ///
    /// Returns:
    ///     bytes (str with `decode_responses=True`), or None if the key does not exist.
    ///
    /// Raises:
    ///     The fallback's own exception, the same object.
    ///     Unavailable: no fallback, and nobody could say whether the key exists.
    ///     DeadlineExceeded: `deadline` passed, or the fallback took longer than `load_timeout`.
    ///     InvalidArgument: a bad key, option or result of the fallback.
    ///     Shed: the fallback was not called, to spare a store that can't cope; its `cause` says why.
    ///     Reentrant: the fallback asked for the key that it is loading.
    ///     DecodeError: with `decode_responses=True`, the value is no UTF-8.
    ///     Closed, Forked: the router is not to be used any more, or not in this process.
    ///
    /// Example (without `await` in `failsoft.blocking`):
    ///
    ///     user = await router.get_with_fallback("user:42", load_user, ttl=60)
    #[pyo3(signature = (key, fallback=None, *, recompute=None, ttl=None, deadline=None, staleness_budget=None))]
    fn get_with_fallback<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        fallback: Option<&Bound<'py, PyAny>>,
        recompute: Option<&Bound<'py, PyAny>>,
        ttl: Option<&Bound<'py, PyAny>>,
        deadline: Option<&Bound<'py, PyAny>>,
        staleness_budget: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = caller::options(ttl, deadline, staleness_budget, recompute.is_some());
        self.read(key, fallback, recompute, options, false)
    }

    /// The same as `get_with_fallback`, with the account of how: an `Outcome`.
    ///
    /// Args, Raises:
    ///     See `get_with_fallback`.
    ///
    /// Returns:
    ///     An `Outcome`: value, served_by, reason, age in seconds, attempts, coalesced, node.
    ///
    /// Example (without `await` in `failsoft.blocking`):
    ///
    ///     outcome = await router.resolve("user:42", load_user, deadline=0.5)
    ///     print(outcome.value, outcome.served_by, outcome.reason)
    #[pyo3(signature = (key, fallback=None, *, recompute=None, ttl=None, deadline=None, staleness_budget=None))]
    fn resolve<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        fallback: Option<&Bound<'py, PyAny>>,
        recompute: Option<&Bound<'py, PyAny>>,
        ttl: Option<&Bound<'py, PyAny>>,
        deadline: Option<&Bound<'py, PyAny>>,
        staleness_budget: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = caller::options(ttl, deadline, staleness_budget, recompute.is_some());
        self.read(key, fallback, recompute, options, true)
    }

    /// Reads many keys at once, with an `Outcome` or an exception for each, in the order of the keys.
    ///
    /// `fallback` is called once with the list of missing keys that nobody loads yet, and gives a mapping; a key that
    /// is not in it, or whose value is None, does not exist. If it fails, it fails the keys it was asked for and no
    /// others.
    ///
    /// Args:
    ///     keys: at most 65,536, each as in `get_with_fallback`; one that comes twice is read once.
    ///     fallback: your own store for many keys.
    ///     ttl: seconds that loaded values live in the cluster, instead of the setting `fill_ttl`.
    ///     deadline: seconds for the whole call, the fallback included; keys that have no answer by then get
    ///         DeadlineExceeded.
    ///     staleness_budget: as in `get_with_fallback`.
    ///
    /// Raises:
    ///     InvalidArgument: too many keys, or a bad key or option. Everything else is told for each key.
    ///
    /// Example (without `await` in `failsoft.blocking`):
    ///
    ///     for outcome in await router.resolve_many(["user:1", "user:2"], load_users):
    ///         print(outcome)
    #[pyo3(signature = (keys, fallback, *, ttl=None, deadline=None, staleness_budget=None))]
    fn resolve_many<'py>(
        &self,
        keys: &Bound<'py, PyAny>,
        fallback: &Bound<'py, PyAny>,
        ttl: Option<&Bound<'py, PyAny>>,
        deadline: Option<&Bound<'py, PyAny>>,
        staleness_budget: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.many(keys, fallback, caller::options(ttl, deadline, staleness_budget, false), false)
    }

    /// Reads many keys at once, the values in the order of the keys.
    ///
    /// `fallback` is called once with the list of missing keys that nobody loads yet, and gives a mapping; a key that
    /// is not in it, or whose value is None, does not exist.
    ///
    /// Args:
    ///     See `resolve_many`.
    ///
    /// Returns:
    ///     A list: for each key bytes (str with `decode_responses=True`), or None if it does not exist.
    ///
    /// Raises:
    ///     The first error of any key, as in `get_with_fallback`; InvalidArgument as in `resolve_many`.
    ///
    /// Example (without `await` in `failsoft.blocking`):
    ///
    ///     one, two = await router.get_many_with_fallback(["user:1", "user:2"], load_users, deadline=0.5)
    #[pyo3(signature = (keys, fallback, *, ttl=None, deadline=None, staleness_budget=None))]
    fn get_many_with_fallback<'py>(
        &self,
        keys: &Bound<'py, PyAny>,
        fallback: &Bound<'py, PyAny>,
        ttl: Option<&Bound<'py, PyAny>>,
        deadline: Option<&Bound<'py, PyAny>>,
        staleness_budget: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.many(keys, fallback, caller::options(ttl, deadline, staleness_budget, false), true)
    }

    /// Writes a value. It does not expire unless `ttl` says when, in seconds. While a writer holds the key (`writing`), here
    /// or in another process, it is deleted instead.
    ///
    /// Raises:
    ///     WriteRefused: the slot's owner may not be written to now, or says no; its `cause` says why. After
    ///         `timeout` or `connection` nobody can say whether it was written.
    ///     InvalidArgument: a bad key, value or ttl.
    ///     Closed, Forked.
    ///
    /// Example (without `await` in `failsoft.blocking`):
    ///
    ///     await router.set("user:42", b"Ada", ttl=300)
    #[pyo3(signature = (key, value, ttl=None))]
    fn set<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        ttl: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        ending::watch();
        let (key_octets, value) = (octets("key", key)?, octets("value", value)?);
        let ttl = seconds("ttl", ttl)?;
        self.call(key.py(), None, Manner::Short, Form::BYTES, |foreign, caller| {
            foreign.set(caller, key_octets, value, ttl)
        })
    }

    /// Invalidates keys: to be called after what they stand for has changed in your own store.
    ///
    /// From the call itself on, before it is awaited, no read of this process gets anything older: not from a node, not
    /// from a load that is under way, and not from one whose value would be written back. When it has ended, the keys
    /// are deleted, with the leases of all loads under way in any process, and each is marked as invalidated beside its
    /// own place and in another shard. Cancelling it does not stop it. A callback may invalidate any key, also the one
    /// that it is loading: its own value is then served to the callers that wait for it, and not written back.
    ///
    /// Args:
    ///     keys: each bytes, str, bytearray or memoryview, at most 1,000,000 in one call, and 64 MiB of
    ///         them, which are sent together. Without any there is nothing to do.
    ///     hold: seconds, 1 ms to 1 h, for which nobody, in any process, writes back what is loaded of these keys: for a
    ///         store that is read from copies which lag behind what was just written.
    ///
    /// Raises:
    ///     InvalidationIncomplete: steps were not acknowledged within the setting `deadline`; its `pending` says which,
    ///         and why. They are sent again in the background for `invalidation_ttl` seconds, and meanwhile reads of
    ///         keys whose deletion is pending go to their fallbacks, with the reason `invalidated`. A hold is not sent
    ///         again.
    ///     InvalidArgument: a bad key, too many, or a bad hold; none is invalidated then.
    ///     Closed, Forked.
    ///
    /// Example (without `await` in `failsoft.blocking`):
    ///
    ///     await database.execute("UPDATE users SET name = 'Ada' WHERE id = 42")
    ///     await router.invalidate("user:42", "users:by-name")
    ///     await router.invalidate("user:42", hold=2)
    #[pyo3(signature = (*keys, hold=None))]
    fn invalidate<'py>(
        &self,
        keys: &Bound<'py, PyTuple>,
        hold: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        ending::watch();
        let py = keys.py();
        let keys = all_octets(keys)?;
        let hold = seconds("hold", hold)?;
        self.call(py, None, Manner::Short, Form::BYTES, |foreign, caller| {
            // Many keys take a while, in which other threads may go on.
            py.detach(|| foreign.invalidate(caller, keys, hold))
        })
    }

    /// When and by whom a key was last invalidated, as far as there is a record of it.
    ///
    /// There are the marks that it leaves beside the key and in another shard, for `invalidation_ttl` seconds; what this
    /// process made or heard of in that time; and a log of the newest invalidations.
    ///
    /// Returns:
    ///     A `LastInvalidation`: age in seconds, at (seconds since 1970), id, own, record; or None if there is no record.
    ///
    /// Raises:
    ///     Unavailable: nobody can say, since no node could be asked that would have a mark.
    ///     InvalidArgument: a bad key.
    ///     Closed, Forked.
    ///
    /// Example (without `await` in `failsoft.blocking`):
    ///
    ///     last = await router.last_invalidation("user:42")
    ///     print(last.age if last else "none is known")
    fn last_invalidation<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        ending::watch();
        let octets = octets("key", key)?;
        self.call(key.py(), None, Manner::Long, Form::BYTES, |foreign, caller| {
            foreign.last_invalidation(caller, octets)
        })
    }

    /// Whether it is known that nobody has invalidated a key for `max_age` seconds: what was read of it in that time is
    /// as good as it was then.
    ///
    /// False if one has, if an invalidation of this process is not acknowledged yet, or if one may have been missed: the
    /// nodes that tell of it were not heard for all that time. They are heard only while this process reads from them, or
    /// asks this. What has ended within the last `trust_window` may not be known yet. Beyond `invalidation_ttl` it is
    /// always False. No node is asked.
    ///
    /// Raises:
    ///     InvalidArgument: a bad key or age.
    ///     Closed, Forked.
    ///
    /// Example (without `await` in `failsoft.blocking`):
    ///
    ///     if await router.within_staleness_budget("user:42", max_age=5):
    ///         return rendered
    #[pyo3(signature = (key, max_age=None))]
    #[pyo3(text_signature = "($self, key, max_age=2.0)")]
    fn within_staleness_budget<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        max_age: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        ending::watch();
        let octets = octets("key", key)?;
        let max_age = seconds("max_age", max_age)?.unwrap_or(WITHIN);
        self.call(key.py(), None, Manner::Short, Form::BYTES, |foreign, caller| {
            foreign.within_staleness_budget(caller, octets, max_age)
        })
    }

    /// Waits until a first view of the cluster has come, at most `timeout` seconds. Reads need not wait for it.
    ///
    /// Raises:
    ///     Unavailable: none came in time.
    ///     Closed, Forked.
    ///
    /// Example (without `await` in `failsoft.blocking`):
    ///
    ///     await router.ready(5)
    fn ready<'py>(&self, py: Python<'py>, timeout: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        ending::watch();
        let timeout = seconds("timeout", Some(timeout))?.unwrap_or(Duration::ZERO);
        self.call(py, None, Manner::Long, Form::BYTES, |foreign, caller| foreign.ready(caller, timeout))
    }

    /// Ends the router: every read that waits gets Closed, callbacks that run are cancelled. Values that are just
    /// being written back have `attempt_timeout` to arrive. Closing twice is fine.
    ///
    /// Raises:
    ///     Forked: the router belongs to the process that this one was forked from.
    ///
    /// Example (without `await` in `failsoft.blocking`; `async with` and `with` close by themselves):
    ///
    ///     await router.close()
    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        ending::watch();
        self.call(py, None, Manner::End, Form::BYTES, |foreign, caller| foreign.close(caller))
    }

    /// The account of the router as JSON; `health` gives it as a dict.
    fn health_json(&self, py: Python<'_>) -> PyResult<String> {
        let foreign = &self.opened()?.foreign;
        let health = py.detach(|| foreign.health());
        health.map(|health| health.to_json()).map_err(|error| raised(py, &error))
    }

    /// `connecting`, `ready`, `closed`, or `forked` in a child process.
    #[getter]
    fn state(&self, py: Python<'_>) -> &'static str {
        let Some(Opened { foreign, .. }) = self.opened.get() else { return "closed" };
        match foreign.check() {
            Err(Error::Forked) => "forked",
            Err(_) => "closed",
            Ok(()) => match py.detach(|| foreign.health()) {
                Ok(health) if health.kind != "unknown" => "ready",
                _ => "connecting",
            },
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let class: Bound<'_, PyType> = slf.get_type();
        let name = format!("{}.{}", class.module()?, class.qualname()?);
        let nodes = this.opened.get().map_or(&[][..], |opened| &opened.seeds);
        let shown = nodes.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(",");
        let more = if nodes.len() > SHOWN { format!(",… ({} in all)", nodes.len()) } else { String::new() };
        Ok(format!("<{name} nodes={shown}{more} state={}>", this.state(py)))
    }
}

/// How many nodes a repr names.
const SHOWN: usize = 3;
