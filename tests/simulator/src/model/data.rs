//! What the nodes hold, and how it is copied from primaries to replicas with a lag.

use super::{BLOCKS, KEYS, MS, Model, NOBODY, Node, Set, Time, Up};
use crate::net::Net;

/// A lease beside a key: its token, 0 for none, and when it runs out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) token: u32,
    pub(super) until: Time,
}

/// The writers that hold a key, each with the end of its time; 0 is nobody. A fourth one takes the first one's place.
pub(super) type Holds = [(u32, Time); 3];

/// What a write changes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Value(u32),
    Lease(Lease),
    Holds(Holds),
    /// The config epoch of the owner under whom the key was last invalidated.
    Mark(u32),
}

/// One write in a primary's replication stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) at: Time,
    pub(super) key: u8,
    pub(super) change: Change,
}

/// A replica's link to its primary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(super) to: u8,
    pub(crate) up: bool,
    /// Since when it is up or down.
    pub(crate) since: Time,
    /// When a full copy that is under way will be complete; 0 for none.
    synced_at: Time,
    history: u32,
    /// The history that its data belongs to, if it started again with its data; it asks for a new copy all the same.
    kept: u32,
    /// How far it has copied.
    pub(super) position: u32,
    /// Since when it lacks something, if its primary began that history anew.
    lacks: Option<Time>,
    lag: Time,
}

impl Default for Link {
    fn default() -> Self {
        Self { to: NOBODY, up: false, since: 0, synced_at: 0, history: 0, kept: 0, position: 0, lacks: None, lag: 0 }
    }
}

impl Node {
    /// The replication offset.
    pub(crate) fn offset(&self) -> u32 {
        if self.link.to == NOBODY { self.log_base + self.log.len() as u32 } else { self.link.position }
    }

    /// In which history that counts; a replica that has yet to copy its primary's has none.
    pub(crate) fn history(&self) -> u32 {
        if self.link.to == NOBODY { self.history } else { self.link.history }
    }

    /// A primary changes a key, or what stands beside it, and tells its replicas.
    pub(super) fn replicate(&mut self, key: usize, change: Change, now: Time) {
        self.change(key, change);
        self.log.push(Entry { at: now, key: key as u8, change });
    }

    fn change(&mut self, key: usize, change: Change) {
        match change {
            Change::Value(value) => self.data[key] = value,
            Change::Lease(lease) => self.leases[key] = lease,
            Change::Holds(holds) => self.holds[key] = holds,
            Change::Mark(epoch) => self.marks[key] = epoch,
        }
    }

    /// Whether anybody holds a key; or that writer.
    pub(super) fn is_held(&self, key: usize, by: Option<u32>, now: Time) -> bool {
        self.holds[key].iter().any(|&(id, until)| id != 0 && now < until && by.is_none_or(|by| id == by))
    }

    /// A writer holds a key until then; with no time, not any more.
    pub(super) fn hold(&mut self, key: usize, writer: u32, until: Time, now: Time) {
        let mut holds = self.holds[key];
        holds.iter_mut().filter(|(id, _)| *id == writer).for_each(|hold| *hold = (0, 0));
        if until > 0 {
            holds.sort_by_key(|&(_, until)| until);
            holds[0] = (writer, until);
        }
        self.replicate(key, Change::Holds(holds), now);
    }

    /// The token that stands beside a key.
    pub(super) fn lease(&self, key: usize, now: Time) -> u32 {
        let Lease { token, until } = self.leases[key];
        if now < until { token } else { 0 }
    }

    /// The lease of a key is deleted, if it has one.
    pub(super) fn delete_lease(&mut self, key: usize, now: Time) {
        if self.lease(key, now) != 0 {
            self.replicate(key, Change::Lease(Lease::default()), now);
        }
    }

    pub(super) fn begin_history(&mut self, history: u32) {
        self.log_base = self.link.position.max(self.log_base);
        self.log.clear();
        self.link = Link::default();
        self.history = history;
    }
}

impl Model {
    pub(super) fn new_history(&mut self) -> u32 {
        self.histories += 1;
        self.histories
    }

    /// A primary changes a key.
    pub(crate) fn put(&mut self, n: usize, key: usize, value: u32, now: Time) {
        self.note_key(key, now);
        self.nodes[n].replicate(key, Change::Value(value), now);
    }

    /// A replica that has everything follows its primary: the beginning of a run.
    pub(super) fn attach(&mut self, n: usize, now: Time) {
        let node = &self.nodes[n];
        let to = node.follows[n];
        let first = node.link.to == NOBODY && now == 0;
        let primary = &self.nodes[usize::from(to)];
        let (history, position) = (primary.history, primary.offset());
        let lag = self.setup.lag.max(2);
        let lag = self.rng.u64(lag / 2..lag);
        let node = &mut self.nodes[n];
        node.link = Link { to, up: first, since: now, synced_at: 0, history, kept: 0, position, lacks: None, lag };
        if !first {
            node.link.history = 0;
        }
        node.log.clear();
    }

    /// Keeps a replica's link: to its primary of now, with a new copy where the histories differ.
    pub(super) fn follow(&mut self, net: &Net, n: usize, now: Time) {
        if self.nodes[n].is_primary(n) {
            return;
        }
        // A replica of a replica follows that one's primary.
        let of = usize::from(self.nodes[n].follows[n]);
        let next = self.nodes[n].follows[of];
        if next != NOBODY && usize::from(next) != n {
            self.nodes[n].follows[n] = next;
            self.nodes[n].changed();
        }
        let of = self.nodes[n].follows[n];
        if self.nodes[n].link.to != of {
            self.attach(n, now);
        }
        self.copy(net, n, now);
    }

