/*
 * Failsoft: reads from a Redis or Valkey Cluster that degrade and never fail.
 *
 * Generated from bindings/c/src by scripts/c-header; do not edit.
 *
 * Ownership: what a function named `_new` or `_open` returns, writes to `*out` or passes to a callback belongs to the
 * program, which gives it back exactly once, to the function named `_free` or `_close` for its type. Texts called static
 * are valid forever. All other pointers belong to the object that they come from, and are valid as long as it exists.
 * Arguments are copied: they may be changed or freed once the call has returned.
 *
 * Keys and values are any bytes, up to 512 MiB, and are passed with their length. All other texts are UTF-8 and end with
 * a NUL. Several threads may use an object at once unless its type says otherwise.
 *
 * A handle that is NULL gives FAILSOFT_INVALID_ARGUMENT, or false, 0 or NULL where a function returns no status. In a
 * process forked from the one that opened a router, every call with that router gives FAILSOFT_FORKED; new routers may
 * be opened there.
 */

#ifndef FAILSOFT_H
#define FAILSOFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* The version of this header. */
#define FAILSOFT_VERSION "0.1.0"


/**
 * An age that is not known. It is greater than any age that is.
 */
#define FAILSOFT_AGE_UNKNOWN INT64_MAX

/**
 * A time that is not known.
 */
#define FAILSOFT_TIME_UNKNOWN INT64_MIN

/**
 * How a call ended. The numbers never change; later versions may add some.
 */
typedef enum {
  /**
   * The call succeeded.
   */
  FAILSOFT_OK = 0,
  /**
   * A bad setting or address; no connection was made.
   */
  FAILSOFT_CONFIG = 1,
  /**
   * A bad argument: NULL where it is not allowed, a key or value over 512 MiB, text that is not UTF-8.
   */
  FAILSOFT_INVALID_ARGUMENT = 2,
  /**
   * No node could say whether the key exists, and there was no loader; or no view of the cluster came in time.
   */
  FAILSOFT_UNAVAILABLE = 3,
  /**
   * The caller's own deadline passed, or the loader took longer than `load_timeout`.
   */
  FAILSOFT_DEADLINE_EXCEEDED = 4,
  /**
   * The loader was not called, to spare the program's own store, or too many loads wait in line.
   */
  FAILSOFT_SHED = 5,
  /**
   * The loader failed; failsoft_outcome_error_code and _error_message say how.
   */
  FAILSOFT_FALLBACK = 6,
  /**
   * A loader asked, directly or through others, for the key that it is loading.
   */
  FAILSOFT_REENTRANT = 7,
  /**
   * A write was refused, or it is not known whether it was done.
   */
  FAILSOFT_WRITE_REFUSED = 8,
  /**
   * Steps of an invalidation were not acknowledged in time; they are sent again in the background.
   */
  FAILSOFT_INVALIDATION_INCOMPLETE = 9,
  /**
   * The call was cancelled.
   */
  FAILSOFT_CANCELLED = 10,
  /**
   * The router was closed.
   */
  FAILSOFT_CLOSED = 11,
  /**
   * The router belongs to the process that this one was forked from: open a new one here.
   */
  FAILSOFT_FORKED = 12,
  /**
   * The load was answered before.
   */
  FAILSOFT_ALREADY_ANSWERED = 13,
  /**
   * A call that is not allowed here, such as failsoft_router_close inside a callback, or one for the other delivery.
   */
  FAILSOFT_MISUSE = 14,
  /**
   * A defect of Failsoft, or the system gave no thread or descriptor; failsoft_last_error says which.
   */
  FAILSOFT_INTERNAL = 15,
} failsoft_status;

/**
 * Settings of a router. Opaque. Only one thread at a time may use it.
 */
typedef struct failsoft_config failsoft_config;

/**
 * Options of a single read. Opaque. The call that is given them copies them, so they may be changed or freed
 * afterwards.
 */
typedef struct failsoft_get_options failsoft_get_options;

/**
 * The last invalidation of a key that there is a record of. Opaque. It belongs to the program, stays valid when its
 * router is closed, and may be read by several threads at once.
 */
typedef struct failsoft_invalidation failsoft_invalidation;

/**
 * What a loader is asked for. Opaque. It belongs to the loader, which frees it with failsoft_load_free exactly once,
 * before or after it returns, on any thread. It stays valid when its read has ended and its router is closed: an
 * answer that nobody waits for any more is dropped.
 */
typedef struct failsoft_load failsoft_load;

/**
 * The outcome of a read. Opaque. It belongs to the program, stays valid when its router is closed, and may be read by
 * several threads at once.
 */
typedef struct failsoft_outcome failsoft_outcome;

/**
 * The outcomes of a read of many keys, in the order of the keys. Opaque. They belong to the program, which frees them
 * with failsoft_outcomes_free.
 */
typedef struct failsoft_outcomes failsoft_outcomes;

/**
 * A router. Opaque. Several threads may use it at once, except that failsoft_router_close, which ends all other calls,
 * has to be the last call.
 */
typedef struct failsoft_router failsoft_router;

/**
 * A writer's place around a transaction of the program's own store. Opaque. failsoft_writing_end ends and frees it, once
 * and on any thread.
 */
typedef struct failsoft_writing failsoft_writing;

/**
 * Called for events that an operator may want to log or count, at most once a second for each `kind`:
 *
 * - "no_view": no cluster is found; failsoft_health has what the nodes said instead;
 * - "node_down", "node_up": nodes get no reads any more, or get them again;
 * - "verdict": judging by the views of several nodes, some nodes are now on another side of a partition (majority,
 *   minority or unknown) than before;
 * - "fill_failed": loaded values were not written back;
 * - "store_down", "store_up": the breaker of the program's own store has opened ("failing" or "slow"): loads are shed; or
 *   it has closed again;
 * - "store_slow", "store_fast": that store is slow, so that reads make fewer retries and equal ones share their requests; or
 *   it is fast again;
 * - "panicked": a defect in the background of the library, which continues.
 *
 * `count` is how often it happened since the last call for this kind. `text` names the nodes and the reasons, as in
 * "127.0.0.1:7000 timeout, 127.0.0.1:7001 connection"; it is empty for "panicked", "store_up", "store_slow" and "store_fast". Both texts are valid only during
 * the call.
 *
 * With either delivery it is called on the library's I/O thread. So it must not block, must not call this library, and
 * must neither throw nor jump out. It is not called after failsoft_router_close has returned.
 */
