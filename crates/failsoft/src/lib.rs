//! Reads from a Redis or Valkey Cluster that degrade and never fail.
//!
//! One call, [`Router::get_with_fallback`]: it routes by slot, follows redirects, asks a replica when
//! the primary does not answer, and the caller's own callback when no node may answer. All decisions
//! are those of the `failsoft-policy` crate; this one carries them out on tokio.

mod absent;
mod account;
mod behind;
mod builder;
mod clock;
mod commands;
mod conductor;
mod connection;
mod control;
mod copies;
mod dns;
mod driver;
mod endings;
mod error;
mod events;
mod fills;
pub mod foreign;
mod frame;
mod health;
mod history;
mod invalidations;
mod leases;
mod listening;
mod loads;
mod log;
mod many;
mod member;
mod memory;
mod near;
mod opener;
mod outcome;
mod panics;
mod reads;
mod replicas;
mod resolve;
mod router;
mod scripts;
mod shared;
mod sharing;
mod sooner;
mod tally;
mod tending;
mod writes;
mod writing;

pub use builder::{Builder, Tls};
pub use bytes::Bytes;
pub use error::{BadResult, CallbackGone, CallbackPanicked, Detail, DetailValue, Error, Incomplete};
pub use failsoft_policy::config::{Config, KeySpec, Kind as SettingKind, Setting, unknown as unknown_key};
pub use failsoft_policy::error::ConfigError;
pub use failsoft_policy::events::{Event, EventKind, MAX_SUBJECTS, Subject};
pub use failsoft_policy::history::Record as InvalidationRecord;
pub use failsoft_policy::invalidate::{Pending, Step};
pub use failsoft_policy::invalidations::MAX_KEYS as MAX_INVALIDATED;
pub use failsoft_policy::replication::Durability;
pub use failsoft_policy::sharing::Coalesce;
pub use failsoft_policy::slot::slot_of;
pub use failsoft_policy::store::ShedCause;
pub use failsoft_policy::write::Cause;
pub use failsoft_policy::{Endpoint, Reason, ServedBy, Slot, Status};
pub use health::{BallotHealth, Health, NodeHealth, StoreHealth};
pub use history::{LastInvalidation, WITHIN};
pub use many::{MAX_KEYS, ManyKeys};
pub use outcome::Outcome;
pub use resolve::{OneKey, Resolve};
pub use router::{MAX_STRING, Router};
pub use tally::{Count, Counters};
pub use writing::{Invalidate, Writing};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
