//! What a node says to a command for a key.

use super::{BLOCKS, Model, NOBODY, OTHER_TYPE, Time};
use crate::net::Net;

/// A command for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Ping,
    Get { key: u8, readonly: bool, asking: bool },
    Set { key: u8, value: u32, only_if_absent: bool, asking: bool },
}

/// What a node says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Value(u32),
    Nil,
    Done,
    /// The block has another owner, at this address.
    Moved(u8, u8),
    Asked(u8, u8),
    TryAgain,
    Down,
    NotServed,
    Loading,
    MasterDown,
    WrongType,
    OutOfMemory,
    /// Bytes that are no reply.
    Garbage,
    Denied,
}

impl Said {
    /// For the trace.
    pub(crate) fn code(self) -> u64 {
        match self {
            Self::Value(v) => 0x100 + u64::from(v),
            Self::Moved(b, a) => 0x20 + u64::from(b) + (u64::from(a) << 32),
            Self::Asked(b, a) => 0x40 + u64::from(b) + (u64::from(a) << 32),
            Self::Nil => 1,
            Self::Done => 2,
            Self::TryAgain => 3,
            Self::Down => 4,
            Self::NotServed => 5,
            Self::Loading => 6,
            Self::MasterDown => 7,
            Self::WrongType => 8,
            Self::OutOfMemory => 9,
            Self::Garbage => 10,
            Self::Denied => 12,
        }
    }
}

impl Model {
    /// A running node is asked.
    pub(crate) fn command(&mut self, net: &Net, n: usize, ask: Ask, now: Time) -> Said {
        let node = &self.nodes[n];
        let (key, readonly, asking, write) = match ask {
            Ask::Ping => return if now < node.loading_until { Said::Loading } else { Said::Done },
            Ask::Get { key, readonly, asking } => (usize::from(key), readonly, asking, None),
            Ask::Set { key, value, only_if_absent, asking } => {
                (usize::from(key), false, asking, Some((value, only_if_absent)))
            }
        };
        if now < node.loading_until {
            return Said::Loading;
        }
        let block = key % BLOCKS;
        let owner = node.owner[block];
        if owner == NOBODY {
            return Said::NotServed;
        }
        if !node.cluster_ok && (write.is_some() || !self.setup.reads_when_down) {
            return Said::Down;
        }
        let at = |n: u8| self.nodes[usize::from(n)].address as u8;
        if usize::from(owner) == n {
            let target = node.migrating[block];
            if target != NOBODY && node.data[key] == 0 {
                return Said::Asked(block as u8, at(target));
            }
            return self.apply(n, key, write, now);
        }
        if node.importing[block] != NOBODY && asking {
            return self.apply(n, key, write, now);
        }
        if readonly && write.is_none() && node.follows[n] == owner {
            if !node.link.up && !self.setup.serve_stale {
                return Said::MasterDown;
            }
            self.copy(net, n, now);
            return self.apply(n, key, None, now);
        }
        Said::Moved(block as u8, at(owner))
    }

    fn apply(&mut self, n: usize, key: usize, write: Option<(u32, bool)>, now: Time) -> Said {
        let held = self.nodes[n].data[key];
        match write {
            Some((_, true)) if held != 0 => Said::Nil,
            Some((value, _)) => {
                self.put(n, key, value, now);
                Said::Done
            }
            None if held == 0 => Said::Nil,
            None if held == OTHER_TYPE => Said::WrongType,
            None => Said::Value(held),
        }
    }
}
