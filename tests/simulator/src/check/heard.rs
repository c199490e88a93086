//! What a router was told of each node, whatever it made of it.

use super::Check;
use super::map::Map;
use super::votes::Votes;
use crate::model::{MS, Time};
use crate::plan::RouterPlan;
use failsoft_policy::NodeKey;
use failsoft_policy::view::{Probe, View};

/// What a router was told of one node.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    generation: u32,
    id: Option<String>,
    /// Since when its probes have said that it is ready.
    pub(crate) ready: Option<Time>,
    /// Since when it counts as failed: until a probe of it, with a witness, clears it.
    pub(super) failed: Option<Time>,
    /// Whether it last said that it is a primary.
    pub(super) primary: bool,
    /// When it last answered anything.
    pub(super) heard: Option<Time>,
    /// When it first reported its offset, and when last.
    pub(super) sampled: Option<Time>,
    pub(super) reported: Option<Time>,
    /// When the probe was sent that it last reported to, and whether one is under way.
    pub(super) asked: Option<Time>,
    probing: bool,
}

/// What one router was told.
#[derive(Debug)]
pub(super) struct Heard {
    nodes: Vec<Told>,
    pub(super) map: Map,
    pub(super) votes: Votes,
    pub(super) refreshed_at: Option<Time>,
    /// Until when views have to be asked for, and why.
    pub(super) owed: Option<(Time, &'static str)>,
    pub(super) suspended_until: Time,
    /// Keys that are being loaded.
    pub(super) loading: Vec<u8>,
    /// Thousandths of retries that it may make.
    pub(super) retries: i64,
    /// The same after `TRYAGAIN`.
    pub(super) tries_again: i64,
    /// How long one question may take, and how often the cluster is looked at.
    pub(super) limit: Time,
    pub(super) interval: Time,
}

impl Heard {
    pub(super) fn new(plan: &RouterPlan) -> Self {
        let config = &plan.config;
        Self {
            nodes: Vec::new(),
            map: Map::default(),
            votes: Votes::default(),
            refreshed_at: None,
            owed: None,
            suspended_until: 0,
            loading: Vec::new(),
            retries: 10_000,
            tries_again: 10_000,
            limit: config.attempt_timeout().as_nanos() as Time + 50 * MS,
            interval: (config.slot_refresh_interval().as_nanos() as Time).max(1_000 * MS),
        }
    }

    pub(super) fn node(&mut self, key: NodeKey) -> &mut Told {
        let place = key.index as usize;
        if self.nodes.len() <= place {
            self.nodes.resize(place + 1, Told::default());
        }
        let told = &mut self.nodes[place];
        if told.generation != key.generation {
            *told = Told { generation: key.generation, ..Told::default() };
        }
        told
    }
}

impl Check {
    /// A probe is sent.
    pub(crate) fn probed(&mut self, r: usize, node: NodeKey) {
        let twice = std::mem::replace(&mut self.routers[r].node(node).probing, true);
        self.that(!twice, || format!("router {r} sends two probes to one node at a time"));
    }

    /// A view came.
    pub(crate) fn heard_view(&mut self, r: usize, round: u64, view: &View) {
        self.routers[r].map.heard(view);
        self.routers[r].votes.heard(round, view);
    }

    pub(crate) fn round_done(&mut self, r: usize) {
        self.routers[r].votes.close();
    }

    /// A probe came back.
    pub(crate) fn heard_probe(&mut self, r: usize, probe: &Probe, now: Time) {
        let heard = &mut self.routers[r];
        let told = heard.node(probe.node);
        told.probing = false;
        let mut ours = true;
        match &probe.report {
            Ok(report) => {
                // Another node lives there: what was said beside that is not heeded.
                ours = told.id.get_or_insert_with(|| report.id.clone().unwrap_or_default())
                    == report.id.as_deref().unwrap_or_default();
                (told.heard, told.primary) = (Some(now), report.primary);
                told.sampled.get_or_insert(now);
                (told.reported, told.asked) = (Some(now), Some(probe.sent_at.as_nanos()));
                let ready = report.unready().is_none();
                told.ready = if ready { told.ready.or(Some(now)) } else { None };
                // Where no witness can be had, its own word for a second.
                let patient = told.ready.is_some_and(|at| now >= at + 1_000 * MS);
                if ready && (probe.witness.is_some() || patient) {
                    told.failed = None;
                }
            }
            // A node that answered a read since the probe was sent need not be blamed for it.
            Err(_) if told.heard > Some(probe.sent_at.as_nanos()) => {}
            Err(_) => {
                told.ready = None;
                told.failed.get_or_insert(now);
            }
        }
        if let Some(view) = probe.witness.as_ref().filter(|_| ours) {
            heard.map.heard(view);
            heard.votes.named(view);
        }
    }
}
