//! How servers and routers are set up in one run.

use super::RouterPlan;
use crate::model::{MS, Setup};
use failsoft_policy::config::{Config, Setting};

pub(super) fn servers(rng: &mut fastrand::Rng) -> Setup {
    Setup {
        node_timeout: rng.u64(250..900) * MS,
        full_coverage: rng.bool(),
        reads_when_down: rng.u8(0..3) == 0,
        serve_stale: rng.u8(0..4) != 0,
        lag: if rng.u8(0..3) == 0 { rng.u64(20..400) * MS } else { rng.u64(1..5) * MS },
        short_redirects: rng.u8(0..4) == 0,
        persistent: rng.u8(0..3) != 0,
        clients: (rng.u8(0..6) == 0).then(|| rng.u64(200..3_000)),
    }
}

/// The defaults, and around them.
pub(super) fn router(rng: &mut fastrand::Rng, addresses: usize) -> RouterPlan {
    let mut config = Config::default();
    // Drawn aside: what else there is in a run does not depend on it.
    let lease_ttl =
        Some(rng.clone()).filter(|aside| aside.clone().u8(0..2) == 0).map(|mut aside| aside.u32(1_000..2_000));
    let mut aside = rng.clone();
    let slo = (aside.u8(0..4) != 0).then(|| aside.u32(5..100));
    let (copies, near) = (aside.u8(0..4) != 0, aside.u8(0..3) == 0);
    let early = aside.u8(0..3) == 0;
    let usual = rng.u8(0..5) == 0;
    let mut set = |key: &str, value: Setting| {
        config.set(key, value).expect("the plan draws settings within their ranges");
    };
    let interval = match rng.u8(0..10) {
        0 => 15_000,
        1 => 300,
        _ => rng.u32(500..2_500),
    };
    set("slot_refresh_interval", Setting::Millis(f64::from(interval)));
    if !usual {
        let mut millis = |key: &str, range: std::ops::Range<u32>, rng: &mut fastrand::Rng| {
            set(key, Setting::Millis(f64::from(rng.u32(range))));
        };
        millis("attempt_timeout", 30..300, rng);
        millis("deadline", 60..1_200, rng);
        millis("base_backoff", 1..80, rng);
        millis("connect_timeout", 50..500, rng);
        millis("load_timeout", 60..900, rng);
        millis("hold", 200..3_000, rng);
        if rng.u8(0..3) == 0 {
            millis("invalidation_ttl", 1_000..3_000, rng);
        }
        if rng.bool() {
            millis("trust_window", 100..1_500, rng);
        }
        match rng.u8(0..4) {
            0 => millis("staleness_budget", 0..1, rng),
            1 | 2 => millis("staleness_budget", 20..800, rng),
            _ => {}
        }
        match rng.u8(0..4) {
            0 => millis("outage_budget", 0..1, rng),
            1 => millis("outage_budget", 50..1_500, rng),
            _ => {}
        }
        set("max_retries", Setting::Integer(rng.i64(0..5)));
        set("max_redirects", Setting::Integer(if rng.bool() { 5 } else { rng.i64(0..7) }));
        set("fill", Setting::Bool(rng.u8(0..5) != 0));
        if rng.u8(0..5) == 0 {
            set("max_in_flight", Setting::Integer(rng.i64(1..6)));
        }
        if rng.u8(0..5) == 0 {
            set("failure_pause", Setting::Millis(f64::from(rng.u32(20..1_000))));
        }
        if rng.u8(0..3) == 0 {
            set("max_concurrent_loads", Setting::Integer(rng.i64(1..4)));
        }
    }
    if early {
        set("early_refresh", Setting::Number(1.0));
    }
    if near {
        set("near_cache_bytes", Setting::Integer(1_000_000));
    }
    if !copies {
        set("standin_bytes", Setting::Integer(0));
    }
    if !usual {
        set("slo", slo.map_or(Setting::Off, |millis| Setting::Millis(f64::from(millis))));
    }
    if let Some(millis) = lease_ttl {
        set("lease_ttl", Setting::Millis(f64::from(millis)));
    }
    let mut seeds: Vec<usize> = (0..addresses).collect();
    rng.shuffle(&mut seeds);
    seeds.truncate(rng.usize(1..=3).min(addresses));
    // One that lives in whatever cluster is there.
    seeds.push(rng.usize(0..3.min(addresses)));
    // Some are there before the trouble, some come into it.
    let begins = if rng.u8(0..5) == 0 { rng.u64(0..1_500) * MS } else { rng.u64(1..5) * MS };
    RouterPlan { config, begins, seeds }
}
