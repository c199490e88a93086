//! The C library: opaque handles, callbacks and statuses over the `failsoft` crate's interface for other languages.
//!
//! `include/failsoft.h` is generated from here and holds the documentation for its users. A pointer to an opaque
//! type is an `Option` of a reference or a box where it can be one: NULL is then a value like another. Every exported
//! function ends in `status::guarded` or touches nothing that could panic.

// Pointers from C are what this crate is for. The header says what each has to be, and its texts are the functions' own.
#![allow(unsafe_code, clippy::missing_safety_doc)]
#![warn(clippy::undocumented_unsafe_blocks)]
// What C calls is exported by its name, whatever module it is in.
#![allow(unreachable_pub)]

// The header has the functions in the order of these modules.
mod config;

mod router;

mod reads;

mod options;

mod load;

mod outcome;

mod many;

mod writes;

mod status;

mod text;

// And these export nothing.
mod deliver;
mod descriptor;
mod entries;
mod fork;
mod inside;
mod pointers;
mod threads;
mod words;
