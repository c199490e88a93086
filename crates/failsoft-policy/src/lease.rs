//! Leases: what proves, when a loaded value is written back, that nothing happened to its key since its load set out.
//!
//! A value that was read from the secondary store before somebody else changed it there must not be written into the
//! cluster afterwards. So a load that may be written back first takes a lease of each key, on the primary that confirmed
//! the miss: a random token under a name beside the key ([`crate::wire`]). Whoever changes the key deletes the lease
//! before, so only its *presence* proves anything: expired, evicted, deleted, replaced or lost, the value is served and
//! not written (the leases of "Scaling Memcache at Facebook", NSDI 2013, without their waiting).
//!
//! It is taken by three commands in one write, `SET lease token NX PX …`, `GET lease`, `GET key`. Where another load
//! holds the lease its token is as good as an own one. Every `SET` that is sent has a token of its own, for a server
//! executes also what came on a connection that is closed by now. If the key has a value again, that is served.
//!
//! The fill goes only to the process that answered: the same node, with the same config epoch, on the same connection. A
//! node that was restarted may have an old lease beside an old value, and one that was promoted may lack the deletion.

use crate::read::Answer;
use crate::words::NodeKey;
use crate::write::{Cause, cause_of_answer};
use alloc::vec::Vec;
use bytes::Bytes;

/// A key whose miss its primary has confirmed, before its callback begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The key.
    pub key: Bytes,
    /// The primary that confirmed the miss.
    pub node: NodeKey,
}

/// Where a lease was taken: whoever answers there later is the same process, with the same memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lessor {
    /// The node.
    pub node: NodeKey,
    /// Its config epoch when it was asked.
    pub epoch: u64,
    /// The connection, by a number that no other one of this router has.
    pub line: u64,
}

/// A lease that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Of whom.
    pub lessor: Lessor,
    /// What stands there.
    pub token: Bytes,
}

/// What the three commands came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The key is absent, and this may be written back.
    Leased(Lease),
    /// The key has a value again.
    Found(Bytes),
    /// No lease: what is loaded is served and not written back.
    Refused(Cause),
}

/// What one command came to, and the value if it was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replied {
    /// How it ended.
    pub answer: Answer,
    /// The value that came.
    pub value: Option<Bytes>,
}

impl Taken {
    /// By the answers to `SET`, to `GET` of the lease, and to `GET` of the key.
    pub fn of(lessor: Lessor, set: &Answer, lease: Replied, key: Replied) -> Self {
        match (key.answer, key.value) {
            (Answer::Value, Some(value)) => return Self::Found(value),
            (Answer::Nil, _) => {}
            (other, _) => return Self::Refused(cause_of_answer(&other)),
        }
        match (lease.answer, lease.value) {
            (Answer::Value, Some(token)) => Self::Leased(Lease { lessor, token }),
            // It could not be set, or is gone again.
            (Answer::Nil, _) if *set != Answer::Value && *set != Answer::Nil => Self::Refused(cause_of_answer(set)),
            (Answer::Nil, _) => Self::Refused(Cause::LeaseGone),
            (other, _) => Self::Refused(cause_of_answer(&other)),
        }
    }
}

/// A key whose value may be written back, with its lease or the reason why there is none.
pub type Fillable = (Bytes, Result<Lease, Cause>);

/// The leases of one load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leases {
    /// Not asked for yet.
    pub(crate) missing: Vec<Missing>,
    pub(crate) taken: Vec<Fillable>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ErrorReply;
    use alloc::format;

    const LESSOR: Lessor = Lessor { node: NodeKey { index: 1, generation: 0 }, epoch: 3, line: 7 };

    fn none(answer: Answer) -> Replied {
        Replied { answer, value: None }
    }

    fn some(value: &'static [u8]) -> Replied {
        Replied { answer: Answer::Value, value: Some(Bytes::from_static(value)) }
    }

    #[test]
    fn a_lease_is_what_stands_there_beside_an_absent_key() {
        let leased = |token| Taken::Leased(Lease { lessor: LESSOR, token: Bytes::from_static(token) });
        let denied = || Answer::Error(ErrorReply::Denied);
        let rows = [
            (Answer::Value, some(b"mine"), none(Answer::Nil), leased(b"mine")),
            (Answer::Nil, some(b"theirs"), none(Answer::Nil), leased(b"theirs")),
            (Answer::Nil, some(b"theirs"), some(b"v"), Taken::Found(Bytes::from_static(b"v"))),
            (Answer::Value, none(Answer::Nil), none(Answer::Nil), Taken::Refused(Cause::LeaseGone)),
            (Answer::Nil, none(Answer::Nil), none(Answer::Nil), Taken::Refused(Cause::LeaseGone)),
            (denied(), none(denied()), none(Answer::Nil), Taken::Refused(Cause::Denied)),
            (denied(), none(denied()), some(b"v"), Taken::Found(Bytes::from_static(b"v"))),
            (
                Answer::Error(ErrorReply::WriteRefused),
                none(Answer::Nil),
                none(Answer::Nil),
                Taken::Refused(Cause::ServerRefused),
            ),
            (Answer::Value, some(b"mine"), none(Answer::Hung), Taken::Refused(Cause::Timeout)),
            (Answer::Value, some(b"mine"), none(Answer::Closed), Taken::Refused(Cause::Connection)),
            (Answer::Saturated, none(Answer::Saturated), none(Answer::Saturated), Taken::Refused(Cause::Busy)),
        ];
        for (set, lease, key, taken) in rows {
            let told = format!("{set:?} {lease:?} {key:?}");
            assert_eq!(Taken::of(LESSOR, &set, lease, key), taken, "{told}");
        }
    }
}
