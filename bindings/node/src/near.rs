//! The near cache's answers, given in the call itself by a function of each router. It is made by hand of Node-API's own
//! functions: what lies around a method of a class costs several times as much as such an answer.

// Node-API is C.
#![allow(unsafe_code)]

use failsoft::foreign::{Foreign, ReadOptions};
use napi::bindgen_prelude::{FromNapiValue, Unknown};
use napi::{Env, Error, Result, Status, sys};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

/// Room for a key in UTF-8. Longer ones are read as if there were no near cache in this process.
const ROOM: usize = 512;
/// What may be missing at the end of a key that filled the room: the end mark, and most of a character.
const MARGIN: usize = 4;

/// What the function has.
struct Asked {
    foreign: Rc<Foreign>,
    text: bool,
}

/// A function that takes a key which is a string, and returns the value of a near copy that serves now, as one string: the
/// text, or without `text` a character for each byte. Otherwise, and for whatever is wrong, it returns undefined: then the
/// key is to be read as any other.
pub(crate) fn function<'e>(env: &'e Env, foreign: &Rc<Foreign>, text: bool) -> Result<Unknown<'e>> {
    let asked = Box::into_raw(Box::new(Asked { foreign: Rc::clone(foreign), text }));
    let mut made = ptr::null_mut();
    // SAFETY: `env` is the environment that is running. What the function has lives until the function does not.
    unsafe {
        let create = sys::napi_create_function(env.raw(), c"near".as_ptr(), -1, Some(near), asked.cast(), &mut made);
        let kept = create == sys::Status::napi_ok
            && sys::napi_add_finalizer(env.raw(), made, asked.cast(), Some(let_go), ptr::null_mut(), ptr::null_mut())
                == sys::Status::napi_ok;
        if !kept {
            drop(Box::from_raw(asked));
            return Err(Error::new(Status::GenericFailure, "Node makes no function"));
        }
        Unknown::from_napi_value(env.raw(), made)
    }
}

/// The function is gone.
unsafe extern "C" fn let_go(_: sys::napi_env, asked: *mut c_void, _: *mut c_void) {
    // SAFETY: it was made for this function, which nobody can call any more.
    drop(unsafe { Box::from_raw(asked.cast::<Asked>()) });
}

/// Null is undefined in JavaScript.
unsafe extern "C" fn near(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: these are what Node calls it with.
    let answer = || unsafe { answer(env, info) };
    catch_unwind(AssertUnwindSafe(answer)).ok().flatten().unwrap_or(ptr::null_mut())
}

unsafe fn answer(env: sys::napi_env, info: sys::napi_callback_info) -> Option<sys::napi_value> {
    let (mut count, mut key, mut asked) = (1, ptr::null_mut(), ptr::null_mut());
    let mut octets = [const { MaybeUninit::<u8>::uninit() }; ROOM];
    let (mut length, mut made) = (0, ptr::null_mut());
    // SAFETY: the caller's pointers are Node's, and all others are to places here. `asked` is what the function was made
    // with, and lives as long as it. Of `octets` no more is looked at than was written. What is no string is refused.
    unsafe {
        ok(sys::napi_get_cb_info(env, info, &mut count, &mut key, ptr::null_mut(), &mut asked))?;
        ok(sys::napi_get_value_string_utf8(env, key, octets.as_mut_ptr().cast(), ROOM, &mut length))?;
        if length + MARGIN >= ROOM {
            return None;
        }
        let key = std::slice::from_raw_parts(octets.as_ptr().cast::<u8>(), length);
        let Asked { foreign, text } = &*asked.cast::<Asked>();
        let value = foreign.near(key, &ReadOptions::default(), true).ok()??;
        let (at, length) = (value.as_ptr().cast(), isize::try_from(value.len()).ok()?);
        // What is ASCII is the same either way, and this one is quicker. The other writes U+FFFD for what is no UTF-8.
        ok(if !text || value.is_ascii() {
            sys::napi_create_string_latin1(env, at, length, &mut made)
        } else {
            sys::napi_create_string_utf8(env, at, length, &mut made)
        })?;
    }
    Some(made)
}

fn ok(status: sys::napi_status) -> Option<()> {
    (status == sys::Status::napi_ok).then_some(())
}
