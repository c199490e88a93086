//! Listening: one connection to each primary, on which the node tells the names of the bells that are rung in its slots,
//! and up to when what was told is known to be complete.
//!
//! When nothing comes on an open connection, either nothing was invalidated, or the node does not push any more: it was
//! demoted, it lost its majority, or it hangs. So the node is asked, on that connection, for a name in one of its slots
//! that is never there: a demoted node redirects, one without a majority refuses. A `PING` is answered by both. One answer
//! proves nothing yet: servers with threads of their own for I/O may acknowledge a writer, and answer such a probe, before
//! they tell the bell. But by the time a further probe, sent after that answer, is answered, the bell has come. So a node
//! has been **heard up to** the moment at which the first of two such probes was sent.
//!
//! It is **heard** while that moment is younger than `trust_window`, and **since** the first such moment without a lapse:
//! after one, or on a new connection, it begins anew. Probes cost the node something, so they are frequent only while the
//! node, or one whose echoes it tells, is being read from; otherwise as rare as routine, and then it is not heard.
//!
//! What listeners cost is bounded: a router does not listen to a node whose clients are so many that their probes, or the
//! bells that all of them are told, would take more of its processor than a fixed share allows.

mod known;
mod listener;

use crate::config::Config;
use crate::pace;
use crate::reply::ErrorReply;
use crate::time::Instant;
use crate::words::{NodeKey, Slot, words};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;
use listener::{Listener, Phase};

/// So many probes are sent in one `trust_window`: two have to be answered in it.
const PROBES: u32 = 3;
/// For how long after a read of a node its probes stay frequent.
const IN_USE: Duration = Duration::from_secs(5);
/// The pause after a connection that failed; it doubles up to the refresh interval.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a router stays away where listening costs the node too much.
const STAY_AWAY: Duration = Duration::from_secs(60);
/// Over how long bells are counted.
const COUNTED_FOR: Duration = Duration::from_secs(10);

words! {
    /// How a router listens to a node.
    Listening {
        /// What it tells is complete, up to less than `trust_window` ago.
        Heard = "heard",
        /// It tells what happens; up to when that is complete is not known just now.
        Open = "open",
        /// Nobody listens at the moment.
        Closed = "closed",
        /// It does not let us: the commands are unknown to it, or not allowed.
        Denied = "denied",
        /// It has too many clients, or too much to tell them.
        TooCostly = "too_costly",
    }
}

/// What a node is listened to for, each on a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ear {
    /// The bells of all keys.
    Bells,
    /// What happens to the keys that were asked for on the connection itself (`CLIENT TRACKING` with `OPTIN`), whoever
    /// changes them.
    Keys,
    /// Which keys were evicted or have expired (`__keyevent@0__`), where the server tells that at all.
    Events,
}

impl Ear {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bells, Self::Keys, Self::Events];
}

/// Something the driver has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a connection and have it told the bells: [`Hearing::handle_opened`].
    Open {
        /// To this node.
        node: NodeKey,
    },
    /// Ask on this connection for the name that is never there ([`crate::wire::absent_name`]): [`Hearing::handle_answer`].
    Probe {
        /// The node.
        node: NodeKey,
        /// The number of the connection.
        line: u64,
        /// The slot of the name.
        slot: Slot,
        /// When it counts as sent.
        at: Instant,
    },
    /// Close this connection.
    Close {
        /// The node.
        node: NodeKey,
        /// The number of the connection.
        line: u64,
    },
}

/// What a question on a listening connection came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was answered as by the owner of the slot.
    Owner,
    /// It was refused.
    Refused(ErrorReply),
    /// The connection ended, or could not be opened.
    Lost,
    /// The server speaks no protocol in which it could tell anything.
    Dumb,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Hearing {
    trust_window: Duration,
    interval: Duration,
    /// After so long the end of a question will not be told any more.
    limit: Duration,
    listeners: BTreeMap<NodeKey, Listener>,
    /// When each has something to do.
    due: BTreeSet<(Instant, NodeKey)>,
    /// Connections to nodes that are not listened to any more.
    closing: Vec<(NodeKey, u64)>,
    /// What has changed since that was last asked for.
    news: News,
}

/// What has changed in what is heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// A node is heard that was not, or the other way round.
    pub changed: bool,
    /// Those who are heard and were not.
    pub gained: Vec<NodeKey>,
    /// A node is known to have been heard for longer.
    pub renewed: bool,
}

impl Hearing {
    /// Nobody is listened to yet.
    pub fn new(config: &Config) -> Self {
        Self {
            trust_window: config.trust_window(),
            interval: config.slot_refresh_interval(),
            limit: config.connect_timeout() + config.attempt_timeout() * 2,
            listeners: BTreeMap::new(),
            due: BTreeSet::new(),
            closing: Vec::new(),
            news: News::default(),
        }
    }

