//! One run of a loader: its question, its answer, and its end.

use crate::fork::{InChild, Process};
use crate::inside::Inside;
use crate::pointers;
use crate::status::{Failure, Status, guarded, guarded_or};
use crate::words;
use bytes::Bytes;
use failsoft::foreign::{Answer, Own, Parent, Run};
use std::collections::HashMap;
use std::ffi::{c_char, c_void};
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a loader is asked for. Opaque; it belongs to the loader, which frees it with failsoft_load_free exactly once,
/// before or after it returns, on any thread. It outlives its read and its router: an answer that nobody waits for any
/// more is dropped.
pub struct Load {
    run: Mutex<State>,
    keys: Vec<Bytes>,
    reason: *const c_char,
    many: bool,
    id: u64,
    parent: Parent,
    process: Process,
    /// Of a blocking call: the answer is kept for it, however late it is.
    kept: Option<Kept>,
}

/// What the loader of a blocking call has answered, for that call.
pub(crate) type Kept = Arc<Mutex<Option<Own>>>;

// SAFETY: the one pointer in it is to a static text.
unsafe impl Send for Load {}
// SAFETY: the same.
unsafe impl Sync for Load {}

struct State {
    /// None once it is answered.
    run: Option<Run>,
    /// The values so far, of a load of many keys.
    values: HashMap<Bytes, Bytes>,
}

/// What a loader failed with.
#[derive(Debug)]
pub(crate) struct LoadFailed {
    pub(crate) code: i32,
    pub(crate) message: String,
}

impl fmt::Display for LoadFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for LoadFailed {}

/// The callback of a read: it is asked when the primary has no value, or no node may answer. It answers `request` with
/// failsoft_load_reply, _missing or _fail, now or later, and frees it.
///
/// `user_data` has to stay valid while the loader may be called or runs, and it may still run when its read has ended
/// before it, by a deadline or a cancellation (it is not started after that): failsoft_get_options_on_release says when
/// nothing needs `user_data` any more. failsoft_load_is_wanted says whether anybody still waits. A loader that frees its
/// request without an answer has failed; one that never frees it is ended by `load_timeout`.
///
/// It may block, and it may call this library; a read of the very key that it loads, directly or through other loads on
/// this thread, ends with FAILSOFT_REENTRANT. It must neither throw nor jump out, nor end its thread; pthread_cancel of
/// its thread waits until the blocking call has returned. If it forks and returns in the child as well, the call that
/// called it gives FAILSOFT_FORKED there; a thread of the library ends, and the child with it.
pub type Loader = Option<unsafe extern "C" fn(request: *mut Load, user_data: *mut c_void)>;

/// Called once for a read, when nothing of the library needs the `user_data` of its loader any more.
pub type OnRelease = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// A loader and what it is called with.
#[derive(Clone)]
pub(crate) struct Callback {
    loader: unsafe extern "C" fn(*mut Load, *mut c_void),
    user_data: *mut c_void,
    /// Shared by all who may still call it.
    _release: Option<Arc<Release>>,
}

/// Calls the program's function when its `user_data` is its own again; not in a child process.
pub(crate) struct Release {
    process: Process,
    on_release: unsafe extern "C" fn(*mut c_void),
    user_data: *mut c_void,
}

// SAFETY: the header says that it is called on threads of the library.
unsafe impl Send for Release {}
// SAFETY: it is only used when it is dropped.
unsafe impl Sync for Release {}

impl Release {
    /// None if the program has no function for that.
    pub(crate) fn new(on_release: OnRelease, user_data: *mut c_void) -> Option<Self> {
        on_release.map(|on_release| Self { process: Process::current(), on_release, user_data })
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if self.process.check().is_ok() {
            // SAFETY: the program gave the function and what it is called with for this.
            unsafe { (self.on_release)(self.user_data) };
        }
    }
}

// SAFETY: the header says that loaders are called on threads of the library.
unsafe impl Send for Callback {}

impl Callback {
    /// None without a loader; what is to be released, is then released at once.
    pub(crate) fn new(loader: Loader, user_data: *mut c_void, release: Option<Release>) -> Option<Self> {
        loader.map(|loader| Self { loader, user_data, _release: release.map(Arc::new) })
    }

