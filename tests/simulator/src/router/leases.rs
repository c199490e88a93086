//! Takes the leases of a load before its callback begins.

use super::call::{Call, Work};
use super::{KEPT, key_of, slot_of, token_in, token_of};
use crate::model::Said;
use crate::plan::End;
use crate::sim::{Local, Sim, instant};
use failsoft_policy::fleet::Next;
use failsoft_policy::flight::LoadId;
use failsoft_policy::lease::{Given, Missing, Step, Taken, Taking};
use failsoft_policy::read::Answer;
use failsoft_policy::route::{Bounds, Source};
use failsoft_policy::{Instant, NodeKey, Turn};

impl Sim<'_> {
    /// The turn of a load has come, or it has waited for another router's.
    pub(super) fn start_load(&mut self, r: usize, load: LoadId) {
        let router = &mut self.routers[r];
        let Some(running) = router.running.get_mut(&load) else { return };
        let missing = match std::mem::take(&mut running.again) {
            again if again.is_empty() => router.loads.leases(load),
            again => again,
        };
        running.leasing = missing.len();
        running.refreshes |= missing.iter().any(|missing| missing.over.is_some());
        for missing in missing {
            self.take_lease(r, load, missing);
        }
        self.leases_taken(r, load);
        // Its limit counts from now.
        self.settle(r, true);
    }

    fn take_lease(&mut self, r: usize, load: LoadId, missing: Missing) {
        let now = instant(self.now);
        let (router, key) = (&mut self.routers[r], key_of(&missing.key));
        let token = router.next_tag() << 2 | r as u32;
        let token = if router.config.lease_ttl().is_some() { token | KEPT } else { token & !KEPT };
        let of = (slot_of(key), token_of(token));
        let mut turn = Turn { cluster: &mut router.cluster, now, dice: 0 };
        let (taking, attempt) = match Taking::begin(&missing, of, &router.config, &mut turn) {
            Ok(begun) => begun,
            Err(cause) => return self.lease_came(r, load, missing, Taken::Refused(cause)),
        };
        let bounds = Bounds::new(&router.config, now);
        let tag = router.next_tag();
        let call = router.new_call(Call::new(
            u32::MAX,
            key,
            Work::Lease { load, missing: missing.clone(), taking, line: 0, token },
            self.now,
            bounds,
            tag,
        ));
        self.attempt(r, call, missing.node, Source::Primary, false, attempt);
    }

    /// The commands of one key ended.
    pub(super) fn lease_ended(&mut self, r: usize, id: u32, answer: &Answer, contact: Option<Instant>) {
        let Some(call) = self.routers[r].calls[id as usize].take() else { return };
        let Work::Lease { load, ref missing, ref taking, line, .. } = call.work else { return };
        let given = match (answer, call.said) {
            (Answer::Value, Some(Said::Value(value))) => {
                self.check.value(r, &call, &mut self.model, self.now);
                Given::Value(token_of(value))
            }
            (Answer::Value, Some(Said::Leased(token))) => Given::Token(token_of(token)),
            (Answer::Nil, Some(Said::Held)) => Given::Held,
            (answer, _) => Given::Neither(answer.clone()),
        };
        let router = &mut self.routers[r];
        let mut turn = Turn { cluster: &mut router.cluster, now: instant(self.now), dice: 0 };
        // The model's servers know the script.
        let Step::Over(taken) = taking.clone().on(line, given, contact, &mut turn) else { return };
        self.publish(r);
        self.trace.say(self.now, || format!("router {r}: {load:?} of key {}: {taken:?}", call.key));
        self.lease_came(r, load, missing.clone(), taken);
        self.leases_taken(r, load);
    }

    fn lease_came(&mut self, r: usize, load: LoadId, missing: Missing, taken: Taken) {
        let Some(running) = self.routers[r].running.get_mut(&load) else { return };
        running.leasing -= 1;
        match taken {
            Taken::Leased(lease) => running.leases.taken.push((missing.key, Ok(lease))),
            Taken::Elsewhere(lease) => running.leases.elsewhere.push((missing, lease)),
            Taken::Found(value) => running.found.push((key_of(&missing.key), token_in(&value))),
            Taken::Refused(cause) => running.leases.taken.push((missing.key, Err(cause))),
        }
    }

    /// If nothing is asked for any more, the callback begins, unless another router's is waited for.
    fn leases_taken(&mut self, r: usize, load: LoadId) {
        let router = &mut self.routers[r];
        let Some(running) = router.running.get_mut(&load).filter(|l| l.leasing == 0 && !l.begun) else { return };
        if running.refreshes && !running.found.is_empty() {
            // There is nothing to do, and for who joined it because the key is gone by now it is no answer.
            (running.begun, running.behaviour.end) = (true, End::Gone);
            running.found.clear();
            return self.local(r, 0, Local::Loaded { load });
        }
        let came = std::mem::take(&mut running.leases);
        running.terms.extend(came.taken.iter().map(|(key, lease)| (key_of(key), lease.clone())));
        let (dice, now) = (self.now as u32, instant(self.now));
        // Its turn has not come by any of what it asked for.
        let theirs = came.elsewhere.len();
        let passes = came.taken.is_empty() && theirs > 0 && theirs + running.found.len() == running.keys.len();
        let may_pass = running.impatient || now >= instant(running.set_out) + router.config.load_timeout() / 2;
        match router.loads.leased(load, came, now, dice) {
            Some(Next::Wait { until, missing }) => {
                running.again = missing;
                let until = until.as_nanos();
                return self.local(r, until.saturating_sub(self.now), Local::Begin { load });
            }
            Some(Next::Run(keeping)) => {
                running.keeping = Some(keeping);
                self.check
                    .that(!passes || may_pass, || format!("router {r}: {load:?} does not wait for another's load"));
            }
            None => {}
        }
        running.begun = true;
        let all_found = running.found.len() == running.keys.len();
        self.next_prolonging(r, load);
        if all_found {
            return self.local(r, 0, Local::Loaded { load });
        }
        self.begin_load(r, load);
    }

    /// A load is over while it takes its leases: nobody waits for them any more.
    pub(super) fn drop_leases(&mut self, r: usize, load: LoadId) {
        self.drop_calls(r, |call| matches!(call.work, Work::Lease { load: of, .. } if of == load));
    }

    /// An attempt that can't be sent ends at once.
    pub(super) fn not_sent(&mut self, r: usize, id: u32, node: NodeKey, answer: Answer) {
        let router = &mut self.routers[r];
        let tag = router.next_tag();
        if let Some(call) = router.calls[id as usize].as_mut() {
            (call.tag, call.waiting) = (tag, false);
            call.target = Some((node, crate::model::ADDRESSES, Source::Primary));
        }
        self.local(r, 0, Local::Failed { call: id, tag, answer });
    }
}
