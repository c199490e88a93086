//! The breaker of the caller's own store, which the callbacks ask: when it can't cope, loads are shed instead of sent.
//!
//! It opens when half of the calls fail, or when more than one in twenty takes longer than the objective (`slo`) *while
//! the loads that begin have waited in line for longer than that*, for a second without a break. A store that is slow
//! and serves everybody is left alone: shedding would only make errors of its answers. Calls that still run count as
//! slow once they have passed the objective, as a store that hangs shows nothing at its ends. Both take twenty calls
//! of the last six seconds, or of as many more, up to a minute, as it takes to have them.
//!
//! | state | loads | then |
//! |---|---|---|
//! | closed | run | open, as above |
//! | open | are shed | half open with the first load after the cool-down, a second that doubles to 30 with each time in a row, less up to half by chance |
//! | half open | so many of a round are let in: 4, 16, 64; the others are shed | each round is judged as a whole: open again, the next round, or closed after the last one |
//!
//! While the store is slow, reads also make fewer retries in the cluster.
//!
//! A load that a callback asks for is always let through ([`crate::load`]).

use crate::config::Config;
use crate::flight::LoadId;
use crate::load::Ending;
use crate::time::Instant;
use crate::words::words;
use alloc::collections::BTreeSet;
use core::time::Duration;

mod adapt;
mod calls;
mod window;

use adapt::Adapt;
pub use adapt::FEWER;
use calls::{Calls, Ended};
pub use window::Seen;
use window::Window;

/// The fewest calls that tell anything.
const ENOUGH: u64 = 20;
/// How long loads have to wait too long in line before that tells anything.
const TOO_LONG: Duration = Duration::from_secs(1);
/// The first cool-down, and the longest.
const COOL_DOWN: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// How many loads are let in while half open, round by round.
const ROUNDS: [u64; 3] = [4, 16, 64];

words! {
    /// Why a load was shed.
    ShedCause {
        /// The store's breaker is open, or half open and tries others.
        BreakerOpen = "breaker_open",
        /// Too many loads wait in line.
        QueueFull = "queue_full",
    }
}

words! {
    /// Why the breaker of the store has opened.
    Trouble {
        /// Half of the calls fail.
        Failing = "failing",
        /// Calls take longer than `slo`, and those who want to make more wait for longer than that.
        Slow = "slow",
    }
}

words! {
    /// The state of the breaker of the store.
    StoreState {
        /// Loads run.
        Closed = "closed",
        /// Loads are shed.
        Open = "open",
        /// Some loads are let in, to see how the store is.
        HalfOpen = "half_open",
    }
}

/// The store as it seems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// Of its breaker.
    pub state: StoreState,
    /// For how long that has been so.
    pub lasts: Duration,
    /// Why it opened last, unless it has closed since.
    pub trouble: Option<Trouble>,
    /// How often it has opened so far.
    pub opened: u64,
    /// The newest calls, those included that run and have passed the objective.
    pub seen: Seen,
    /// What 95 of 100 of them did not exceed, to an eighth.
    pub p95: Option<Duration>,
    /// How many retries a read may make on its primary now.
    pub max_retries: u32,
    /// Whether its calls are slow, so that there are fewer retries and equal reads share their requests.
    pub slow: bool,
    /// How often that has begun so far.
    pub slowed: u64,
}

#[derive(Debug)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { round: usize, let_in: BTreeSet<LoadId>, seen: Seen },
}

/// See the module.
#[derive(Debug)]
pub struct Store {
    slo: Option<Duration>,
    state: State,
    since: Instant,
    /// Openings since it was last closed, the last one's cause, and all so far.
    in_a_row: u32,
    trouble: Option<Trouble>,
    opened: u64,
    calls: Calls,
    window: Window,
    adapt: Adapt,
    /// Since when all loads that begin have waited in line for longer than the objective.
    long: Option<Instant>,
    /// When the line was last looked at because its time had come.
    looked: Instant,
    dice: u32,
}

