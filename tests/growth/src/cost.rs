//! What one command costs a server, by the number of nodes in its cluster.

/// The questions that a router asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// `INFO`.
    Info,
    /// `CLUSTER INFO`.
    ClusterInfo,
    /// `CLUSTER MYID`.
    MyId,
    /// `CLUSTER SHARDS`.
    Shards,
    /// `CLUSTER NODES`.
    Nodes,
}

impl Question {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Info, Self::ClusterInfo, Self::MyId, Self::Shards, Self::Nodes];

    /// The command.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Info => &["INFO"],
            Self::ClusterInfo => &["CLUSTER", "INFO"],
            Self::MyId => &["CLUSTER", "MYID"],
            Self::Shards => &["CLUSTER", "SHARDS"],
            Self::Nodes => &["CLUSTER", "NODES"],
        }
    }
}

/// What one answer costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Processor time of the server, system calls included, in microseconds.
    pub micros: f64,
    /// Bytes of the reply.
    pub bytes: f64,
}

/// Measured on Redis 7.0.15, one question at a time, at 6 and at 2,000 nodes (`failsoft-growth measure`).
/// One at a time is the dear way to ask: nothing shares a system call.
const MEASURED: [(Question, Cost, Cost); 5] = [
    (Question::Info, Cost { micros: 45.0, bytes: 4_920.0 }, Cost { micros: 45.0, bytes: 4_920.0 }),
    (Question::ClusterInfo, Cost { micros: 58.0, bytes: 360.0 }, Cost { micros: 58.0, bytes: 450.0 }),
    (Question::MyId, Cost { micros: 32.0, bytes: 46.0 }, Cost { micros: 32.0, bytes: 46.0 }),
    (Question::Shards, Cost { micros: 57.0, bytes: 1_400.0 }, Cost { micros: 2_200.0, bytes: 465_000.0 }),
    (Question::Nodes, Cost { micros: 49.0, bytes: 760.0 }, Cost { micros: 740.0, bytes: 259_000.0 }),
];

/// What this question costs a server of a cluster of so many nodes: on the line between the measured sizes.
pub fn cost(question: Question, nodes: usize) -> Cost {
    let share = (nodes as f64 - 6.0) / (2_000.0 - 6.0);
    let on = |small: f64, large: f64| (small + (large - small) * share).max(0.0);
    let found = MEASURED.iter().find(|(q, ..)| *q == question);
    let (_, small, large) = found.expect("every question was measured");
    Cost { micros: on(small.micros, large.micros), bytes: on(small.bytes, large.bytes) }
}
