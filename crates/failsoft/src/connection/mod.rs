//! The hot connection: one node's pipeline of requests, without a task, a channel or an allocation per read.
//!
//! A caller appends its bytes and takes a slot under one short lock. One I/O task per connection writes what has
//! queued up with one system call and hands out the replies in order. Everything that knows RESP is without I/O.
//!
//! [`Lane`] is the whole interface. A lane lives once: it opens, works and dies; its owner opens another one.

mod core;
mod encode;
mod error;
mod handshake;
mod inflight;
mod io;
mod lane;
mod notices;
mod outbox;
mod progress;
mod resp;
mod skip;
mod stream;
mod timer;
mod tls;

#[cfg(test)]
mod tests;

pub(crate) use self::core::LaneState;
pub(crate) use error::{LaneError, SubmitError};
pub(crate) use inflight::Outcome;
pub(crate) use lane::{Lane, LaneConfig, Pending, Sent};
pub(crate) use notices::Sink;
pub(crate) use resp::Reply;
pub(crate) use stream::keepalive;
pub(crate) use tls::{TlsPem, TlsSetup};