typedef void (*failsoft_on_event)(const char *kind, uint64_t count, const char *text, void *event_data);

/**
 * Called at the end of an asynchronous call that has only a status, exactly once, if the call that started it gave
 * FAILSOFT_OK. Until it returns, failsoft_last_error and its detail on this thread describe `status`. Otherwise as
 * failsoft_on_outcome.
 */
typedef void (*failsoft_on_done)(failsoft_status status, void *done_data);

/**
 * The callback of a read: your own store, called when the primary does not have the key, or when no node may answer
 * (failsoft_get_options_recompute says which of two is called).
 * It answers `request` with failsoft_load_reply, _missing or _fail, now or later and on any thread, and then frees it.
 *
 * `user_data` has to stay valid as long as the loader may be called or is running. A deadline or a cancellation can
 * end the read while its loader still runs (after that it is not started). failsoft_get_options_on_release says when
 * `user_data` is no longer needed, and failsoft_load_is_wanted whether anybody still waits. A loader that frees its
 * request without an answer has failed; the load of one that never frees it ends after `load_timeout`.
 *
 * A loader may block, and it may call this library. If it reads the key that it is loading, directly or through other
 * loads on this thread, that read ends with FAILSOFT_REENTRANT. It must neither throw nor jump out, and must not end
 * its thread; a pthread_cancel takes effect only once the library's function around the loader has returned, as in any
 * call. If the loader forks and also returns in the child, the function around it gives FAILSOFT_FORKED there; on a
 * thread of the library, that thread ends, and with it the child.
 */
typedef void (*failsoft_loader)(failsoft_load *request, void *user_data);

/**
 * Called at the end of an asynchronous read, exactly once, if the call that started the read gave FAILSOFT_OK.
 * `status` says how the read ended. `outcome` is never NULL, and the program frees it with failsoft_outcome_free.
 * `outcome_data` is what that call was given; the library does not use it afterwards.
 *
 * It should return soon: with `delivery` = `threads`, all other outcomes of the router wait meanwhile. It must neither
 * throw nor jump out.
 */
typedef void (*failsoft_on_outcome)(failsoft_status status, failsoft_outcome *outcome, void *outcome_data);

/**
 * Called once for each read, when the library no longer needs the `user_data` of its loader.
 */
typedef void (*failsoft_on_release)(void *user_data);

/**
 * Called at the end of an asynchronous read of many keys, as failsoft_on_outcome is for one key. `outcomes` is NULL if
 * the call as a whole failed; otherwise the program frees it with failsoft_outcomes_free.
 */
typedef void (*failsoft_on_outcomes)(failsoft_status status, failsoft_outcomes *outcomes, void *outcome_data);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Makes default settings for a router whose seed nodes are `nodes`, separated by commas; one that answers is enough.
 * Each is `host:port`, `[v6]:port`, `redis://user:password@host:port` or `valkey://...`, with TLS `rediss://...` or
 * `valkeys://...`; the port defaults to 6379. The addresses are checked by failsoft_router_open.
 *
 * The caller frees the settings with failsoft_config_free. NULL if `nodes` is NULL or not UTF-8.
 */
failsoft_config *failsoft_config_new(const char *nodes);

/**
 * Sets one key to a value, both texts. Durations are numbers of milliseconds, and their keys end in `_ms`.
 *
 * "" turns off what can be off: `soft_load_timeout_ms`, `negative_ttl_ms`, `failure_pause_ms`, `lease_ttl_ms`, `slo_ms`, `address_map`,
 * `username`, `password`, `client_name`, and of the keys below those that take a PEM text or a name. The word "off" does
 * the same for `soft_load_timeout_ms`, `negative_ttl_ms`, `failure_pause_ms`, `lease_ttl_ms`, `slo_ms` and `address_map`. As a `username`,
 * `password` or `client_name` it is a text like any other: the password is then "off".
 *
 * Keys: `max_retries` (3), `max_redirects` (5), `base_backoff_ms` (50), `attempt_timeout_ms` (250), `deadline_ms`
 * (1000), `connect_timeout_ms` (500), `slot_refresh_interval_ms` (15000), `staleness_budget_ms` (2000),
 * `outage_budget_ms` (30000), `near_cache_bytes` (0), `standin_bytes` (67108864), `fill` (true), `fill_ttl_ms` (300000),
 * `ttl_jitter` (0.1), `early_refresh` (0), `verify_sample` (0), `invalidation_ttl_ms` (60000),
 * `trust_window_ms` (1000), `invalidate_durability` (replica), `hold_ms` (10000), `eviction_events` (false), `load_timeout_ms` (10000),
 * `soft_load_timeout_ms` (off), `negative_ttl_ms` (off), `failure_pause_ms` (off), `lease_ttl_ms` (off), `coalesce` (loads), `slo_ms` (50), `max_concurrent_loads`
 * (256), `max_in_flight` (10000), `address_map` (`from=to,...`), `username`, `password`, `client_name`. The README says
 * what they mean. These exist only in C:
 *
 * - `delivery`: `threads` (the default) or `fd`; see failsoft_router_open.
 * - `tls` (false): encrypts all connections. Only with it: `tls_ca_pem` (authorities to trust instead of Mozilla's),
 *   `tls_client_cert_pem` and `tls_client_key_pem` (both or neither), all three as PEM text, not as file names;
 *   `tls_server_name` (the name that the servers' certificates are for, if it is not the host's);
 *   `tls_danger_accept_invalid_certs` (false).
 *
 * FAILSOFT_CONFIG: an unknown key, or a value that is not allowed; the setting keeps its old value.
 */
