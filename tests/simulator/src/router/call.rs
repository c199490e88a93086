//! One key's way through the cluster: the machine that decides it, and what the checks need to know of it.

use crate::model::{Said, Time};
use crate::sim::LaneId;
use failsoft_policy::flight::LoadId;
use failsoft_policy::invalidate::Invalidation;
use failsoft_policy::lease::{Lease, Taking};
use failsoft_policy::read::{Answer, Read};
use failsoft_policy::route::{Bounds, Source, Step};
use failsoft_policy::write::{Batch, Write};
use failsoft_policy::{Instant, NodeKey};

/// What a call is for, with its machine.
#[derive(Debug)]
pub(crate) enum Work {
    Read {
        /// The first step, until it ended; without a machine of its own.
        first: Option<Step>,
        read: Option<Box<Read>>,
    },
    Write {
        write: Box<Write>,
        job: Job,
        /// What is sent is a `PING`.
        pinging: bool,
        /// What is sent is these commands, not a script.
        batch: Option<Batch>,
    },
    /// A load takes a lease.
    Lease { load: LoadId, taking: Taking, line: u64, token: u32 },
}

/// What a write is for.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    Set {
        value: u32,
    },
    Fill {
        value: u32,
        /// What its load took.
        lease: Lease,
    },
    /// The two steps of an invalidation. From `floor` on, what the key's readers get has to be.
    Key {
        call: Box<Invalidation>,
        floor: u32,
    },
    Echo {
        call: Box<Invalidation>,
    },
}

/// One key's way through the cluster.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) caller: u32,
    pub(crate) key: u8,
    pub(crate) work: Work,
    pub(crate) begun: Time,
    pub(crate) bounds: Bounds,
    /// Names the attempt or wait under way.
    pub(crate) tag: u32,
    pub(crate) waiting: bool,
    pub(crate) target: Option<(NodeKey, usize, Source)>,
    /// Its place on a connection, while it waits there.
    pub(crate) place: Option<(LaneId, u32)>,
    /// How current a replica that is asked is said to be, and whether that can't but be known.
    pub(crate) current_at: Option<Instant>,
    pub(crate) comparable: bool,
    /// When the attempt under way began and is given up.
    pub(crate) sent: Time,
    pub(crate) until: Time,
    pub(crate) last: Option<(NodeKey, usize, Source, Answer)>,
    /// The value that came last.
    pub(crate) value: Option<u32>,
    /// The node's last word.
    pub(crate) said: Option<Said>,
    pub(crate) woken: bool,
    /// A node had no room for one of its attempts.
    pub(crate) crowded: bool,
    pub(crate) attempts: [u32; 2],
    /// The nodes it has asked, one bit for each position.
    pub(crate) asked: u64,
    pub(crate) redirects: u32,
    /// Attempts on connections that we closed ourselves.
    pub(crate) closed: u32,
}

impl Call {
    /// Nothing was asked yet.
    pub(crate) fn new(caller: u32, key: u8, work: Work, begun: Time, bounds: Bounds, tag: u32) -> Self {
        Self {
            caller,
            key,
            work,
            begun,
            bounds,
            tag,
            waiting: false,
            target: None,
            place: None,
            current_at: None,
            comparable: false,
            sent: begun,
            until: begun,
            last: None,
            value: None,
            said: None,
            woken: false,
            crowded: false,
            attempts: [0, 0],
            asked: 0,
            redirects: 0,
            closed: 0,
        }
    }
}
