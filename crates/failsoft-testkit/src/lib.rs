//! Real Redis and Valkey clusters to break, and a scripted RESP node for what a real server won't do.
//!
//! [`Cluster`] starts any number of primaries and replicas on free ports of 127.0.0.1 from a
//! [`Server`] found on the machine, and can kill, hang, restart, fail over and reshard them.
//! Its nodes may live on hosts of their own, a [`Network`], to be cut off from each other and from clients;
//! a [`Proxy`] makes the way to one long.
//! [`Standalone`] is one server without cluster mode. [`ScriptedNode`] answers as it is told:
//! garbage, half a reply, redirect loops, silence.
//!
//! Nothing is left behind: servers are killed and their folders removed when the value is dropped,
//! and a watchdog does the same when this process dies without dropping it.
//!
//! ```no_run
//! # async fn example() -> Result<(), failsoft_testkit::Error> {
//! use failsoft_testkit::{Cluster, Server};
//!
//! let cluster = Cluster::builder().server(&Server::find(None)?).primaries(3).replicas(1).start().await?;
//! cluster.kill(0).await?;
//! cluster.wait_promoted(3, std::time::Duration::from_secs(20)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Unix only: a server is hung with SIGSTOP.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may end with a panic"))]

mod builder;
mod client;
mod cluster;
mod error;
mod form;
mod group;
mod migration;
mod network;
mod node;
mod poll;
mod port;
mod process;
mod proxy;
mod scripted;
mod server;
mod settings;
mod standalone;
mod tls;
mod view;
mod watchdog;
mod wheel;

pub use builder::ClusterBuilder;
pub use cluster::{Cluster, Kept};
pub use error::Error;
pub use migration::Migration;
pub use network::{Inside, Network};
pub use node::{Node, Role};
pub use proxy::Proxy;
pub use scripted::{Behaviour, Profile, ScriptedNode, Topology, TopologyNode};
pub use server::{Flavour, Server};
pub use standalone::{Standalone, StandaloneBuilder};
pub use view::{key_in, slot_of};
