//! What a router's process holds: the policy's machines, its connections, calls and loads.

use super::AskedToListen;
use super::call::Call;
use super::running::{Loaded, Running};
use crate::model::{Ask, KEYS, MS, Said, Time, endpoint};
use crate::plan::{Behaviour, RouterPlan};
use crate::sim::{LaneId, Local, Process, instant};
use failsoft_policy::cluster::Cluster;
use failsoft_policy::config::Config;
use failsoft_policy::connection::{Connection, Deliver, Failure as Failed, Outcome, Phase};
use failsoft_policy::copies::Held;
use failsoft_policy::fills::Fills;
use failsoft_policy::flight::{LoadId, WaiterId};
use failsoft_policy::lease::Lease;
use failsoft_policy::load::Loads;
use failsoft_policy::near::Near;
use failsoft_policy::route::{Snapshot, Source};
use failsoft_policy::view::Role;
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason};
use std::collections::BTreeMap;
use std::time::Duration;

/// One connection: its machine, and what its driver keeps beside it.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) machine: Connection<(u32, u32), Said>,
    pub(crate) serial: u32,
    /// What was not written yet.
    pub(crate) queued: Vec<(u32, u32, Ask)>,
    /// Where it leads, once it is open.
    pub(crate) process: Option<Process>,
    /// When its machine is looked at next.
    pub(crate) timer: Time,
}

/// Whose requests a connection leaves.
#[derive(Default)]
struct Left(Vec<(u32, u32)>);

impl Deliver<(u32, u32), Said> for Left {
    fn wakes(&mut self, _: &mut (u32, u32)) -> bool {
        false
    }

    fn deliver(&mut self, caller: (u32, u32), _: Outcome<Said>) {
        self.0.push(caller);
    }
}

impl Lane {
    /// We close it ourselves; those who still wait.
    pub(crate) fn end(&mut self) -> Vec<(u32, u32)> {
        let mut left = Left::default();
        self.machine.end(Failed::Closed, &mut left);
        left.0
    }
}

/// One node's connections, for what it is asked as the owner and as a replica, for invalidations, and for listening.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) key: NodeKey,
    pub(crate) endpoint: Endpoint,
    pub(crate) lanes: [Option<Lane>; 5],
}

impl Member {
    /// When the node is known to have been there.
    pub(crate) fn contact(&self) -> Option<Instant> {
        self.lanes[..super::lanes::TELLS].iter().flatten().filter_map(|l| l.machine.contact()).max()
    }

    /// The same by what it was asked for reads and writes of keys.
    pub(crate) fn used(&self) -> Option<Instant> {
        self.lanes[..2].iter().flatten().filter_map(|l| l.machine.contact()).max()
    }

    /// Requests that wait on its connections.
    pub(crate) fn waiting(&self) -> [usize; 4] {
        [0, 1, 2, 3].map(|lane: usize| self.lanes[lane].as_ref().map_or(0, |l| l.machine.waiting()))
    }
}

/// Why a caller got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Unavailable(Reason),
    LoadTimeout,
    Callback,
    Gone,
    Shed,
    Reentrant,
    Deadline,
    Cancelled,
}

/// A caller: its keys, its callback, and what it waits for.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) serial: u32,
    pub(crate) began: Time,
    pub(crate) suspended_before: Time,
    pub(crate) callback: Option<Behaviour>,
    pub(crate) spent: bool,
    /// The load that its callback runs for.
    pub(crate) led: Option<LoadId>,
    pub(crate) deadline: Option<Time>,
    /// The value that its load is to replace, if it was served by its primary.
    pub(crate) over: Option<u32>,
    /// Keys still with the cluster.
    pub(crate) routing: u32,
    pub(crate) wanted: Vec<(u8, Option<NodeKey>)>,
    /// When its leases have to be there.
    pub(crate) lease_by: Option<Instant>,
    pub(crate) waiter: Option<WaiterId>,
    /// When it last joined loads.
    pub(crate) joined: Time,
    pub(crate) awaited: Vec<(LoadId, Vec<u8>)>,
    /// Keys whose loads went away with their callbacks' loops.
    pub(crate) gone: Vec<(u8, Option<NodeKey>)>,
    pub(crate) rounds: u32,
    /// The load inside whose callback it runs.
    pub(crate) inside: Option<LoadId>,
    pub(crate) failure: Option<Failure>,
    /// Whether that failure was one that the callbacks caused.
    pub(crate) excused: bool,
}

impl Caller {
    /// One that sets out now, with nothing under way yet.
    pub(crate) fn new(serial: u32, now: Time, suspended: Time, callback: Option<Behaviour>) -> Self {
        Self {
            serial,
            began: now,
            suspended_before: suspended,
            callback,
            spent: false,
            led: None,
            deadline: None,
            over: None,
            routing: 0,
            wanted: Vec::new(),
            lease_by: None,
            waiter: None,
            joined: now,
            awaited: Vec::new(),
            gone: Vec::new(),
            rounds: 0,
            inside: None,
            failure: None,
            excused: false,
        }
    }
}

