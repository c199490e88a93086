//! What comes to an environment beside its completions: numbers of errors that nobody holds any more, and what an
//! operator may want to know.

use failsoft::Event;
use napi_derive::napi;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More messages than these do not wait for an environment that takes none; the oldest go.
const MAX_MESSAGES: usize = 64;

/// A message of one router.
#[napi(object, object_from_js = false)]
pub struct Message {
    /// The router, by the number that it was opened with.
    pub router: u32,
    /// What it is about.
    pub event: &'static str,
    /// How often it happened since the last one.
    pub count: f64,
    /// The nodes that it happened to, and why.
    pub subjects: Vec<Subject>,
}

/// Whom a message names, and why.
#[napi(object, object_from_js = false)]
pub struct Subject {
    /// The node.
    pub node: Option<String>,
    /// A word of the core.
    pub reason: Option<&'static str>,
}

#[derive(Default)]
struct Queues {
    numbers: Vec<u32>,
    messages: VecDeque<Message>,
}

/// See the module. `wake` is called when there is something after there was nothing.
pub(crate) struct Aside {
    queues: Mutex<Queues>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Aside {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { queues: Mutex::default(), wake: Box::new(wake) }
    }

    /// Takes all messages and at most so many numbers; whether there are more of these.
    pub(crate) fn take(&self, most: usize) -> (Vec<u32>, VecDeque<Message>, bool) {
        let mut queues = self.lock();
        let kept = queues.numbers.len().saturating_sub(most);
        (queues.numbers.split_off(kept), std::mem::take(&mut queues.messages), kept > 0)
    }

    /// Nobody holds the error of this number any more.
    pub(crate) fn release(&self, number: u32) {
        self.add(|queues| queues.numbers.push(number));
    }

    /// A message of a router.
    #[allow(clippy::cast_precision_loss, reason = "what is counted here stays far below 2^53")]
    pub(crate) fn message(&self, router: u32, event: &Event) {
        let subjects = event.subjects.iter();
        let subjects = subjects.map(|s| Subject { node: s.node.as_ref().map(ToString::to_string), reason: s.word });
        let (count, subjects) = (event.count as f64, subjects.collect());
        let message = Message { router, event: event.kind.as_str(), count, subjects };
        self.add(|queues| {
            if queues.messages.len() == MAX_MESSAGES {
                queues.messages.pop_front();
            }
            queues.messages.push_back(message);
        });
    }

    fn add(&self, add: impl FnOnce(&mut Queues)) {
        let mut queues = self.lock();
        let first = queues.numbers.is_empty() && queues.messages.is_empty();
        add(&mut queues);
        drop(queues);
        if first {
            (self.wake)();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
