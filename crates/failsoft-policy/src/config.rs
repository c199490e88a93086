//! The settings: one table of keys, defaults and ranges, and a [`Config`] that is always valid.

use crate::error::{ConfigError, quoted};
use crate::replication::Durability;
use crate::setting::{Field, Secret};
use crate::sharing::Coalesce;
use crate::words::Endpoint;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

pub use crate::endpoint::{check_nodes, split_nodes};
pub use crate::setting::{KeySpec, Kind, Setting};

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const TIMEOUT: Kind = between(MS, HOUR);

const fn between(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max, off: false }
}

const fn millis(n: u64) -> Setting {
    Setting::Duration(Duration::from_millis(n))
}

/// Makes of the table: the fields, their readers, [`Config::KEYS`], the defaults and `set`.
macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty as $view:ty, $kind:expr, $default:expr;)+) => {
        /// The validated settings of a router.
        ///
        /// Fields change only by [`set`](Self::set) and [`set_text`](Self::set_text), so a value
        /// out of range can reach no router. [`KEYS`](Self::KEYS) lists keys, defaults and ranges.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config { $($name: $type,)+ }

        impl Config {
            /// Every setting, in the order of the documentation.
            pub const KEYS: &'static [KeySpec] = &[$(KeySpec {
                name: stringify!($name),
                kind: $kind,
                default: $default,
                // Each line begins with the space after its slashes.
                doc: concat!($($doc),+).trim_ascii(),
            },)+];

            $($(#[doc = $doc])+
            pub fn $name(&self) -> $view {
                self.$name.view()
            })+

            /// Sets the one known key to a value of the right kind and range.
            fn assign(&mut self, spec: &KeySpec, setting: Setting) -> Result<(), String> {
                match spec.name {
                    $(stringify!($name) => self.$name = Field::take(setting, spec.kind)?,)+
                    name => unreachable!("{name} is no row of the table that made this match"),
                }
                Ok(())
            }
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: Field::take($default, $kind).expect("the defaults are in range"),)+ }
            }
        }
    };
}

