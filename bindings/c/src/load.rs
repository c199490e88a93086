//! One run of a loader: what it is asked for, its answer, and its end.

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

/// What a loader is asked for. Opaque. It belongs to the loader, which frees it with failsoft_load_free exactly once,
/// before or after it returns, on any thread. It stays valid when its read has ended and its router is closed: an
/// answer that nobody waits for any more is dropped.
pub struct Load {
    run: Mutex<State>,
    keys: Vec<Bytes>,
    reason: *const c_char,
    many: bool,
    /// It is for the second of its read's loaders.
    recompute: bool,
    id: u64,
    parent: Parent,
    process: Process,
    /// For a blocking call: keeps the answer for it, however late that comes.
    kept: Option<Kept>,
}

/// Where a blocking call finds the answer of its own loader.
pub(crate) type Kept = Arc<Mutex<Option<Own>>>;

// SAFETY: its only pointer is to a static text.
unsafe impl Send for Load {}
// SAFETY: the same.
unsafe impl Sync for Load {}

struct State {
    /// None once it has been answered.
    run: Option<Run>,
    /// For a load of many keys: the values so far.
    values: HashMap<Bytes, Bytes>,
}

/// The code and the message of a loader that failed.
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

/// The callback of a read: your own store, called when the primary does not have the key, or when no node may answer
/// (failsoft_get_options_recompute says which of two is called).
/// It answers `request` with failsoft_load_reply, _missing or _fail, now or later and on any thread, and then frees it.
///
/// `user_data` has to stay valid as long as the loader may be called or is running. A deadline or a cancellation can
/// end the read while its loader still runs (after that it is not started). failsoft_get_options_on_release says when
/// `user_data` is no longer needed, and failsoft_load_is_wanted whether anybody still waits. A loader that frees its
/// request without an answer has failed; the load of one that never frees it ends after `load_timeout`.
///
/// A loader may block, and it may call this library. If it reads the key that it is loading, directly or through other
/// loads on this thread, that read ends with FAILSOFT_REENTRANT. It must neither throw nor jump out, and must not end
/// its thread; a pthread_cancel takes effect only once the library's function around the loader has returned, as in any
/// call. If the loader forks and also returns in the child, the function around it gives FAILSOFT_FORKED there; on a
/// thread of the library, that thread ends, and with it the child.
pub type Loader = Option<unsafe extern "C" fn(request: *mut Load, user_data: *mut c_void)>;

/// Called once for each read, when the library no longer needs the `user_data` of its loader.
pub type OnRelease = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// The loaders of a read and their data.
#[derive(Clone)]
pub(crate) struct Callback {
    loader: unsafe extern "C" fn(*mut Load, *mut c_void),
    recompute: Loader,
    user_data: *mut c_void,
    /// Shared by everything that may still call a loader.
    _release: Option<Arc<Release>>,
}

/// Calls the program's function when the library no longer needs its `user_data`; not in a child process.
pub(crate) struct Release {
    process: Process,
    on_release: unsafe extern "C" fn(*mut c_void),
    user_data: *mut c_void,
}

// SAFETY: the header says that it is called on threads of the library.
unsafe impl Send for Release {}
// SAFETY: it is used only when it is dropped.
unsafe impl Sync for Release {}

impl Release {
    /// None if the program gave no function.
    pub(crate) fn new(on_release: OnRelease, user_data: *mut c_void) -> Option<Self> {
        on_release.map(|on_release| Self { process: Process::current(), on_release, user_data })
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if self.process.check().is_ok() {
            // SAFETY: the program gave the function and its data for this call.
            unsafe { (self.on_release)(self.user_data) };
        }
    }
}

// SAFETY: the header says that loaders are called on threads of the library.
unsafe impl Send for Callback {}

impl Callback {
    /// None without a loader; `release` is then dropped at once, and so called.
    pub(crate) fn new(
        loader: Loader,
        recompute: Loader,
        user_data: *mut c_void,
        release: Option<Release>,
    ) -> Option<Self> {
        loader.map(|loader| Self { loader, recompute, user_data, _release: release.map(Arc::new) })
    }

    /// Calls the loader on this thread, `recompute` if the load asks for that one, and gives it the load. It is not called if
    /// its read has ended or nobody waits for the load: then the load is dropped, and if others wait for the key, one of
    /// their loaders is called.
    pub(crate) fn call(&self, router: usize, load: Load) -> Result<(), InChild> {
        if !load.may_begin() {
            return Ok(());
        }
        let parent = load.parent.clone();
        let loader = self.recompute.filter(|_| load.recompute).unwrap_or(self.loader);
        let request = Box::into_raw(Box::new(load));
        let inside = Inside::loader(router, parent);
        // SAFETY: the program gave the function and its data for this call.
        unsafe { loader(request, self.user_data) }
        inside.check()
    }
}

