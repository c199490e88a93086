//! What a router was told of each node, whatever it made of it.

use super::Check;
use super::blame::Wire;
use super::map::Map;
use super::votes::Votes;
use crate::model::{BLOCKS, KEYS, MS, Time};
use crate::plan::RouterPlan;
use crate::router::slot_of;
use failsoft_policy::NodeKey;
use failsoft_policy::route::{Route, Snapshot};
use failsoft_policy::view::{Probe, View};

/// How much of a probe's word is to be heeded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heed {
    /// The router holds the node in a minority.
    pub(crate) out: bool,
    /// It is the node that the router took it for: what is said beside anything else is not heeded.
    pub(crate) ours: bool,
    /// The node is of another cluster.
    pub(crate) foreign: bool,
    /// The witness is of ours.
    pub(crate) witness: bool,
    /// The router knows no other node.
    pub(crate) alone: bool,
    /// Where the node is by now, for the router: what is heard from anywhere else says nothing of it.
    pub(crate) at: usize,
}

/// What a router was told of one node.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    generation: u32,
    /// Since when its probes have said that it is ready.
    ready: Option<Time>,
    /// Since when it counts as failed: until a probe of it, with a witness, clears it.
    pub(super) failed: Option<Time>,
    /// Whether it last said that it is a primary.
    pub(super) primary: bool,
    /// When it last answered anything.
    pub(super) heard: Option<Time>,
    /// Whether a probe is under way.
    probing: bool,
    /// The address that the last one went to.
    probed_at: usize,
    /// When its last offsets came, and in which history they count, newest last.
    samples: Vec<(Time, Option<u128>)>,
    /// Whether its link to its primary was up, by its last word.
    pub(super) link_up: Option<bool>,
    /// The latest moment at which that link can have been up, by what it said.
    pub(super) linked_at: Option<Time>,
    /// The highest epoch that it said to have seen.
    pub(super) current_epoch: Option<u64>,
    /// Probes in turn that it did not answer, and when the last of them ended.
    unanswered: (u32, Time),
    /// Whether it got reads when that was last looked at.
    pub(super) open: bool,
    /// Since when it gets none.
    pub(super) closed: Option<Time>,
    /// When a probe last cleared it.
    pub(super) cleared: Option<Time>,
    /// When it was last read from, and since when without a longer pause.
    used: (Time, Time),
}

/// After a pause that is shorter a node counts as being read from all the time.
const IN_USE: Time = 5_000 * MS;

/// What one router was told.
#[derive(Debug)]
pub(super) struct Heard {
    nodes: Vec<Told>,
    /// The last of those that it has forgotten.
    forgotten: Told,
    pub(super) map: Map,
    pub(super) wire: Wire,
    pub(super) votes: Votes,
    pub(super) refreshed_at: Option<Time>,
    /// Until when views have to be asked for, and why.
    pub(super) owed: Option<(Time, &'static str)>,
    pub(super) suspended_until: Time,
    /// Keys that are being loaded.
    pub(super) loading: Vec<u8>,
    pub(super) own: super::fills::Own,
    /// The same by what it heard that others invalidated.
    pub(super) told: super::fills::Own,
    /// How old the proof may be that a node tells what is invalidated.
    pub(super) trust: Time,
    /// How old a replica may be that stands in although something may have been missed.
    pub(super) stale: Time,
    /// How old anything may be that stands in.
    pub(super) outage: Time,
    /// Keys of which it knows an invalidation: not every replica stands in for them.
    pub(super) known: [bool; KEYS],
    /// Loads that wait for another process may take the few places that reads have at a node.
    pub(super) crowded: bool,
    /// How long an invalidation is known.
    pub(super) remembers: Time,
    /// Thousandths of retries that it may make.
    pub(super) retries: i64,
    /// The same after `TRYAGAIN`.
    pub(super) tries_again: i64,
    /// How long an answer may take before the node counts as hung.
    pub(super) attempt: Time,
    /// How long a connection may take to come about.
    pub(super) connect: Time,
    /// How long one question may take, and how often the cluster is looked at.
    pub(super) limit: Time,
    pub(super) interval: Time,
    /// The highest epoch that any node was told to have seen, and since when.
    pub(super) highest: (u64, Time),
    /// Views of another cluster than the first, of the last round that had any.
    others: (u64, Vec<View>),
    /// When it took up that cluster.
    pub(super) moved_on: Option<Time>,
}

/// For how long a node has to be in trouble to return by its own word.
const OWN_WORD: Time = 1_000 * MS;
/// The cool-down of a breaker after a probe that was not its first.
const COOL_DOWN: Time = 100 * MS;
/// How long a node gets a part of the reads after it was cleared.
const READMISSION: Time = 300 * MS;
/// How many offsets of a node are compared at the most.
const SAMPLES: usize = 8;

impl Heard {
    pub(super) fn new(plan: &RouterPlan) -> Self {
        let config = &plan.config;
        Self {
            nodes: Vec::new(),
            forgotten: Told::default(),
            map: Map::default(),
            wire: Wire::default(),
            attempt: config.attempt_timeout().as_nanos() as Time,
            connect: config.connect_timeout().as_nanos() as Time,
            votes: Votes::default(),
            refreshed_at: None,
            owed: None,
            suspended_until: 0,
            loading: Vec::new(),
            own: [None; KEYS],
            told: [None; KEYS],
            trust: config.trust_window().as_nanos() as Time,
            stale: config.staleness_budget().min(config.outage_budget()).as_nanos() as Time,
            outage: config.outage_budget().min(config.invalidation_ttl()).as_nanos() as Time,
            crowded: config.lease_ttl().is_some() && config.max_in_flight() < 8,
            known: [false; KEYS],
            remembers: plan.config.invalidation_ttl().as_nanos() as Time,
            retries: 10_000,
            tries_again: 10_000,
            limit: config.attempt_timeout().as_nanos() as Time + 50 * MS,
            interval: (config.slot_refresh_interval().as_nanos() as Time).max(1_000 * MS),
            highest: (0, 0),
            others: (0, Vec::new()),
            moved_on: None,
        }
    }

