//! The copies of a router: what they are made of, and whether one serves instead of an error.

use super::{Router, name_of, slot_of};
use crate::model::Time;
use crate::sim::{Sim, instant};
use failsoft_policy::NodeKey;
use failsoft_policy::copies::{Held, is_worth, of_load};

impl Router {
    pub(super) fn keep(&mut self, key: u8, value: u32, held: Held) {
        let later = self.copies.get(&key).is_some_and(|(_, there)| there.current_at > held.current_at);
        if (self.config.standin_bytes() > 0 || self.config.near_cache_bytes() > 0) && !later {
            self.copies.insert(key, (value, held));
        }
    }

    /// A primary has served a value that it was asked for at this time. Half of them are copied.
    pub(super) fn see(&mut self, key: u8, value: Option<u32>, node: NodeKey, asked_at: Time) {
        let worth = is_worth(instant(asked_at), self.copies.get(&key).map(|(_, held)| *held));
        if let Some(value) = value.filter(|value| worth && value % 2 == 0) {
            self.keep(key, value, Held { current_at: instant(asked_at), node: Some(node) });
        }
    }

    /// A callback that began then has given these values.
    pub(super) fn copy_loaded(&mut self, running: &super::Running, values: &[(u8, u32)]) {
        let found = |key| running.found.iter().any(|(of, _)| *of == key);
        for &(key, value) in values.iter().filter(|(key, _)| !found(*key)) {
            let held = of_load(instant(running.callback_at), running.terms.get(&key)).filter(|_| value != 0);
            match held {
                Some(held) => self.keep(key, value, held),
                None => drop(self.copies.remove(&key)),
            }
        }
    }
}

impl Sim<'_> {
    /// Whether a copy of this key serves a caller who set out at `began`, who would get an error otherwise.
    pub(super) fn serves_copy(&mut self, r: usize, key: u8, began: Time) -> bool {
        let router = &self.routers[r];
        let Some(&(value, held)) = router.copies.get(&key) else { return false };
        let name = name_of(key);
        let serves = router.cluster.copy_serves((slot_of(key), &name), held, None, instant(self.now));
        if serves {
            self.serve_copy(r, key, Some((value, held)), began);
        }
        serves
    }

    /// A copy is what a caller gets who set out at `began`.
    pub(super) fn serve_copy(&mut self, r: usize, key: u8, copy: Option<(u32, Held)>, began: Time) {
        let Some((value, held)) = copy else {
            return self.check.that(false, || format!("router {r}: a copy of key {key} serves that is not there"));
        };
        self.trace.say(self.now, || format!("router {r}: the copy {value} of key {key} serves, {held:?}"));
        self.check.copied(r, (key, value), held, began, self.now);
    }

    /// The copies of all these keys serve a caller whose load failed.
    pub(super) fn serves_copies(&mut self, r: usize, keys: &[u8], began: Time) -> bool {
        keys.iter().all(|&key| self.serves_copy(r, key, began))
    }
}
