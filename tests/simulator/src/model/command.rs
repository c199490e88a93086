//! What a node says to a command for a key.

use super::data::{Change, Lease};
use super::{BLOCKS, Model, NOBODY, OTHER_TYPE, Time};
use crate::net::Net;

/// A command for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Ping,
    /// Bells are to be told on this connection from now on.
    Listen,
    /// What happens to keys that are asked for on this connection is to be told on it from now on.
    Track,
    /// A name in the key's slot that is never there.
    Exists {
        key: u8,
    },
    Get {
        key: u8,
        readonly: bool,
        asking: bool,
        /// What happens to it afterwards is to be told.
        tracked: bool,
        /// Its mark is read before it.
        marked: bool,
    },
    /// The key's lease is deleted, and the key set; by a script the key is deleted instead while a writer holds it.
    Set {
        key: u8,
        value: u32,
        script: bool,
        asking: bool,
    },
    /// A lease of this time is taken unless there is one, and read together with the key; also of one that has a value,
    /// if that is to be replaced.
    Lease {
        key: u8,
        token: u32,
        lasts: Time,
        over: bool,
    },
    /// The lease stands for so long from now on, if it has this token.
    Prolong {
        key: u8,
        token: u32,
        lasts: Time,
    },
    /// The lease is deleted, if it has this token.
    Release {
        key: u8,
        token: u32,
    },
    /// The key is set if it has the value that is to be replaced, or none, and the lease has this token, which is deleted then.
    Fill {
        key: u8,
        value: u32,
        token: u32,
        over: u32,
    },
    /// The lease and the key are deleted, in one script with their mark and their bell.
    Invalidate {
        key: u8,
        number: u32,
        epoch: u32,
    },
    /// The same by single commands; where the slot moves, the last of them tells whether something is left.
    Delete {
        key: u8,
        number: u32,
        epoch: u32,
        asking: bool,
    },
    /// A writer holds the key for so long.
    Hold {
        key: u8,
        writer: u32,
        lasts: Time,
        asking: bool,
    },
    /// It does not any more.
    Lift {
        key: u8,
        writer: u32,
        asking: bool,
    },
    /// A mark is left in the slot of this key, by a script or by single commands, and the bell of another one is rung.
    Mark {
        key: u8,
        of: u8,
        number: u32,
        epoch: u32,
        asking: bool,
    },
}

impl Ask {
    /// Whether `ASKING` goes before it.
    pub(crate) fn is_asking(self) -> bool {
        match self {
            Self::Get { asking, .. }
            | Self::Set { asking, .. }
            | Self::Delete { asking, .. }
            | Self::Mark { asking, .. }
            | Self::Hold { asking, .. }
            | Self::Lift { asking, .. } => asking,
            Self::Ping
            | Self::Listen
            | Self::Track
            | Self::Exists { .. }
            | Self::Lease { .. }
            | Self::Prolong { .. }
            | Self::Release { .. }
            | Self::Fill { .. }
            | Self::Invalidate { .. } => false,
        }
    }

    /// The key that it is about, and whether it changes something there.
    pub(crate) fn key(self) -> Option<(u8, bool)> {
        match self {
            Self::Ping | Self::Listen | Self::Track => None,
            Self::Get { key, .. } | Self::Exists { key } => Some((key, false)),
            Self::Set { key, .. }
            | Self::Lease { key, .. }
            | Self::Prolong { key, .. }
            | Self::Release { key, .. }
            | Self::Fill { key, .. }
            | Self::Invalidate { key, .. }
            | Self::Delete { key, .. }
            | Self::Hold { key, .. }
            | Self::Lift { key, .. }
            | Self::Mark { key, .. } => Some((key, true)),
        }
    }
}

/// What a node says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Value(u32),
    /// A value, or 0 for none, and the config epoch of the mark beside it.
    Marked(u32, u32),
    Nil,
    Done,
    /// The key is absent, and this stands beside it.
    Leased(u32),
    /// A fill finds another lease, or none.
    LeaseGone,
    /// A writer holds the key.
    Held,
    /// A fill finds a value.
    Exists,
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
            Self::Marked(v, mark) => 0x70 + (u64::from(v) << 32) + (u64::from(mark) << 48),
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
            Self::LeaseGone => 13,
            Self::Exists => 14,
            Self::Held => 15,
            Self::Leased(token) => 0x60 + (u64::from(token) << 32),
        }
    }
}

