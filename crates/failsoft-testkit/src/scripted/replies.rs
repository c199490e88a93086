//! The proper answers: those of a healthy node with the topology it was given.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    resp::Reply,
    scripts,
    state::State,
    streams,
    topology::{Topology, TopologyNode},
};
use crate::view::slot_of;

/// What a connection has said of itself.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) resp3: bool,
    readonly: bool,
    asking: bool,
}

/// Answers a command and does what it says.
pub(super) fn answer(state: &mut State, session: &mut Session, words: &[Bytes]) -> Bytes {
    let name = words.first().map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).unwrap_or_default();
    let asking = std::mem::take(&mut session.asking);
    let argument = words.get(1);
    // HELLO's own answer is in the protocol it chose.
    if name == "HELLO" {
        return hello(state, session, argument);
    }
    let reply = Reply::new(session.resp3);
    let reply = match (name.as_str(), argument) {
        ("PING", Some(text)) | ("ECHO", Some(text)) => reply.bulk(text),
        ("PING", None) => reply.simple("PONG"),
        ("AUTH" | "CLIENT" | "SELECT" | "QUIT", _) => reply.simple("OK"),
        ("COMMAND", _) => reply.array(0),
        ("INFO", _) => reply.text(&info(state, &words[1..])),
        ("ROLE", _) => role(reply, &topology(state), &state.id),
        ("WAIT", _) => reply.number(topology(state).replicas_of(&state.id).count() as i64),
        ("CLUSTER" | "READONLY" | "READWRITE" | "ASKING", _) if state.standalone => {
            reply.error("ERR This instance has cluster support disabled")
        }
        ("TIME", _) => {
            let now = streams::clock();
            reply.array(2).bulk(now.as_secs().to_string()).bulk(now.subsec_micros().to_string())
        }
        ("READONLY" | "READWRITE", _) => {
            session.readonly = name == "READONLY";
            reply.simple("OK")
        }
        ("ASKING", _) => {
            session.asking = true;
            reply.simple("OK")
        }
        ("CLUSTER", Some(sub)) => cluster(state, reply, &sub.to_ascii_uppercase(), words),
        ("SCRIPT", _) => scripts::load(state, reply, words),
        ("EVALSHA", _) => reply.error("NOSCRIPT No matching script. Please use EVAL."),
        (
            "GET" | "SET" | "DEL" | "EXISTS" | "ZREM" | "XADD" | "XREVRANGE" | "LEASE" | "PROLONG" | "RELEASE" | "FILL"
            | "PUT" | "INVALIDATE" | "MARK" | "HOLD",
            Some(key),
        ) => match redirect(state, key, name == "GET" && session.readonly, asking) {
            Some(error) => reply.error(&error),
            None if name == "LEASE" => scripts::lease(state, reply, words),
            None if name == "PROLONG" => scripts::prolong(state, reply, words),
            None if name == "RELEASE" => scripts::release(state, reply, words),
            None if name == "FILL" => scripts::fill(state, reply, words),
            None if name == "PUT" => scripts::put(state, reply, words),
            None if name == "INVALIDATE" => scripts::invalidate(state, reply, words),
            None if name == "MARK" => scripts::mark(state, reply, words),
            None if name == "HOLD" => scripts::hold(state, reply, words),
            None if name == "XADD" => streams::add(&mut state.streams, reply, key, &words[2..]),
            None if name == "XREVRANGE" => streams::newest_first(&state.streams, reply, key),
            None => keyed(state, reply, &name, key, &words[2..]),
        },
        ("CLUSTER" | "GET" | "SET" | "DEL" | "EXISTS" | "ZREM" | "ECHO", None) => {
            reply.error(&format!("ERR wrong number of arguments for '{}' command", name.to_ascii_lowercase()))
        }
        _ => reply.error(&format!("ERR unknown command '{name}'")),
    };
    reply.finish()
}