settings! {
    /// How many more attempts on the primary one read may make after the first.
    max_retries: u32 as u32, Kind::Integer { min: 0, max: 10 }, Setting::Integer(3);
    /// How many redirects (`MOVED`, `ASK`) one read may follow.
    max_redirects: u32 as u32, Kind::Integer { min: 0, max: 16 }, Setting::Integer(5);
    /// The pause before the second attempt on a source; it doubles, with full jitter.
    base_backoff: Duration as Duration, between(MS, MINUTE), millis(50);
    /// The most time for one attempt on one node. What is left of `deadline` shortens it.
    attempt_timeout: Duration as Duration, TIMEOUT, millis(250);
    /// The most time for the whole cluster side of one read, shared by its attempts and pauses.
    deadline: Duration as Duration, TIMEOUT, millis(1_000);
    /// The most time to open a connection to a node, with everything said before the first command.
    connect_timeout: Duration as Duration, TIMEOUT, millis(500);
    /// How often the slot map and the nodes are looked at when nothing is wrong.
    slot_refresh_interval: Duration as Duration,
        between(Duration::from_millis(100), HOUR), millis(15_000);
    /// How old a stand-in (the answer of a replica, or a copy in this process) may be where invalidations of its key may
    /// have been missed; 0 means that none stands in then. No more than `outage_budget` counts.
    staleness_budget: Duration as Duration, between(Duration::ZERO, DAY), millis(2_000);
    /// How old it may be where all invalidations since then are known, because the nodes that tell them have been listened
    /// to without a gap; 0 means that nothing ever stands in.
    outage_budget: Duration as Duration, between(Duration::ZERO, DAY), millis(30_000);
    /// The most bytes of a near cache: copies of hot keys that are served without asking a node while nothing can have happened
    /// to the key that would not have been heard of; 0 means that there is none. Its copies stand in, too, and then
    /// `standin_bytes` has no meaning.
    near_cache_bytes: u32 as u32, Kind::Integer { min: 0, max: u32::MAX }, Setting::Integer(0);
    /// The most bytes that copies of hot keys and of loaded values may take in this process, keys and what keeping them costs
    /// included. They stand in when no node and no callback can answer; 0 means that there are none.
    standin_bytes: u32 as u32, Kind::Integer { min: 0, max: u32::MAX }, Setting::Integer(64 * 1024 * 1024);
    /// Whether a loaded value is written back to the primary that confirmed the miss.
    fill: bool as bool, Kind::Bool, Setting::Bool(true);
    /// The time to live of a value that is written back.
    fill_ttl: Duration as Duration, between(MS, Duration::from_secs(365 * 86_400)), millis(300_000);
    /// The share of a time to live that chance may take off it, so that keys do not expire together.
    ttl_jitter: f64 as f64, Kind::Number { min: 0.0, max: 1.0 }, Setting::Number(0.1);
    /// How early a key that is read often is loaded anew before its time to live has passed: 1 is about as early as its load
    /// takes, 0 turns it off.
    early_refresh: f64 as f64, Kind::Number { min: 0.0, max: 100.0 }, Setting::Number(0.0);
    /// The share of reads served by a primary or a near copy whose key is loaded again in the background, to compare.
    verify_sample: f64 as f64, Kind::Number { min: 0.0, max: 1.0 }, Setting::Number(0.0);
    /// For how long an invalidation is known: no replica serves what is older, and it is sent again after a failover.
    /// No more than this of `outage_budget` counts.
    invalidation_ttl: Duration as Duration, between(Duration::from_secs(1), HOUR), millis(60_000);
    /// How old the proof may be that a node still tells its invalidations. Three probes are sent in this time while keys of
    /// the node are being read.
    trust_window: Duration as Duration, between(Duration::from_millis(100), MINUTE), millis(1_000);
    /// Who has to have an invalidation before it is complete: the `primary` alone, one `replica`, too, or `all` of them.
    /// Replicas that the cluster counts as failed, or that say that they lost their primary, are none.
    invalidate_durability: Durability as Durability,
        Kind::Choice { words: Durability::WORDS }, Setting::Word(Durability::Replica.as_str());
    /// For how long a writer inside `writing` holds its keys, so that nothing that is loaded meanwhile is written back: its
    /// transaction has to be over by then.
    hold: Duration as Duration, between(MS, HOUR), millis(10_000);
    /// Whether nodes are asked to tell which keys they evict and which have expired, on one more connection to each, so that a
    /// miss can be told apart. It takes `notify-keyspace-events` with `Exe` on the servers.
    eviction_events: bool as bool, Kind::Bool, Setting::Bool(false);
    /// The most time that callers wait for one run of a callback.
    load_timeout: Duration as Duration, TIMEOUT, millis(10_000);
    /// After so long a caller whose key has a copy that may stand in gets that, and the load goes on without it.
    soft_load_timeout: Option<Duration> as Option<Duration>, Kind::Duration { min: MS, max: HOUR, off: true }, Setting::Off;
    /// For how long a callback's word that a key does not exist counts for later callers, unless the key is invalidated or set
    /// before. No more than `invalidation_ttl` counts.
    negative_ttl: Option<Duration> as Option<Duration>, Kind::Duration { min: MS, max: HOUR, off: true }, Setting::Off;
    /// For how long callers of a key whose load failed get the same error, without another load.
    failure_pause: Option<Duration> as Option<Duration>, Kind::Duration { min: MS, max: MINUTE, off: true }, Setting::Off;
    /// For how long a lease stands that its load does not prolong. With it a load waits for the load of the same key that
    /// another process has under way, and takes over when that one's lease is gone.
    lease_ttl: Option<Duration> as Option<Duration>,
        Kind::Duration { min: Duration::from_secs(1), max: MINUTE, off: true }, Setting::Off;
    /// What equal reads under way share: the runs of callbacks (`loads`), or the requests to nodes, too (`reads`). While
    /// callbacks are slower than `slo`, they share both.
    coalesce: Coalesce as Coalesce, Kind::Choice { words: Coalesce::WORDS }, Setting::Word(Coalesce::Loads.as_str());
    /// How long a callback may take: while more than one in twenty takes longer, and loads wait in line for longer than that,
    /// loads are shed. Off: only while half of the callbacks fail.
    slo: Option<Duration> as Option<Duration>, Kind::Duration { min: MS, max: HOUR, off: true }, millis(50);
    /// The most loads that run at once; beyond it they wait in line, in order. A call for many keys is one load. What a
    /// callback asks this router for does not wait.
    max_concurrent_loads: u32 as u32, Kind::Integer { min: 1, max: 65_536 }, Setting::Integer(256);
    /// The most reads in flight to one node; beyond it a read goes to the next source.
    max_in_flight: u32 as u32, Kind::Integer { min: 1, max: 1_000_000 }, Setting::Integer(10_000);
    /// Cluster address to reachable address, for nodes behind NAT, sorted by the former.
    /// As text: `from=to`, parted by commas.
    address_map: Vec<(Endpoint, Endpoint)> as &[(Endpoint, Endpoint)], Kind::AddressMap { max: 10_000 }, Setting::Off;
    /// The ACL user to log in as; without one, the default user.
    username: Option<String> as Option<&str>, Kind::Word { max: 512, ascii: false }, Setting::Off;
    /// The password to log in with. `Debug` and errors never show it.
    password: Option<Secret> as Option<&str>, Kind::Secret { max: 65_536 }, Setting::Off;
    /// The name of the connections in `CLIENT LIST`.
    client_name: Option<String> as Option<&str>, Kind::Word { max: 128, ascii: true }, Setting::Off;
}

