//! The router-wide retry budget: a token bucket that successes refill, so that retries add at most
//! a fifth to the load (the design of Finagle's `RetryBudget`).

/// Thousandths of a token that one success pays in: 20% extra load at most.
const DEPOSIT: u64 = 200;
/// Thousandths of a token that a new router starts with: ten retries before the first success.
const INITIAL: u64 = 10_000;
/// The most the bucket holds: a burst of a hundred retries.
const CAPACITY: u64 = 100_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    milli: u64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { milli: INITIAL }
    }
}

impl RetryBudget {
    /// This many reads were answered since the last deposit.
    pub fn deposit(&mut self, successes: u64) {
        self.milli = successes.saturating_mul(DEPOSIT).saturating_add(self.milli).min(CAPACITY);
    }

    /// Takes a token for one retry; false if there is none.
    pub fn take(&mut self) -> bool {
        let enough = self.milli >= 1000;
        if enough {
            self.milli -= 1000;
        }
        enough
    }

    /// Whole tokens left.
    pub fn tokens(&self) -> u64 {
        self.milli / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_fifth_of_the_successes() {
        let mut budget = RetryBudget::default();
        while budget.take() {}
        budget.deposit(4);
        assert!(!budget.take());
        budget.deposit(1);
        assert!(budget.take() && !budget.take());
        budget.deposit(1_000_000);
        assert_eq!(budget.tokens(), 100, "a burst is bounded");
    }
}
