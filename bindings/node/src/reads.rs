//! The calls of one JavaScript environment: its channel, one wake-up for many completions, and the callbacks that run
//! in it. The promises are on the JavaScript side, in a table whose places are the tokens.

use crate::aside::Aside;
use crate::calls::Calls;
use crate::event::{COLUMNS, Event, MISSING, RELEASED, VALUE, place};
use crate::failure::Thrown;
use crate::key::{Octets, octets};
use bytes::Bytes;
use failsoft::foreign::{Answer, Channel, Completion, Parent, Pending, Run};
use napi::bindgen_prelude::{Buffer, BufferSlice, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Result, Status};
use napi_derive::napi;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Called without arguments. By itself it does not keep the process alive.
type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// The two numbers before the rows: how many rows there are, and whether there is more to drain.
const HEAD: usize = 2;
/// The size of one number in a row, in bytes.
const CELL: usize = size_of::<u32>();
/// A value longer than the shared bytes divided by this gets an object of its own.
const SHARE: usize = 8;

/// The part that the environment's routers use as well.
pub(crate) struct Waiting {
    pub(crate) channel: Arc<Channel>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Completions that have not been handed out yet, the next one last.
    batch: Vec<Completion>,
    calls: Calls,
    /// The runs of callbacks that have no answer yet, by their numbers.
    runs: HashMap<u64, Run>,
}

impl Waiting {
    /// Keeps a call that was started; `keys` are those of a call for many.
    pub(crate) fn started(&self, token: u32, pending: Pending, keys: Vec<Bytes>) {
        self.state.borrow_mut().calls.started(token, pending, keys);
    }

    /// The load inside which a call is made; none if that load has ended.
    pub(crate) fn parent(&self, run: Option<f64>) -> Option<Parent> {
        Some(self.state.borrow().runs.get(&id(run?))?.parent().clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.channel.close();
    }
}

/// See the module.
#[napi]
pub struct Reads {
    pub(crate) waiting: Rc<Waiting>,
    wake: Arc<Mutex<Wake>>,
    pub(crate) aside: Arc<Aside>,
}

#[napi]
impl Reads {
    /// `wake` is called when there is something to [`drain`](Self::drain).
    #[napi(constructor, catch_unwind)]
    pub fn new(wake: Function<'_, (), ()>) -> Result<Self> {
        let wake = wake.build_threadsafe_function::<()>().weak::<true>().callee_handled::<false>();
        let wake = Arc::new(Mutex::new(wake.build_callback(|_| Ok(()))?));
        let channel = Channel::without_loading(waker(&wake));
        let aside = Arc::new(Aside::new(waker(&wake)));
        let waiting = Rc::new(Waiting { channel, state: RefCell::default() });
        Ok(Self { waiting, wake, aside })
    }

    /// Keeps the process alive until [`rest`](Self::rest).
    #[napi(catch_unwind)]
    #[allow(deprecated, reason = "one thing to wait for or none is not a matter of who holds the function")]
    pub fn hold(&self, env: &Env) -> Result<()> {
        lock(&self.wake).refer(env)
    }

    /// Stops keeping the process alive: nothing is pending any more.
    #[napi(catch_unwind)]
    #[allow(deprecated, reason = "as above")]
    pub fn rest(&self, env: &Env) -> Result<()> {
        lock(&self.wake).unref(env)
    }

    /// Hands out completions. `rows` gets the number of rows, whether there is more to drain, and the rows; `bytes`
    /// gets their values. Everything that is not a row is returned.
    #[napi(catch_unwind)]
    pub fn drain(&self, mut rows: BufferSlice<'_>, mut bytes: BufferSlice<'_>) -> Option<Vec<Event>> {
        let mut state = self.waiting.state.borrow_mut();
        let state = &mut *state;
        let (head, body) = rows.split_at_mut(HEAD * CELL);
        let mut places = body.chunks_exact_mut(COLUMNS * CELL);
        let (mut filled, mut used, mut events) = (0, 0, Vec::new());
        let most = bytes.len() / SHARE;
        let (numbers, messages, mut more) = self.aside.take(places.len());
        events.extend(messages.into_iter().map(Event::message));
        for (number, row) in numbers.into_iter().zip(&mut places) {
            write(row, &[number, RELEASED]);
            filled += 1;
        }
        if state.batch.is_empty() {
            self.waiting.channel.drain(&mut state.batch);
            state.batch.reverse();
        }
        while let Some(completion) = state.batch.pop() {
            let row = match &completion {
                Completion::Value { token, result: Ok(None) } => Some([place(*token), MISSING, 0, 0]),
                Completion::Value { token, result: Ok(Some(value)) } if value.len() <= most => {
                    Some([place(*token), VALUE, length(used), length(value.len())])
                }
                _ => None,
            };
            let Some(row) = row else {
                events.push(state.event(completion));
                continue;
            };
            let value = match &completion {
                Completion::Value { result: Ok(Some(value)), .. } => value.as_ref(),
                _ => &[],
            };
            let (Some(place), Some(room)) = (places.next(), bytes.get_mut(used..used + value.len())) else {
                state.batch.push(completion);
                more = true;
                break;
            };
            room.copy_from_slice(value);
            write(place, &row);
            (filled, used) = (filled + 1, used + value.len());
            state.calls.ended(row[0]);
        }
        write(head, &[filled, more.into()]);
        (!events.is_empty()).then_some(events)
    }

