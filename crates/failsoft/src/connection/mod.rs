//! The hot connection: one node's pipeline of requests, without a task, a channel or an allocation per read.
//!
//! A caller appends its bytes and takes a place under one short lock. One I/O task per connection writes what has
//! queued up with one system call and hands out the replies in order. Everything that knows RESP is without I/O, and
//! what is in flight, late or hung is the policy's machine ([`failsoft_policy::connection`]).
//!
//! [`Lane`] is the whole interface. A lane lives once: it opens, works and ends; its owner opens another one.

mod encode;
mod error;
mod guarded;
mod handshake;
mod io;
mod lane;
mod nested;
mod notices;
mod outbox;
mod resp;
mod skip;
mod stream;
mod timer;
mod tls;

#[cfg(test)]
mod tests;

pub(crate) use error::SubmitError;
pub(crate) use failsoft_policy::connection::{Attempt, Failure, Phase};
pub(crate) use guarded::{Blame, Report};
pub(crate) use lane::{Lane, LaneConfig, Pending, Pushes, Sent};
pub(crate) use notices::{Outcome, Sink};
pub(crate) use resp::Reply;
pub(crate) use stream::keepalive;
pub(crate) use tls::{TlsPem, TlsSetup};
