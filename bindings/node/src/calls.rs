//! The calls under way, by their tokens: what cancels each, and what its own callback came back with.

use crate::event::place;
use bytes::Bytes;
use failsoft::foreign::{Answer, Completion, Own, Pending, Run};

/// See the module. As many as the environment has promises that wait.
#[derive(Default)]
pub(crate) struct Calls(Vec<Option<Call>>);

struct Call {
    pending: Pending,
    /// Its keys, of a call for many.
    keys: Vec<Bytes>,
    /// Its callback's last run.
    run: Option<u64>,
    /// What that gave. While a callback keeps the loop busy, nobody can hear that `load_timeout` has passed: what it
    /// gives before is its caller's.
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

    /// Its callback is to be run.
    pub(crate) fn runs(&mut self, run: &Run) {
        if let Some(call) = self.get(run) {
            call.run = Some(run.id());
        }
    }

    /// Its callback has an answer, which is about to be given. A token may be another call's by now.
    pub(crate) fn answered(&mut self, run: &Run, answer: &Answer) {
        if let Some(call) = self.get(run).filter(|call| call.run == Some(run.id())) {
            call.own = Own::of(run, answer).map(Box::new);
        }
    }

    pub(crate) fn ended(&mut self, token: u32) {
        self.take(token);
    }

    /// The last completion of a call, as its caller gets it.
    pub(crate) fn last(&mut self, completion: Completion) -> Completion {
        let (Completion::Value { token, .. }
        | Completion::Outcome { token, .. }
        | Completion::Many { token, .. }
        | Completion::Done { token, .. }
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
