//! The addon under `node/`: routers for one JavaScript environment, over the core's interface for other languages. All
//! decisions are made in the core.

mod aside;
mod calls;
mod config;
mod event;
mod failure;
mod given;
mod history;
mod key;
mod near;
mod outcome;
mod reads;
mod router;
mod tls;

use failsoft::{Cause, Coalesce, Durability, EventKind, InvalidationRecord, Reason, ServedBy, ShedCause, Step};
use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;

/// Runs the command `failsoft` with these arguments, the program's name first, and gives its exit code.
#[napi(catch_unwind)]
pub fn run_command(arguments: Vec<String>) -> u8 {
    failsoft_cli::run(arguments)
}

/// The version of the library.
#[napi(catch_unwind)]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The most keys of one read.
#[napi(catch_unwind)]
pub fn max_keys() -> u32 {
    u32::try_from(failsoft::MAX_KEYS).unwrap_or(u32::MAX)
}

/// The most keys of one invalidation, and the most that a writer holds.
#[napi(catch_unwind)]
pub fn max_invalidated() -> u32 {
    u32::try_from(failsoft::MAX_INVALIDATED).unwrap_or(u32::MAX)
}

/// The core's settings: for each key its default (milliseconds for a duration) and what is allowed.
#[napi(catch_unwind)]
pub fn settings(env: &Env) -> Result<Object<'_>> {
    config::table(env)
}

/// The core's closed lists of words, by the names of their types.
#[napi(catch_unwind)]
pub fn words(env: &Env) -> Result<Object<'_>> {
    let mut words = Object::new(env)?;
    words.set("Reason", Reason::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    words.set("InvalidationRecord", InvalidationRecord::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    words.set("ServedBy", ServedBy::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    words.set("Cause", Cause::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    words.set("ShedCause", ShedCause::WORDS.to_vec())?;
    words.set("Step", Step::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    words.set("Durability", Durability::WORDS.to_vec())?;
    words.set("Coalesce", Coalesce::WORDS.to_vec())?;
    words.set("EventKind", EventKind::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>())?;
    Ok(words)
}