impl Config {
    /// Sets one key. On an error nothing is changed.
    ///
    /// # Errors
    /// An unknown key (with all known ones, one that resembles it first), a value of another kind or out of
    /// range (with what is allowed).
    pub fn set(&mut self, key: &str, value: Setting) -> Result<(), ConfigError> {
        let spec = Self::KEYS
            .iter()
            .find(|spec| spec.name == key)
            .ok_or_else(|| unknown(key, Self::KEYS.iter().map(|spec| spec.name.to_string()).collect()))?;
        self.assign(spec, value).map_err(|problem| ConfigError::new(key, problem))
    }

    /// Sets one key from text: a duration as milliseconds under `<key>_ms`, the others under their own name. An empty
    /// text means off where off exists. So does `off`, except for `username`, `password` and `client_name`, of which it
    /// is a value like any other.
    ///
    /// # Errors
    /// As [`set`](Self::set), and a text that is no value of the key's kind.
    pub fn set_text(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
        let spec = Self::KEYS
            .iter()
            .find(|spec| text_key(spec) == key)
            .ok_or_else(|| unknown(key, Self::KEYS.iter().map(text_key).collect()))?;
        let value = match spec.kind {
            Kind::Duration { off: true, .. } if text.is_empty() => Some(Setting::Off),
            Kind::Duration { .. } => text.parse().ok().map(Setting::Millis),
            Kind::Integer { .. } => text.parse().ok().map(Setting::Integer),
            Kind::Number { .. } => text.parse().ok().map(Setting::Number),
            Kind::Bool => text.parse().ok().map(Setting::Bool),
            _ if text.is_empty() => Some(Setting::Off),
            _ => Some(Setting::Text(text.to_string())),
        };
        // Whatever did not parse goes on as text, to be refused with what is allowed.
        let value = value.unwrap_or_else(|| Setting::Text(text.to_string()));
        self.assign(spec, value).map_err(|problem| ConfigError::new(key, problem))
    }
}

/// The key under which [`Config::set_text`] takes it.
fn text_key(spec: &KeySpec) -> String {
    match spec.kind {
        Kind::Duration { .. } => format!("{}_ms", spec.name),
        _ => spec.name.to_string(),
    }
}

/// The error for a key that is none of the `known` ones. It lists them in their order, after the one that resembles it, if
/// one does. For a language that writes them in its own way.
pub fn unknown(key: &str, mut known: Vec<String>) -> ConfigError {
    // A key of any length may come in; the distance is of interest for short ones alone.
    let start: String = key.chars().take(64).collect();
    let nearest = known.iter().enumerate().map(|(place, name)| (distance(name, &start), place)).min();
    // At least half of it has to be right.
    if let Some((distance, place)) = nearest
        && distance * 2 <= known[place].len()
    {
        known[..=place].rotate_right(1);
    }
    ConfigError::new(quoted(key).trim_matches('"'), format!("no such key; allowed: {}", known.join(", ")))
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests;