    /// Copies what has arrived by now.
    pub(super) fn copy(&mut self, net: &Net, n: usize, now: Time) {
        let link = self.nodes[n].link;
        if link.to == NOBODY {
            return;
        }
        let of = usize::from(link.to);
        let there = self.nodes[of].up;
        let open = there == Up::Running
            && !self.nodes[n].unlinked
            && net.node_to_node(self.nodes[of].address, self.nodes[n].address)
            && net.node_to_node(self.nodes[n].address, self.nodes[of].address);
        if !open {
            // A process that died closes its connections; who is hung or cut off does not.
            if link.up && (matches!(there, Up::Down | Up::Gone) || self.nodes[n].unlinked) {
                let link = &mut self.nodes[n].link;
                (link.up, link.since, link.synced_at) = (false, now, 0);
            }
            return;
        }
        if !self.nodes[of].is_primary(of) {
            return;
        }
        if link.history != self.nodes[of].history || !link.up {
            return self.resync(n, of, now);
        }
        let mut position = link.position;
        loop {
            let primary = &self.nodes[of];
            let at = position.saturating_sub(primary.log_base) as usize;
            let Some(&Entry { key, change, .. }) = primary.log.get(at).filter(|e| e.at + link.lag <= now) else {
                break;
            };
            self.nodes[n].change(usize::from(key), change);
            position += 1;
        }
        self.nodes[n].link.position = position;
    }

    fn resync(&mut self, n: usize, of: usize, now: Time) {
        let (history, base) = (self.nodes[of].history, self.nodes[of].log_base);
        let link = &mut self.nodes[n].link;
        if link.history == history && link.position >= base {
            // Only the connection was lost.
            (link.up, link.since) = (true, now);
            return;
        }
        if link.up {
            (link.up, link.since) = (false, now);
        }
        if link.synced_at == 0 {
            link.synced_at = now + self.rng.u64(5..60) * MS;
        } else if now >= link.synced_at {
            let (data, leases, position) = (self.nodes[of].data, self.nodes[of].leases, self.nodes[of].offset());
            let (holds, marks) = (self.nodes[of].holds, self.nodes[of].marks);
            let node = &mut self.nodes[n];
            (node.data, node.leases, node.holds, node.marks) = (data, leases, holds, marks);
            node.link =
                Link { up: true, since: now, synced_at: 0, history, kept: 0, position, lacks: None, ..node.link };
        }
    }

    /// Since when a replica lacks something of what its primary holds; none if it lacks nothing.
    pub(crate) fn lacks_since(&self, n: usize) -> Option<Time> {
        let link = &self.nodes[n].link;
        let primary = self.nodes.get(usize::from(link.to))?;
        if link.history.max(link.kept) != primary.history {
            return Some(link.lacks.unwrap_or(link.since));
        }
        primary.log.get(link.position.saturating_sub(primary.log_base) as usize).map(|e| e.at)
    }

    /// Keys move with their block.
    pub(crate) fn move_keys(&mut self, from: usize, to: usize, keys: Set, now: Time) {
        for key in (0..KEYS).filter(|k| keys & (1 << k) != 0) {
            let value = self.nodes[from].data[key];
            if value != 0 {
                self.put(to, key, value, now);
                self.put(from, key, 0, now);
            }
            let lease = self.nodes[from].leases[key];
            if now < lease.until {
                self.nodes[to].replicate(key, Change::Lease(lease), now);
                self.nodes[from].delete_lease(key, now);
            }
            let holds = self.nodes[from].holds[key];
            if self.nodes[from].is_held(key, None, now) {
                self.nodes[to].replicate(key, Change::Holds(holds), now);
                self.nodes[from].replicate(key, Change::Holds(Holds::default()), now);
            }
            let mark = std::mem::take(&mut self.nodes[from].marks[key]);
            if mark != 0 {
                self.nodes[to].replicate(key, Change::Mark(mark), now);
                self.nodes[from].replicate(key, Change::Mark(0), now);
            }
        }
    }

    /// A process starts again: with its data or without, and with a new history.
    pub(crate) fn restart(&mut self, n: usize, loading: Time, now: Time) {
        let history = self.new_history();
        let hold = self.setup.node_timeout.min(300 * MS);
        let persistent = self.setup.persistent;
        if self.nodes[n].is_primary(n) {
            for k in 0..self.nodes.len() {
                if usize::from(self.nodes[k].link.to) == n {
                    self.nodes[k].link.lacks = self.lacks_since(k).or(Some(now));
                }
            }
        }
        let node = &mut self.nodes[n];
        node.up = Up::Running;
        node.life += 1;
        node.loading_until = now + loading;
        node.holding_back_until = now + loading + hold;
        node.cluster_ok = false;
        node.heard = [now + loading; super::MAX];
        node.election = super::Election::default();
        if !persistent {
            node.data = [0; KEYS];
            node.leases = [Lease::default(); KEYS];
            node.holds = [Holds::default(); KEYS];
            node.marks = [0; KEYS];
        }
        if node.is_primary(n) {
            let offset = node.offset();
            node.log.clear();
            node.log_base = if persistent { offset } else { 0 };
            node.history = history;
        } else {
            let Link { to, position, history, kept, lacks, .. } = node.link;
            let kept = if persistent { history.max(kept) } else { 0 };
            node.link = Link { to, since: now, position, kept, lacks: lacks.filter(|_| persistent), ..Link::default() };
        }
    }

    /// The keys of a block.
    pub(crate) fn keys_of(block: usize) -> [usize; 2] {
        [block, block + BLOCKS]
    }
}