impl Store {
    /// A store that nothing is known of. Chance shortens its cool-downs.
    pub fn new(config: &Config, dice: u32) -> Self {
        Self {
            slo: config.slo(),
            state: State::Closed,
            since: Instant::ZERO,
            in_a_row: 0,
            trouble: None,
            opened: 0,
            calls: Calls::new(config.slo(), config.load_timeout()),
            window: Window::default(),
            adapt: Adapt::new(config.slo(), config.max_retries()),
            long: None,
            looked: Instant::ZERO,
            dice,
        }
    }

    /// A load that no callback has asked for is to run, or to wait in line. Whether it is let in.
    pub fn admit(&mut self, load: LoadId, now: Instant) -> bool {
        if let State::Open { until } = self.state
            && until <= now
        {
            self.window.clear();
            self.enter(State::HalfOpen { round: 0, let_in: BTreeSet::new(), seen: Seen::default() }, now);
        }
        match &mut self.state {
            State::Closed => true,
            State::Open { .. } => false,
            State::HalfOpen { round, let_in, seen } => {
                let room = let_in.len() as u64 + seen.calls < ROUNDS[*round];
                room && let_in.insert(load)
            }
        }
    }

    /// Whether a load that was let in before may still begin its callback.
    pub fn lets(&self, load: LoadId) -> bool {
        match &self.state {
            State::Closed => true,
            State::Open { .. } => false,
            State::HalfOpen { let_in, .. } => let_in.contains(&load),
        }
    }

    /// The callback of a load begins.
    pub fn begin(&mut self, load: LoadId, now: Instant) {
        self.calls.begin(load, now);
    }

    /// A load has ended, or comes to nothing. What it says of the store is kept, if its callback ran.
    pub fn end(&mut self, load: LoadId, ending: Ending, now: Instant) {
        self.advance(now);
        match self.calls.end(load, ending, now) {
            Some(ended) => self.note(load, ended, now),
            None => self.withdraw(load),
        }
    }

    /// A load comes to nothing, and says nothing of the store: another one of its round may take its place.
    pub fn withdraw(&mut self, load: LoadId) {
        self.calls.forget(load);
        if let State::HalfOpen { let_in, .. } = &mut self.state {
            let_in.remove(&load);
        }
    }

    /// The turn of a load has come that no callback has asked for, after so long in line.
    pub fn turn(&mut self, waited: Duration, now: Instant) {
        if self.slo.is_none_or(|slo| waited <= slo) {
            self.long = None;
        } else {
            self.long.get_or_insert(now);
        }
    }

    /// Nobody waits in line.
    pub fn line_is_empty(&mut self) {
        self.long = None;
    }

    /// Whether it opens now. The oldest load in line has waited since `oldest`.
    pub fn judge(&mut self, oldest: Option<Instant>, now: Instant) -> bool {
        self.advance(now);
        self.adapt.look(now, ENOUGH, || self.calls.with_running(&self.window, ENOUGH, now));
        if let (Some(slo), Some(oldest)) = (self.slo, oldest)
            && oldest + slo < now
        {
            self.long.get_or_insert(oldest + slo);
        }
        let waits = self.long.is_some_and(|long| long + TOO_LONG <= now);
        let trouble = match &self.state {
            State::Closed => self.closed(waits, now),
            State::Open { .. } => None,
            // Those that are let in are few: if they wait, calls from before still have the places.
            State::HalfOpen { .. } if waits => Some(Trouble::Slow),
            State::HalfOpen { round, seen, .. } if seen.failures * 2 >= ROUNDS[*round] => Some(Trouble::Failing),
            State::HalfOpen { round, seen, .. } => {
                if seen.calls >= ROUNDS[*round] {
                    self.next_round(*round + 1, now);
                }
                None
            }
        };
        if let Some(trouble) = trouble {
            self.open(trouble, now);
        }
        trouble.is_some()
    }

