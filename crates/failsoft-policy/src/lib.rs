//! Every decision of Failsoft, as plain state machines: events and the time go in, actions come out.
//!
//! The crate is `no_std` with `alloc`, so that no runtime, socket, clock, lock or random source can
//! creep in. The time is an argument ([`Instant`]), randomness is an argument (a number the driver
//! drew), and what has to be done is a value that the driver carries out. No unordered map is
//! iterated, so the same events replay to the same actions.
#![no_std]

extern crate alloc;

pub mod action;
pub mod behind;
pub mod breaker;
pub mod budget;
pub mod bulkhead;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod copies;
pub mod denied;
pub mod echo;
mod endpoint;
pub mod error;
pub mod events;
pub mod fills;
pub mod fleet;
pub mod flight;
pub mod hearing;
pub mod history;
pub mod invalidate;
pub mod invalidations;
pub mod lease;
pub mod load;
pub mod log;
pub mod memory;
pub mod miss;
pub mod near;
#[doc(hidden)]
pub mod nodes;
mod pace;
pub mod partition;
pub mod rank;
pub mod read;
pub mod refresh;
pub mod replication;
pub mod reply;
pub mod route;
mod runs;
mod setting;
pub mod sharing;
pub mod slot;
pub mod store;
pub mod tend;
mod text;
pub mod time;
pub mod topology;
pub mod turn;
pub mod view;
pub mod wire;
pub mod words;
pub mod write;

pub use time::Instant;
pub use topology::Kind;
pub use turn::Turn;
pub use words::{Endpoint, NodeKey, Reason, ServedBy, Slot, Status};
