//! One run: the queue of events in virtual time, and who gets each.

mod bells;
mod endings;
mod event;
mod faults;
mod moves;
mod servers;
mod watch;

pub(crate) use bells::{Rung, Tells};
pub(crate) use event::{Asked, Dial, Ev, LaneId, Local, Message, Process, Question};

use crate::check::Check;
use crate::model::{ADDRESSES, KEYS, MS, Model, Time};
use crate::net::{Net, Order};
use crate::plan::{Denied, Fault, FaultPlan, Misbehaviour, Plan};
use crate::router::Router;
use crate::trace::Trace;
use event::local_kind;
use failsoft_policy::Instant;
pub(crate) use servers::is_dial;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

struct Item {
    at: Time,
    number: u64,
    event: Ev,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Item {}
impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The secondary store, and how slow it is.
pub(crate) struct Store {
    pub(crate) versions: [u32; KEYS],
    pub(crate) newest: u32,
    pub(crate) slow_by: Time,
}

/// See the module.
pub(crate) struct Sim<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) now: Time,
    queue: BinaryHeap<Reverse<Item>>,
    number: u64,
    questions: u64,
    pub(crate) rng: fastrand::Rng,
    pub(crate) model: Model,
    pub(crate) net: Net,
    pub(crate) order: Order,
    /// Connections that have met a cut: of which router, and which one.
    stopped: BTreeSet<(usize, u32)>,
    /// Those that a server closed because nobody used them, and whether they had served before.
    shut: BTreeMap<(usize, u32), bool>,
    /// The control plane's connections that are kept: of which router, to which address, and whom they lead to.
    lines: BTreeMap<(usize, usize), Process>,
    /// The connections on which processes tell bells.
    listeners: Vec<bells::Listener>,
    /// Attempts to invalidate a key, in the whole run.
    bells: u32,
    pub(crate) store: Store,
    pub(crate) routers: Vec<Router>,
    pub(crate) check: Check,
    pub(crate) trace: Trace,
    /// Commands that a hung process has not read yet.
    inbox: [Vec<Message>; ADDRESSES],
    misbehaving: [Option<Misbehaviour>; ADDRESSES],
    denied: Denied,
    /// Ours, whose addresses strangers have taken: where, who, and whether nobody else of ours was left.
    displaced: Vec<(usize, u8, bool)>,
    /// The faults in force.
    active: Vec<Option<Fault>>,
    healing: watch::Healing,
}

/// How a run ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) hash: u64,
    pub(crate) events: u64,
    pub(crate) reads: u64,
    /// Virtual nanoseconds.
    pub(crate) time: Time,
    pub(crate) problem: Option<String>,
    pub(crate) lines: Vec<String>,
    /// Whether the model's cluster was whole in the end, so that the routers could be judged by it.
    pub(crate) whole: bool,
    pub(crate) promotions: u32,
}

impl<'p> Sim<'p> {
    pub(crate) fn new(plan: &'p Plan, wordy: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(plan.seed ^ 0xA5A5_0000_5A5A);
        let mut model = Model::new(plan.setup, rng.fork());
        model.lay_out(0, plan.primaries, plan.replicas, u32::from(plan.warm), 0);
        let faulted = |such: fn(&Fault) -> bool| plan.faults.iter().any(|f| such(&f.fault));
        let few = faulted(|f| matches!(f, Fault::Move(_) | Fault::ScaleOut(_)));
        let moved_on = few && faulted(|f| matches!(f, Fault::AnotherCluster));
        let lies = |f: &FaultPlan| matches!(f.fault, Fault::Misbehave { what: Misbehaviour::Lies, .. });
        let lies = plan.faults.iter().any(lies);
        let mut sim = Self {
            plan,
            now: MS,
            queue: BinaryHeap::with_capacity(1024),
            number: 0,
            questions: 0,
            rng,
            model,
            net: Net::default(),
            order: Order::default(),
            stopped: BTreeSet::new(),
            shut: BTreeMap::new(),
            lines: BTreeMap::new(),
            listeners: Vec::new(),
            bells: 0,
            store: Store { versions: std::array::from_fn(|k| 1 + k as u32), newest: KEYS as u32, slow_by: 0 },
            routers: plan.routers.iter().map(|r| Router::new(r, plan.setup.clients, lies, moved_on)).collect(),
            check: Check::new(plan),
            trace: Trace::new(wordy),
            inbox: std::array::from_fn(|_| Vec::new()),
            misbehaving: [None; ADDRESSES],
            denied: Denied::default(),
            displaced: Vec::new(),
            active: vec![None; plan.faults.len()],
            healing: watch::Healing::default(),
        };
        for n in 0..sim.model.nodes.len() {
            let first = sim.rng.u64(1..100) * MS;
            sim.at(first, Ev::Tick(n as u8));
        }
        for (r, router) in plan.routers.iter().enumerate() {
            sim.at(router.begins, Ev::Local(r as u8, Local::Start));
        }
        for (f, fault) in plan.faults.iter().enumerate() {
            sim.at(fault.at, Ev::Fault(f as u16));
            sim.at(fault.until, Ev::FaultOver(f as u16));
        }
        if let Some(first) = plan.calls.first() {
            sim.at(first.at, Ev::Call(0));
        }
        sim.at(plan.heals, Ev::Watch);
        sim
    }

