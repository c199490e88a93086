//! The calls that wait on one event loop, by their tokens.

use crate::caller::Callback;
use crate::given::Form;
use crate::load::OwnSlot;
use failsoft::foreign::{Completion, Pending};
use pyo3::prelude::*;
use slab::Slab;

/// Somebody who waits.
pub(crate) struct Entry {
    pub(crate) future: Py<PyAny>,
    /// With the caller's context variables.
    pub(crate) callback: Option<(Callback, Py<PyAny>)>,
    pub(crate) form: Form,
    pub(crate) pending: Option<Pending>,
    /// Of its callback's last run.
    pub(crate) own: Option<OwnSlot>,
    /// Places are used again, and a callback may be asked for when its call has just ended.
    token: u64,
}

/// The calls that wait, and how many there have been.
#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) waiting: Slab<Entry>,
    calls: u32,
}

impl Entries {
    /// Enters one, and says its token: its place, and the number of the call.
    pub(crate) fn insert(&mut self, future: Py<PyAny>, callback: Option<(Callback, Py<PyAny>)>, form: Form) -> u64 {
        self.calls = self.calls.wrapping_add(1);
        let place = self.waiting.vacant_entry();
        let token = u64::from(self.calls) << u32::BITS | place.key() as u64;
        place.insert(Entry { future, callback, form, pending: None, own: None, token });
        token
    }

    /// A completion as its caller gets it: with what its own callback came back with, if that came too late for the core.
    pub(crate) fn with_own(&mut self, completion: Completion) -> Completion {
        let (Completion::Value { token, result: Err(_) }
        | Completion::Outcome { token, result: Err(_) }
        | Completion::Many { token, .. }) = completion
        else {
            return completion;
        };
        let Some(entry) = self.get(token) else { return completion };
        match (entry.own.as_ref().and_then(OwnSlot::take), &entry.callback) {
            (Some(own), Some((callback, _))) => own.instead_of(completion, &callback.keys),
            _ => completion,
        }
    }

    pub(crate) fn get(&mut self, token: u64) -> Option<&mut Entry> {
        self.waiting.get_mut(place(token)?).filter(|entry| entry.token == token)
    }

    pub(crate) fn remove(&mut self, token: u64) -> Option<Entry> {
        self.get(token)?;
        self.waiting.try_remove(place(token)?)
    }
}

fn place(token: u64) -> Option<usize> {
    usize::try_from(token & u64::from(u32::MAX)).ok()
}
