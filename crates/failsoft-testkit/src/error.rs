//! What can go wrong while servers are started, ordered about and asked.

use std::{fmt, io, time::Duration};

/// An error of the test kit. Every one names the node, file or setting that it is about.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No server binary: what was asked for, where it was looked for, how to get one.
    ServerNotFound {
        /// The choice that could not be met.
        choice: String,
        /// Every place that was looked at.
        looked_in: Vec<String>,
        /// A command that installs it.
        hint: String,
    },
    /// A setting or an order that cannot work: which one, and what is allowed.
    Config(String),
    /// A server or a cluster did not come up.
    Start {
        /// What did not happen.
        what: String,
        /// The last lines of the server's log.
        log: String,
    },
    /// A node that is not running (killed, or never started) was asked.
    NotRunning {
        /// The address of the node.
        node: String,
    },
    /// No node of that index.
    NoSuchNode {
        /// The index that was asked for.
        index: usize,
        /// How many nodes there are.
        nodes: usize,
    },
    /// No running node knows who owns a slot.
    NoOwner {
        /// The slot.
        slot: u16,
    },
    /// A node answered a command with an error, or the connection failed.
    Command {
        /// The address of the node.
        node: String,
        /// The command, its first words.
        command: String,
        /// What the `redis` crate said.
        source: redis::RedisError,
    },
    /// A reply that the test kit does not understand.
    Reply {
        /// The address of the node.
        node: String,
        /// What was asked, and what is wrong with the answer.
        what: String,
    },
    /// Something did not happen in time.
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// Hosts of their own cannot be had here.
    NoNetwork {
        /// What is missing, or what failed.
        why: String,
    },
    /// The operating system refused.
    Io {
        /// What was tried.
        what: String,
        /// Its error.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }

    pub(crate) fn timeout(what: impl Into<String>, limit: Duration) -> Error {
        Error::Timeout { what: what.into(), limit }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::ServerNotFound { choice, looked_in, hint } => {
                write!(f, "no server found for {choice}; looked in: {}; to get one: {hint}", looked_in.join(", "))
            }
            Error::Config(what) => f.write_str(what),
            Error::Start { what, log } if log.is_empty() => f.write_str(what),
            Error::Start { what, log } => write!(f, "{what}; the end of its log:\n{log}"),
            Error::NotRunning { node } => write!(f, "{node} is not running"),
            Error::NoSuchNode { index, nodes } => {
                write!(f, "no node {index}: nodes are 0 to {}", nodes.saturating_sub(1))
            }
            Error::NoOwner { slot } => write!(f, "no running node knows an owner of slot {slot}"),
            Error::Command { node, command, source } => write!(f, "{node}: {command}: {source}"),
            Error::Reply { node, what } => write!(f, "{node}: {what}"),
            Error::Timeout { what, limit } => write!(f, "{what}: not within {limit:?}"),
            Error::NoNetwork { why } => {
                write!(f, "no network of hosts: {why}; it takes Linux, root, and the programs `ip` and `nft`")
            }
            Error::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Command { source, .. } => Some(source),
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
