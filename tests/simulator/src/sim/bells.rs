//! How processes tell bells: to every connection that listens, in the order of all else on it, some of them late.

use super::{Ev, LaneId, Local, Message, Process, Sim};
use crate::model::{Ask, MS, Said};
use std::collections::BTreeMap;

/// A bell that was rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rung {
    /// By which attempt to invalidate a key.
    pub(crate) number: u32,
    /// Of which key.
    pub(crate) key: u8,
    /// In the slot of this one.
    pub(crate) at: u8,
}

/// What a process tells on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tells {
    Bell(Rung),
    /// Something has happened to this key.
    Key(u8),
}

/// A connection on which a process tells bells, or what happens to keys.
#[derive(Debug)]
pub(crate) struct Listener {
    router: usize,
    address: usize,
    id: LaneId,
    process: Process,
    /// What it has yet to tell, and whether a probe was answered before that.
    late: Vec<(Tells, bool)>,
    /// The keys that were asked for on it, with what they were, if it is for those.
    keys: Option<BTreeMap<u8, u32>>,
}

impl Sim<'_> {
    pub(crate) fn next_bell(&mut self) -> u32 {
        self.bells += 1;
        self.bells
    }

    /// A process has carried out a command: whoever listens is told of it.
    pub(super) fn bells_of(&mut self, message: &Message, said: Said, n: usize) {
        match message.ask {
            Ask::Listen | Ask::Track if said == Said::Done => {
                let (router, address) = (usize::from(message.router), usize::from(message.address));
                let lives = |p: Process| self.model.nodes[usize::from(p.node)].life == p.life;
                self.listeners.retain(|l| lives(l.process));
                let keys = (message.ask == Ask::Track).then(BTreeMap::new);
                let (id, process) = (message.id, message.to);
                self.listeners.push(Listener { router, address, id, process, late: Vec::new(), keys });
            }
            Ask::Exists { .. } => self.tell_before(message),
            Ask::Get { key, tracked: true, .. } => {
                if let (Said::Value(value), Some(place)) =
                    (said, self.listener(usize::from(message.router), message.id.serial))
                    && let Some(keys) = &mut self.listeners[place].keys
                {
                    keys.insert(key, value);
                }
            }
            Ask::Invalidate { key, number, .. } | Ask::Delete { key, number, asking: true, .. }
                if said == Said::Done =>
            {
                self.ring(Rung { number, key, at: key }, n);
            }
            Ask::Mark { key: at, of: key, number, .. } if said == Said::Done => self.ring(Rung { number, key, at }, n),
            _ => {}
        }
    }

    fn ring(&mut self, bell: Rung, n: usize) {
        self.check.rung(bell, n, &self.model);
        let process = Process { node: n as u8, life: self.model.nodes[n].life };
        for place in 0..self.listeners.len() {
            if self.listeners[place].process == process && self.listeners[place].keys.is_none() {
                self.push(place, Tells::Bell(bell));
            }
        }
    }

    /// What happened to keys of this process is told where they were asked for: whoever did it, in whatever way.
    pub(super) fn tell_changes(&mut self, n: usize) {
        let process = Process { node: n as u8, life: self.model.nodes[n].life };
        for place in 0..self.listeners.len() {
            let listener = &mut self.listeners[place];
            let (Some(keys), true) = (&mut listener.keys, listener.process == process) else { continue };
            let data = &self.model.nodes[n].data;
            let changed: Vec<u8> =
                keys.iter().filter(|(key, value)| data[usize::from(**key)] != **value).map(|(key, _)| *key).collect();
            keys.retain(|key, _| !changed.contains(key));
            for key in changed {
                self.push(place, Tells::Key(key));
            }
        }
    }

    fn push(&mut self, place: usize, what: Tells) {
        let listener = &mut self.listeners[place];
        let (router, id) = (listener.router, listener.id);
        // What is told on a connection keeps its order.
        if !listener.late.is_empty() || self.rng.u8(0..4) == 0 {
            listener.late.push((what, false));
            let pause = self.rng.u64(0..60) * MS;
            self.after(pause, Ev::Late(router as u8, id.serial));
        } else {
            self.tell_now(place, what);
        }
    }

    /// A server with threads of its own for what it sends may answer one probe before it tells what was rung before that,
    /// but not the next one.
    fn tell_before(&mut self, probe: &Message) {
        let Some(place) = self.listener(usize::from(probe.router), probe.id.serial) else { return };
        let late = std::mem::take(&mut self.listeners[place].late);
        for (bell, passed) in late {
            if passed {
                self.tell_now(place, bell);
            } else {
                self.listeners[place].late.push((bell, true));
            }
        }
    }

    /// What is late is told now, unless the process hangs.
    pub(super) fn tell_late(&mut self, router: usize, serial: u32) {
        let Some(place) = self.listener(router, serial) else { return };
        let Process { node, life } = self.listeners[place].process;
        if self.model.nodes[usize::from(node)].life != life {
            return;
        }
        if !self.model.running(usize::from(node)) {
            return self.after(20 * MS, Ev::Late(router as u8, serial));
        }
        for (bell, _) in std::mem::take(&mut self.listeners[place].late) {
            self.tell_now(place, bell);
        }
    }

    fn listener(&self, router: usize, serial: u32) -> Option<usize> {
        self.listeners.iter().position(|l| l.router == router && l.id.serial == serial)
    }

    fn tell_now(&mut self, place: usize, what: Tells) {
        let Listener { router, address, id, .. } = self.listeners[place];
        if self.is_shut(router, id) {
            return;
        }
        let open = self.net.node_to_router(address, router);
        if let Some(time) = self.carry(router, address, id, open) {
            let at = self.order.next(router, id.serial, true, self.now + time);
            self.local(router, at - self.now, Local::Told { id, what });
        }
    }
}
