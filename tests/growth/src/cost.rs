//! What the questions of a router cost a server, by the number of nodes in its cluster.

/// What a router asks; the commands of one question go out in one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// How a node is: a probe.
    Probe,
    /// A view with config epochs.
    Ballot,
    /// A view without them.
    View,
}

impl Question {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Probe, Self::Ballot, Self::View];

    /// Its commands.
    pub fn commands(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Probe => &[&["INFO"], &["CLUSTER", "INFO"], &["CLUSTER", "MYID"]],
            Self::Ballot => &[&["CLUSTER", "NODES"], &["CLUSTER", "MYID"], &["CLUSTER", "INFO"]],
            Self::View => &[&["CLUSTER", "SHARDS"], &["CLUSTER", "MYID"]],
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Ballot => "view with epochs",
            Self::View => "view without epochs",
        }
    }
}

/// What one answer costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Processor time of the server, system calls included, in microseconds.
    pub micros: f64,
    /// Bytes of the replies.
    pub bytes: f64,
}

/// Measured on Redis 7.0.15 and Valkey 9.1.2 at 6 and at 2,000 nodes (`make growth ARGS=measure`), the dearer of the
/// two, one question at a time: that is the dear way to ask, for nothing shares a system call.
const MEASURED: [(Question, Cost, Cost); 3] = [
    (Question::Probe, Cost { micros: 51.0, bytes: 7_130.0 }, Cost { micros: 51.0, bytes: 7_140.0 }),
    (Question::Ballot, Cost { micros: 91.0, bytes: 1_410.0 }, Cost { micros: 1_040.0, bytes: 258_000.0 }),
    (Question::View, Cost { micros: 36.0, bytes: 1_010.0 }, Cost { micros: 3_400.0, bytes: 327_000.0 }),
];

/// What this question costs a server of a cluster of so many nodes: on the line between the measured sizes.
pub fn cost(question: Question, nodes: usize) -> Cost {
    let share = (nodes as f64 - 6.0) / (2_000.0 - 6.0);
    let on = |small: f64, large: f64| (small + (large - small) * share).max(0.0);
    let found = MEASURED.iter().find(|(q, ..)| *q == question);
    let (_, small, large) = found.expect("every question was measured");
    Cost { micros: on(small.micros, large.micros), bytes: on(small.bytes, large.bytes) }
}

/// Processor time of a server, in microseconds, for answering a listener whether it still tells, and for telling one
/// listener of a bell that is rung by itself; measured with 1,000 of them, the dearer of the two servers.
pub const LISTENER_PROBE: f64 = 10.7;
/// See above.
pub const TOLD: f64 = 6.4;