    /// Runs to the end, or to the first problem.
    pub(crate) fn run(mut self) -> Outcome {
        while let Some(Reverse(Item { at, event, .. })) = self.queue.pop() {
            self.now = at;
            self.happen(event);
            if self.check.problem.is_some() || self.healing.over {
                break;
            }
        }
        Outcome {
            hash: self.trace.hash(),
            events: self.trace.events,
            reads: self.check.reads,
            time: self.now,
            problem: self.check.problem,
            lines: self.trace.lines.unwrap_or_default(),
            whole: self.healing.whole_at.is_some(),
            promotions: self.model.promotions,
        }
    }

    pub(crate) fn at(&mut self, at: Time, event: Ev) {
        self.number += 1;
        self.queue.push(Reverse(Item { at, number: self.number, event }));
    }

    pub(crate) fn after(&mut self, pause: Time, event: Ev) {
        self.at(self.now + pause, event);
    }

    pub(crate) fn local(&mut self, r: usize, pause: Time, event: Local) {
        self.at(self.now + pause, Ev::Local(r as u8, event));
    }

    fn happen(&mut self, event: Ev) {
        let kind = match &event {
            Ev::Fault(f) => 0x100 + u64::from(*f),
            Ev::FaultOver(f) => 0x200 + u64::from(*f),
            Ev::Tick(n) => 0x300 + u64::from(*n),
            Ev::Call(c) => 0x1000 + u64::from(*c),
            Ev::Watch => 0x400,
            Ev::Throttled(f) => 0x700 + u64::from(*f),
            Ev::Dialled(d) => 0x800 + u64::from(d.address),
            Ev::Arrive(m) => 0x1_0000 + u64::from(m.call) + (u64::from(m.tag) << 32),
            Ev::Asked(asked) => 0x500 + asked.address as u64,
            Ev::Sweep(f) => 0x900 + u64::from(*f),
            Ev::Late(r, serial) => 0xB00 + u64::from(*r) + (u64::from(*serial) << 32),
            Ev::Resumed(r) => 0xA00 + u64::from(*r),
            Ev::Local(r, l) => 0x600 + u64::from(*r) + local_kind(l),
        };
        self.trace.add(self.now, kind);
        match event {
            Ev::Fault(f) => self.fault(usize::from(f)),
            Ev::FaultOver(f) => self.fault_over(usize::from(f)),
            Ev::Tick(n) => self.tick(usize::from(n)),
            Ev::Call(c) => self.call(usize::from(c)),
            Ev::Watch => self.watch(),
            Ev::Throttled(f) => self.throttled(usize::from(f)),
            Ev::Arrive(message) => self.arrive(message),
            Ev::Dialled(dial) => self.dialled(dial),
            Ev::Asked(asked) => self.asked(*asked),
            Ev::Resumed(r) => self.resumed(usize::from(r)),
            Ev::Sweep(f) => self.sweep(usize::from(f)),
            Ev::Late(r, serial) => self.tell_late(usize::from(r), serial),
            Ev::Local(r, event) => {
                let r = usize::from(r);
                let resumes = self.routers[r].suspended_until;
                // What comes in the moment of waking stands behind what has come before.
                if resumes > self.now || !self.routers[r].held.is_empty() {
                    if self.routers[r].held.is_empty() {
                        self.at(resumes, Ev::Resumed(r as u8));
                    }
                    return self.routers[r].held.push(event);
                }
                self.router_event(r, event);
            }
        }
    }

    /// A router's process goes on, unless it was stopped again meanwhile. It reads what has come, in the order in which
    /// it came, before it looks at the clock.
    fn resumed(&mut self, r: usize) {
        let resumes = self.routers[r].suspended_until;
        if resumes > self.now {
            return self.at(resumes, Ev::Resumed(r as u8));
        }
        let held = std::mem::take(&mut self.routers[r].held);
        let (timers, others): (Vec<Local>, Vec<Local>) = held.into_iter().partition(Local::is_timer);
        for event in others {
            self.router_event(r, event);
        }
        for event in timers {
            self.at(self.now + 1, Ev::Local(r as u8, event));
        }
    }

    fn tick(&mut self, n: usize) {
        if self.model.nodes[n].up == crate::model::Up::Gone {
            return;
        }
        let before = self.model.nodes[n].owner;
        self.model.note_values(self.now);
        self.model.tick(&self.net, n, self.now);
        if self.trace.lines.is_some() && before != self.model.nodes[n].owner {
            let node = &self.model.nodes[n];
            let words = format!("node {n}: owners are {:?}, epoch {}", node.owner, node.current_epoch);
            self.trace.say(self.now, || words);
        }
        let pause = self.rng.u64(60..110) * MS;
        self.after(pause, Ev::Tick(n as u8));
    }
}

/// A time of the simulator as the policy's.
pub(crate) fn instant(time: Time) -> Instant {
    Instant::from_nanos(time)
}