    /// Cancels a call.
    #[napi(catch_unwind)]
    pub fn cancel(&self, token: u32) {
        self.waiting.state.borrow().calls.cancel(token);
    }

    /// Whether a callback should still begin; to be asked right before it does.
    #[napi(catch_unwind)]
    pub fn may_begin(&self, run: f64) -> bool {
        self.waiting.state.borrow().runs.get(&id(run)).is_some_and(Run::may_begin)
    }

    /// The key that a callback for one key is asked for, as it was at the call.
    #[napi(catch_unwind)]
    pub fn key(&self, run: f64) -> Option<Buffer> {
        let state = self.waiting.state.borrow();
        let key = state.runs.get(&id(run))?.keys.first()?;
        Some(key.to_vec().into())
    }

    /// The callback's result for one key; none if the key does not exist.
    #[napi(catch_unwind)]
    pub fn give(&self, run: f64, value: Option<Octets<'_>>) -> Result<()> {
        let value = value.map(octets).transpose()?;
        self.finish(run, |_| Answer::Value(value));
        Ok(())
    }

    /// The callback's result for many keys: the keys that exist, and their values.
    #[napi(catch_unwind)]
    pub fn give_many(&self, run: f64, keys: Vec<Octets<'_>>, values: Vec<Octets<'_>>) -> Result<()> {
        let pairs = keys.into_iter().zip(values).map(|(key, value)| Ok((octets(key)?, octets(value)?)));
        let values = pairs.collect::<Result<HashMap<_, _>>>()?;
        self.finish(run, |_| Answer::Values(values));
        Ok(())
    }

    /// The callback threw or its promise was rejected; the number stands for what with.
    #[napi(catch_unwind)]
    pub fn fail(&self, run: f64, number: u32) {
        let thrown = Thrown::new(number, Arc::clone(&self.aside));
        self.finish(run, |_| Answer::Failed(Box::new(thrown)));
    }

    /// The callback's result cannot be taken; `given` says what it was.
    #[napi(catch_unwind)]
    pub fn refuse(&self, run: f64, given: String) {
        self.finish(run, |run| run.refused(given));
    }

    /// The callback's caller is gone: another caller's takes over.
    #[napi(catch_unwind)]
    pub fn abandon(&self, run: f64) {
        let run = self.waiting.state.borrow_mut().runs.remove(&id(run));
        drop(run);
    }

    fn finish(&self, run: f64, answer: impl FnOnce(&Run) -> Answer) {
        let mut state = self.waiting.state.borrow_mut();
        let Some(run) = state.runs.remove(&id(run)) else { return };
        let answer = answer(&run);
        state.calls.answered(&run, &answer);
        drop(state);
        run.finish(answer);
    }
}

impl State {
    fn event(&mut self, completion: Completion) -> Event {
        match completion {
            Completion::Run(run) => {
                let event = Event::run(&run);
                self.calls.runs(&run);
                self.runs.insert(run.id(), run);
                event
            }
            Completion::Stop { .. } => Event::of(completion),
            last => Event::of(self.calls.last(last)),
        }
    }
}

/// Wakes the environment. An error means that it has ended, and then nothing waits any more.
fn waker(wake: &Arc<Mutex<Wake>>) -> impl Fn() + Send + Sync + 'static {
    let wake = Arc::clone(wake);
    move || {
        let _ = lock(&wake).call((), ThreadsafeFunctionCallMode::NonBlocking);
    }
}

/// The number of a run, back from JavaScript.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a whole number from 0 up")]
fn id(run: f64) -> u64 {
    run as u64
}

fn write(to: &mut [u8], cells: &[u32]) {
    for (place, cell) in to.chunks_exact_mut(CELL).zip(cells) {
        place.copy_from_slice(&cell.to_ne_bytes());
    }
}

/// An offset or a length in the shared bytes, which are less than 4 GiB.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
