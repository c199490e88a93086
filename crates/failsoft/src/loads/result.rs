//! What callbacks give, and what a load comes to for each of its keys.

use crate::error::{BadResult, CallbackGone, Error};
use bytes::Bytes;
use failsoft_policy::load::Ending;
use failsoft_policy::store::ShedCause;
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a value costs beside its bytes in a mapping of many.
const ENTRY_OVERHEAD: usize = 128;

/// What a callback came back with.
#[derive(Debug)]
pub(crate) enum Values {
    /// One key's value.
    One(Option<Bytes>),
    /// The values of those keys that exist.
    Many(HashMap<Bytes, Bytes>),
}

impl Values {
    /// What keeping them costs.
    fn bytes(&self) -> usize {
        match self {
            Self::One(value) => value.as_ref().map_or(0, Bytes::len),
            Self::Many(values) => values.iter().map(|(key, value)| key.len() + value.len() + ENTRY_OVERHEAD).sum(),
        }
    }

    pub(super) fn get(&self, key: &Bytes) -> Option<Bytes> {
        match self {
            Self::One(value) => value.clone(),
            Self::Many(values) => values.get(key).cloned(),
        }
    }
}

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Loading = Pin<Box<dyn Future<Output = Result<Values, BoxError>> + Send>>;

/// What a callback is asked for.
pub(crate) struct Question {
    pub(crate) keys: Vec<Bytes>,
    /// Beside the first of them there is the mark of an invalidation.
    pub(crate) marked: bool,
}

/// A callback, ready to be run for the keys it leads.
pub(crate) enum Call {
    /// It can be run once.
    Once(Box<dyn FnOnce(Question) -> Loading + Send>),
    /// It can be run again, for the keys of callers whose own callback is gone.
    Again(Arc<dyn Fn(Question) -> Loading + Send + Sync>),
}

impl Call {
    pub(crate) fn once(call: impl FnOnce(Question) -> Loading + Send + 'static) -> Self {
        Self::Once(Box::new(call))
    }

    pub(crate) fn again(call: impl Fn(Question) -> Loading + Send + Sync + 'static) -> Self {
        Self::Again(Arc::new(call))
    }

    /// One run of it; what is left in the slot can be run once more.
    pub(super) fn take(slot: &mut Option<Self>) -> Option<Self> {
        match slot {
            Some(Self::Again(call)) => Some(Self::Again(Arc::clone(call))),
            _ => slot.take(),
        }
    }

    pub(super) fn run(self, question: Question) -> Loading {
        match self {
            Self::Once(call) => call(question),
            Self::Again(call) => call(question),
        }
    }
}

/// What a load came to.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) ending: Ending,
    pub(super) result: Result<Arc<Values>, Error>,
    /// How long the callback took.
    pub(super) took: Duration,
    /// None, if it was nothing.
    found: Option<Arc<Found>>,
}

/// What the primary had when leases were to be taken.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The callback was not asked for these keys.
    pub(super) values: HashMap<Bytes, Bytes>,
    /// The keys with a mark beside them.
    pub(super) marked: HashSet<Bytes>,
    /// Another process was waited for before.
    pub(super) waited: bool,
}

impl Loaded {
    pub(super) fn values(values: Values) -> Self {
        Self {
            ending: Ending::Loaded { bytes: values.bytes() },
            result: Ok(Arc::new(values)),
            took: Duration::ZERO,
            found: None,
        }
    }

    pub(super) fn that_took(self, took: Duration) -> Self {
        Self { took, ..self }
    }

    /// The callback was asked for nothing.
    pub(super) fn none() -> Self {
        Self::values(Values::Many(HashMap::new()))
    }

    /// However the callback ended, the primary had these: its failure fails only the keys that it was asked for.
    pub(super) fn and_found(self, found: Found) -> Self {
        let nothing = found.values.is_empty() && found.marked.is_empty();
        Self { found: (!nothing).then(|| Arc::new(found)), ..self }
    }

    pub(super) fn failed(error: Error) -> Self {
        Self { ending: Ending::Failed, result: Err(error), took: Duration::ZERO, found: None }
    }

    pub(super) fn shed(cause: ShedCause) -> Self {
        Self { ending: Ending::Shed, result: Err(Error::Shed { cause }), took: Duration::ZERO, found: None }
    }

    pub(super) fn gone() -> Self {
        Self {
            ending: Ending::Gone,
            result: Err(Error::Fallback(Arc::new(CallbackGone))),
            took: Duration::ZERO,
            found: None,
        }
    }

    pub(super) fn of_callback(error: BoxError) -> Self {
        if error.is::<CallbackGone>() {
            return Self::gone();
        }
        let ending = if error.is::<BadResult>() { Ending::Unusable } else { Ending::Failed };
        Self { ending, ..Self::failed(Error::Fallback(error.into())) }
    }

    pub(super) fn key(&self, key: Bytes, coalesced: bool) -> Got {
        let marked = self.found.as_ref().is_some_and(|found| found.marked.contains(&key));
        let found = self.found.as_ref().and_then(|found| Some((found.values.get(&key)?, found.waited)));
        match found {
            Some((value, waited)) => {
                let (result, ending) = (Ok(Some(value.clone())), Ending::Loaded { bytes: 0 });
                Got { found: true, key, ending, result, coalesced: coalesced || waited, marked }
            }
            None => {
                let result = self.result.as_ref().map(|values| values.get(&key)).map_err(Clone::clone);
                Got { found: false, key, ending: self.ending, result, coalesced, marked }
            }
        }
    }
}

/// What became of one key.
pub(crate) struct Got {
    pub(crate) key: Bytes,
    pub(super) ending: Ending,
    pub(crate) result: Result<Option<Bytes>, Error>,
    /// Another caller's load served it, here or in another process.
    pub(crate) coalesced: bool,
    /// The primary had it when its lease was to be taken.
    pub(crate) found: bool,
    /// There was the mark of an invalidation beside it then.
    pub(crate) marked: bool,
}
