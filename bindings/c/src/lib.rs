//! The C library: opaque handles, callbacks and statuses over the `failsoft` crate's interface for other languages.
//!
//! `include/failsoft.h` is generated from here and holds the documentation for its users. A pointer to an opaque type
//! is an `Option` of a reference or a box where possible, so that NULL is an ordinary value. Every exported function
//! either runs inside `status::guarded` or does nothing that could panic.

// Handling pointers from C is this crate's job. The header says what each pointer has to be, in the text of its
// function.
#![allow(unsafe_code, clippy::missing_safety_doc)]
#![warn(clippy::undocumented_unsafe_blocks)]
// C finds functions by their exported names, whatever module they are in.
#![allow(unreachable_pub)]

// The header has the functions in the order of these modules.
mod config;

mod router;

mod health;

mod reads;

mod options;

mod load;

mod outcome;

mod many;

mod writes;

mod invalidations;

mod history;

mod writing;

mod status;

mod text;

// These export nothing.
mod deliver;
mod descriptor;
mod entries;
mod fork;
mod inside;
mod pointers;
mod threads;
mod words;