    pub(super) fn move_on(&mut self, now: Time) {
        self.moved_on = Some(now);
        (self.map, self.highest) = (Map::default(), (0, now));
        self.votes.forget();
        let (round, views) = std::mem::take(&mut self.others);
        for view in views {
            self.map.heard(&view);
            self.votes.heard(round, &view, now);
        }
    }

    /// Whether an offset of the primary in the same history was known when the replica's last one came.
    pub(super) fn comparable(&mut self, replica: NodeKey, primary: NodeKey) -> bool {
        let Some((came, history)) = self.node(replica).samples.last().copied() else { return false };
        self.node(primary).samples.iter().any(|&(sampled, of)| sampled < came && of == history)
    }

    /// A node is read from.
    pub(super) fn uses(&mut self, key: NodeKey, now: Time) {
        let (last, since) = &mut self.node(key).used;
        if now >= *last + IN_USE {
            *since = now;
        }
        *last = now;
    }

    /// Since when it has been without a longer pause.
    pub(super) fn used_since(&self, key: NodeKey) -> Time {
        self.nodes
            .get(key.index as usize)
            .filter(|told| told.generation == key.generation)
            .map_or(0, |told| told.used.1)
    }

    pub(super) fn node(&mut self, key: NodeKey) -> &mut Told {
        let place = key.index as usize;
        if self.nodes.len() <= place {
            self.nodes.resize(place + 1, Told::default());
        }
        // What still comes of a node that the router has forgotten says nothing of the one in its place.
        let forgotten = key.generation < self.nodes[place].generation;
        let told = if forgotten { &mut self.forgotten } else { &mut self.nodes[place] };
        if told.generation != key.generation || forgotten {
            *told = Told { generation: key.generation, ..Told::default() };
        }
        told
    }
}

impl Check {
    /// A probe is sent: one at a time, and not at once again to a node that gave no answer to the last two.
    pub(crate) fn probed(&mut self, r: usize, node: NodeKey, at: usize, now: Time) {
        let told = self.routers[r].node(node);
        told.probed_at = at;
        let twice = std::mem::replace(&mut told.probing, true);
        let (unanswered, last) = told.unanswered;
        self.that(!twice, || format!("router {r} sends two probes to one node at a time"));
        let pause = now - last;
        self.that(unanswered < 2 || pause >= COOL_DOWN, || {
            format!("router {r} probes a node {} us after it left {unanswered} probes unanswered", pause / 1_000)
        });
    }

    /// A view of another cluster than the first came to a router that may not have taken it up yet.
    pub(crate) fn heard_other(&mut self, r: usize, round: u64, view: &View) {
        let others = &mut self.routers[r].others;
        if others.0 != round {
            *others = (round, Vec::new());
        }
        others.1.push(view.clone());
    }

