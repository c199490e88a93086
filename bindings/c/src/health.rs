//! What the router knows, as JSON.

use crate::router::Router;
use crate::status::{Failure, Status, guarded, text};
use std::ffi::c_char;
use std::mem::MaybeUninit;

/// What the router knows of the cluster and of itself at this moment, as a JSON object. No node is asked for it. The
/// caller frees `*out` with failsoft_string_free; it is NULL unless the status is FAILSOFT_OK.
///
/// Times are whole milliseconds. What is not known is null. Later versions may add fields and words.
///
/// - `id`: the router's own name, eight hexadecimal digits drawn when it was opened; the ids of its invalidations begin with
///   it
/// - `kind`: "cluster", "standalone" (a single server without cluster mode), or "unknown" until a first view has come
/// - `closed`: whether the router is being closed
/// - `slots_assigned`: how many of the 16,384 slots have an owner
/// - `slots_ok`: how many of them have an owner that gets reads
/// - `down`: whether no majority of the cluster is in reach; reads go to loaders then, and nothing is written
/// - `isolated`: whether more than half of the slots' owners are out of this router's own reach
/// - `ballots`: what nodes said of the cluster when they were last asked because something was wrong, at most five
/// - `moved_patches`: slots with a new owner according to a redirect, which no view has confirmed yet
/// - `retry_tokens`: how many retries the budget of the whole router allows now
/// - `refreshes`: how often the view of the cluster was refreshed
/// - `flights`: keys that loaders are loading
/// - `waiters`: reads that wait for a loader
/// - `queued_loads`: loads that wait in line because `max_concurrent_loads` are running
/// - `detached_loads`: loaders that are still running after `load_timeout`
/// - `copies`: copies of values in this process, which may stand in when nothing else can answer
/// - `copies_bytes`: how many bytes they take, at most `near_cache_bytes` or `standin_bytes`
/// - `store`: the breaker of the program's own store, see below
/// - `invalidations`: keys that this router invalidated, or heard that another one did, within `invalidation_ttl_ms`
/// - `invalidations_owed`: how many of them no node has acknowledged to be gone, or another owner may have lost; these are
///   read from loaders alone, or only together with their marks
/// - `stalled`: whether the router's background work panicked when it last ran, so that views and probes may be
///   missing. That is a defect of Failsoft; the work is tried again after five seconds at most
/// - `refusals`: an object with the addresses of the nodes that gave no view when they were last asked, or that refuse
///   reads; the value is what each said or did instead
/// - `nodes`, `counters`: see below
///
/// Of the program's own store, which loaders ask, `store` has:
///
/// - `state`: "closed", "open" (loads are shed), or "half_open" (some are let in, to see how it is)
/// - `state_ms`: for how long that has been so
/// - `trouble`: why it is not closed, "failing" or "slow"; null if it is
/// - `calls`: the newest calls of loaders: those that ended within six seconds, or as many more seconds, up to a minute,
///   as it takes for 20 calls; and those that run and have taken longer than `slo_ms` already
/// - `failure_share`: the share of them that failed, from 0 to 1
/// - `p95_ms`: what 95 of 100 of them did not exceed, rounded up by an eighth at the most; null without calls
/// - `max_retries`: the setting as it is in force: no more than 2 while more than one in twenty of these calls takes
///   longer than `slo_ms`, until they have been fast again for a minute
/// - `coalesce`: the setting as it is in force: "reads" during the same time
/// - `slowed`: how often that time has begun so far
///
/// Each of `nodes`:
///
/// - `address`: `host:port` or `[v6]:port`
/// - `id`: its node id; null until a view has named it
/// - `role`: "primary" or "replica", by the newest view
/// - `replica_of`: the address of a replica's primary; null for a primary
/// - `epoch`: its config epoch
/// - `slots`: how many slots it owns
/// - `breaker`: "closed" (it gets reads), "open" (it gets none), "half_open" (the same, and a probe is under way) or
///   "readmitting" (it gets a growing share of them)
/// - `trouble`: why it gets no reads or not all of them, a word of failsoft_outcome_reason; null if it gets all
/// - `trouble_ms`: for how long that has been so
/// - `contact_ms`: time since its last answer; null before the first one
/// - `lag_ms`: for a replica, time since it was last known to have everything that its primary had
/// - `validated`: whether it has proved to be the primary that it is taken for, so that it may be written to
/// - `failed`: whether the cluster counts it as failed
/// - `verdict`: its side of a partition: "majority" (also if nothing speaks against it), "minority" (it gets no reads
///   and no writes) or "unknown"
/// - `listening`: how it is listened to for invalidations: "heard" (all that it tells is known), "open" (up to when that
///   is complete is not known just now), "closed", "denied" (it does not let us) or "too_costly" (it has too many
///   clients); null if it owns no slots
/// - `tracking`: the same for what happens to the keys of the near cache; null without one
/// - `events`: the same for which keys it evicts and which have expired; null without `eviction_events`. Whether its
///   `notify-keyspace-events` lets it tell that is not known
/// - `in_flight`: requests that it has not answered yet
/// - `cluster_ok`: whether it says that `cluster_state` is ok; false until it was first asked
/// - `current_epoch`: the highest epoch that it has seen
/// - `offset`: its replication offset in bytes
/// - `link_up`: whether a replica is connected to its primary; null for a primary
/// - `priority`: a replica's `replica-priority`; the lowest is promoted first, 0 never
/// - `evicted`, `expired`: its `evicted_keys` and `expired_keys`, counted since it was started
/// - `maxmemory_policy`: its `maxmemory_policy`
/// - `version`: the server's version
/// - `denied`: the commands that it refused, so that what they would tell is missing here
///
/// Each of `ballots`:
///
/// - `address`: the node that said it
/// - `age_ms`: time since it was asked
/// - `primaries`: how many primaries with slots it knows
/// - `primaries_ok`: how many of them are neither FAIL nor PFAIL for it
/// - `majority`: whether these are more than half: by its own view, it is in the majority
/// - `epoch`: the highest config epoch in its view
/// - `cluster_ok`: whether its `cluster_state` is ok; like the fields below, null where it refuses `CLUSTER INFO`
/// - `slots_pfail`, `slots_fail`: its `cluster_slots_pfail` and `cluster_slots_fail`
/// - `current_epoch`, `my_epoch`: its `cluster_current_epoch` and `cluster_my_epoch`
///
/// `counters`, since the router was opened. Where these are lists, an element has `what`, `reason` (or "") and `count`,
/// and only counts above 0 are listed:
///
/// - `attempts`: attempts by status (`what`) and by why the primary did not serve; one read can add several
/// - `reads`: reads by source (`what`: a word of failsoft_outcome_served_by, or "error") and by why the primary did not
///   serve; each read that ended, exactly once
/// - `loads`: loaders called
/// - `verified`: served values that were compared with what the store has (`verify_sample`), by what that came to (`what`:
///   "fresh", "stale" or "raced")
/// - `shed`: loads whose loader was not called, to spare the store: its breaker was open, or the line too long
/// - `fills`: loaded values that were written back
/// - `fills_skipped`: loaded values that were not, by cause (`what`, a word of failsoft_set)
/// - `sets`: values written by failsoft_set
/// - `sets_in_doubt`: how many of them went to a node of which it was not known whether it is in the majority
/// - `sets_held`: how many of them found that a writer holds the key, which was deleted instead
/// - `sets_refused`: values that failsoft_set did not write, by cause (`what`)
/// - `invalidations`: keys invalidated, those included that were sent again
/// - `invalidations_incomplete`: attempts to invalidate a key of which a step was not acknowledged
/// - `invalidations_unlogged`: entries of the log of invalidations that were not written; nothing that is read depends on it
/// - `panics`: panics in the background that were caught, each of them a defect of Failsoft
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_health(router: *mut Router, out: Option<&mut MaybeUninit<*mut c_char>>) -> Status {
    guarded(|| {
        let out = out.ok_or_else(|| Failure::null("out"))?;
        out.write(std::ptr::null_mut());
        // SAFETY: the handle is open, as the header says.
        let router = unsafe { Router::held(router) }?;
        out.write(text(&router.foreign.health()?.to_json()).into_raw());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    /// The fields of the core's structs, by the name that the header gives each list of them.
    fn fields() -> BTreeMap<&'static str, Vec<String>> {
        let core = concat!(
            include_str!("../../../crates/failsoft/src/health.rs"),
            include_str!("../../../crates/failsoft/src/tally.rs")
        );
        let lists = [
            ("Health", "as a JSON object"),
            ("StoreHealth", "`store` has:"),
            ("NodeHealth", "Each of `nodes`:"),
            ("BallotHealth", "Each of `ballots`:"),
        ];
        let lists = lists.into_iter().chain([("Counters", "`counters`, since"), ("Count", "an element has")]);
        let of = |name: &str| {
            let body = core.split(&format!("pub struct {name} {{")).nth(1).and_then(|rest| rest.split("\n}").next());
            let named = body.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("    pub "));
            named.filter_map(|line| line.split_once(':')).map(|(field, _)| field.to_owned()).collect()
        };
        lists.map(|(name, list)| (list, of(name))).collect()
    }

    #[test]
    fn the_header_names_every_field() {
        let source = include_str!("health.rs");
        for (list, fields) in fields() {
            assert!(fields.len() > 2, "{list}: {fields:?}");
            let text =
                source.split(list).nth(1).and_then(|rest| rest.split("\n/// Each of").next()).unwrap_or_default();
            let text = text.split("\n/// `counters`,").next().unwrap_or_default();
            for field in fields {
                assert!(text.contains(&format!("`{field}`")), "{list} lacks {field}");
            }
        }
    }
}
