//! A router's connections: the policy's machine for each, and what goes through the model's network for it.

use super::listening::LISTENING;
use super::state::Lane;
use crate::model::{Ask, Said, Time, address, answer, number_of};
use crate::sim::{Dial, Ev, LaneId, Local, Message, Process, Sim, instant};
use failsoft_policy::connection::{Attempt, Connection, Deliver, Failure, Outcome, Phase};
use failsoft_policy::route::Source;
use failsoft_policy::{Instant, NodeKey};

/// The connection for invalidations, after those for what a node is asked as the owner and as a replica.
pub(super) const INVALIDATIONS: usize = 2;
/// The connection on which a node tells what is invalidated.
pub(super) const TELLS: usize = 3;
/// The connection on which keys are asked for of which a node then tells what happens to them.
pub(super) const KEYS: usize = 4;

/// The length of any request.
const REQUEST: usize = 32;

/// Outcomes, in their order: whose, and what.
#[derive(Debug, Default)]
struct Outcomes(Vec<((u32, u32), Outcome<Said>)>);

impl Deliver<(u32, u32), Said> for Outcomes {
    fn wakes(&mut self, _: &mut (u32, u32)) -> bool {
        false
    }

    fn deliver(&mut self, caller: (u32, u32), outcome: Outcome<Said>) {
        self.0.push((caller, outcome));
    }
}

