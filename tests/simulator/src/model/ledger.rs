//! Which values each key has had, and when it last had each: what a read may say is measured by this.
//!
//! A key has a value as long as a node holds it that takes itself for the primary that owns it. In a
//! partition two may, and then the key has both.

use super::{BLOCKS, KEYS, Model, NOBODY, OTHER_TYPE, Time, Up};

/// Values from here on are those of a cluster that is not ours.
pub(crate) const FOREIGN: u32 = 1 << 30;

/// See the module: for each key its values in the order in which they came, and when it last had each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    had: [Vec<(u32, Time)>; KEYS],
}

impl Ledger {
    fn had(&mut self, key: usize, value: u32, now: Time) {
        if value == 0 || value == OTHER_TYPE {
            return;
        }
        let had = &mut self.had[key];
        match had.iter_mut().rev().find(|(v, _)| *v == value) {
            Some((_, last)) => *last = now,
            None => had.push((value, now)),
        }
    }
}

impl Model {
    /// Notes what every key has now; called before anything happens that may take it away.
    pub(crate) fn note_values(&mut self, now: Time) {
        for key in 0..KEYS {
            self.note_key(key, now);
        }
    }

    /// Notes one key's values.
    pub(super) fn note_key(&mut self, key: usize, now: Time) {
        let block = key % BLOCKS;
        for (n, node) in self.nodes.iter().enumerate() {
            let there = matches!(node.up, Up::Running | Up::Hung) && node.is_primary(n) && node.group == self.ours;
            if there && (usize::from(node.owner[block]) == n || node.importing[block] != NOBODY) {
                self.ledger.had(key, node.data[key], now);
            }
        }
    }

    /// When a key last had a value; none if it never had it.
    pub(crate) fn last_had(&mut self, key: usize, value: u32, now: Time) -> Option<Time> {
        self.note_key(key, now);
        self.ledger.had[key].iter().rev().find(|(v, _)| *v == value).map(|(_, last)| *last)
    }
}