    /// `trust_window`.
    pub fn trust_window(&self) -> Duration {
        self.trust_window
    }

    /// These own slots now, each with one of its slots and those who own the slots of its echoes. Others are not listened
    /// to any more.
    pub fn follow(&mut self, owners: Vec<(NodeKey, Slot, Vec<NodeKey>)>, now: Instant) {
        let mut before = core::mem::take(&mut self.listeners);
        for (node, slot, echoes) in owners {
            let mut listener = before.remove(&node).unwrap_or_else(|| Listener::new(slot, now));
            (listener.slot, listener.echoes) = (slot, echoes);
            self.listeners.insert(node, listener);
        }
        for (node, listener) in before {
            if let Phase::Open { line } = listener.phase {
                self.closing.push((node, line));
            }
            self.news.changed |= listener.heard.is_some();
        }
        self.due = self.listeners.iter().filter_map(|(node, l)| Some((self.due_at(l)?, *node))).collect();
    }

    /// What is to be done now, one a call, until there is nothing more. `admits` says which nodes are not in trouble,
    /// `clients` how many clients a node of this cluster has at the most, `dice` is any number.
    pub fn poll(&mut self, admits: impl Fn(NodeKey) -> bool, clients: u64, now: Instant, dice: u32) -> Option<Command> {
        if let Some((node, line)) = self.closing.pop() {
            return Some(Command::Close { node, line });
        }
        let affordable = pace::affords_probes(clients, self.trust_window / PROBES);
        let jitter = |most: Duration| most / 1000 * (dice % 1000);
        while let Some((_, node)) = self.due.first().filter(|(at, _)| *at <= now).copied() {
            let (interval, limit, trust) = (self.interval, self.limit, self.trust_window);
            let pause = interval.max(pace::pause(clients));
            let mut changed = false;
            let command = self.change(node, |l| {
                changed |= l.lapse(trust, now);
                match l.phase {
                    Phase::Closed { again_at, .. } if again_at > now => None,
                    Phase::Closed { .. } if !affordable => {
                        let again_at = now + STAY_AWAY + jitter(STAY_AWAY);
                        l.phase = Phase::Closed { again_at, why: Listening::TooCostly };
                        None
                    }
                    Phase::Closed { why, .. } if !admits(node) => {
                        l.phase = Phase::Closed { again_at: now + PAUSE, why };
                        None
                    }
                    Phase::Closed { .. } => {
                        l.phase = Phase::Opening { lost_at: now + limit };
                        Some(Command::Open { node })
                    }
                    Phase::Opening { lost_at } => {
                        if lost_at <= now {
                            changed |= l.close(Listening::Closed, interval, now, dice);
                        }
                        None
                    }
                    Phase::Open { line } if !affordable => {
                        changed |= l.end(now + STAY_AWAY + jitter(STAY_AWAY), Listening::TooCostly);
                        Some(Command::Close { node, line })
                    }
                    Phase::Open { line } => match l.asked_at {
                        Some(at) if at + limit <= now => {
                            changed |= l.close(Listening::Closed, interval, now, dice);
                            Some(Command::Close { node, line })
                        }
                        None if l.probe_at <= now => {
                            l.asked_at = Some(now);
                            let period = if now < l.in_use_until { trust / PROBES } else { pause };
                            l.probe_at = now + period;
                            Some(Command::Probe { node, line, slot: l.slot, at: now })
                        }
                        _ => None,
                    },
                }
            });
            self.news.changed |= changed;
            if let Some(command) = command.flatten() {
                return Some(command);
            }
        }
        None
    }

    /// When [`Self::poll`] has something to do, if nothing happens before.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A node was read from at this time: its probes are frequent for a while, and those of the nodes that tell its echoes.
    pub fn handle_use(&mut self, node: NodeKey, at: Instant, now: Instant) {
        let Some(echoes) = self.listeners.get(&node).map(|l| l.echoes.clone()) else { return };
        for node in echoes.into_iter().chain([node]) {
            self.change(node, |l| {
                if now >= l.in_use_until && now < at + IN_USE {
                    l.probe_at = l.probe_at.min(now);
                }
                l.in_use_until = l.in_use_until.max(at + IN_USE);
            });
        }
    }

    /// A [`Command::Open`] has ended: the node tells its bells on the connection of this number; or why not.
    pub fn handle_opened(&mut self, node: NodeKey, opened: Result<u64, Answer>, now: Instant, dice: u32) {
        let interval = self.interval;
        let known = self.change(node, |l| match (&opened, l.phase) {
            (Ok(line), Phase::Opening { .. }) => {
                l.phase = Phase::Open { line: *line };
                (l.complete_from, l.probe_at) = (now, now);
                true
            }
            (Err(why), Phase::Opening { .. }) => {
                l.close(why.means(), interval, now, dice);
                true
            }
            // It took so long that it was given up, or was opened anew meanwhile.
            _ => false,
        });
        if let (Ok(line), None | Some(false)) = (opened, known) {
            self.closing.push((node, line));
        }
    }