pub(crate) struct Router {
    pub(crate) config: Config,
    pub(crate) cluster: Cluster,
    pub(crate) snapshot: Snapshot,
    pub(crate) members: Vec<Option<Member>>,
    pub(crate) loads: Loads,
    /// What loads came to that ended a moment ago, and when.
    pub(crate) results: BTreeMap<LoadId, (Loaded, Time)>,
    pub(crate) running: BTreeMap<LoadId, Running>,
    /// Copies of values, by their keys.
    pub(crate) copies: BTreeMap<u8, (u32, Held)>,
    /// Those of them that are near copies.
    pub(crate) near: BTreeMap<u8, (u32, Held, Near)>,
    pub(crate) generations: [u64; KEYS],
    /// Loads that failed, or took longer than the store may take.
    pub(crate) bad_loads: u64,
    pub(crate) calls: Vec<Option<Call>>,
    pub(crate) callers: Vec<Option<Caller>>,
    pub(crate) tags: u32,
    pub(crate) successes: u64,
    pub(crate) credited: u64,
    pub(crate) fills: Fills<(u8, u32, Lease)>,
    /// What is under way on the connections for listening, by the tag of the request.
    pub(crate) asked_to_listen: BTreeMap<u32, AskedToListen>,
    pub(crate) conduct_at: Time,
    pub(crate) round_left: (u64, usize),
    pub(crate) started: bool,
    pub(crate) suspended_until: Time,
    pub(crate) suspended: Time,
    /// What has come while its process was stopped, in its order.
    pub(crate) held: Vec<Local>,
    seeds: Vec<usize>,
    /// How many clients the nodes say to have.
    clients: Option<u64>,
    /// Whether a node lies in this run.
    lied_to: bool,
    /// Whether another cluster takes the place of ours and moves on, or after ours has grown, so that it may live at few
    /// of our addresses.
    moved_on: bool,
}

impl Router {
    pub(crate) fn new(plan: &RouterPlan, clients: Option<u64>, lied_to: bool, moved_on: bool) -> Self {
        let config = plan.config.clone();
        let mut cluster = Cluster::new(&config, Vec::new(), Instant::ZERO);
        let snapshot = cluster.snapshot();
        Self {
            config,
            cluster,
            snapshot,
            members: Vec::new(),
            loads: Loads::new(&plan.config, plan.begins as u32),
            results: BTreeMap::new(),
            running: BTreeMap::new(),
            copies: BTreeMap::new(),
            near: BTreeMap::new(),
            generations: [0; KEYS],
            bad_loads: 0,
            calls: Vec::new(),
            callers: Vec::new(),
            tags: 0,
            successes: 0,
            credited: 0,
            fills: Fills::default(),
            asked_to_listen: BTreeMap::new(),
            conduct_at: Time::MAX,
            round_left: (0, 0),
            started: false,
            suspended_until: 0,
            suspended: 0,
            held: Vec::new(),
            seeds: plan.seeds.clone(),
            clients,
            lied_to,
            moved_on,
        }
    }

    pub(crate) fn start(&mut self, now: Time) {
        self.started = true;
        self.cluster = Cluster::new(&self.config, self.seeds.iter().map(|&a| endpoint(a)).collect(), instant(now));
        self.snapshot = self.cluster.snapshot();
    }

    pub(crate) fn suspend(&mut self, now: Time, until: Time) {
        self.suspended += until.saturating_sub(self.suspended_until.max(now));
        self.suspended_until = self.suspended_until.max(until);
    }

    /// How long a question of the control plane is waited for.
    pub(crate) fn response_limit(&self) -> Time {
        self.config.attempt_timeout().max(Duration::from_millis(50)).as_nanos() as Time
    }

    /// How long after the cluster is whole the router may need to find back: one look at it, one pause of
    /// a breaker, and the steps of readmission.
    pub(crate) fn heals_within(&self) -> Time {
        // Views are asked for once a second at the most, however short the interval is.
        let interval = (self.config.slot_refresh_interval().as_nanos() as Time).max(1_000 * MS);
        // In a large fleet everybody waits for a turn first: before the probe, and before the ballots.
        let turns = self.clients.map_or(0, |clients| 2 * (clients * MS).min(interval) + 2_000 * MS);
        // A redirect that lies is believed until three views, asked for at growing pauses, know nothing of it.
        let lies = if self.lied_to { 2 * interval } else { 0 };
        // One at few of our addresses may be a stranger: it is taken up when none of ours was heard for a minute.
        let alone = if self.moved_on { 60_000 * MS + interval } else { 0 };
        interval + interval / 10 + 2_500 * MS + turns + lies + alone
    }

