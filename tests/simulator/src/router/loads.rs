//! Runs callbacks, one for a key at a time, and brings their result to all who wait for it.

use super::running::{Loaded, Place, Running};
use super::state::Failure;
use super::{key_of, name_of, token_of};
use crate::model::{MS, Time};
use crate::plan::{Behaviour, End};
use crate::sim::{Local, Sim, instant};
use failsoft_policy::NodeKey;
use failsoft_policy::flight::{LoadId, LoadKeys, WaiterId};
use failsoft_policy::load::{Begin, Ending, Wanted};
use failsoft_policy::slot::slot_of;
use failsoft_policy::topology::Kind;

impl Sim<'_> {
    /// The cluster side of one key is over: it is to be loaded, or done, or failed.
    pub(super) fn routed(
        &mut self,
        r: usize,
        id: u32,
        wanted: Option<(u8, Option<NodeKey>)>,
        failure: Option<Failure>,
    ) {
        let Some(caller) = self.routers[r].callers[id as usize].as_mut() else { return };
        caller.routing -= 1;
        caller.wanted.extend(wanted);
        if failure.is_some() {
            // Without a callback nobody may be able to say; with one, somebody always is.
            caller.failure = failure;
            caller.excused = caller.callback.is_none();
        }
        if caller.routing == 0 {
            let wanted = std::mem::take(&mut caller.wanted);
            if wanted.is_empty() { self.end_caller(r, id) } else { self.join(r, id, wanted) }
        }
    }

    /// Joins the loads once.
    pub(super) fn join(&mut self, r: usize, id: u32, mut wanted: Vec<(u8, Option<NodeKey>)>) {
        let now = instant(self.now);
        let router = &mut self.routers[r];
        let Some(caller) = router.callers[id as usize].as_mut() else { return };
        caller.rounds += 1;
        let began = caller.began;
        let lease_by = caller.lease_by;
        let cluster = &router.cluster;
        let one = |&(key, confirmed): &(u8, _)| {
            let (key, over) = (name_of(key), caller.over.map(token_of));
            let since = cluster.joins_since(slot_of(&key), now);
            Wanted { key, confirmed, lease_by, over, since }
        };
        let all: Vec<Wanted> = wanted.iter().map(one).collect();
        for want in all.iter().filter(|_| caller.inside.is_none()) {
            // What began before that is not joined: another load of the key may begin.
            let key = key_of(&want.key);
            for load in router.running.values_mut().filter(|l| l.holds(key) && l.begun) {
                if instant(load.callback_at) < want.since {
                    load.detached.push(key);
                    self.check.load_let_go(r, key);
                }
            }
        }
        let mut join = match router.loads.join(&all, caller.inside.as_slice(), instant(began), now) {
            Ok(join) => join,
            Err(circle) => {
                let inside = caller.inside;
                let real = router.closes_a_circle(inside, key_of(&circle.key));
                self.check
                    .that(real, || format!("router {r}: no circle, but key {:?} is called re-entrant", circle.key));
                if let Some(caller) = self.routers[r].callers[id as usize].as_mut() {
                    (caller.failure, caller.excused) = (Some(Failure::Reentrant), true);
                }
                return self.end_caller(r, id);
            }
        };
        for answered in &join.answered {
            let Some((result, ended)) = router.results.get(&answered.load) else {
                self.check
                    .that(false, || format!("router {r}: {:?} answers, but nobody has its result", answered.load));
                continue;
            };
            let pause = router.config.failure_pause().filter(|_| result == &Err(Failure::Callback));
            let answers = *ended + pause.map_or(0, |pause| pause.as_nanos() as Time);
            self.check.that(*ended >= began || answers > began, || {
                let (ended, began) = (ended / MS, began / MS);
                format!(
                    "router {r}: a caller who set out at {began} ms gets what a load came to that ended at {ended} ms"
                )
            });
            match result {
                Err(failure) => (caller.failure, caller.excused) = (Some(*failure), true),
                Ok(values) => {
                    let theirs = values.iter().filter(|v| answered.keys.contains(&name_of(v.0)));
                    theirs.for_each(|&value| self.check.fresh(r, value, began, self.now));
                }
            }
            wanted.retain(|w| !answered.keys.contains(&name_of(w.0)));
        }
        let shed = join.shed.take();
        let nested_shed = caller.inside.is_some() && shed.is_some();
        self.check.that(!nested_shed, || format!("router {r}: a callback is told that the store is to be spared"));
        if let Some((keys, _)) = &shed {
            (caller.failure, caller.excused) = (Some(Failure::Shed), true);
            wanted.retain(|w| !keys.contains(&name_of(w.0)));
        }
        (caller.waiter, caller.joined) = (Some(join.waiter), self.now);
        let all = join.lead.iter().chain(&join.waits);
        caller.awaited = all.map(|l| (l.load, l.keys.iter().map(key_of).collect())).collect();
        // For those whose loads go away the confirmations are kept.
        caller.gone.clear();
        let (inside, callback) = (caller.inside, caller.callback);
        caller.wanted = wanted;
        let (spent, serial) = (caller.spent, caller.serial);
        caller.spent |= join.lead.is_some();
        caller.led = join.lead.as_ref().map(|lead| lead.load);
        self.check.that(join.lead.is_none() || !spent, || format!("router {r}: a callback is to run twice"));
        let circle = inside.is_some_and(|p| join.waits.iter().any(|l| router.awaits(l.load, p)));
        self.check.that(!circle, || format!("router {r}: a callback waits for itself"));
        if let Some((_, cause)) = shed {
            self.check_shed(r, cause);
        }
        let lead = join.lead.as_ref().map(|lead| lead.load);
        if let (Some(lead), Some(behaviour)) = (join.lead, callback) {
            let load = lead.load;
            self.queue_load(r, lead, behaviour);
            if let Some(running) = self.routers[r].running.get_mut(&load) {
                (running.set_out, running.impatient) = (began, lease_by.is_some());
            }
        }
        let begin = join.begin;
        if inside.is_some() {
            let awaited = lead.into_iter().chain(join.waits.iter().map(|theirs| theirs.load));
            for load in awaited.clone() {
                self.routers[r].running.entry(load).and_modify(|running| running.impatient = true);
            }
            let waits = |load: &LoadId| self.routers[r].running.get(load).is_some_and(|l| l.place == Place::Line);
            let held = awaited.filter(waits).find(|load| !begin.contains(load));
            self.check.that(held.is_none(), || format!("router {r}: {held:?} waits in line, and a callback for it"));
        }
        for load in begin {
            // Others begin because this caller waits for them inside a callback.
            let place = if inside.is_none() && lead == Some(load) { Place::Counted } else { Place::Beside };
            if let Some(running) = self.routers[r].running.get_mut(&load) {
                (running.place, running.waited) = (place, lead != Some(load));
            }
            self.start_load(r, load);
        }
        let waits = self.routers[r].callers[id as usize].as_ref().is_some_and(|c| c.awaited.is_empty());
        if waits {
            self.rounds_over(r, vec![(id, serial)]);
        }
    }

    fn queue_load(&mut self, r: usize, lead: LoadKeys, behaviour: Behaviour) {
        let keys: Vec<u8> = lead.keys.iter().map(key_of).collect();
        self.trace.say(self.now, || format!("router {r}: {:?} of keys {keys:?} is to be run", lead.load));
        self.check.load_begins(r, &keys);
        let router = &mut self.routers[r];
        let running = Running::new(keys, behaviour, self.now, router.suspended);
        router.running.insert(lead.load, running);
    }

    /// A callback begins.
    pub(super) fn begin_load(&mut self, r: usize, load: LoadId) {
        let router = &mut self.routers[r];
        let Some(running) = router.running.get_mut(&load) else { return };
        let behaviour = running.behaviour;
        // Some read the store at once, and are slow to give what they have read.
        running.callback_at = self.now;
        running.read = (behaviour.takes % 2 == 0).then_some(self.store.versions);
        let needed = running.found.len() < running.keys.len();
        let begin = router.loads.begin(load, needed, instant(self.now));
        self.trace.say(self.now, || format!("router {r}: {load:?} begins: {behaviour:?}"));
        if let Begin::Shed(cause) = begin {
            self.check_shed(r, cause);
            self.finish_load(r, load, Err(Failure::Shed));
            return self.settle(r, true);
        }
        if begin == Begin::Over {
            let late = self.routers[r].running.get(&load).is_some_and(|l| l.timed_out);
            self.check.that(late, || format!("router {r}: {load:?} begins for nobody"));
            return self.abort(r, load);
        }
        match behaviour.asks {
            [Some(first), then] => {
                let inner = Behaviour { end: End::Value, takes: behaviour.takes / 2, asks: [then, None] };
                let nested = self.begin_read(r, &[first], Some(inner), Some(load), None, None);
                // It may have ended at once.
                let alive = self.routers[r].callers[nested.0 as usize].as_ref().is_some_and(|c| c.serial == nested.1);
                if let Some(running) = self.routers[r].running.get_mut(&load).filter(|_| alive) {
                    running.nested = Some(nested);
                }
            }
            _ => self.run_callback(r, load, behaviour),
        }
        self.settle(r, true);
    }

    fn run_callback(&mut self, r: usize, load: LoadId, behaviour: Behaviour) {
        if behaviour.end != End::Never {
            let takes = behaviour.takes + self.store.slow_by;
            self.local(r, takes, Local::Loaded { load });
        }
    }

    /// What a callback asked for came, or did not.
    fn nested_ended(&mut self, r: usize, load: LoadId, failed: bool) {
        let Some(running) = self.routers[r].running.get_mut(&load) else { return };
        (running.nested, running.nested_failed) = (None, failed);
        let behaviour = running.behaviour;
        if failed { self.local(r, 0, Local::Loaded { load }) } else { self.run_callback(r, load, behaviour) }
    }

    /// A callback ends.
    pub(super) fn on_loaded(&mut self, r: usize, load: LoadId) {
        let Some(running) = self.routers[r].running.get(&load) else { return };
        let result: Loaded = match running.behaviour.end {
            _ if running.found.len() == running.keys.len() => Ok(running.found.clone()),
            _ if running.nested_failed => Err(Failure::Callback),
            End::Value => {
                let read = running.read.unwrap_or(self.store.versions);
                let found = |k| running.found.iter().find(|(key, _)| *key == k).map(|f| f.1);
                Ok(running.keys.iter().map(|&k| (k, found(k).unwrap_or(read[usize::from(k)]))).collect())
            }
            End::Absent => Ok(running.keys.iter().map(|&k| (k, 0)).collect()),
            End::Fails | End::Never => Err(Failure::Callback),
            End::Gone => Err(Failure::Gone),
        };
        self.finish_load(r, load, result);
        self.settle(r, false);
    }

    fn finish_load(&mut self, r: usize, load: LoadId, result: Loaded) {
        let now = instant(self.now);
        let router = &mut self.routers[r];
        let ending = match &result {
            Ok(values) => Ending::Loaded { bytes: values.len() * 4 },
            Err(Failure::Gone) => Ending::Gone,
            Err(Failure::Shed) => Ending::Shed,
            Err(_) => Ending::Failed,
        };
        let ended = router.loads.finish(load, ending, now);
        self.shed_line(r);
        let Some(running) = self.routers[r].running.remove(&load) else { return };
        self.note_end(r, &running, result == Err(Failure::Callback));
        let router = &mut self.routers[r];
        self.trace.say(self.now, || format!("router {r}: {load:?} ends: {result:?}"));
        self.check.load_ends(r, &running);
        let Some(ended) = ended else {
            return self.check.that(false, || format!("router {r}: {load:?} runs, but the loads do not know it"));
        };
        if ended.kept {
            router.results.insert(load, (result.clone(), self.now));
        }
        ended.dropped.iter().for_each(|load| drop(router.results.remove(load)));
        if let Ok(values) = &result {
            self.routers[r].copy_loaded(&running, values);
            for (key, lease) in ended.fills {
                let key = key_of(&key);
                match (values.iter().find(|v| v.0 == key && v.1 != 0), lease) {
                    (Some(&(_, value)), Ok(lease)) => self.fill(r, key, value, lease),
                    (None, Ok(lease)) => self.release_lease(r, key, &lease),
                    (_, Err(_)) => {}
                }
            }
        }
        let over = self.tell(r, load, (&result, ending, running.callback_at), true, ended.waiters);
        self.rounds_over(r, over);
        self.give_place_on(r, load);
    }

    /// The callback of a load does not run any more: another one begins.
    fn give_place_on(&mut self, r: usize, load: LoadId) {
        let router = &mut self.routers[r];
        let Some(next) = router.loads.release(load, instant(self.now)) else { return };
        if let Some(running) = router.running.get_mut(&next) {
            (running.place, running.waited) = (Place::Counted, true);
        }
        self.local(r, 0, Local::Begin { load: next });
    }

    /// All who wait for a load, so many as are `told`, hear what it came to; those who now wait for nothing.
    pub(super) fn tell(
        &mut self,
        r: usize,
        load: LoadId,
        (result, ending, began): (&Loaded, Ending, Time),
        excused: bool,
        told: usize,
    ) -> Vec<(u32, u32)> {
        let router = &mut self.routers[r];
        let mut waiting = 0;
        let (mut over, mut failed) = (Vec::new(), Vec::new());
        for (id, caller) in router.callers.iter_mut().enumerate() {
            let Some(caller) = caller else { continue };
            let Some(at) = caller.awaited.iter().position(|a| a.0 == load) else { continue };
            waiting += 1;
            let (_, keys) = caller.awaited.remove(at);
            match result {
                _ if ending.leaves_it_to(!caller.spent) => {
                    let again = caller.wanted.iter().filter(|w| keys.contains(&w.0)).copied();
                    caller.gone.extend(again);
                }
                Err(failure) => {
                    failed.push((id as u32, keys, caller.began));
                    (caller.failure, caller.excused) = (Some(*failure), excused);
                }
                Ok(values) => {
                    for &value in values.iter().filter(|v| keys.contains(&v.0)) {
                        self.check.fresh(r, value, caller.began, self.now);
                        if caller.led != Some(load) {
                            self.check.joined(r, value, began, caller.joined);
                        }
                    }
                }
            }
            if caller.awaited.is_empty() {
                over.push((id as u32, caller.serial));
            }
        }
        for (id, keys, began) in failed {
            if self.serves_copies(r, &keys, began)
                && let Some(caller) = self.routers[r].callers[id as usize].as_mut()
            {
                (caller.failure, caller.excused) = (None, false);
            }
        }
        self.check.that(waiting == told, || format!("router {r}: {waiting} wait for {load:?}, {told} are told"));
        over
    }

    /// These callers wait for nothing more: they leave, and run their own callbacks where others went away.
    pub(super) fn rounds_over(&mut self, r: usize, callers: Vec<(u32, u32)>) {
        for (id, serial) in callers {
            let there = self.routers[r].callers[id as usize].as_mut().filter(|c| c.serial == serial);
            let Some(caller) = there else { continue };
            let (waiter, gone) = (caller.waiter.take(), std::mem::take(&mut caller.gone));
            if let Some(waiter) = waiter {
                self.leave(r, waiter);
            }
            if gone.is_empty() { self.end_caller(r, id) } else { self.join(r, id, gone) }
        }
    }

    pub(super) fn leave(&mut self, r: usize, waiter: WaiterId) {
        let cancelled = self.routers[r].loads.leave(waiter);
        for load in cancelled {
            self.abort(r, load);
        }
    }

    pub(super) fn abort(&mut self, r: usize, load: LoadId) {
        let Some(running) = self.routers[r].running.remove(&load) else { return };
        self.note_end(r, &running, running.timed_out);
        self.drop_leases(r, load);
        self.trace.say(self.now, || format!("router {r}: {load:?} is stopped"));
        self.check.load_ends(r, &running);
        if let Some((caller, serial)) = running.nested {
            self.drop_caller(r, caller, serial, Failure::Cancelled);
        }
        self.give_place_on(r, load);
    }

    /// A caller has its answer, or its error.
    pub(super) fn end_caller(&mut self, r: usize, id: u32) {
        let router = &mut self.routers[r];
        let Some(caller) = router.callers[id as usize].take() else { return };
        self.trace.say(self.now, || format!("router {r}: caller {id} ends, failure {:?}", caller.failure));
        let unseen = router.cluster.kind() == Kind::Unknown;
        self.check.caller_ends(r, &caller, &router.config, router.suspended, unseen, self.now);
        if let Some(load) = caller.inside
            && caller.failure != Some(Failure::Cancelled)
        {
            self.nested_ended(r, load, caller.failure.is_some());
        }
    }
}