    /// A [`Command::Probe`] on this connection, sent at that time, was answered. Everything that the node had told before
    /// has to be handed in before.
    pub fn handle_answer(
        &mut self,
        (node, line): (NodeKey, u64),
        sent_at: Instant,
        answer: &Answer,
        now: Instant,
        dice: u32,
    ) {
        let (interval, trust) = (self.interval, self.trust_window);
        let (mut changed, mut gained, mut renewed, mut closed) = (false, false, false, false);
        self.change(node, |l| {
            if l.phase != (Phase::Open { line }) || l.asked_at != Some(sent_at) {
                return;
            }
            l.asked_at = None;
            if *answer == Answer::Owner {
                changed |= l.lapse(trust, now);
                gained = l.answered(sent_at, trust, now);
                renewed = l.heard.is_some();
                l.failures = 0;
            } else {
                changed |= l.close(answer.means(), interval, now, dice);
                closed = true;
            }
        });
        if closed {
            self.closing.push((node, line));
        }
        self.news.changed |= changed || gained;
        self.news.gained.extend(gained.then_some(node));
        self.news.renewed |= renewed;
    }

    /// The node told a bell. Beyond what its clients may cost it, it is not listened to any more for a while.
    pub fn handle_push(&mut self, node: NodeKey, clients: u64, now: Instant, dice: u32) {
        let (mut end, mut changed) = (None, false);
        self.change(node, |l| {
            let (from, count) = &mut l.bells;
            *count += 1;
            // Too many for the whole of that time are too many already.
            let affordable = pace::affords_bells(clients, *count, now.since(*from).max(COUNTED_FOR));
            if affordable && now.since(*from) < COUNTED_FOR {
                return;
            }
            l.bells = (now, 0);
            if let Phase::Open { line } = l.phase
                && !affordable
            {
                changed = l.end(now + STAY_AWAY + STAY_AWAY / 1000 * (dice % 1000), Listening::TooCostly);
                end = Some((node, line));
            }
        });
        self.closing.extend(end);
        self.news.changed |= changed;
    }

    /// The node said that anything may have changed: it is heard anew from now on.
    pub fn handle_flush(&mut self, node: NodeKey, now: Instant) {
        let mut changed = false;
        self.change(node, |l| {
            changed = l.heard.take().is_some();
            l.complete_from = now;
        });
        self.news.changed |= changed;
    }

    /// The nodes of whose keys this one tells something: its own, and echoes.
    pub fn told_by(&self, node: NodeKey) -> impl Iterator<Item = NodeKey> {
        self.listeners.iter().filter(move |(of, l)| **of == node || l.echoes.contains(&node)).map(|(of, _)| *of)
    }

    /// How a node is listened to; none if it owns no slots.
    pub fn listening(&self, node: NodeKey, now: Instant) -> Option<Listening> {
        let listener = self.listeners.get(&node)?;
        Some(match listener.phase {
            Phase::Open { .. } if listener.heard.is_some_and(|h| now <= h.until + self.trust_window) => {
                Listening::Heard
            }
            Phase::Open { .. } => Listening::Open,
            Phase::Opening { .. } => Listening::Closed,
            Phase::Closed { why, .. } => why,
        })
    }

    /// What has changed since the last call.
    pub fn take_news(&mut self) -> News {
        core::mem::take(&mut self.news)
    }

    fn change<R>(&mut self, node: NodeKey, change: impl FnOnce(&mut Listener) -> R) -> Option<R> {
        let before = self.due_at(self.listeners.get(&node)?);
        let listener = self.listeners.get_mut(&node)?;
        let result = change(listener);
        let after = self.due_at(self.listeners.get(&node)?);
        if before != after {
            if let Some(at) = before {
                self.due.remove(&(at, node));
            }
            self.due.extend(after.map(|at| (at, node)));
        }
        Some(result)
    }

    fn due_at(&self, l: &Listener) -> Option<Instant> {
        match l.phase {
            Phase::Closed { again_at, .. } => Some(again_at),
            Phase::Opening { lost_at } => Some(lost_at),
            Phase::Open { .. } => {
                let lapses_at = l.heard.map(|heard| heard.until + self.trust_window + Duration::from_nanos(1));
                let probe = l.asked_at.map_or(l.probe_at, |at| at + self.limit);
                lapses_at.into_iter().chain([probe]).min()
            }
        }
    }
}

#[cfg(test)]
mod tests;
