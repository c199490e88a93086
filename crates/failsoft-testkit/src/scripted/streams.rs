//! Streams: entries with their names, in the order in which they came.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::resp::Reply;

/// Streams that a node remembers, and entries of each.
const MAX_STREAMS: usize = 64;
const MAX_ENTRIES: usize = 2_048;

/// By the name of a stream: its entries, the oldest first, each with its name and its fields.
#[derive(Debug, Default)]
pub(super) struct Streams {
    entries: HashMap<Bytes, VecDeque<(String, Vec<Bytes>)>>,
    added: u64,
}

/// The time by this node's clock.
pub(super) fn clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// `XADD stream MAXLEN ~ length * field value …`.
pub(super) fn add(streams: &mut Streams, reply: Reply, stream: &Bytes, rest: &[Bytes]) -> Reply {
    let Some(fields) = rest.iter().position(|word| word == "*").map(|at| &rest[at + 1..]) else {
        return reply.error("ERR Invalid stream ID specified as stream command argument");
    };
    if streams.entries.len() >= MAX_STREAMS && !streams.entries.contains_key(stream) {
        return reply.error("OOM command not allowed when used memory > 'maxmemory'.");
    }
    streams.added += 1;
    let name = format!("{}-{}", clock().as_millis(), streams.added);
    let entries = streams.entries.entry(stream.clone()).or_default();
    if entries.len() == MAX_ENTRIES {
        entries.pop_front();
    }
    entries.push_back((name.clone(), fields.to_vec()));
    reply.bulk(name)
}

/// `XREVRANGE stream + - …`: all of them, the newest first.
pub(super) fn newest_first(streams: &Streams, reply: Reply, stream: &[u8]) -> Reply {
    let Some(entries) = streams.entries.get(stream) else { return reply.array(0) };
    entries.iter().rev().fold(reply.array(entries.len()), |reply, (name, fields)| {
        fields.iter().fold(reply.array(2).bulk(name).array(fields.len()), |reply, field| reply.bulk(field))
    })
}
