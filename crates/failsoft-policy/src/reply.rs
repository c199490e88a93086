//! Every reply of a node and what it means: one exhaustive table.
//!
//! Sources: cluster specification, "Redirection and resharding"; the error prefixes as the
//! servers send them.

use crate::words::{Endpoint, Slot};
use alloc::string::String;

/// The host and port named by a redirect. The host may be left out, or unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host and a port.
    At(Endpoint),
    /// No host: the host that answered, at this port.
    SameHost(u16),
    /// `?`: the server does not know its name; only a fresh view can tell.
    Unknown,
}

/// What an error reply means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorReply {
    /// `MOVED`: the slot has another owner.
    Moved(Slot, Target),
    /// `ASK`: this one time, ask there.
    Ask(Slot, Target),
    /// `TRYAGAIN`: several keys of a migrating slot are not in one place.
    TryAgain,
    /// `CLUSTERDOWN`: the node sees no working cluster.
    ClusterDown,
    /// `CLUSTERDOWN Hash slot not served`: nobody owns the slot.
    SlotUncovered,
    /// `LOADING`, `MASTERDOWN`, `BUSY`, too many clients: not now.
    Unwilling,
    /// `READONLY`: a write reached a replica.
    ReadOnly,
    /// `OOM`, `NOREPLICAS`, `MISCONF`: the node takes no writes.
    WriteRefused,
    /// The key holds another type.
    WrongType,
    /// `NOSCRIPT`: the script has to be sent first.
    NoScript,
    /// `NOAUTH`, `WRONGPASS`, `NOPERM`: we may not.
    Denied,
    /// Anything else.
    Other,
}

/// Reads an error line (without the leading `-`).
pub fn classify(line: &str) -> ErrorReply {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "MOVED" => redirect(rest).map_or(ErrorReply::Other, |(s, t)| ErrorReply::Moved(s, t)),
        "ASK" => redirect(rest).map_or(ErrorReply::Other, |(s, t)| ErrorReply::Ask(s, t)),
        "TRYAGAIN" => ErrorReply::TryAgain,
        "CLUSTERDOWN" if rest.starts_with("Hash slot not served") => ErrorReply::SlotUncovered,
        "CLUSTERDOWN" => ErrorReply::ClusterDown,
        "LOADING" | "MASTERDOWN" | "BUSY" => ErrorReply::Unwilling,
        "READONLY" => ErrorReply::ReadOnly,
        "OOM" | "NOREPLICAS" | "MISCONF" => ErrorReply::WriteRefused,
        "WRONGTYPE" => ErrorReply::WrongType,
        "NOSCRIPT" => ErrorReply::NoScript,
        "NOAUTH" | "WRONGPASS" | "NOPERM" => ErrorReply::Denied,
        "ERR" if rest.starts_with("max number of clients") => ErrorReply::Unwilling,
        _ => ErrorReply::Other,
    }
}

/// What servers without cluster mode say to `CLUSTER` commands.
pub fn is_cluster_disabled(line: &str) -> bool {
    line.contains("cluster support disabled")
}

/// `<slot> <host>:<port>`, where the host may be empty, `?`, or an IPv6 address without brackets.
fn redirect(rest: &str) -> Option<(Slot, Target)> {
    let (slot, address) = rest.split_once(' ')?;
    let slot = Slot::new(slot.parse().ok()?)?;
    let (host, port) = address.trim_end().rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|&p| p != 0)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let target = match host {
        "" => Target::SameHost(port),
        "?" => Target::Unknown,
        host => Target::At(Endpoint { host: String::from(host), port }),
    };
    Some((slot, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Target {
        Target::At(Endpoint { host: host.into(), port })
    }

    #[test]
    fn every_row() {
        let slot = |n| Slot::new(n).expect("a slot");
        let rows = [
            ("MOVED 3999 127.0.0.1:6381", ErrorReply::Moved(slot(3999), at("127.0.0.1", 6381))),
            ("MOVED 1 :7001", ErrorReply::Moved(slot(1), Target::SameHost(7001))),
            ("MOVED 1 ?:7001", ErrorReply::Moved(slot(1), Target::Unknown)),
            ("ASK 16383 ::1:7001", ErrorReply::Ask(slot(16383), at("::1", 7001))),
            ("ASK 5 [fe80::1]:7001", ErrorReply::Ask(slot(5), at("fe80::1", 7001))),
            ("MOVED 16384 h:1", ErrorReply::Other),
            ("MOVED 1 h:0", ErrorReply::Other),
            ("MOVED 1 h:70000", ErrorReply::Other),
            ("MOVED", ErrorReply::Other),
            ("MOVED x y", ErrorReply::Other),
            ("TRYAGAIN Multiple keys request during rehashing of slot", ErrorReply::TryAgain),
            ("CLUSTERDOWN The cluster is down", ErrorReply::ClusterDown),
            ("CLUSTERDOWN Hash slot not served", ErrorReply::SlotUncovered),
            ("LOADING Redis is loading the dataset in memory", ErrorReply::Unwilling),
            ("MASTERDOWN Link with MASTER is down", ErrorReply::Unwilling),
            ("BUSY Redis is busy running a script.", ErrorReply::Unwilling),
            ("ERR max number of clients reached", ErrorReply::Unwilling),
            ("READONLY You can't write against a read only replica.", ErrorReply::ReadOnly),
            ("OOM command not allowed when used memory > 'maxmemory'.", ErrorReply::WriteRefused),
            ("NOREPLICAS Not enough good replicas to write.", ErrorReply::WriteRefused),
            ("MISCONF Redis is configured to save RDB snapshots", ErrorReply::WriteRefused),
            ("WRONGTYPE Operation against a key", ErrorReply::WrongType),
            ("NOSCRIPT No matching script. Please use EVAL.", ErrorReply::NoScript),
            ("NOAUTH Authentication required.", ErrorReply::Denied),
            ("WRONGPASS invalid username-password pair", ErrorReply::Denied),
            ("NOPERM this user has no permissions", ErrorReply::Denied),
            ("ERR unknown command", ErrorReply::Other),
            ("", ErrorReply::Other),
        ];
        for (line, meaning) in rows {
            assert_eq!(classify(line), meaning, "{line}");
        }
    }
}
