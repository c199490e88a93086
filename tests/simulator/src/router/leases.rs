//! Takes the leases of a load before its callback begins.

use super::call::{Call, Work};
use super::{key_of, name_of, slot_of, token_in, token_of};
use crate::model::Said;
use crate::sim::{Local, Sim, instant};
use failsoft_policy::flight::LoadId;
use failsoft_policy::lease::{Given, Missing, Step, Taken, Taking};
use failsoft_policy::read::Answer;
use failsoft_policy::route::{Bounds, Source};
use failsoft_policy::{Instant, NodeKey, Turn};

impl Sim<'_> {
    /// The turn of a load has come.
    pub(super) fn start_load(&mut self, r: usize, load: LoadId) {
        let router = &mut self.routers[r];
        let Some(running) = router.running.get_mut(&load) else { return };
        let missing = router.loads.leases(load);
        running.leasing = missing.len();
        for missing in missing {
            self.take_lease(r, load, &missing);
        }
        self.leases_taken(r, load);
        // Its limit counts from now.
        self.settle(r, true);
    }

    fn take_lease(&mut self, r: usize, load: LoadId, missing: &Missing) {
        let now = instant(self.now);
        let (router, key) = (&mut self.routers[r], key_of(&missing.key));
        let mut turn = Turn { cluster: &mut router.cluster, now, dice: 0 };
        let (taking, attempt) = match Taking::begin(missing, slot_of(key), &router.config, &mut turn) {
            Ok(begun) => begun,
            Err(cause) => return self.lease_came(r, load, key, Taken::Refused(cause)),
        };
        let token = router.next_tag() << 2 | r as u32;
        let bounds = Bounds::new(&router.config, now);
        let tag = router.next_tag();
        let call = router.new_call(Call::new(
            u32::MAX,
            key,
            Work::Lease { load, taking, line: 0, token },
            self.now,
            bounds,
            tag,
        ));
        self.attempt(r, call, missing.node, Source::Primary, false, attempt);
    }

    /// The commands of one key ended.
    pub(super) fn lease_ended(&mut self, r: usize, id: u32, answer: &Answer, contact: Option<Instant>) {
        let Some(call) = self.routers[r].calls[id as usize].take() else { return };
        let Work::Lease { load, ref taking, line, .. } = call.work else { return };
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
        self.lease_came(r, load, call.key, taken);
        self.leases_taken(r, load);
    }

    fn lease_came(&mut self, r: usize, load: LoadId, key: u8, taken: Taken) {
        let Some(running) = self.routers[r].running.get_mut(&load) else { return };
        running.leasing -= 1;
        match taken {
            Taken::Leased(lease) => running.leases.push((name_of(key), Ok(lease))),
            Taken::Found(value) => running.found.push((key, token_in(&value))),
            Taken::Refused(cause) => running.leases.push((name_of(key), Err(cause))),
        }
    }

    /// If nothing is asked for any more, the callback begins.
    fn leases_taken(&mut self, r: usize, load: LoadId) {
        let router = &mut self.routers[r];
        let Some(running) = router.running.get_mut(&load).filter(|l| l.leasing == 0 && !l.begun) else { return };
        running.begun = true;
        router.loads.leased(load, std::mem::take(&mut running.leases));
        if running.found.len() == running.keys.len() {
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