    /// When [`Self::judge`] has something to say of a line in which nothing moves, or of calls that do not end.
    pub fn next_timeout(&self, oldest: Option<Instant>) -> Option<Instant> {
        let stuck = self.slo.zip(oldest).map(|(slo, oldest)| {
            let due = self.long.unwrap_or(oldest + slo) + TOO_LONG;
            due.max(self.looked + TOO_LONG)
        });
        stuck.into_iter().chain(self.calls.next_timeout()).chain(self.adapt.next_timeout()).min()
    }

    /// What was due is judged now: another look at the same line is not due at once.
    pub fn looked(&mut self, now: Instant) {
        self.looked = now;
    }

    /// The store as it seems.
    pub fn status(&mut self, now: Instant) -> StoreStatus {
        self.advance(now);
        let (seen, p95) = self.calls.with_running(&self.window, ENOUGH, now);
        let state = match self.state {
            State::Closed => StoreState::Closed,
            State::Open { .. } => StoreState::Open,
            State::HalfOpen { .. } => StoreState::HalfOpen,
        };
        let (trouble, opened, max_retries) = (self.trouble, self.opened, self.max_retries());
        let (lasts, (slow, slowed)) = (now.since(self.since), self.adapt.slow());
        StoreStatus { state, lasts, trouble, opened, seen, p95, max_retries, slow, slowed }
    }

    /// How many retries a read may make on its primary now: no more than two while the store is slow.
    pub fn max_retries(&self) -> u32 {
        self.adapt.max_retries()
    }

    /// Whether its calls are slow.
    pub fn is_slow(&self) -> bool {
        self.adapt.slow().0
    }

    /// What is wrong, by the newest calls.
    fn closed(&self, waits: bool, now: Instant) -> Option<Trouble> {
        let seen = self.window.seen(ENOUGH, now);
        if seen.calls >= ENOUGH && seen.failures * 2 >= seen.calls {
            return Some(Trouble::Failing);
        }
        // Of those that run no end has to be known, so fewer may be enough.
        let seen = self.calls.seen_with_running(&self.window, ENOUGH, now);
        (waits && seen.calls >= ENOUGH && seen.slow * 20 > seen.calls).then_some(Trouble::Slow)
    }

    fn open(&mut self, trouble: Trouble, now: Instant) {
        self.in_a_row += 1;
        self.opened += 1;
        self.trouble = Some(trouble);
        // Of calls from before nothing follows for what comes.
        self.calls.forget_all();
        self.long = None;
        let most = (COOL_DOWN * (1 << (self.in_a_row - 1).min(5))).min(LONGEST);
        // The next number of a linear congruential generator.
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let less = most / 2 * (self.dice >> 16) / (1 << 16);
        self.enter(State::Open { until: now + (most - less) }, now);
    }

    fn next_round(&mut self, round: usize, now: Instant) {
        if round < ROUNDS.len() {
            self.state = State::HalfOpen { round, let_in: BTreeSet::new(), seen: Seen::default() };
        } else {
            (self.in_a_row, self.trouble) = (0, None);
            self.enter(State::Closed, now);
        }
    }

    fn enter(&mut self, state: State, now: Instant) {
        (self.state, self.since) = (state, now);
    }

    /// Calls that have outlasted their limit by now have failed.
    fn advance(&mut self, now: Instant) {
        while let Some((load, ended)) = self.calls.expire(now) {
            self.note(load, ended, now);
        }
    }

    fn note(&mut self, load: LoadId, ended: Ended, now: Instant) {
        self.window.note(ended.latency, ended.seen, now);
        if let State::HalfOpen { let_in, seen, .. } = &mut self.state
            && let_in.remove(&load)
        {
            *seen += ended.seen;
        }
    }
}

#[cfg(test)]
mod tests;