    /// Puts the routes of now in force. Gives the connections to those who are not known any more.
    pub(crate) fn publish(&mut self) -> Vec<Lane> {
        self.snapshot = self.cluster.snapshot();
        let mut next: Vec<Option<Member>> = Vec::new();
        for (key, endpoint) in self.cluster.endpoints() {
            let place = key.index as usize;
            if next.len() <= place {
                next.resize_with(place + 1, || None);
            }
            let old = self.members.get_mut(place).and_then(|m| m.take_if(|m| m.key == key && m.endpoint == *endpoint));
            next[place] =
                Some(old.unwrap_or_else(|| Member { key, endpoint: endpoint.clone(), lanes: [const { None }; 5] }));
        }
        let gone = std::mem::replace(&mut self.members, next);
        gone.into_iter().flatten().flat_map(|m| m.lanes).flatten().collect()
    }

    /// A connection, unless it was replaced.
    pub(crate) fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.member(id.node)?.lanes[usize::from(id.lane)].as_mut().filter(|l| l.serial == id.serial)
    }

    pub(crate) fn member(&mut self, key: NodeKey) -> Option<&mut Member> {
        self.members.get_mut(key.index as usize)?.as_mut().filter(|m| m.key == key)
    }

    pub(crate) fn contact(&mut self, key: NodeKey) -> Option<Instant> {
        self.member(key)?.contact()
    }

    /// The connection to a node as the owner, if it is open or being opened.
    pub(crate) fn line(&mut self, node: NodeKey) -> Option<u64> {
        let lane = self.member(node)?.lanes[Source::Primary as usize].as_ref()?;
        (!matches!(lane.machine.phase(), Phase::Ended(_))).then_some(u64::from(lane.serial))
    }

    /// How many results of loads are kept.
    pub(crate) fn echoes_kept(&self) -> usize {
        self.results.len()
    }

    /// Whether a load waits, through callers inside its callback, for another one, or is that one.
    pub(crate) fn awaits(&self, load: LoadId, other: LoadId) -> bool {
        let mut ahead = vec![load];
        let mut seen = Vec::new();
        while let Some(next) = ahead.pop() {
            if next == other {
                return true;
            }
            if !seen.contains(&next) {
                seen.push(next);
                let inside = self.callers.iter().flatten().filter(|c| c.inside == Some(next));
                ahead.extend(inside.flat_map(|c| c.awaited.iter().map(|a| a.0)));
            }
        }
        false
    }

    /// Whether a callback inside `load` that asks for a key would wait for itself.
    pub(crate) fn closes_a_circle(&self, load: Option<LoadId>, key: u8) -> bool {
        let loads_it = self.running.iter().find(|(_, l)| !l.timed_out && l.holds(key)).map(|(id, _)| *id);
        load.zip(loads_it).is_some_and(|(inside, loads_it)| self.awaits(loads_it, inside))
    }

    /// The primary that a node copies, as the router sees it.
    pub(crate) fn primary_of(&self, node: NodeKey) -> Option<NodeKey> {
        let report = self.cluster.report(Instant::ZERO);
        let role = &report.nodes.iter().find(|n| n.key == node)?.role;
        let Role::Replica(Some(of)) = role else { return None };
        report.nodes.iter().find(|n| n.endpoint == *of).map(|n| n.key)
    }

    pub(crate) fn next_tag(&mut self) -> u32 {
        self.tags += 1;
        self.tags
    }

    pub(crate) fn new_call(&mut self, call: Call) -> u32 {
        place(&mut self.calls, call)
    }

    pub(crate) fn new_caller(&mut self, caller: Caller) -> u32 {
        place(&mut self.callers, caller)
    }

    /// The calls whose routes may have changed.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (u32, u32)> {
        let all = self.calls.iter().enumerate().filter_map(|(i, c)| Some((i as u32, c.as_ref()?)));
        all.filter(|(_, c)| c.waiting).map(|(i, c)| (i, c.tag))
    }

    /// The connections that lead to a process at an address.
    pub(crate) fn lanes_to(&self, at: &Endpoint) -> impl Iterator<Item = LaneId> {
        let there = self.members.iter().flatten().filter(move |m| m.endpoint == *at);
        there.flat_map(|m| {
            let lanes = m.lanes.iter().enumerate();
            lanes.filter_map(|(n, lane)| Some(LaneId { node: m.key, lane: n as u8, serial: lane.as_ref()?.serial }))
        })
    }
}

fn place<T>(places: &mut Vec<Option<T>>, value: T) -> u32 {
    match places.iter().position(Option::is_none) {
        Some(free) => {
            places[free] = Some(value);
            free as u32
        }
        None => {
            places.push(Some(value));
            places.len() as u32 - 1
        }
    }
}