    /// A view came.
    pub(crate) fn heard_view(&mut self, r: usize, round: u64, view: &View, by: Option<NodeKey>, out: bool, now: Time) {
        let heard = &mut self.routers[r];
        heard.map.heard(view);
        heard.votes.heard(round, view, now);
        if let (Some(by), Some(epoch)) = (by, view.info.and_then(|i| i.current_epoch)) {
            heard.node(by).current_epoch = Some(epoch);
            if epoch > heard.highest.0 && !out {
                heard.highest = (epoch, now);
            }
        }
    }

    pub(crate) fn round_done(&mut self, r: usize, now: Time) {
        self.routers[r].votes.close(now);
    }

    /// A connection to a node was opened, or carried a reply: it is there.
    pub(crate) fn greeted(&mut self, r: usize, node: NodeKey, now: Time) {
        self.routers[r].node(node).heard = Some(now);
    }

    /// A probe of a closed node opened it: with a witness, or, where none can be had, by its own word after a second.
    pub(crate) fn cleared(&mut self, r: usize, node: NodeKey, now: Time) {
        let told = self.routers[r].node(node);
        told.cleared = Some(now);
        if told.failed.is_some_and(|at| now - at >= OWN_WORD) {
            told.failed = None;
        }
    }

    /// New routes are in force: a node that has just come back gets all reads only where nobody else can take them.
    pub(crate) fn published(&mut self, r: usize, snapshot: &Snapshot, now: Time) {
        for block in 0..BLOCKS {
            let Route::Primary { node, backed: true } = snapshot.route(slot_of(block as u8)) else { continue };
            let cleared = self.routers[r].node(node).cleared.filter(|&at| now - at < READMISSION);
            self.that(cleared.is_none(), || {
                format!(
                    "router {r}: {node:?} gets all reads {} us after it was cleared",
                    (now - cleared.unwrap_or(0)) / 1_000
                )
            });
        }
    }

    /// A probe came back.
    pub(crate) fn heard_probe(&mut self, r: usize, probe: &Probe, heed: Heed, now: Time) {
        let heard = &mut self.routers[r];
        let told = heard.node(probe.node);
        told.probing = false;
        if told.probed_at != heed.at {
            return;
        }
        match &probe.report {
            Ok(report) => {
                told.unanswered = (0, now);
                (told.heard, told.primary) = (Some(now), report.primary);
                told.current_epoch = report.current_epoch;
                // What a replica has whose link is down says nothing of its primary of now.
                if heed.ours && report.offset.is_some() && report.link_up != Some(false) {
                    told.samples.push((now, report.history));
                    let extra = told.samples.len().saturating_sub(SAMPLES);
                    told.samples.drain(..extra);
                }
                told.link_up = report.link_up;
                let down = report.link_down_for.map_or(0, |d| d.as_nanos() as Time);
                told.linked_at = (report.link_up == Some(false)).then_some(now.saturating_sub(down));
                let ready = report.unready().is_none();
                told.ready = if ready { told.ready.or(Some(now)) } else { None };
                // Where nobody else is, its own word has to do; where no witness can be had, that of a second.
                let patient = told.ready.is_some_and(|at| now >= at + 1_000 * MS);
                if (probe.witness.is_some() || heed.alone || patient) && ready {
                    told.failed = None;
                }
            }
            // A node that answered a read since the probe was sent need not be blamed for it.
            Err(_) if told.heard > Some(probe.sent_at.as_nanos()) => {}
            Err(_) => {
                // Who has answered something since it was asked is there.
                if told.heard.is_none_or(|at| at <= probe.sent_at.as_nanos()) {
                    told.failed.get_or_insert(now);
                }
                told.ready = None;
                told.unanswered = (told.unanswered.0 + 1, now);
            }
        }
        if let Some(report) = probe.report.as_ref().ok().filter(|r| r.cluster_ok && r.sees_all()) {
            heard.votes.reaches_all(report.id.as_deref());
        }
        let epoch = probe.report.as_ref().ok().and_then(|r| r.current_epoch);
        if let Some(epoch) = epoch.filter(|&e| heed.ours && !heed.foreign && !heed.out && e > heard.highest.0) {
            heard.highest = (epoch, now);
        }
        if let Some(view) = probe.witness.as_ref().filter(|_| heed.ours && heed.witness) {
            heard.map.heard(view);
            heard.votes.named(view);
        }
    }
}
