//! The vocabulary: the closed lists of words that appear in outcomes, errors, metrics and traces.

use alloc::string::String;
use core::fmt;

/// A hash slot, `0..16384` (cluster specification, "Key distribution model").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(crate) u16);

impl Slot {
    /// How many slots a cluster has.
    pub const COUNT: u16 = 16_384;

    /// The slot with this number, if it is one.
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// Its number, `0..16384`.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Its number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A node as the policy names it: stable while the node is known, never reused for another one
/// (an index that is reused comes with a higher generation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey {
    /// Position in the table of nodes, dense.
    pub index: u32,
    /// How often that position was given to another node before.
    pub generation: u32,
}

/// Where a node listens: a host name or address without brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Host name, IPv4 or IPv6 address (no brackets).
    pub host: String,
    /// TCP port, never 0.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Declares a closed list of lower-case words: the enum, its words, and all of it in order.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every word of the list, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The words themselves.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word as it appears in every language, in metrics and in traces.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Which source answered a read.
    ServedBy {
        /// A copy in this process, of which nothing can have been missed.
        Near = "near",
        /// The slot's owner.
        Primary = "primary",
        /// A replica of the slot's shard, standing in.
        Replica = "replica",
        /// The caller's own callback.
        Secondary = "secondary",
        /// A copy in this process, standing in.
        Stale = "stale",
        /// Nobody has it: a confirmed miss without a callback, or the callback says it does not exist.
        None = "none",
    }
}

words! {
    /// Why the primary did not serve a read. The first cause wins; a confirmed miss overrides it.
    Reason {
        /// The primary has no such key, and this process has not known of one.
        Absent = "absent",
        /// Its time to live has passed.
        Expired = "expired",
        /// Its node had no memory left for it.
        Evicted = "evicted",
        /// It was invalidated: by this process, whose node may not have acknowledged that yet, or by another one.
        Invalidated = "invalidated",
        /// It was there before, and there is no evidence of what became of it.
        Unknown = "unknown",
        /// It did not answer in time.
        Timeout = "timeout",
        /// It could not be reached, or the connection was lost.
        Connection = "connection",
        /// It is loading its data set, waiting for its primary, or busy.
        Loading = "loading",
        /// It says the cluster is down.
        ClusterDown = "cluster_down",
        /// Its breaker is open, or it has no room for another read in flight.
        BreakerOpen = "breaker_open",
        /// It was voted into the minority of a partition.
        Quarantined = "quarantined",
        /// Nobody serves the slot.
        SlotUncovered = "slot_uncovered",
        /// More redirects than `max_redirects`.
        RedirectLimit = "redirect_limit",
        /// It answered with an error.
        ErrorReply = "error_reply",
        /// It answered with something that is no answer to the question.
        Protocol = "protocol",
        /// The time for the cluster side was used up.
        Deadline = "deadline",
        /// A copy stood in for the callback, which took longer than the read had time for.
        SlowSource = "slow_source",
        /// A copy stood in for the callback, which was not asked, to spare the store.
        Shed = "shed",
        /// A copy stood in for the callback, which failed.
        FailedSource = "failed_source",
    }
}

words! {
    /// What became of one attempt: the `status` of `redis_fallback_routing_attempts_total`.
    Status {
        /// A copy in this process served, and no node was asked.
        NearHit = "near_hit",
        /// The primary had the value.
        PrimaryHit = "primary_hit",
        /// The primary did not answer, and another source is asked.
        PrimaryFailover = "primary_failover",
        /// A replica had the value.
        ReplicaHit = "replica_hit",
        /// A copy in this process stood in.
        StaleHit = "stale_hit",
        /// The caller's callback was asked.
        SecondaryFallback = "secondary_fallback",
        /// The primary confirmed that the key is missing.
        Miss = "miss",
        /// A node answered with an error, or a replica could not answer.
        Error = "error",
    }
}