fn hello(state: &State, session: &mut Session, version: Option<&Bytes>) -> Bytes {
    match version.map(|version| &version[..]) {
        None => {}
        Some(b"2") => session.resp3 = false,
        Some(b"3") => session.resp3 = true,
        Some(_) => return Reply::new(session.resp3).error("NOPROTO unsupported protocol version").finish(),
    }
    let mode = if state.standalone { "standalone" } else { "cluster" };
    let role = if me(state).is_some_and(|node| node.primary.is_some()) { "replica" } else { "master" };
    let reply = Reply::new(session.resp3).map(7).bulk("server").bulk("redis").bulk("version").bulk("7.0.0");
    let reply = reply.bulk("proto").number(if session.resp3 { 3 } else { 2 }).bulk("id").number(1);
    let reply = reply.bulk("mode").bulk(mode).bulk("role").bulk(role).bulk("modules").array(0);
    reply.finish()
}

fn cluster(state: &State, reply: Reply, sub: &[u8], words: &[Bytes]) -> Reply {
    let topology = topology(state);
    match (sub, words.get(2)) {
        (b"MYID", _) => reply.bulk(&state.id),
        (b"NODES", _) => reply.text(&topology.nodes_text(&state.id)),
        (b"SLOTS", _) => topology.slots_reply(reply),
        (b"SHARDS", _) => topology.shards_reply(reply),
        (b"KEYSLOT", Some(key)) => reply.number(slot_of(key)),
        (b"INFO", _) => {
            let mut fields: Vec<_> = topology.info(&state.id).into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            apply(state, &mut fields);
            reply.text(&lines(&fields))
        }
        _ => reply.error("ERR unknown subcommand or wrong number of arguments for 'cluster'"),
    }
}

fn keyed(state: &mut State, reply: Reply, name: &str, key: &Bytes, rest: &[Bytes]) -> Reply {
    match name {
        "GET" => match state.store.get(key) {
            Some(value) => reply.bulk(value),
            None => reply.nil(),
        },
        "DEL" => reply.number(state.store.remove(key)),
        "EXISTS" => reply.number(state.store.get(key).is_some()),
        // Sorted sets are holds, and nothing else.
        "ZREM" => match rest {
            [writer] => reply.number(state.holds.leave(key, writer)),
            _ => reply.error("ERR wrong number of arguments for 'zrem' command"),
        },
        _ => set(state, reply, key, rest),
    }
}

fn set(state: &mut State, reply: Reply, key: &Bytes, rest: &[Bytes]) -> Reply {
    let Some((value, options)) = rest.split_first() else {
        return reply.error("ERR wrong number of arguments for 'set' command");
    };
    let (mut wanted, mut expires) = (None, None);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut number = || std::str::from_utf8(options.next()?).ok()?.parse().ok().filter(|&n: &u64| n > 0);
        match option.to_ascii_uppercase().as_slice() {
            b"NX" => wanted = Some(false),
            b"XX" => wanted = Some(true),
            b"KEEPTTL" => expires = state.store.expiry(key),
            unit @ (b"EX" | b"PX") => {
                let Some(number) = number() else { return reply.error("ERR invalid expire time in 'set' command") };
                let time = if unit == b"EX" { Duration::from_secs(number) } else { Duration::from_millis(number) };
                expires = Instant::now().checked_add(time);
            }
            _ => return reply.error("ERR syntax error"),
        }
    }
    if wanted.is_some_and(|wanted| wanted != state.store.get(key).is_some()) {
        return reply.nil();
    }
    if state.store.insert(key.clone(), value.clone(), expires) {
        reply.simple("OK")
    } else {
        reply.error("OOM command not allowed when used memory > 'maxmemory'.")
    }
}

/// The error for a key that is not served here.
fn redirect(state: &State, key: &[u8], readonly: bool, asking: bool) -> Option<String> {
    let topology = state.topology.as_ref().filter(|_| !state.standalone && !asking)?;
    let slot = slot_of(key);
    let Some(owner) = topology.owner(slot) else { return Some("CLUSTERDOWN Hash slot not served".to_owned()) };
    let mine = owner.id == state.id
        || (readonly && topology.find(&state.id).is_some_and(|me| me.primary.as_deref() == Some(&owner.id)));
    (!mine).then(|| format!("MOVED {slot} {}:{}", owner.host, owner.port))
}