    /// Calls the loader, on this thread; from here on the load is its own. A loader does not begin for a read that has
    /// ended, nor when nobody waits: the load is dropped then, and where others wait, the loader of one of them is called.
    pub(crate) fn call(&self, router: usize, load: Load) -> Result<(), InChild> {
        if !load.may_begin() {
            return Ok(());
        }
        let parent = load.parent.clone();
        let request = Box::into_raw(Box::new(load));
        let inside = Inside::loader(router, parent);
        // SAFETY: the program gave the function and what it is called with for this.
        unsafe { (self.loader)(request, self.user_data) }
        inside.check()
    }
}

impl Load {
    pub(crate) fn new(run: Run) -> Self {
        Self {
            keys: run.keys.clone(),
            reason: words::reason(run.reason),
            many: run.reason.is_none(),
            id: run.id(),
            parent: run.parent().clone(),
            process: Process::current(),
            kept: None,
            run: Mutex::new(State { run: Some(run), values: HashMap::new() }),
        }
    }

    /// The same for a call whose own thread runs the loader.
    pub(crate) fn keeping(run: Run, kept: &Kept) -> Self {
        Self { kept: Some(Arc::clone(kept)), ..Self::new(run) }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    fn may_begin(&self) -> bool {
        self.lock().run.as_ref().is_some_and(Run::may_begin)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, answer: impl FnOnce(&mut State) -> Answer) -> Result<(), Failure> {
        self.process.check()?;
        let mut state = self.lock();
        let run = state.run.take().ok_or_else(already_answered)?;
        let answer = answer(&mut state);
        drop(state);
        if let Some(kept) = &self.kept {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Own::of(&run, &answer);
        }
        run.finish(answer);
        Ok(())
    }

    fn one_key(&self) -> Result<(), Failure> {
        if !self.many {
            return Ok(());
        }
        let keys = self.keys.len();
        let problem =
            format!("this load asks for {keys} keys: answer with failsoft_load_reply_at and failsoft_load_done");
        Err(Failure::new(Status::FAILSOFT_MISUSE, problem))
    }
}

/// The load that an answer is for. Several threads may answer at once, so it is no exclusive reference.
///
/// # Safety
/// Unless it is NULL, it has to be one that a loader was given, and not be freed yet.
unsafe fn answered<'a>(load: *mut Load) -> Result<&'a Load, Failure> {
    // SAFETY: the caller vouches for it.
    unsafe { load.as_ref() }.ok_or_else(|| Failure::null("load"))
}

fn already_answered() -> Failure {
    Failure::new(Status::FAILSOFT_ALREADY_ANSWERED, "the load was answered before")
}

/// The key to load, or the first of many, and its length. It belongs to the load; it may hold any bytes and has no NUL
/// at its end. NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_load_key(load: Option<&Load>, len: Option<&mut MaybeUninit<usize>>) -> *const u8 {
    failsoft_load_key_at(load, 0, len)
}

/// How many keys are to be loaded: 1, unless many were asked for.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_load_count(load: Option<&Load>) -> usize {
    load.map_or(0, |load| load.keys.len())
}

/// One of the keys to load, from 0, and its length. It belongs to the load. NULL if there is no such key.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_load_key_at(
    load: Option<&Load>,
    index: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    let key = load.and_then(|load| load.keys.get(index));
    if let Some(len) = len {
        len.write(key.map_or(0, |key| key.len()));
    }
    key.map_or(std::ptr::null(), |key| key.as_ptr())
}

/// Why the primary did not serve it, one of the words of failsoft_outcome_reason. Static; NULL if many keys were asked
/// for.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_load_reason(load: Option<&Load>) -> *const c_char {
    load.map_or(std::ptr::null(), |load| load.reason)
}

/// Whether anybody still waits for the answer: a loader that works for long may ask now and then, and give up. False once
/// it is answered, and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_load_is_wanted(load: Option<&Load>) -> bool {
    load.is_some_and(|load| load.process.check().is_ok() && load.lock().run.as_ref().is_some_and(Run::is_wanted))
}