failsoft_status failsoft_config_set(failsoft_config *config,
                                    const char *key,
                                    const char *value);

/**
 * Sets the function that is called for events of routers opened with these settings; see failsoft_on_event.
 * `event_data` is passed to each call and has to stay valid until those routers are closed. If `on_event` is NULL:
 * FAILSOFT_INVALID_ARGUMENT.
 */
failsoft_status failsoft_config_on_event(failsoft_config *config, failsoft_on_event on_event, void *event_data);

/**
 * Frees settings. Routers opened with them are not affected. NULL is fine.
 */
void failsoft_config_free(failsoft_config *config);

/**
 * Opens a router with these settings, which are copied. It can be used at once: it connects by itself, in the
 * background, and until then loaders serve the reads. The caller ends it with failsoft_router_close. `*out` is NULL
 * unless the status is FAILSOFT_OK.
 *
 * With `delivery` = `threads`, a single thread of the library calls the functions at the end of all asynchronous
 * calls, one after the other, so they should return soon. Loaders are called on up to 64 other threads of the library,
 * and may block them; further loads wait in line. With `fd`, loaders and the functions at the end of calls run only
 * inside failsoft_router_dispatch, failsoft_router_close, or a blocking call with the router. With either, a blocking
 * call runs its own loader on the calling thread.
 *
 * FAILSOFT_CONFIG: a bad address or setting; failsoft_last_error names it, and says what is allowed.
 * FAILSOFT_INTERNAL: the system gave no thread or descriptor.
 */
failsoft_status failsoft_router_open(const failsoft_config *config,
                                     failsoft_router **out);

/**
 * Ends a router and frees it. Every call under way ends with FAILSOFT_CLOSED, or with the result that it had just got,
 * and its function, such as `on_outcome`, is called before this returns. Loaders that have not been started are not
 * called any more, and callbacks that are running are waited for. Loads that the program has not freed yet are still
 * to be freed.
 *
 * FAILSOFT_MISUSE: called inside one of the router's own callbacks; the router stays open. FAILSOFT_FORKED: called in
 * a child process, where nothing can be ended; the handle is of no further use.
 */
failsoft_status failsoft_router_close(failsoft_router *router);

/**
 * Waits until the router has a first view of the cluster. This is never necessary: reads work without it.
 *
 * FAILSOFT_UNAVAILABLE: there is none after `timeout_ms` milliseconds.
 */
failsoft_status failsoft_router_ready(failsoft_router *router, uint64_t timeout_ms);

/**
 * The same without blocking: `on_done` is called when there is a view, or when the time is over. Otherwise as
 * failsoft_set_async.
 */
failsoft_status failsoft_router_ready_async(failsoft_router *router,
                                            uint64_t timeout_ms,
                                            failsoft_on_done on_done,
                                            void *done_data,
                                            uint64_t *call_id);

/**
 * A descriptor for poll, epoll or select that is readable while there is something to dispatch. It never changes,
 * belongs to the router, and must not be read from or closed by the program. -1 with `delivery` = `threads`, for NULL,
 * and in a child process; failsoft_last_error says which.
 */
int failsoft_router_fd(failsoft_router *router);

/**
 * With `delivery` = `fd`: calls, on this thread, the callbacks that are due now, and does not wait for more.
 *
 * FAILSOFT_MISUSE: the router was opened with `threads`.
 */
failsoft_status failsoft_router_dispatch(failsoft_router *router);