impl Sim<'_> {
    /// Submits a request on the connection of this use, which is opened if it is not there. Its place; none if
    /// there is no room.
    pub(super) fn submit(
        &mut self,
        r: usize,
        node: NodeKey,
        lane: usize,
        (call, tag): (u32, u32),
        ask: Ask,
        attempt: Attempt,
    ) -> Option<(LaneId, u32)> {
        let id = self.lane(r, node, lane)?;
        let lane = self.routers[r].lane_mut(id)?;
        if !lane.machine.has_room() {
            return None;
        }
        let place = lane.machine.submit(attempt, REQUEST, ask.is_asking(), (call, tag));
        lane.queued.push((call, tag, ask));
        self.flush(r, id);
        self.look_at_clock(r, id);
        Some((id, place))
    }

    /// The connection of this use: the one that is there, or a new one.
    pub(super) fn lane(&mut self, r: usize, node: NodeKey, number: usize) -> Option<LaneId> {
        let router = &mut self.routers[r];
        let serial = router.next_tag();
        let (patience, most) = (router.config.attempt_timeout(), router.config.max_in_flight() as usize);
        let connect = router.config.connect_timeout().as_nanos() as Time;
        let expects = router.cluster.id(node).map(|id| number_of(id) as u8);
        let member = router.member(node)?;
        let place = &mut member.lanes[number];
        if let Some(lane) = place.as_ref().filter(|l| !matches!(l.machine.phase(), Phase::Ended(_))) {
            return Some(LaneId { node, lane: number as u8, serial: lane.serial });
        }
        let machine = Connection::new(patience, most);
        *place = Some(Lane { machine, serial, queued: Vec::new(), process: None, timer: Time::MAX });
        let (id, at) = (LaneId { node, lane: number as u8, serial }, address(&member.endpoint));
        self.dial(Dial { router: r as u8, address: at as u8, id, expects, sent: self.now });
        self.local(r, connect, Local::NotOpened { id });
        Some(id)
    }

    /// Writes what is queued, as far as anybody still waits for it.
    fn flush(&mut self, r: usize, id: LaneId) {
        let now = instant(self.now);
        let Some(member) = self.routers[r].member(id.node) else { return };
        let at = address(&member.endpoint);
        let Some(lane) = self.routers[r].lane_mut(id) else { return };
        let Some(process) = lane.process.filter(|_| *lane.machine.phase() == Phase::Open) else { return };
        let cut = lane.machine.take(now);
        let queued = std::mem::take(&mut lane.queued);
        if queued.is_empty() {
            return;
        }
        lane.machine.handle_written(queued.len() * REQUEST, true, now);
        for (place, (call, tag, ask)) in queued.into_iter().enumerate() {
            if cut.get(place).is_none_or(|c| c.1) {
                self.send(Message { router: r as u8, call, tag, address: at as u8, ask, id, to: process });
            }
        }
    }

    /// The machine's next time, unless it is known already.
    fn look_at_clock(&mut self, r: usize, id: LaneId) {
        let Some(lane) = self.routers[r].lane_mut(id) else { return };
        let next = lane.machine.next_timeout();
        let at = if next == Instant::MAX { Time::MAX } else { next.as_nanos() };
        if at < lane.timer {
            lane.timer = at;
            self.at(at.max(self.now), Ev::Local(r as u8, Local::LaneTimer { id }));
        }
    }

    /// The connection is open, and leads to this process.
    pub(super) fn on_opened(&mut self, r: usize, id: LaneId, process: Process, sent: Time) {
        let Some(lane) = self.routers[r].lane_mut(id) else { return };
        lane.process = Some(process);
        lane.machine.handle_opened(instant(sent));
        self.check.greeted(r, id.node, self.now);
        self.flush(r, id);
        self.look_at_clock(r, id);
    }

    /// A connection that is not open by now will not be.
    pub(super) fn on_not_opened(&mut self, r: usize, id: LaneId) {
        let Some(lane) = self.routers[r].lane_mut(id) else { return };
        if *lane.machine.phase() != Phase::Connecting {
            return;
        }
        if let Some(at) = self.routers[r].member(id.node).map(|m| address(&m.endpoint)) {
            self.check.explained(r, at, self.now);
        }
        self.on_broken(r, id, Failure::Connect("no end of it".into()));
    }

    /// The connection is over.
    pub(super) fn on_broken(&mut self, r: usize, id: LaneId, why: Failure) {
        let mut out = Outcomes::default();
        let Some(lane) = self.routers[r].lane_mut(id) else { return };
        lane.machine.end(why, &mut out);
        self.deliver(r, id, out);
    }

    /// A reply came.
    pub(super) fn on_reply(&mut self, r: usize, id: LaneId, tag: u32, said: Said, asking: bool) {
        let now = instant(self.now);
        let mut out = Outcomes::default();
        let Some(lane) = self.routers[r].lane_mut(id) else { return };
        if matches!(lane.machine.phase(), Phase::Ended(_)) {
            return;
        }
        if said == Said::Garbage {
            return self.on_broken(r, id, Failure::Protocol("garbage".into()));
        }
        self.check.greeted(r, id.node, self.now);
        if asking {
            lane.machine.handle_replies([Said::Done], now, &mut out);
        }
        let asked = lane.machine.handle_replies([said], now, &mut out);
        self.check.that(asked, || format!("router {r}: a reply that nobody asked for: {said:?}"));
        let others = out.0.iter().find(|((_, got), outcome)| outcome.is_ok() && *got != tag).map(|(caller, _)| *caller);
        self.check
            .that(others.is_none(), || format!("router {r}: {others:?} gets the reply to request {tag}: {said:?}"));
        self.deliver(r, id, out);
    }

    pub(super) fn on_lane_timer(&mut self, r: usize, id: LaneId) {
        let now = instant(self.now);
        let mut out = Outcomes::default();
        let Some(lane) = self.routers[r].lane_mut(id) else { return };
        lane.timer = Time::MAX;
        lane.machine.handle_timeout(now, &mut out);
        self.deliver(r, id, out);
    }

    /// The policy hears first what the connection's end says of the node, then every caller what became of its request.
    fn deliver(&mut self, r: usize, id: LaneId, out: Outcomes) {
        self.look_at_clock(r, id);
        let Some(lane) = self.routers[r].lane_mut(id) else { return };
        // What becomes of one on which the node is listened to is not held against it.
        let blame = lane.machine.take_blame().filter(|_| usize::from(id.lane) < TELLS);
        let contact = lane.machine.contact();
        let sent_at = lane.machine.silent_since().unwrap_or(instant(self.now));
        if let Some(reason) = blame {
            self.trace.say(self.now, || format!("router {r}: {id:?} ended, which is held against the node: {reason}"));
            let admitted = self.routers[r].cluster.admits(id.node);
            let at = self.routers[r].cluster.endpoint(id.node).map_or(crate::model::ADDRESSES, address);
            self.check.blamed(r, id.node, at, sent_at.as_nanos(), admitted, self.now);
            self.routers[r].cluster.handle_failure(id.node, reason, sent_at, contact, instant(self.now));
        }
        for ((call, tag), outcome) in out.0 {
            if let (LISTENING, Ok(said)) = (call, &outcome) {
                self.listening_ended(r, tag, Some(*said));
                continue;
            }
            // Its place is another one's from now on.
            let waits = self.routers[r].calls.get_mut(call as usize).and_then(Option::as_mut).filter(|c| c.tag == tag);
            waits.into_iter().for_each(|c| c.place = None);
            match outcome {
                Ok(said) => {
                    let short = self.model.setup.short_redirects;
                    self.on_answer(r, call, tag, answer(said, short), said);
                }
                // Whoever ends a connection may be in the middle of something.
                Err(failure) => self.local(r, 0, Local::Failed { call, tag, answer: failure.answer() }),
            }
        }
        if blame.is_some() {
            self.settle(r, true);
        }
    }

    /// Nobody waits for this attempt any more.
    pub(super) fn let_go(&mut self, r: usize, (id, place): (LaneId, u32)) {
        if let Some(lane) = self.routers[r].lane_mut(id) {
            lane.machine.release(place);
        }
    }

    /// Ends the connections of a node, or of one source.
    pub(super) fn close(&mut self, r: usize, node: NodeKey, source: Option<Source>, why: &Failure) {
        for id in self.lanes(r, node) {
            if source.is_none_or(|s| s as u8 == id.lane) {
                self.on_broken(r, id, why.clone());
            }
        }
    }

    /// The node is in trouble: its connections are closed, unless they are only being made.
    pub(super) fn close_after_failure(&mut self, r: usize, node: NodeKey) {
        for id in self.lanes(r, node) {
            let mut out = Outcomes::default();
            let Some(lane) = self.routers[r].lane_mut(id) else { continue };
            lane.machine.fail_over(&mut out);
            self.deliver(r, id, out);
        }
    }

    fn lanes(&mut self, r: usize, node: NodeKey) -> Vec<LaneId> {
        let Some(member) = self.routers[r].member(node) else { return Vec::new() };
        let lanes = (0..).zip(&member.lanes);
        lanes.filter_map(|(lane, of)| Some(LaneId { node, lane, serial: of.as_ref()?.serial })).collect()
    }
}