impl Load {
    pub(crate) fn new(run: Run) -> Self {
        Self {
            keys: run.keys.clone(),
            reason: words::reason(run.reason),
            many: run.reason.is_none(),
            recompute: run.recompute,
            id: run.id(),
            parent: run.parent().clone(),
            process: Process::current(),
            kept: None,
            run: Mutex::new(State { run: Some(run), values: HashMap::new() }),
        }
    }

    /// The same for a blocking call, which runs the loader on its own thread and keeps the answer.
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

/// The load that is answered. A shared reference, since several threads may answer at once.
///
/// # Safety
/// Unless it is NULL, it has to be one that was given to a loader and has not been freed.
unsafe fn answered<'a>(load: *mut Load) -> Result<&'a Load, Failure> {
    // SAFETY: the caller guarantees it.
    unsafe { load.as_ref() }.ok_or_else(|| Failure::null("load"))
}

fn already_answered() -> Failure {
    Failure::new(Status::FAILSOFT_ALREADY_ANSWERED, "the load was answered before")
}

/// The key to load, or the first of many; `*len` becomes its length in bytes. `len` may be NULL. The key belongs to the
/// load, can hold any bytes, and does not end with a NUL. NULL if `load` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_load_key(load: Option<&Load>, len: Option<&mut MaybeUninit<usize>>) -> *const u8 {
    failsoft_load_key_at(load, 0, len)
}

/// How many keys the load asks for: 1 for a read of one key. 0 if `load` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_load_count(load: Option<&Load>) -> usize {
    load.map_or(0, |load| load.keys.len())
}

/// One of the keys to load, as failsoft_load_key; `index` counts from 0. NULL, with a length of 0, if there is no such
/// key.
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

/// Why the primary did not serve the key: one of the words of failsoft_outcome_reason. Static. NULL for a load of many
/// keys.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_load_reason(load: Option<&Load>) -> *const c_char {
    load.map_or(std::ptr::null(), |load| load.reason)
}

/// Whether anybody still waits for the answer. A loader that takes long may ask from time to time, and stop if nobody
/// does. Also true for as long again as `load_timeout` once that has passed: the callers have their error then, but a
/// value that comes may still be written back. False once the load has been answered, and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_load_is_wanted(load: Option<&Load>) -> bool {
    load.is_some_and(|load| load.process.check().is_ok() && load.lock().run.as_ref().is_some_and(Run::is_wanted))
}

/// Answers a load of one key with a value of `len` bytes, which is copied. Any thread may call it. The load still has
/// to be freed.
///
/// FAILSOFT_ALREADY_ANSWERED: there was an answer before; this one changes nothing. FAILSOFT_MISUSE: the load asks for
/// many keys. FAILSOFT_FORKED: this is a child process that the loader has forked.
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

/// Answers a load of one key: the key does not exist. Statuses as failsoft_load_reply.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_load_missing(load: *mut Load) -> Status {
    guarded(|| {
        // SAFETY: the load is the program's and not freed yet, as the header says.
        let load = unsafe { answered(load) }?;
        load.one_key()?;
        load.answer(|_| Answer::Value(None))
    })
}

/// Answers a load of one key or many: it failed. All reads that wait for it end with FAILSOFT_FALLBACK, with this code
/// and a copy of this message; with NULL, the message is one that names the code. Statuses as failsoft_load_reply.
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

/// Gives the value of one key of a load, counted from 0; it is copied. failsoft_load_done completes the answer.
///
/// FAILSOFT_ALREADY_ANSWERED: the load, or this key of it, was answered before. FAILSOFT_INVALID_ARGUMENT: there is no
/// such key. FAILSOFT_FORKED: this is a child process that the loader has forked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_load_reply_at(load: *mut Load, index: usize, value: *const u8, len: usize) -> Status {
    guarded(|| {
        // SAFETY: the load is the program's and not freed yet, as the header says.
        let load = unsafe { answered(load) }?;
        let keys = load.keys.len();
        load.process.check()?;
        let problem = || Failure::argument("index", &format!("there is no key {index} in a load of {keys}"));
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

/// Completes the answer of a load of many keys, or of one: keys without a value do not exist. Statuses as
/// failsoft_load_reply, but FAILSOFT_MISUSE is not among them.
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

/// Frees a load. One without an answer has failed: all reads that wait for it end with FAILSOFT_FALLBACK and code 0.
/// NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_load_free(load: Option<Box<Load>>) {
    guarded_or((), || {
        if let Some(load) = load {
            if load.process.check().is_err() {
                // Dropping it would wake the parent's waiters.
                std::mem::forget(load);
                return Ok(());
            }
            let message = "the loader freed its request without an answer".to_owned();
            // An error means that it was answered before.
            let _ = load.answer(|_| Answer::Failed(LoadFailed { code: 0, message }.into()));
        }
        Ok(())
    });
}