/**
 * What the router knows of the cluster and of itself at this moment, as a JSON object. No node is asked for it. The
 * caller frees `*out` with failsoft_string_free; it is NULL unless the status is FAILSOFT_OK.
 *
 * Times are whole milliseconds. What is not known is null. Later versions may add fields and words.
 *
 * - `id`: the router's own name, eight hexadecimal digits drawn when it was opened; the ids of its invalidations begin with
 *   it
 * - `kind`: "cluster", "standalone" (a single server without cluster mode), or "unknown" until a first view has come
 * - `closed`: whether the router is being closed
 * - `slots_assigned`: how many of the 16,384 slots have an owner
 * - `slots_ok`: how many of them have an owner that gets reads
 * - `down`: whether no majority of the cluster is in reach; reads go to loaders then, and nothing is written
 * - `isolated`: whether more than half of the slots' owners are out of this router's own reach
 * - `ballots`: what nodes said of the cluster when they were last asked because something was wrong, at most five
 * - `moved_patches`: slots with a new owner according to a redirect, which no view has confirmed yet
 * - `retry_tokens`: how many retries the budget of the whole router allows now
 * - `refreshes`: how often the view of the cluster was refreshed
 * - `flights`: keys that loaders are loading
 * - `waiters`: reads that wait for a loader
 * - `queued_loads`: loads that wait in line because `max_concurrent_loads` are running
 * - `detached_loads`: loaders that are still running after `load_timeout`
 * - `copies`: copies of values in this process, which may stand in when nothing else can answer
 * - `copies_bytes`: how many bytes they take, at most `near_cache_bytes` or `standin_bytes`
 * - `store`: the breaker of the program's own store, see below
 * - `invalidations`: keys that this router invalidated, or heard that another one did, within `invalidation_ttl_ms`
 * - `invalidations_owed`: how many of them no node has acknowledged to be gone, or another owner may have lost; these are
 *   read from loaders alone, or only together with their marks
 * - `stalled`: whether the router's background work panicked when it last ran, so that views and probes may be
 *   missing. That is a defect of Failsoft; the work is tried again after five seconds at most
 * - `refusals`: an object with the addresses of the nodes that gave no view when they were last asked, or that refuse
 *   reads; the value is what each said or did instead
 * - `nodes`, `counters`: see below
 *
 * Of the program's own store, which loaders ask, `store` has:
 *
 * - `state`: "closed", "open" (loads are shed), or "half_open" (some are let in, to see how it is)
 * - `state_ms`: for how long that has been so
 * - `trouble`: why it is not closed, "failing" or "slow"; null if it is
 * - `calls`: the newest calls of loaders: those that ended within six seconds, or as many more seconds, up to a minute,
 *   as it takes for 20 calls; and those that run and have taken longer than `slo_ms` already
 * - `failure_share`: the share of them that failed, from 0 to 1
 * - `p95_ms`: what 95 of 100 of them did not exceed, rounded up by an eighth at the most; null without calls
 * - `max_retries`: the setting as it is in force: no more than 2 while more than one in twenty of these calls takes
 *   longer than `slo_ms`, until they have been fast again for a minute
 * - `coalesce`: the setting as it is in force: "reads" during the same time
 * - `slowed`: how often that time has begun so far
 *
 * Each of `nodes`:
 *
 * - `address`: `host:port` or `[v6]:port`
 * - `id`: its node id; null until a view has named it
 * - `role`: "primary" or "replica", by the newest view
 * - `replica_of`: the address of a replica's primary; null for a primary
 * - `epoch`: its config epoch
 * - `slots`: how many slots it owns
 * - `breaker`: "closed" (it gets reads), "open" (it gets none), "half_open" (the same, and a probe is under way) or
 *   "readmitting" (it gets a growing share of them)
 * - `trouble`: why it gets no reads or not all of them, a word of failsoft_outcome_reason; null if it gets all
 * - `trouble_ms`: for how long that has been so
 * - `contact_ms`: time since its last answer; null before the first one
 * - `lag_ms`: for a replica, time since it was last known to have everything that its primary had
 * - `validated`: whether it has proved to be the primary that it is taken for, so that it may be written to
 * - `failed`: whether the cluster counts it as failed
 * - `verdict`: its side of a partition: "majority" (also if nothing speaks against it), "minority" (it gets no reads
 *   and no writes) or "unknown"
 * - `listening`: how it is listened to for invalidations: "heard" (all that it tells is known), "open" (up to when that
 *   is complete is not known just now), "closed", "denied" (it does not let us) or "too_costly" (it has too many
 *   clients); null if it owns no slots
 * - `tracking`: the same for what happens to the keys of the near cache; null without one
 * - `events`: the same for which keys it evicts and which have expired; null without `eviction_events`. Whether its
 *   `notify-keyspace-events` lets it tell that is not known
 * - `in_flight`: requests that it has not answered yet
 * - `cluster_ok`: whether it says that `cluster_state` is ok; false until it was first asked
 * - `current_epoch`: the highest epoch that it has seen
 * - `offset`: its replication offset in bytes
 * - `link_up`: whether a replica is connected to its primary; null for a primary
 * - `priority`: a replica's `replica-priority`; the lowest is promoted first, 0 never
 * - `evicted`, `expired`: its `evicted_keys` and `expired_keys`, counted since it was started
 * - `maxmemory_policy`: its `maxmemory_policy`
 * - `version`: the server's version
 * - `denied`: the commands that it refused, so that what they would tell is missing here
 *
 * Each of `ballots`:
 *
 * - `address`: the node that said it
 * - `age_ms`: time since it was asked
 * - `primaries`: how many primaries with slots it knows
 * - `primaries_ok`: how many of them are neither FAIL nor PFAIL for it
 * - `majority`: whether these are more than half: by its own view, it is in the majority
 * - `epoch`: the highest config epoch in its view
 * - `cluster_ok`: whether its `cluster_state` is ok; like the fields below, null where it refuses `CLUSTER INFO`
 * - `slots_pfail`, `slots_fail`: its `cluster_slots_pfail` and `cluster_slots_fail`
 * - `current_epoch`, `my_epoch`: its `cluster_current_epoch` and `cluster_my_epoch`
 *
 * `counters`, since the router was opened. Where these are lists, an element has `what`, `reason` (or "") and `count`,
 * and only counts above 0 are listed:
 *
 * - `attempts`: attempts by status (`what`) and by why the primary did not serve; one read can add several
 * - `reads`: reads by source (`what`: a word of failsoft_outcome_served_by, or "error") and by why the primary did not
 *   serve; each read that ended, exactly once
 * - `loads`: loaders called
 * - `verified`: served values that were compared with what the store has (`verify_sample`), by what that came to (`what`:
 *   "fresh", "stale" or "raced")
 * - `shed`: loads whose loader was not called, to spare the store: its breaker was open, or the line too long
 * - `fills`: loaded values that were written back
 * - `fills_skipped`: loaded values that were not, by cause (`what`, a word of failsoft_set)
 * - `sets`: values written by failsoft_set
 * - `sets_in_doubt`: how many of them went to a node of which it was not known whether it is in the majority
 * - `sets_held`: how many of them found that a writer holds the key, which was deleted instead
 * - `sets_refused`: values that failsoft_set did not write, by cause (`what`)
 * - `invalidations`: keys invalidated, those included that were sent again
 * - `invalidations_incomplete`: attempts to invalidate a key of which a step was not acknowledged
 * - `invalidations_unlogged`: entries of the log of invalidations that were not written; nothing that is read depends on it
 * - `panics`: panics in the background that were caught, each of them a defect of Failsoft
 */
failsoft_status failsoft_health(failsoft_router *router,
                                char **out);

/**
 * Reads a key of `len` bytes and waits for the result: from its primary, from a replica, or from `loader`, in this
 * order. `loader` is called on this thread; NULL for none. However many callers ask for a key at the same time, one
 * loader runs.
 *
 * `*out` becomes NULL or the outcome, which has the value if the read succeeded, and the message and code if it
 * failed. The caller frees it with failsoft_outcome_free, whatever the status is. `out` may be NULL.
 *
 * FAILSOFT_OK: failsoft_outcome_found says whether the key exists. FAILSOFT_FALLBACK: the loader failed.
 * FAILSOFT_DEADLINE_EXCEEDED: it took longer than `load_timeout`. FAILSOFT_REENTRANT: it asked for its own key.
 * FAILSOFT_SHED: it was not called, to spare a store that can't cope.
 * FAILSOFT_UNAVAILABLE: there was no loader, and no node could tell.
 */
