//! What an environment gets besides completions: the numbers of errors that the core no longer holds, and messages for
//! operators.

use failsoft::Event;
use napi_derive::napi;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most messages that wait for an environment. Beyond that the oldest are dropped.
const MAX_MESSAGES: usize = 64;

/// A message of one router.
#[napi(object, object_from_js = false)]
pub struct Message {
    /// The number that the router was opened with.
    pub router: u32,
    /// What it is about.
    pub event: &'static str,
    /// How often it happened since the last message of this kind.
    pub count: f64,
    /// The nodes it happened to, and why.
    pub subjects: Vec<Subject>,
}

/// A node that a message names, and why.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct Subject {
    /// The node.
    pub node: Option<String>,
    /// One of the core's words.
    pub reason: Option<&'static str>,
}

#[derive(Default)]
struct Queues {
    numbers: Vec<u32>,
    messages: VecDeque<Message>,
}

/// See the module. `wake` is called when the first item arrives after all were taken.
pub(crate) struct Aside {
    queues: Mutex<Queues>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Aside {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { queues: Mutex::default(), wake: Box::new(wake) }
    }

    /// Takes all messages and at most `most` numbers, and tells whether there are more numbers.
    pub(crate) fn take(&self, most: usize) -> (Vec<u32>, VecDeque<Message>, bool) {
        let mut queues = self.lock();
        let kept = queues.numbers.len().saturating_sub(most);
        (queues.numbers.split_off(kept), std::mem::take(&mut queues.messages), kept > 0)
    }

    /// The core no longer holds the error with this number.
    pub(crate) fn release(&self, number: u32) {
        self.add(|queues| queues.numbers.push(number));
    }

    /// Adds a message of a router.
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
