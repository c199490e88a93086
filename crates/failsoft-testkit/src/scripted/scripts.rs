//! The scripts that routers send, told apart by the first line of their text: `-- failsoft NAME VERSION`.
//!
//! Nothing here runs Lua: what a script of that name does is written down once more, as `docs/wire.md` tells it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::{resp::Reply, state::State};

/// Texts that a node remembers.
const MAX_TEXTS: usize = 64;

/// The scripts that a node was sent: their names by what `EVALSHA` calls them.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    names: BTreeMap<String, String>,
}

impl Scripts {
    /// What `EVALSHA` calls a text from now on; none if there are too many.
    fn load(&mut self, text: &[u8]) -> Option<String> {
        let sha = sha1_smol::Sha1::from(text).digest().to_string();
        let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first);
        let name = first.strip_prefix("-- failsoft ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        let room = self.names.len() < MAX_TEXTS || self.names.contains_key(&sha);
        room.then(|| {
            self.names.insert(sha.clone(), name.to_ascii_uppercase());
            sha
        })
    }
}

/// A call of a script that is known, as the command that it is to the node: its name, the user's key, and the rest. Of a
/// `MARK`, a `HOLD`, a `PROLONG` and a `RELEASE`, which have no key of a user's, the mark, hold or lease comes first.
pub(super) fn as_command(state: &State, words: &[Bytes]) -> Option<Vec<Bytes>> {
    let [call, sha, count, rest @ ..] = words else { return None };
    let called = call.eq_ignore_ascii_case(b"EVALSHA");
    let name = state.scripts.names.get(std::str::from_utf8(sha).ok()?).filter(|name| called && !name.is_empty())?;
    let mut command = vec![Bytes::from(name.clone())];
    match (name.as_str(), &count[..], rest) {
        ("MARK", b"2", _) => command.extend_from_slice(rest),
        ("HOLD" | "PROLONG" | "RELEASE", b"1", _) => command.extend_from_slice(rest),
        ("FILL" | "PUT", b"3", [lease, key, more @ ..]) | ("LEASE" | "INVALIDATE", b"4", [lease, key, more @ ..]) => {
            command.extend([key.clone(), lease.clone()]);
            command.extend_from_slice(more);
        }
        _ => return None,
    }
    Some(command)
}

/// `SCRIPT LOAD text`.
pub(super) fn load(state: &mut State, reply: Reply, words: &[Bytes]) -> Reply {
    match words {
        [_, sub, text] if sub.eq_ignore_ascii_case(b"LOAD") => match state.scripts.load(text) {
            Some(sha) => reply.bulk(sha),
            None => reply.error("ERR too many scripts"),
        },
        _ => reply.error("ERR unknown subcommand or wrong number of arguments for 'script'"),
    }
}

/// A lease: `LEASE key lease hold mark token ms`, and a word more if the key need not be absent.
pub(super) fn lease(state: &mut State, reply: Reply, words: &[Bytes]) -> Reply {
    let [_, key, lease, hold, mark, token, ms, over @ ..] = words else {
        return reply.error("ERR wrong number of arguments");
    };
    if let Some(value) = state.store.get(key).filter(|_| over.is_empty()) {
        return reply.array(3).nil().bulk(value).number(0);
    }
    let marked = u8::from(state.store.get(mark).is_some());
    if state.holds.stands(hold) {
        return reply.array(3).nil().nil().number(marked);
    }
    let Some(ends) = ends(ms) else { return reply.error("ERR invalid expire time") };
    if state.store.get(lease).is_none() {
        state.store.insert(lease.clone(), token.clone(), Some(ends));
    }
    match state.store.get(lease) {
        Some(token) => reply.array(3).bulk(token).nil().number(marked),
        None => reply.array(3).nil().nil().number(marked),
    }
}

/// A lease is prolonged: `PROLONG lease token ms`.
pub(super) fn prolong(state: &mut State, reply: Reply, words: &[Bytes]) -> Reply {
    let [_, lease, token, ms] = words else { return reply.error("ERR wrong number of arguments") };
    let Some(ends) = ends(ms) else { return reply.error("ERR invalid expire time") };
    let stands = state.store.get(lease).as_ref() == Some(token);
    if stands {
        state.store.insert(lease.clone(), token.clone(), Some(ends));
    }
    reply.number(u8::from(stands))
}