failsoft_status failsoft_get_with_fallback(failsoft_router *router,
                                           const uint8_t *key,
                                           size_t len,
                                           failsoft_loader loader,
                                           void *user_data,
                                           failsoft_outcome **out);

/**
 * The same with options for this read; NULL for none. FAILSOFT_DEADLINE_EXCEEDED also if their deadline passed.
 */
failsoft_status failsoft_resolve(failsoft_router *router,
                                 const uint8_t *key,
                                 size_t len,
                                 const failsoft_get_options *options,
                                 failsoft_loader loader,
                                 void *user_data,
                                 failsoft_outcome **out);

/**
 * Starts to read a key. `on_outcome` is called at the end of the read, possibly before this function returns. If this
 * function gives another status than FAILSOFT_OK, it is never called. `*read_id` becomes a number for failsoft_cancel,
 * which is never 0; `read_id` may be NULL.
 */
failsoft_status failsoft_get_with_fallback_async(failsoft_router *router,
                                                 const uint8_t *key,
                                                 size_t len,
                                                 failsoft_loader loader,
                                                 void *user_data,
                                                 failsoft_on_outcome on_outcome,
                                                 void *outcome_data,
                                                 uint64_t *read_id);

/**
 * The same with options for this read; NULL for none.
 */
failsoft_status failsoft_resolve_async(failsoft_router *router,
                                       const uint8_t *key,
                                       size_t len,
                                       const failsoft_get_options *options,
                                       failsoft_loader loader,
                                       void *user_data,
                                       failsoft_on_outcome on_outcome,
                                       void *outcome_data,
                                       uint64_t *read_id);

/**
 * Cancels an asynchronous call: it ends with FAILSOFT_CANCELLED, unless it has just ended. Its loader is not started
 * any more; one that is running continues for as long as others wait for it.
 *
 * FAILSOFT_OK: also if the call had ended before. FAILSOFT_INVALID_ARGUMENT: no call ever had this number.
 */
failsoft_status failsoft_cancel(failsoft_router *router,
                                uint64_t read_id);

/**
 * Makes options in which nothing is set. The caller frees them with failsoft_get_options_free.
 */
failsoft_get_options *failsoft_get_options_new(void);

/**
 * Sets one option to a number of milliseconds, given as text; "" unsets it.
 *
 * - `ttl_ms`: the time to live of a value that this read loads and writes back, instead of `fill_ttl_ms`.
 * - `deadline_ms`: the most time for the whole read, the loader included.
 * - `staleness_budget_ms`: how old what stands in may be (the answer of a replica, or a copy in this process), instead of
 *   the budgets of the router; 0 means that nothing stands in.
 *
 * FAILSOFT_INVALID_ARGUMENT: an unknown option, or not such a number; the option keeps its old value. Whether a server
 * accepts the time to live is checked only by the read.
 */
failsoft_status failsoft_get_options_set(failsoft_get_options *options,
                                         const char *key,
                                         const char *value);

/**
 * Sets a second loader, which is called instead of the read's own, by the same rules and with the same `user_data`, when
 * the primary says that there is no such key and nobody is known to have changed it: for the reasons "absent", "expired"
 * and "unknown", and for "evicted" unless the key is read often. Everything else goes to the read's own loader. NULL
 * unsets it.
 *
 * With it, a read without a loader of its own, or of many keys, ends with FAILSOFT_INVALID_ARGUMENT.
 */
failsoft_status failsoft_get_options_recompute(failsoft_get_options *options,
                                               failsoft_loader loader);

/**
 * Sets a function that is called with the `user_data` of each read made with these options, exactly once, when no
 * loader of the read is running or will be called again: `user_data` can be freed then. It is also called if there
 * is no loader, if the loader was never called, and if the call that starts the read fails; but not in a child
 * process. It may be called on a thread of the library, or inside the call that starts the read or dispatches. It must
 * not call this library. NULL unsets it.
 */
failsoft_status failsoft_get_options_on_release(failsoft_get_options *options,
                                                failsoft_on_release on_release);

/**
 * Frees options. NULL is fine.
 */
void failsoft_get_options_free(failsoft_get_options *options);

/**
 * The key to load, or the first of many; `*len` becomes its length in bytes. `len` may be NULL. The key belongs to the
 * load, can hold any bytes, and does not end with a NUL. NULL if `load` is NULL.
 */
const uint8_t *failsoft_load_key(const failsoft_load *load,
                                 size_t *len);

/**
 * How many keys the load asks for: 1 for a read of one key. 0 if `load` is NULL.
 */
size_t failsoft_load_count(const failsoft_load *load);

/**
 * One of the keys to load, as failsoft_load_key; `index` counts from 0. NULL, with a length of 0, if there is no such
 * key.
 */
const uint8_t *failsoft_load_key_at(const failsoft_load *load,
                                    size_t index,
                                    size_t *len);

/**
 * Why the primary did not serve the key: one of the words of failsoft_outcome_reason. Static. NULL for a load of many
 * keys.
 */
const char *failsoft_load_reason(const failsoft_load *load);

/**
 * Whether anybody still waits for the answer. A loader that takes long may ask from time to time, and stop if nobody
 * does. Also true for as long again as `load_timeout` once that has passed: the callers have their error then, but a
 * value that comes may still be written back. False once the load has been answered, and for NULL.
 */
bool failsoft_load_is_wanted(const failsoft_load *load);

/**
 * Answers a load of one key with a value of `len` bytes, which is copied. Any thread may call it. The load still has
 * to be freed.
 *
 * FAILSOFT_ALREADY_ANSWERED: there was an answer before; this one changes nothing. FAILSOFT_MISUSE: the load asks for
 * many keys. FAILSOFT_FORKED: this is a child process that the loader has forked.
 */
failsoft_status failsoft_load_reply(failsoft_load *load,
                                    const uint8_t *value,
                                    size_t len);

/**
 * Answers a load of one key: the key does not exist. Statuses as failsoft_load_reply.
 */
failsoft_status failsoft_load_missing(failsoft_load *load);

