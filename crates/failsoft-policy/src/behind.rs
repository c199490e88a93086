//! What is done behind a read that was served, with its caller's callback: an early refresh of a key that is about to expire,
//! or a check of what was served against the callers' own store.

use crate::config::Config;
use crate::memory::Known;
use crate::time::Instant;
use crate::words::words;
use core::f64::consts::LN_2;
use core::time::Duration;

/// A read that is looked at stands for so many ([`crate::copies::looks_at`]): the largest of 16 exponentials is about the
/// logarithm of 16 above one.
const STANDS_FOR: f64 = 2.77;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// The key is loaded anew, and its value replaced.
    Refresh,
    /// The key is loaded again, and compared.
    Verify,
}

/// Whether what was served is compared, by any number.
#[inline]
pub fn verifies(config: &Config, dice: u32) -> bool {
    let share = config.verify_sample();
    share > 0.0 && f64::from(dice) < share * f64::from(u32::MAX)
}

/// How long before its time to live has passed a key is loaded anew, drawn by any number; none if it is not known how long
/// its load takes. Source: Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", 2015.
pub fn ahead(config: &Config, known: Option<Known>, dice: u32) -> Option<Duration> {
    let took = known?.took.filter(|_| config.early_refresh() > 0.0)?;
    Some(took.mul_f64(config.early_refresh() * (exponential(dice) + STANDS_FOR)))
}

/// Whether a key that was read, and is looked at, is loaded anew.
pub fn refreshes(config: &Config, known: Option<Known>, now: Instant, dice: u32) -> bool {
    let left = known.and_then(|known| known.expires_at).filter(|&until| until != Instant::MAX);
    match (left, ahead(config, known, dice)) {
        (Some(until), Some(ahead)) => until.since(now) <= ahead,
        _ => false,
    }
}

/// The negative logarithm of a number between 0 and 1: exponentially distributed, with the mean 1, at most about 22.
fn exponential(dice: u32) -> f64 {
    // Without the standard library: the logarithm of a power of two, and a series for the rest.
    let number = u64::from(dice) * 2 + 1;
    let power = number.ilog2();
    let rest = number as f64 / (1_u64 << power) as f64;
    let z = (rest - 1.0) / (rest + 1.0);
    let square = z * z;
    let ln_rest = 2.0 * z * (1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square / 9.0))));
    (f64::from(33 - power) * LN_2 - ln_rest).max(0.0)
}

words! {
    /// What a comparison comes to: the `result` of `redis_fallback_verified_total`.
    Verified {
        /// It is what the store has.
        Fresh = "fresh",
        /// The cluster has an older value.
        Stale = "stale",
        /// It was changed meanwhile, as the cluster knows by now.
        Raced = "raced",
    }
}

/// `equal` says whether the store gave what was served, `still` whether the cluster has that after `trust_window` as well.
pub fn verified(equal: bool, still: bool) -> Verified {
    match (equal, still) {
        (true, _) => Verified::Fresh,
        (false, false) => Verified::Raced,
        (false, true) => Verified::Stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Setting;
    use crate::words::NodeKey;

    fn config(key: &str, value: f64) -> Config {
        let mut config = Config::default();
        config.set(key, Setting::Number(value)).expect("a setting");
        config
    }

    fn known(took: Option<u64>, expires_at: Option<Instant>) -> Option<Known> {
        let node = NodeKey { index: 0, generation: 0 };
        Some(Known { present_at: Instant::ZERO, node, expires_at, took: took.map(Duration::from_millis), gone: None })
    }

    #[test]
    fn exponentials_are_those_of_the_logarithm() {
        for dice in [0, 1, 2, 77, 1 << 16, 1 << 31, 3_000_000_000, u32::MAX - 1, u32::MAX] {
            let exact = -((f64::from(dice) + 0.5) / 4_294_967_296.0).ln();
            assert!((exponential(dice) - exact).abs() < 1e-4, "{dice}: {} and {exact}", exponential(dice));
        }
    }

    #[test]
    fn the_nearer_its_end_the_likelier_a_key_is_loaded_anew() {
        let (config, until) = (config("early_refresh", 1.0), Instant::from_millis(100_000));
        let known = known(Some(1_000), Some(until));
        let share = |now: u64| {
            let dices = (0..1_000).map(|n| n * (u32::MAX / 1_000));
            dices.filter(|&dice| refreshes(&config, known, Instant::from_millis(now), dice)).count()
        };
        assert_eq!(share(70_000), 0, "thirty loads ahead");
        let shares = [94_000, 95_000, 96_000, 97_000].map(share);
        assert!(shares.is_sorted() && shares[0] > 10 && shares[3] > 700, "{shares:?}");
        assert_eq!(share(98_000), 1_000);
    }

    #[test]
    fn nothing_is_loaded_anew_of_which_too_little_is_known() {
        let config = config("early_refresh", 100.0);
        let at = Instant::from_millis(99_999);
        let until = Some(Instant::from_millis(100_000));
        assert!(refreshes(&config, known(Some(1), until), at, u32::MAX));
        assert!(!refreshes(&config, known(None, until), at, 0), "how long its load takes");
        assert!(!refreshes(&config, known(Some(1), None), at, 0), "when it expires");
        assert!(!refreshes(&config, known(Some(1), Some(Instant::MAX)), at, 0), "it does not expire");
        assert!(!refreshes(&Config::default(), known(Some(1_000), until), at, 0), "it is not asked for");
    }

    #[test]
    fn as_many_reads_are_compared_as_is_asked_for() {
        let share = |value| (0..1_000).filter(|n| verifies(&config("verify_sample", value), n * 4_294_967)).count();
        assert_eq!([0.0, 1.0].map(share), [0, 1_000]);
        assert!((99..=101).contains(&share(0.1)), "{}", share(0.1));
        assert_eq!(
            [(true, true), (false, true), (false, false)].map(|(equal, still)| verified(equal, still)),
            [Verified::Fresh, Verified::Stale, Verified::Raced]
        );
    }
}
