//! The calls under way, by their tokens: how each is cancelled, and what its own callback gave.

use crate::event::place;
use bytes::Bytes;
use failsoft::foreign::{Answer, Completion, Own, Pending, Run};

/// See the module. There is one for each pending promise of the environment.
#[derive(Default)]
pub(crate) struct Calls(Vec<Option<Call>>);

struct Call {
    pending: Pending,
    /// For a call for many keys: the keys.
    keys: Vec<Bytes>,
    /// The last run of its callback.
    run: Option<u64>,
    /// What that run gave. While a callback keeps the loop busy, its caller cannot be told that `load_timeout` has
    /// passed, so the caller gets the callback's value even if it is late.
    own: Option<Box<Own>>,
}

impl Calls {
    pub(crate) fn started(&mut self, token: u32, pending: Pending, keys: Vec<Bytes>) {
        let place = token as usize;
        if self.0.len() <= place {
            self.0.resize_with(place + 1, || None);
        }
        self.0[place] = Some(Call { pending, keys, run: None, own: None });
    }

    pub(crate) fn cancel(&self, token: u32) {
        if let Some(Some(call)) = self.0.get(token as usize) {
            call.pending.cancel();
        }
    }

    /// The call's callback is about to be run.
    pub(crate) fn runs(&mut self, run: &Run) {
        if let Some(call) = self.get(run) {
            call.run = Some(run.id());
        }
    }

    /// The call's callback has an answer, about to be given to the core. By now the token may belong to another call.
    pub(crate) fn answered(&mut self, run: &Run, answer: &Answer) {
        if let Some(call) = self.get(run).filter(|call| call.run == Some(run.id())) {
            call.own = Own::of(run, answer).map(Box::new);
        }
    }

    pub(crate) fn ended(&mut self, token: u32) {
        self.take(token);
    }

    /// Removes a call, and gives its last completion as the caller gets it.
    pub(crate) fn last(&mut self, completion: Completion) -> Completion {
        let (Completion::Value { token, .. }
        | Completion::Outcome { token, .. }
        | Completion::Many { token, .. }
        | Completion::Done { token, .. }
        | Completion::Last { token, .. }
        | Completion::Said { token, .. }
        | Completion::Cancelled { token }) = completion
        else {
            return completion;
        };
        match self.take(place(token)) {
            Some(Call { own: Some(own), keys, .. }) => own.instead_of(completion, &keys),
            _ => completion,
        }
    }

    fn get(&mut self, run: &Run) -> Option<&mut Call> {
        self.0.get_mut(place(run.token) as usize)?.as_mut()
    }

    fn take(&mut self, token: u32) -> Option<Call> {
        self.0.get_mut(token as usize)?.take()
    }
}