/**
 * Answers a load of one key or many: it failed. All reads that wait for it end with FAILSOFT_FALLBACK, with this code
 * and a copy of this message; with NULL, the message is one that names the code. Statuses as failsoft_load_reply.
 */
failsoft_status failsoft_load_fail(failsoft_load *load,
                                   int32_t code,
                                   const char *message);

/**
 * Gives the value of one key of a load, counted from 0; it is copied. failsoft_load_done completes the answer.
 *
 * FAILSOFT_ALREADY_ANSWERED: the load, or this key of it, was answered before. FAILSOFT_INVALID_ARGUMENT: there is no
 * such key. FAILSOFT_FORKED: this is a child process that the loader has forked.
 */
failsoft_status failsoft_load_reply_at(failsoft_load *load,
                                       size_t index,
                                       const uint8_t *value,
                                       size_t len);

/**
 * Completes the answer of a load of many keys, or of one: keys without a value do not exist. Statuses as
 * failsoft_load_reply, but FAILSOFT_MISUSE is not among them.
 */
failsoft_status failsoft_load_done(failsoft_load *load);

/**
 * Frees a load. One without an answer has failed: all reads that wait for it end with FAILSOFT_FALLBACK and code 0.
 * NULL is fine.
 */
void failsoft_load_free(failsoft_load *load);

/**
 * How the read ended. FAILSOFT_INVALID_ARGUMENT if `outcome` is NULL.
 */
failsoft_status failsoft_outcome_status(const failsoft_outcome *outcome);

/**
 * Whether there is a value. False with the status FAILSOFT_OK: the key does not exist. False with another status: the
 * read failed.
 */
bool failsoft_outcome_found(const failsoft_outcome *outcome);

/**
 * The value; `*len` becomes its length in bytes. `len` may be NULL. It belongs to the outcome. NULL and 0 if there is
 * no value; an empty value is not NULL.
 */
const uint8_t *failsoft_outcome_value(const failsoft_outcome *outcome,
                                      size_t *len);

/**
 * Who answered: "near" (the near cache), "primary", "replica", "secondary" (the loader), "stale" (a copy that stands in)
 * or "none" (the key does not exist). Static; NULL if the read failed.
 */
const char *failsoft_outcome_served_by(const failsoft_outcome *outcome);

/**
 * Why the primary did not serve it: "absent", "expired", "evicted", "invalidated", "unknown", "timeout", "connection",
 * "loading", "cluster_down", "breaker_open", "quarantined", "slot_uncovered", "redirect_limit", "error_reply", "protocol",
 * "deadline", "slow_source", "shed" or "failed_source"; later versions may add words. Static; NULL if the primary did, or if the read failed.
 */
const char *failsoft_outcome_reason(const failsoft_outcome *outcome);

/**
 * The node that answered, as `host:port`; NULL unless a primary or a replica did. It belongs to the outcome.
 */
const char *failsoft_outcome_node(const failsoft_outcome *outcome);

/**
 * How many milliseconds ago the value was last known to be current: 0 if the primary or the loader gave it, and
 * FAILSOFT_AGE_UNKNOWN if it comes from a replica whose age cannot be told.
 */
int64_t failsoft_outcome_age_ms(const failsoft_outcome *outcome);

/**
 * How many attempts the read sent to nodes; 0 if it failed.
 */
uint32_t failsoft_outcome_attempts(const failsoft_outcome *outcome);

/**
 * Whether the answer comes from the load of another read.
 */
bool failsoft_outcome_coalesced(const failsoft_outcome *outcome);

/**
 * If the loader failed, the code that it gave to failsoft_load_fail; 0 otherwise.
 */
int32_t failsoft_outcome_error_code(const failsoft_outcome *outcome);

/**
 * What went wrong, for people to read; if the loader failed, its message. NULL if the read did not fail. It belongs to
 * the outcome.
 */
const char *failsoft_outcome_error_message(const failsoft_outcome *outcome);

/**
 * The name of the error's detail, as failsoft_last_error_detail_name. NULL if it has none. It belongs to the outcome.
 */
const char *failsoft_outcome_error_detail_name(const failsoft_outcome *outcome);

/**
 * The value of that detail, as failsoft_last_error_detail. NULL and 0 if there is none. It belongs to the outcome.
 */
const uint8_t *failsoft_outcome_error_detail(const failsoft_outcome *outcome, size_t *len);

/**
 * Frees an outcome and everything that belongs to it. NULL is fine.
 */
void failsoft_outcome_free(failsoft_outcome *outcome);

/**
 * Reads up to 65,536 keys at once and waits for them. `keys` and `lens` point to `count` keys and their lengths in
 * bytes. `loader` is called once, on this thread, for all missing keys that nobody is loading yet; it must not be
 * NULL.
 *
 * `*out` becomes NULL or the outcomes in the order of the keys. The caller frees them with failsoft_outcomes_free,
 * whatever the status is. `out` may be NULL.
 *
 * FAILSOFT_OK: every key was read, found or absent. Otherwise the status of the first key that was not, or of the call
 * as a whole; failsoft_outcome_status gives that of each key.
 */
failsoft_status failsoft_get_many_with_fallback(failsoft_router *router,
                                                const uint8_t *const *keys,
                                                const size_t *lens,
                                                size_t count,
                                                failsoft_loader loader,
                                                void *user_data,
                                                failsoft_outcomes **out);

/**
 * The same with options, which apply to the call as a whole; NULL for none. A key without an answer by the deadline
 * gets FAILSOFT_DEADLINE_EXCEEDED; the others keep their answers.
 */
failsoft_status failsoft_resolve_many(failsoft_router *router,
                                      const uint8_t *const *keys,
                                      const size_t *lens,
                                      size_t count,
                                      const failsoft_get_options *options,
                                      failsoft_loader loader,
                                      void *user_data,
                                      failsoft_outcomes **out);

/**
 * Starts to read many keys. `on_outcomes` is called at the end; otherwise as failsoft_get_with_fallback_async.
 */