fn topology(state: &State) -> Topology {
    state.topology.clone().unwrap_or_else(|| Topology::single(&state.id, state.port))
}

fn me(state: &State) -> Option<&TopologyNode> {
    state.topology.as_ref()?.find(&state.id)
}

/// INFO; a section it does not know is empty, none and `all` are everything.
fn info(state: &State, sections: &[Bytes]) -> String {
    let asked = |name: &str| {
        let named = |section: &Bytes| {
            [name, "all", "everything", "default"].iter().any(|n| section.eq_ignore_ascii_case(n.as_bytes()))
        };
        sections.is_empty() || sections.iter().any(named)
    };
    let topology = topology(state);
    let fixed = |fields: &[(&str, &str)]| fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let mode = if state.standalone { "standalone" } else { "cluster" };
    let enabled = if state.standalone { "0" } else { "1" };
    let all: [(&str, Vec<(String, String)>); 6] = [
        ("server", fixed(&[("redis_version", "7.0.0"), ("redis_mode", mode), ("tcp_port", &state.port.to_string())])),
        ("memory", fixed(&[("maxmemory", "0"), ("maxmemory_policy", "noeviction")])),
        ("persistence", fixed(&[("loading", "0")])),
        ("stats", fixed(&[("expired_keys", "0"), ("evicted_keys", "0")])),
        ("replication", replication(&topology, &state.id)),
        ("cluster", fixed(&[("cluster_enabled", enabled)])),
    ];
    let mut fields: Vec<_> = all.into_iter().filter(|(name, _)| asked(name)).flat_map(|(_, fields)| fields).collect();
    apply(state, &mut fields);
    lines(&fields)
}

fn role(reply: Reply, topology: &Topology, id: &str) -> Reply {
    let me = topology.find(id);
    let offset = me.map_or(0, |node| i64::try_from(node.offset).unwrap_or(i64::MAX));
    match me.and_then(|node| topology.find(node.primary.as_deref()?)) {
        None => reply.array(3).bulk("master").number(offset).array(0),
        Some(primary) => {
            let state = if primary.failed() { "connect" } else { "connected" };
            let reply = reply.array(5).bulk("slave").bulk(&primary.host).number(primary.port);
            reply.bulk(state).number(offset)
        }
    }
}

fn replication(topology: &Topology, id: &str) -> Vec<(String, String)> {
    let me = topology.find(id);
    let offset = me.map_or(0, |node| node.offset);
    let primary = me.and_then(|node| node.primary.as_deref());
    let mut fields = vec![("role".to_owned(), if primary.is_some() { "slave" } else { "master" }.to_owned())];
    let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
    if let Some(primary) = primary {
        let primary = topology.find(primary);
        add("master_host", primary.map_or_else(String::new, |node| node.host.clone()));
        add("master_port", primary.map_or(0, |node| node.port).to_string());
        let up = primary.is_some_and(|node| !node.failed());
        add("master_link_status", if up { "up" } else { "down" }.to_owned());
        add("master_last_io_seconds_ago", if up { "0" } else { "-1" }.to_owned());
        if !up {
            // As servers say it of a link that was up before.
            add("master_link_down_since_seconds", "0".to_owned());
        }
        add("slave_read_repl_offset", offset.to_string());
        add("slave_repl_offset", offset.to_string());
        add("slave_priority", "100".to_owned());
        add("slave_read_only", "1".to_owned());
    }
    add("connected_slaves", topology.replicas_of(id).count().to_string());
    for (index, node) in topology.replicas_of(id).enumerate() {
        let value = format!("ip={},port={},state=online,offset={},lag=0", node.host, node.port, node.offset);
        add(&format!("slave{index}"), value);
    }
    add("master_repl_offset", offset.to_string());
    fields
}

/// Puts in what a test has set: in place of a field, or at the end.
fn apply(state: &State, fields: &mut Vec<(String, String)>) {
    for (name, value) in &state.info {
        match fields.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => old.clone_from(value),
            None => fields.push((name.clone(), value.clone())),
        }
    }
}

fn lines(fields: &[(String, String)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect()
}
