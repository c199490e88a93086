//! What a fleet of routers puts on the servers of a large cluster, in calm, in a failover and in a
//! partition: the commands that the real policy asks for, in virtual time, times what each command
//! costs a real server (`cost.rs`, measured by the program of this crate).
//!
//! A few routers are run and stand for all: the load on a server is their mean, times the size of the
//! fleet.

pub mod cost;
pub mod fleet;
pub mod listening;
pub mod measure;
pub mod measure_listeners;
mod router;
pub mod router_cost;
pub mod world;