impl Model {
    /// A running node is asked.
    pub(crate) fn command(&mut self, net: &Net, n: usize, ask: Ask, now: Time) -> Said {
        let node = &self.nodes[n];
        let Some((key, write)) = ask.key().map(|(key, write)| (usize::from(key), write)) else {
            return if ask == Ask::Ping && now < node.loading_until { Said::Loading } else { Said::Done };
        };
        let readonly = matches!(ask, Ask::Get { readonly: true, .. });
        if now < node.loading_until {
            return Said::Loading;
        }
        let block = key % BLOCKS;
        let owner = node.owner[block];
        if owner == NOBODY {
            return Said::NotServed;
        }
        if !node.cluster_ok && (write || !self.setup.reads_when_down) {
            return Said::Down;
        }
        let at = |n: u8| self.nodes[usize::from(n)].address as u8;
        if usize::from(owner) == n {
            let target = node.migrating[block];
            if target == NOBODY {
                return self.apply(n, ask, key, now);
            }
            let asked = Said::Asked(block as u8, at(target));
            match ask {
                // The mark is none of what the node has.
                Ask::Invalidate { .. } | Ask::Set { script: true, .. } if node.data[key] != 0 => return Said::TryAgain,
                Ask::Invalidate { .. } | Ask::Mark { .. } | Ask::Set { script: true, .. } => return asked,
                // A lease is a key of its own.
                Ask::Prolong { token, .. } | Ask::Release { token, .. } if node.lease(key, now) != token => {
                    return asked;
                }
                Ask::Prolong { .. } | Ask::Release { .. } => return self.apply(n, ask, key, now),
                // So is the hold.
                Ask::Hold { .. } | Ask::Lift { .. } if !node.is_held(key, None, now) => return asked,
                Ask::Hold { .. } | Ask::Lift { .. } => return self.apply(n, ask, key, now),
                // The lease is a key like any other, and is deleted where it is.
                Ask::Delete { .. } => {
                    self.apply(n, ask, key, now);
                    return asked;
                }
                Ask::Set { .. } if node.data[key] == 0 => {
                    self.nodes[n].delete_lease(key, now);
                    return asked;
                }
                Ask::Exists { .. } => return asked,
                _ if node.data[key] == 0 => return asked,
                _ => return self.apply(n, ask, key, now),
            }
        }
        if node.importing[block] != NOBODY && ask.is_asking() {
            return self.apply(n, ask, key, now);
        }
        if readonly && node.follows[n] == owner {
            if !node.link.up && !self.setup.serve_stale {
                return Said::MasterDown;
            }
            self.copy(net, n, now);
            return self.apply(n, ask, key, now);
        }
        Said::Moved(block as u8, at(owner))
    }

    fn apply(&mut self, n: usize, ask: Ask, key: usize, now: Time) -> Said {
        let (held, lease) = (self.nodes[n].data[key], self.nodes[n].lease(key, now));
        match ask {
            Ask::Ping | Ask::Listen | Ask::Track => Said::Done,
            Ask::Exists { .. } => Said::Nil,
            Ask::Set { script: true, .. } if self.nodes[n].is_held(key, None, now) => {
                self.nodes[n].delete_lease(key, now);
                self.put(n, key, 0, now);
                Said::Held
            }
            Ask::Set { value, .. } => {
                self.nodes[n].delete_lease(key, now);
                self.put(n, key, value, now);
                Said::Done
            }
            Ask::Invalidate { epoch, .. } | Ask::Delete { epoch, .. } => {
                self.nodes[n].delete_lease(key, now);
                if held != 0 {
                    self.put(n, key, 0, now);
                }
                if !matches!(ask, Ask::Delete { asking: false, .. }) {
                    self.nodes[n].replicate(key, Change::Mark(epoch), now);
                }
                // Of the last of the commands nothing is left to be deleted.
                if matches!(ask, Ask::Delete { asking: false, .. }) { Said::Nil } else { Said::Done }
            }
            Ask::Mark { of, epoch, .. } => {
                // That of an echo stands for a key of another slot.
                if usize::from(of) == key {
                    self.nodes[n].replicate(key, Change::Mark(epoch), now);
                }
                Said::Done
            }
            Ask::Hold { writer, lasts, .. } => {
                self.nodes[n].hold(key, writer, now + lasts, now);
                Said::Done
            }
            Ask::Lift { writer, .. } => {
                self.nodes[n].hold(key, writer, 0, now);
                Said::Done
            }
            Ask::Fill { token, .. } if lease != token || self.nodes[n].is_held(key, None, now) => Said::LeaseGone,
            Ask::Fill { over, .. } if held != over => Said::Exists,
            Ask::Fill { value, .. } => {
                self.put(n, key, value, now);
                self.nodes[n].delete_lease(key, now);
                Said::Done
            }
            Ask::Prolong { token, .. } | Ask::Release { token, .. } if lease != token => Said::LeaseGone,
            Ask::Prolong { token, lasts, .. } => {
                self.nodes[n].replicate(key, Change::Lease(Lease { token, until: now + lasts }), now);
                Said::Done
            }
            Ask::Release { .. } => {
                self.nodes[n].delete_lease(key, now);
                Said::Done
            }
            Ask::Lease { over, .. } if (held == 0 || over) && self.nodes[n].is_held(key, None, now) => Said::Held,
            Ask::Lease { token, lasts, over, .. } => {
                if lease == 0 {
                    let lease = Lease { token, until: now + lasts };
                    self.nodes[n].replicate(key, Change::Lease(lease), now);
                }
                match held {
                    0 => Said::Leased(self.nodes[n].lease(key, now)),
                    OTHER_TYPE => Said::WrongType,
                    _ if over => Said::Leased(self.nodes[n].lease(key, now)),
                    value => Said::Value(value),
                }
            }
            Ask::Get { marked: true, .. } if held != OTHER_TYPE => Said::Marked(held, self.nodes[n].marks[key]),
            Ask::Get { .. } => match held {
                0 => Said::Nil,
                OTHER_TYPE => Said::WrongType,
                value => Said::Value(value),
            },
        }
    }
}