failsoft_status failsoft_get_many_with_fallback_async(failsoft_router *router,
                                                      const uint8_t *const *keys,
                                                      const size_t *lens,
                                                      size_t count,
                                                      failsoft_loader loader,
                                                      void *user_data,
                                                      failsoft_on_outcomes on_outcomes,
                                                      void *outcome_data,
                                                      uint64_t *read_id);

/**
 * The same with options, as failsoft_resolve_many; NULL for none.
 */
failsoft_status failsoft_resolve_many_async(failsoft_router *router,
                                            const uint8_t *const *keys,
                                            const size_t *lens,
                                            size_t count,
                                            const failsoft_get_options *options,
                                            failsoft_loader loader,
                                            void *user_data,
                                            failsoft_on_outcomes on_outcomes,
                                            void *outcome_data,
                                            uint64_t *read_id);

/**
 * The number of outcomes, which is the number of keys that were read.
 */
size_t failsoft_outcomes_count(const failsoft_outcomes *outcomes);

/**
 * The outcome of one key; `index` counts from 0. It belongs to the outcomes, so do not free it. NULL if there is no
 * such key.
 */
const failsoft_outcome *failsoft_outcomes_at(const failsoft_outcomes *outcomes, size_t index);

/**
 * Frees outcomes and everything that belongs to them. NULL is fine.
 */
void failsoft_outcomes_free(failsoft_outcomes *outcomes);

/**
 * Writes a value and waits until it is written. It expires after `*ttl_ms` milliseconds; if `ttl_ms` is NULL, never. While a
 * writer holds the key (failsoft_writing_begin), here or in another process, the key is deleted instead.
 *
 * FAILSOFT_WRITE_REFUSED: the slot's owner may not be written to now, or refused. failsoft_last_error_detail gives the
 * cause: "slot_uncovered", "no_view", "breaker_open", "quarantined", "verdict_unknown", "cluster_down", "loading",
 * "no_contact", "not_proved", "owner_changed", "redirect_limit", "exists", "lease_gone", "held", "server_refused",
 * "denied", "error_reply", "protocol", "timeout", "connection", "not_replicated" or "busy"; later versions may add
 * words. "verdict_unknown", "owner_changed", "exists", "lease_gone" and "held" are only for loaded values that are not
 * written back, "not_replicated" is only for invalidations. After "timeout" and "connection" it is not known whether the
 * value was written.
 */
failsoft_status failsoft_set(failsoft_router *router,
                             const uint8_t *key,
                             size_t key_len,
                             const uint8_t *value,
                             size_t value_len,
                             const uint64_t *ttl_ms);

/**
 * Starts to write a value. `on_done` is called at the end with the status that failsoft_set would give, possibly
 * before this function returns. If this function gives another status than FAILSOFT_OK, it is never called. `*call_id`
 * becomes a number for failsoft_cancel; `call_id` may be NULL. It is not known whether a cancelled write was done.
 */
failsoft_status failsoft_set_async(failsoft_router *router,
                                   const uint8_t *key,
                                   size_t key_len,
                                   const uint8_t *value,
                                   size_t value_len,
                                   const uint64_t *ttl_ms,
                                   failsoft_on_done on_done,
                                   void *done_data,
                                   uint64_t *call_id);

/**
 * Invalidates up to 1,000,000 keys, and 64 MiB of them, and waits until that is acknowledged: to be called after what they stand for has
 * changed in the program's own store. `keys` and `lens` point to `count` keys and their lengths in bytes; with a `count`
 * of 0 they may be NULL, and nothing is done. It may be called inside a loader, also for the key that this one loads.
 *
 * From the call on no read of this process gets anything older: not from a node, not from a load that is under way, and
 * not from one whose value would be written back. When it returns, the keys are deleted, with the leases of all loads
 * under way in any process, and each is marked as invalidated beside its own place and in another shard.
 *
 * FAILSOFT_INVALIDATION_INCOMPLETE: steps were not acknowledged within `deadline_ms`. They are sent again in the
 * background for `invalidation_ttl_ms`, and meanwhile reads of keys whose deletion is pending go to their loaders, with
 * the reason "invalidated". failsoft_last_error says how many keys that are; failsoft_last_error_detail gives the steps
 * that the first one lacks, each with a cause of failsoft_set: "key" (it is deleted where it lives), "echo" (it is
 * announced in another shard) and "replicas" (those that `invalidate_durability` asks for have it), as in "key timeout,
 * echo connection". The cause "not_replicated" means that a primary has it, and too few replicas have it yet.
 */
failsoft_status failsoft_invalidate(failsoft_router *router,
                                    const uint8_t *const *keys,
                                    const size_t *lens,
                                    size_t count);

/**
 * Starts to invalidate keys; when this returns, no read of this process that begins later gets anything older. `on_done`
 * is called at the end with the status that failsoft_invalidate would give, possibly before this function returns. If
 * this function gives another status than FAILSOFT_OK, it is never called. `*call_id` becomes a number for
 * failsoft_cancel; `call_id` may be NULL. Cancelling does not stop an invalidation: it goes on, and its result is not reported.
 */
failsoft_status failsoft_invalidate_async(failsoft_router *router,
                                          const uint8_t *const *keys,
                                          const size_t *lens,
                                          size_t count,
                                          failsoft_on_done on_done,
                                          void *done_data,
                                          uint64_t *call_id);

/**
 * When and by whom a key of `len` bytes was last invalidated, as far as there is a record of it: the marks that it leaves
 * beside the key and in another shard for `invalidation_ttl_ms`, what this process made or heard of in that time, or a
 * log of the newest invalidations. Waits for the answer.
 *
 * `*out` becomes NULL if there is no record, or if the status is not FAILSOFT_OK; the caller frees it with
 * failsoft_invalidation_free.
 *
 * FAILSOFT_UNAVAILABLE: nobody can say, since no node could be asked that would have a mark.
 */
failsoft_status failsoft_last_invalidation(failsoft_router *router,
                                           const uint8_t *key,
                                           size_t len,
                                           failsoft_invalidation **out);

