//! What happens in a run: messages, questions, connections on their way, and what comes to a router.

use super::bells::Tells;
use crate::model::{Ask, Said, Time};
use crate::router::Writer;
use failsoft_policy::NodeKey;
use failsoft_policy::connection::Failure;
use failsoft_policy::flight::LoadId;
use failsoft_policy::read::Answer;
use failsoft_policy::view::{Probe, View};

/// A command on its way to an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) router: u8,
    pub(crate) call: u32,
    pub(crate) tag: u32,
    pub(crate) address: u8,
    pub(crate) ask: Ask,
    /// The connection that it is on, and the process that this leads to.
    pub(crate) id: LaneId,
    pub(crate) to: Process,
}

/// A connection of a router: to which node, for which source, and which one of those there ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneId {
    pub(crate) node: NodeKey,
    pub(crate) lane: u8,
    pub(crate) serial: u32,
}

/// A connection on its way to be opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dial {
    pub(crate) router: u8,
    pub(crate) address: u8,
    pub(crate) id: LaneId,
    /// Who has to live there: the node of the id that the router knows.
    pub(crate) expects: Option<u8>,
    pub(crate) sent: Time,
}

/// One life of a node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) node: u8,
    pub(crate) life: u32,
}

/// A question of the control plane on its way.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    View {
        round: u64,
        epochs: bool,
    },
    Report {
        node: NodeKey,
        witness: Option<usize>,
    },
    /// The report has come; the witness is asked.
    Witness {
        probe: Box<Probe>,
    },
}

/// A question on its way.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) router: usize,
    pub(crate) address: usize,
    /// When it was first asked, and when it was sent on this connection.
    pub(crate) asked: Time,
    pub(crate) sent: Time,
    pub(crate) id: u64,
    /// Whom the connection leads to that was kept for it; none if it goes on a new one.
    pub(crate) kept: Option<Process>,
    pub(crate) question: Question,
}

/// What happens to a router. While its process is suspended it waits.
#[derive(Debug)]
pub(crate) enum Local {
    Start,
    Conduct,
    /// A connection is open.
    Opened {
        id: LaneId,
        process: Process,
        sent: Time,
    },
    /// It is over: refused by somebody, or lost.
    Broken {
        id: LaneId,
        why: Box<Failure>,
    },
    /// The time for opening it is over.
    NotOpened {
        id: LaneId,
    },
    /// The time has come that its machine waits for.
    LaneTimer {
        id: LaneId,
    },
    /// Something was told on a connection.
    Told {
        id: LaneId,
        what: Tells,
    },
    /// What came back for the request of this number.
    Reply {
        id: LaneId,
        tag: u32,
        said: Said,
        asking: bool,
    },
    /// An attempt ended without a reply.
    Failed {
        call: u32,
        tag: u32,
        answer: Answer,
    },
    Saturated {
        call: u32,
        tag: u32,
    },
    Woken {
        call: u32,
        tag: u32,
    },
    Cancel {
        caller: u32,
        serial: u32,
    },
    Deadline {
        caller: u32,
        serial: u32,
    },
    /// The callback of a load begins in the place of another one.
    Begin {
        load: LoadId,
    },
    /// The leases of a load are to be prolonged.
    Prolong {
        load: LoadId,
    },
    Loaded {
        load: LoadId,
    },
    /// A writer has changed a key in the store.
    Commit {
        key: u8,
        writer: Writer,
    },
    View {
        round: u64,
        view: Option<Box<View>>,
        loading: bool,
    },
    Probed(Box<Probe>),
    /// Asks the witness for its view.
    AskWitness {
        address: usize,
        probe: Box<Probe>,
    },
    /// A question met a connection that was closed while it was idle.
    AskAnew(Box<Asked>),
}

impl Local {
    /// Whether it is a time that has come, and nothing that anybody sent.
    pub(super) fn is_timer(&self) -> bool {
        match self {
            Self::Conduct
            | Self::NotOpened { .. }
            | Self::LaneTimer { .. }
            | Self::Woken { .. }
            | Self::Cancel { .. }
            | Self::Deadline { .. } => true,
            Self::Start
            | Self::Opened { .. }
            | Self::Broken { .. }
            | Self::Told { .. }
            | Self::Reply { .. }
            | Self::Failed { .. }
            | Self::Saturated { .. }
            | Self::Begin { .. }
            | Self::Prolong { .. }
            | Self::Loaded { .. }
            | Self::Commit { .. }
            | Self::View { .. }
            | Self::Probed(_)
            | Self::AskWitness { .. }
            | Self::AskAnew(_) => false,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Ev {
    Fault(u16),
    FaultOver(u16),
    Tick(u8),
    Call(u16),
    Watch,
    /// A router that is throttled stops again.
    Throttled(u16),
    Arrive(Message),
    Dialled(Dial),
    Asked(Box<Asked>),
    /// The servers close what is idle.
    Sweep(u16),
    /// A process tells a bell late, on the connection of this router and number.
    Late(u8, u32),
    /// A router's process that was stopped goes on.
    Resumed(u8),
    Local(u8, Local),
}

/// Tells the events of a router apart in the trace.
pub(super) fn local_kind(event: &Local) -> u64 {
    let (kind, call, tag) = match event {
        Local::Start => (1, 0, 0),
        Local::Conduct => (2, 0, 0),
        Local::Reply { id, .. } => (3, u32::from(id.lane), id.serial),
        Local::Failed { call, tag, .. } => (4, *call, *tag),
        Local::Opened { id, .. } => (15, u32::from(id.lane), id.serial),
        Local::Broken { id, .. } => (16, u32::from(id.lane), id.serial),
        Local::NotOpened { id } => (17, u32::from(id.lane), id.serial),
        Local::LaneTimer { id } => (18, u32::from(id.lane), id.serial),
        Local::Saturated { call, tag } => (5, *call, *tag),
        Local::Woken { call, tag } => (7, *call, *tag),
        Local::Cancel { caller, serial } => (8, *caller, *serial),
        Local::Deadline { caller, serial } => (9, *caller, *serial),
        Local::Loaded { .. } => (10, 0, 0),
        Local::Commit { writer, .. } => (20, 0, writer.id),
        Local::Begin { .. } => (19, 0, 0),
        Local::Prolong { .. } => (21, 0, 0),
        Local::View { round, .. } => (11, *round as u32, 0),
        Local::Probed(probe) => (12, probe.node.index, u32::from(probe.report.is_ok())),
        Local::AskWitness { address, .. } => (13, *address as u32, 0),
        Local::Told { id, what: Tells::Bell(bell) } => (21, id.serial, bell.number),
        Local::Told { id, what: Tells::Key(key) } => (22, id.serial, u32::from(*key)),
        Local::AskAnew(asked) => (14, asked.address as u32, 0),
    };
    (kind << 8) + (u64::from(call) << 20) + (u64::from(tag) << 40)
}
