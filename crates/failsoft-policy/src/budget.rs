//! The budgets of further attempts: token buckets that successes refill, and the redirects that lead in circles.
//!
//! The bucket for retries adds at most a fifth to the load (the design of Finagle's `RetryBudget`). `TRYAGAIN`
//! has a small one of its own: a slot that keeps answering it must not use up the retries of all others.

use crate::time::Instant;
use crate::words::{NodeKey, Slot};
use alloc::collections::BTreeMap;
use core::time::Duration;

/// How long no redirect of a slot is followed after its redirects led in a circle. The map is patched all the
/// same, so a slot that has settled is read from its owner at once.
const CIRCLE: Duration = Duration::from_secs(2);
/// The least time between two new connections to a node because it redirected to itself.
const RENEWAL: Duration = Duration::from_secs(1);

/// One bucket. It counts in thousandths of a token.
#[derive(Clone, Debug)]
struct Bucket {
    milli: u64,
    /// What one success pays in.
    deposit: u64,
    /// The most it holds: a burst.
    capacity: u64,
}

impl Bucket {
    fn deposit(&mut self, successes: u64) {
        self.milli = successes.saturating_mul(self.deposit).saturating_add(self.milli).min(self.capacity);
    }

    fn take(&mut self) -> bool {
        let enough = self.milli >= 1000;
        if enough {
            self.milli -= 1000;
        }
        enough
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Budget {
    retries: Bucket,
    try_again: Bucket,
    /// Slots whose redirects lead in a circle, and until when none of them is followed.
    circles: BTreeMap<Slot, Instant>,
    /// Nodes whose connection was replaced because they redirected to themselves, and when it may be again.
    renewals: BTreeMap<NodeKey, Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            // Ten before the first success, a burst of a hundred.
            retries: Bucket { milli: 10_000, deposit: 200, capacity: 100_000 },
            try_again: Bucket { milli: 10_000, deposit: 20, capacity: 10_000 },
            circles: BTreeMap::new(),
            renewals: BTreeMap::new(),
        }
    }
}

impl Budget {
    /// This many reads were answered since the last deposit.
    pub fn deposit(&mut self, successes: u64) {
        self.retries.deposit(successes);
        self.try_again.deposit(successes);
    }

    /// Takes a token for one retry; false if there is none.
    pub fn take(&mut self) -> bool {
        self.retries.take()
    }

    /// Whole tokens left for retries.
    pub fn tokens(&self) -> u64 {
        self.retries.milli / 1000
    }

    /// Takes a token for one more attempt after `TRYAGAIN`; false if there is none.
    pub fn take_try_again(&mut self) -> bool {
        self.try_again.take()
    }

    /// Whether a redirect of this slot may be followed now: the first one of a read is free, further ones cost
    /// a token, and none is followed where they were seen to lead in a circle.
    pub fn take_redirect(&mut self, slot: Slot, first: bool, now: Instant) -> bool {
        if self.circles.get(&slot).is_some_and(|&until| now < until) {
            return false;
        }
        first || self.retries.take()
    }

    /// The redirects of this slot led back to a node that had redirected before.
    pub fn saw_circle(&mut self, slot: Slot, now: Instant) {
        self.circles.retain(|_, until| *until > now);
        self.circles.insert(slot, now + CIRCLE);
    }

    /// Whether to replace the connection to a node that redirected to itself now.
    pub fn take_renewal(&mut self, node: NodeKey, now: Instant) -> bool {
        self.renewals.retain(|_, until| *until > now);
        let due = !self.renewals.contains_key(&node);
        if due {
            self.renewals.insert(node, now + RENEWAL);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_fifth_of_the_successes() {
        let mut budget = Budget::default();
        while budget.take() {}
        budget.deposit(4);
        assert!(!budget.take());
        budget.deposit(1);
        assert!(budget.take() && !budget.take());
        budget.deposit(1_000_000);
        assert_eq!(budget.tokens(), 100, "a burst is bounded");
    }

    #[test]
    fn attempts_after_tryagain_take_nothing_from_the_retries() {
        let mut budget = Budget::default();
        let before = budget.tokens();
        let taken = core::iter::repeat_with(|| budget.take_try_again()).take_while(|&taken| taken).count();
        assert_eq!((taken, budget.tokens()), (10, before));
        budget.deposit(49);
        assert!(!budget.take_try_again());
        budget.deposit(1);
        assert!(budget.take_try_again() && !budget.take_try_again(), "one for fifty successes");
    }

    #[test]
    fn the_first_redirect_is_free_but_where_they_lead_in_a_circle() {
        let (mut budget, at) = (Budget::default(), Instant::from_millis);
        let slots = [7, 8].map(|n| Slot::new(n).expect("a slot"));
        while budget.take() {}
        assert!(budget.take_redirect(slots[0], true, at(0)) && !budget.take_redirect(slots[0], false, at(0)));
        budget.saw_circle(slots[0], at(0));
        budget.deposit(1_000);
        assert!(!budget.take_redirect(slots[0], true, at(1_999)) && budget.take_redirect(slots[1], false, at(1_999)));
        assert!(budget.take_redirect(slots[0], true, at(2_000)), "it is tried anew after a while");
        budget.saw_circle(slots[1], at(2_000));
        assert_eq!(budget.circles.len(), 1, "what is over is dropped");
    }

    #[test]
    fn a_connection_is_replaced_once_a_second() {
        let (mut budget, at) = (Budget::default(), Instant::from_millis);
        let [a, b] = [0, 1].map(|index| NodeKey { index, generation: 0 });
        assert!(budget.take_renewal(a, at(0)) && budget.take_renewal(b, at(10)) && !budget.take_renewal(a, at(999)));
        assert!(budget.take_renewal(a, at(1_000)));
        assert_eq!(budget.renewals.len(), 2);
    }
}