/**
 * Whether it is known that nobody has invalidated a key of `len` bytes for `max_age_ms` milliseconds: what was read of it
 * in that time is as good as it was then. `*out` becomes the answer, and false if the status is not FAILSOFT_OK.
 *
 * It is false if one has, if an invalidation of this process is not acknowledged yet, or if one may have been missed: the
 * nodes that tell of it were not heard for all that time. They are heard only while this process reads from them, or asks
 * this. What has ended within the last `trust_window_ms` may not be known yet; beyond `invalidation_ttl_ms` it is always
 * false. No node is asked.
 */
failsoft_status failsoft_within_staleness_budget(failsoft_router *router,
                                                 const uint8_t *key,
                                                 size_t len,
                                                 uint64_t max_age_ms,
                                                 bool *out);

/**
 * How many milliseconds ago it was, by the clock of the server that has the record; FAILSOFT_TIME_UNKNOWN where no clock
 * was asked.
 */
int64_t failsoft_invalidation_age_ms(const failsoft_invalidation *invalidation);

/**
 * When it was by that clock, in milliseconds since 1970; FAILSOFT_TIME_UNKNOWN where none was asked.
 */
int64_t failsoft_invalidation_at_ms(const failsoft_invalidation *invalidation);

/**
 * Its id, sixteen hexadecimal digits, of which the first eight name the router that made it (`id` of failsoft_health).
 * NULL if no more is known than that there was one. It belongs to `invalidation`.
 */
const char *failsoft_invalidation_id(const failsoft_invalidation *invalidation);

/**
 * Whether this router made it.
 */
bool failsoft_invalidation_own(const failsoft_invalidation *invalidation);

/**
 * Where it is known from: "mark" (the mark beside the key), "echo" (the one in another shard), "process" (this process
 * made it, or heard of it) or "log". Static; NULL if `invalidation` is.
 */
const char *failsoft_invalidation_record(const failsoft_invalidation *invalidation);

/**
 * Frees it; NULL is fine.
 */
void failsoft_invalidation_free(failsoft_invalidation *invalidation);

/**
 * The same as failsoft_invalidate, and for `hold_ms` milliseconds (1 to 3,600,000) nothing that is loaded of these keys
 * is written back, by any process: for a store that is read from copies which lag behind what was just written.
 *
 * FAILSOFT_INVALIDATION_INCOMPLETE: as there; the steps have "hold", too, which is not sent again.
 */
failsoft_status failsoft_invalidate_and_hold(failsoft_router *router,
                                             const uint8_t *const *keys,
                                             const size_t *lens,
                                             size_t count,
                                             uint64_t hold_ms);

/**
 * To be called before a transaction of the program's own store: holds up to 1,000,000 keys, given as to
 * failsoft_invalidate, and waits until they are held and deleted. From then until failsoft_writing_end nothing that is
 * loaded of them is kept, by any process, also if this one dies meanwhile; their reads are served all the while, by
 * loaders if need be. A transaction that takes longer than `hold_ms` of the router is not protected by it any more.
 *
 * `*out` becomes NULL, or what the caller gives to failsoft_writing_end after the transaction, whether that failed or
 * not.
 *
 * FAILSOFT_INVALIDATION_INCOMPLETE: a key could not be held (the step "hold") or deleted ("key"), or replicas lack
 * that ("replicas"), so the transaction should not begin; nothing has to be ended.
 */
failsoft_status failsoft_writing_begin(failsoft_router *router,
                                       const uint8_t *const *keys,
                                       const size_t *lens,
                                       size_t count,
                                       failsoft_writing **out);

/**
 * The transaction is over, however it ended: invalidates the keys, lifts this writer's hold, waits for both, and frees
 * `writing`, whatever the status is. From the call on no read of this process gets anything older.
 *
 * FAILSOFT_INVALIDATION_INCOMPLETE: as failsoft_invalidate. FAILSOFT_CLOSED: the router was closed before; the hold ends
 * after `hold_ms`. FAILSOFT_FORKED: called in a child process, where nothing can be ended.
 */
failsoft_status failsoft_writing_end(failsoft_writing *writing);

/**
 * What went wrong in this thread's last call that failed; "" if none has. Valid until this thread's next call. The
 * outcome of a failed read has the message as well. A thread that is ending (in `atexit`, in the destructors of globals
 * and of its own data) keeps no errors any more, and is told so.
 */
const char *failsoft_last_error(void);

/**
 * The name of the detail that this error has besides its message. NULL if it has none. Valid as long as
 * failsoft_last_error.
 *
 * - "key": the setting, with FAILSOFT_CONFIG; the key of the read, with FAILSOFT_REENTRANT
 * - "argument": the bad argument, with FAILSOFT_INVALID_ARGUMENT
 * - "reason": a word of failsoft_outcome_reason, with FAILSOFT_UNAVAILABLE
 * - "limit": which limit has passed, `deadline` or `load_timeout`, with FAILSOFT_DEADLINE_EXCEEDED
 * - "cause": why the value was not written, with FAILSOFT_WRITE_REFUSED; see failsoft_set. With FAILSOFT_SHED:
 *   "breaker_open" or "queue_full"
 * - "pending": the steps that the first key lacks, with FAILSOFT_INVALIDATION_INCOMPLETE; see failsoft_invalidate
 */
const char *failsoft_last_error_detail_name(void);

/**
 * The value of that detail: a name, a word, a list of steps, or a key, which can hold any bytes. `*len` becomes its length in bytes,
 * without the NUL that follows; `len` may be NULL. NULL and 0 if there is no detail. Valid as long as
 * failsoft_last_error.
 */
const uint8_t *failsoft_last_error_detail(size_t *len);

/**
 * The name of a status, such as "OK" or "CONFIG"; "UNKNOWN" for a number that is not a status. Static.
 */
const char *failsoft_status_name(int status);

/**
 * Frees a text from failsoft_health. NULL is fine.
 */
void failsoft_string_free(char *text);

/**
 * The version of the library in use, such as "0.1.0"; FAILSOFT_VERSION is that of the header. Static.
 */
const char *failsoft_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FAILSOFT_H */