/// A lease is released: `RELEASE lease token`.
pub(super) fn release(state: &mut State, reply: Reply, words: &[Bytes]) -> Reply {
    let [_, lease, token] = words else { return reply.error("ERR wrong number of arguments") };
    let stands = state.store.get(lease).as_ref() == Some(token);
    if stands {
        state.store.remove(lease);
    }
    reply.number(u8::from(stands))
}

/// A fill: `FILL key lease hold token value ms`, and the value that it replaces, if any.
pub(super) fn fill(state: &mut State, reply: Reply, words: &[Bytes]) -> Reply {
    let [_, key, lease, hold, token, value, ms, over @ ..] = words else {
        return reply.error("ERR wrong number of arguments");
    };
    if state.store.get(lease).as_ref() != Some(token) || state.holds.stands(hold) {
        return reply.number(0);
    }
    if state.store.get(key).as_ref() != over.first() {
        return reply.number(-1);
    }
    let Some(ends) = ends(ms) else { return reply.error("ERR invalid expire time") };
    if !state.store.insert(key.clone(), value.clone(), Some(ends)) {
        return reply.error("OOM command not allowed when used memory > 'maxmemory'.");
    }
    state.store.remove(lease);
    reply.number(1)
}

/// A value is set: `PUT key lease hold value ms`, and the key deleted instead while a writer holds it.
pub(super) fn put(state: &mut State, reply: Reply, words: &[Bytes]) -> Reply {
    let [_, key, lease, hold, value, ms] = words else { return reply.error("ERR wrong number of arguments") };
    if state.holds.stands(hold) {
        state.store.remove(lease);
        state.store.remove(key);
        return reply.number(0);
    }
    let expires = ends(ms);
    if expires.is_none() && !ms.is_empty() {
        return reply.error("ERR invalid expire time");
    }
    if !state.store.insert(key.clone(), value.clone(), expires) {
        return reply.error("OOM command not allowed when used memory > 'maxmemory'.");
    }
    state.store.remove(lease);
    reply.number(1)
}

/// An invalidation: `INVALIDATE key lease mark bell id epoch ms`.
pub(super) fn invalidate(state: &mut State, reply: Reply, words: &[Bytes]) -> Reply {
    let [name, key, lease, note @ ..] = words else { return reply.error("ERR wrong number of arguments") };
    state.store.remove(lease);
    state.store.remove(key);
    let marked = [std::slice::from_ref(name), note].concat();
    mark(state, reply, &marked)
}

/// The mark of an invalidation: `MARK mark bell id epoch ms`.
pub(super) fn mark(state: &mut State, reply: Reply, words: &[Bytes]) -> Reply {
    let [_, mark, bell, id, epoch, ms] = words else { return reply.error("ERR wrong number of arguments") };
    let Some(ends) = ends(ms) else { return reply.error("ERR invalid expire time") };
    let micros = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    let [id, epoch] = [id, epoch].map(|word| String::from_utf8_lossy(word));
    state.store.insert(mark.clone(), Bytes::from(format!("1 {id} {micros} {epoch}")), Some(ends));
    state.listeners.tell(bell);
    reply.number(1)
}

/// A writer holds a key: `HOLD hold writer ms`.
pub(super) fn hold(state: &mut State, reply: Reply, words: &[Bytes]) -> Reply {
    let [_, hold, writer, ms] = words else { return reply.error("ERR wrong number of arguments") };
    let Some(ends) = ends(ms) else { return reply.error("ERR invalid expire time") };
    if !state.holds.enter(hold, writer, ends) {
        return reply.error("OOM command not allowed when used memory > 'maxmemory'.");
    }
    reply.number(1)
}

fn ends(ms: &[u8]) -> Option<Instant> {
    let ms = std::str::from_utf8(ms).ok()?.parse().ok().filter(|&ms: &u64| ms > 0)?;
    Instant::now().checked_add(Duration::from_millis(ms))
}