/// Answers a load of one key with a value, which is copied. From any thread; it does not free the load.
///
/// FAILSOFT_ALREADY_ANSWERED: this is the second answer, and changes nothing. FAILSOFT_MISUSE: a load of many keys.
/// FAILSOFT_FORKED: in a child process that the loader has forked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_load_reply(load: *mut Load, value: *const u8, len: usize) -> Status {
    guarded(|| {
        // SAFETY: the load is the program's and not freed yet, as the header says.
        let load = unsafe { answered(load) }?;
        load.one_key()?;
        // SAFETY: `value` points to `len` bytes, as the header says.
        let value = Bytes::copy_from_slice(unsafe { pointers::bytes("value", value, len) }?);
        load.answer(|_| Answer::Value(Some(value)))
    })
}

/// Answers a load of one key: it does not exist. Statuses as failsoft_load_reply.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_load_missing(load: *mut Load) -> Status {
    guarded(|| {
        // SAFETY: the load is the program's and not freed yet, as the header says.
        let load = unsafe { answered(load) }?;
        load.one_key()?;
        load.answer(|_| Answer::Value(None))
    })
}

/// Answers a load, of one key or many: it failed. All who wait get FAILSOFT_FALLBACK with this code and message, which
/// is copied; NULL is none. Statuses as failsoft_load_reply.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_load_fail(load: *mut Load, code: i32, message: *const c_char) -> Status {
    guarded(|| {
        // SAFETY: the load is the program's and not freed yet, as the header says.
        let load = unsafe { answered(load) }?;
        let message = if message.is_null() {
            format!("the loader failed with code {code}")
        } else {
            // SAFETY: `message` is a text, as the header says.
            unsafe { std::ffi::CStr::from_ptr(message) }.to_string_lossy().into_owned()
        };
        load.answer(|_| Answer::Failed(LoadFailed { code, message }.into()))
    })
}

/// Gives the value of one of the keys of a load, which is copied. The answer is complete with failsoft_load_done.
///
/// FAILSOFT_ALREADY_ANSWERED: the load or this key was answered before. FAILSOFT_INVALID_ARGUMENT: no such key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_load_reply_at(load: *mut Load, index: usize, value: *const u8, len: usize) -> Status {
    guarded(|| {
        // SAFETY: the load is the program's and not freed yet, as the header says.
        let load = unsafe { answered(load) }?;
        let keys = load.keys.len();
        load.process.check()?;
        let problem = || Failure::argument("index", &format!("{index} is no key of a load of {keys}"));
        let key = load.keys.get(index).ok_or_else(problem)?;
        // SAFETY: `value` points to `len` bytes, as the header says.
        let value = Bytes::copy_from_slice(unsafe { pointers::bytes("value", value, len) }?);
        let mut state = load.lock();
        if state.run.is_none() || state.values.contains_key(key) {
            return Err(already_answered());
        }
        state.values.insert(key.clone(), value);
        Ok(())
    })
}

/// Completes the answer of a load: keys that got no value do not exist. Statuses as failsoft_load_reply, but it is for
/// loads of one key as well.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_load_done(load: *mut Load) -> Status {
    guarded(|| {
        // SAFETY: the load is the program's and not freed yet, as the header says.
        let load = unsafe { answered(load) }?;
        load.answer(|state| {
            let mut values = std::mem::take(&mut state.values);
            if load.many {
                Answer::Values(values)
            } else {
                Answer::Value(load.keys.first().and_then(|key| values.remove(key)))
            }
        })
    })
}

/// Frees a load. If it was not answered, it fails: all who wait get FAILSOFT_FALLBACK with code 0. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_load_free(load: Option<Box<Load>>) {
    guarded_or((), || {
        if let Some(load) = load {
            if load.process.check().is_err() {
                // Dropped, it would wake who waits in the parent.
                std::mem::forget(load);
                return Ok(());
            }
            let message = "the loader freed its request without an answer".to_owned();
            // An error means that there was an answer.
            let _ = load.answer(|_| Answer::Failed(LoadFailed { code: 0, message }.into()));
        }
        Ok(())
    });
}
