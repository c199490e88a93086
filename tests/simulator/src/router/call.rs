//! One key's way through the cluster: the machine that decides it, and what the checks need to know of it.

use crate::model::{Said, Time};
use crate::sim::LaneId;
use failsoft_policy::copies::Held;
use failsoft_policy::flight::LoadId;
use failsoft_policy::invalidate::Invalidation;
use failsoft_policy::lease::{Lease, Missing, Taking};
use failsoft_policy::read::{Answer, Read};
use failsoft_policy::route::{Bounds, Source, Step};
use failsoft_policy::tend::Tending;
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
    Lease { load: LoadId, missing: Missing, taking: Taking, line: u64, token: u32 },
    /// A lease of a load is prolonged or, without one, released.
    Tend { load: Option<LoadId>, tending: Tending, token: u32 },
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
    /// A step of an invalidation.
    Step(Part, Box<Invalidating>),
}

/// The steps of an invalidation, in their order; those of the hold only if there is a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Hold,
    Key,
    Lift,
    Echo,
}

/// An invalidation under way. The key's readers get this version at the least.
#[derive(Clone, Debug)]
pub(crate) struct Invalidating {
    pub(crate) call: Invalidation,
    pub(crate) floor: u32,
    pub(crate) writer: Option<Writer>,
    /// The number of the attempt, which names its bells.
    pub(crate) number: u32,
    /// The config epoch that its marks name.
    pub(crate) epoch: u32,
}

/// A writer that holds the key, and then does something that takes so long and changes the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    pub(crate) id: u32,
    pub(crate) takes: Time,
    /// It is gone right after that.
    pub(crate) dies: bool,
    /// It has done it.
    pub(crate) done: bool,
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
    /// From when on its age counts.
    pub(crate) counts_from: Option<Instant>,
    /// When the attempt under way began and is given up.
    pub(crate) sent: Time,
    pub(crate) until: Time,
    pub(crate) last: Option<(NodeKey, usize, Source, Answer)>,
    /// It is asked for so that a near copy comes of it: the generation of its key.
    pub(crate) tracked: Option<u64>,
    /// It is read together with its mark.
    pub(crate) marked: bool,
    /// The copy that its router held when its machine was made.
    pub(crate) copy: Option<(u32, Held)>,
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
    /// A node has said this to what was asked for.
    pub(crate) fn hear(&mut self, said: Said) {
        self.said = Some(said);
        match said {
            Said::Value(value) => self.value = Some(value),
            Said::Marked(value, mark) => {
                self.value = (value != 0).then_some(value);
                if let Work::Read { read: Some(read), .. } = &mut self.work {
                    read.found_mark((mark != 0).then_some(mark.into()));
                }
            }
            _ => {}
        }
    }

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
            counts_from: None,
            sent: begun,
            until: begun,
            last: None,
            tracked: None,
            marked: false,
            copy: None,
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
