/*
 * Failsoft: reads from a Redis or Valkey Cluster that degrade and never fail.
 *
 * Generated from bindings/c/src by scripts/c-header; do not edit.
 *
 * Who owns what: what a function named `_new` or `_open` gives, or writes to `out`, or hands to a callback, is the
 * program's, until the function named `_free` or `_close` for its type takes it back, once. What is called static is
 * nobody's. All else belongs to the object it was asked from, and ends with it. Arguments are copied: they may be
 * changed or freed once the call has returned.
 *
 * Keys and values are any bytes, with their length; 512 MiB at most. All other texts are UTF-8 and end with a NUL. An
 * object may be used by several threads at once unless its type says otherwise.
 *
 * NULL for a handle is FAILSOFT_INVALID_ARGUMENT, or nothing (false, 0, NULL) where there is no status. In a process
 * that was forked from the one that opened a router, every call with it is FAILSOFT_FORKED; new ones may be opened.
 */

#ifndef FAILSOFT_H
#define FAILSOFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* The version of this header. */
#define FAILSOFT_VERSION "0.1.0"


/**
 * The age where it is not known: older than any.
 */
#define FAILSOFT_AGE_UNKNOWN INT64_MAX

/**
 * How a call ended. The numbers are fixed for ever; later versions may add some.
 */
typedef enum {
  /**
   * It did what it says.
   */
  FAILSOFT_OK = 0,
  /**
   * A bad setting or address; no connection was made.
   */
  FAILSOFT_CONFIG = 1,
  /**
   * A bad argument: NULL where something is needed, a key or value over 512 MiB, text that is no UTF-8.
   */
  FAILSOFT_INVALID_ARGUMENT = 2,
  /**
   * No source could say whether the key exists.
   */
  FAILSOFT_UNAVAILABLE = 3,
  /**
   * The caller's own deadline passed, or the loader took longer than `load_timeout`.
   */
  FAILSOFT_DEADLINE_EXCEEDED = 4,
  /**
   * The secondary store is shielded from more load.
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
   * A write was refused, or nobody can say whether it was done.
   */
  FAILSOFT_WRITE_REFUSED = 8,
  /**
   * A step of an invalidation failed.
   */
  FAILSOFT_INVALIDATION_INCOMPLETE = 9,
  /**
   * The read was cancelled.
   */
  FAILSOFT_CANCELLED = 10,
  /**
   * The router was closed.
   */
  FAILSOFT_CLOSED = 11,
  /**
   * The router belongs to the process that this one was forked from: open one here.
   */
  FAILSOFT_FORKED = 12,
  /**
   * The load had been answered before.
   */
  FAILSOFT_ALREADY_ANSWERED = 13,
  /**
   * A call that is not allowed here: failsoft_router_close inside a callback, a call for one delivery with the other.
   */
  FAILSOFT_MISUSE = 14,
  /**
   * A defect of Failsoft, or the system gives no thread or descriptor; failsoft_last_error says which.
   */
  FAILSOFT_INTERNAL = 15,
} failsoft_status;

/**
 * Settings of a router. Opaque. Not for several threads at once.
 */
typedef struct failsoft_config failsoft_config;

/**
 * What one read sets for itself. Opaque. A read copies it: it may be changed or freed once the call has returned.
 */
typedef struct failsoft_get_options failsoft_get_options;

/**
 * What a loader is asked for. Opaque; it belongs to the loader, which frees it with failsoft_load_free exactly once,
 * before or after it returns, on any thread. It outlives its read and its router: an answer that nobody waits for any
 * more is dropped.
 */
typedef struct failsoft_load failsoft_load;

/**
 * What a read came to. Opaque; it belongs to whoever got it, outlives its router, and may be read by several threads.
 */
typedef struct failsoft_outcome failsoft_outcome;

/**
 * What a read of many keys came to: an outcome for each, in the order of the keys. Opaque; it belongs to whoever got it.
 */
typedef struct failsoft_outcomes failsoft_outcomes;

/**
 * A router. Opaque; all its calls may be made by several threads at once, but for failsoft_router_close, which ends
 * all others and has to be the last.
 */
typedef struct failsoft_router failsoft_router;

/**
 * Called for what an operator wants to know, at most once a second of each `kind`: "no_view" (no cluster is found;
 * failsoft_health has what the nodes said instead), "node_down" and "node_up" (nodes get no reads any more, or get
 * them again), "verdict" (by the views of several nodes, others than before are in the majority
 * or the minority of a partition, or in doubt), "fill_failed" (loaded values were not written back) and "panicked" (a
 * defect in the background of the library, which goes on). `count` is how often that happened since the last call for
 * this kind, `text` names the nodes and why: "127.0.0.1:7000 timeout, 127.0.0.1:7001 connection"; it is empty for
 * "panicked". Both texts end with the call.
 *
 * It is called on the library's thread for I/O, whatever the delivery is, so it must neither block nor call this library,
 * neither throw nor jump out; not after failsoft_router_close has returned.
 */
typedef void (*failsoft_on_event)(const char *kind, uint64_t count, const char *text, void *event_data);

/**
 * Called at the end of an asynchronous call that gives nothing but its status, exactly once if that call gave FAILSOFT_OK.
 * Until it returns, failsoft_last_error and its detail tell of that status on this thread. Otherwise as
 * failsoft_on_outcome.
 */
typedef void (*failsoft_on_done)(failsoft_status status, void *done_data);

/**
 * The callback of a read: it is asked when the primary has no value, or no node may answer. It answers `request` with
 * failsoft_load_reply, _missing or _fail, now or later, and frees it.
 *
 * `user_data` has to stay valid while the loader may be called or runs, and it may still run when its read has ended
 * before it, by a deadline or a cancellation (it is not started after that): failsoft_get_options_on_release says when
 * nothing needs `user_data` any more. failsoft_load_is_wanted says whether anybody still waits. A loader that frees its
 * request without an answer has failed; one that never frees it is ended by `load_timeout`.
 *
 * It may block, and it may call this library; a read of the very key that it loads, directly or through other loads on
 * this thread, ends with FAILSOFT_REENTRANT. It must neither throw nor jump out, nor end its thread; pthread_cancel of
 * its thread waits until the blocking call has returned. If it forks and returns in the child as well, the call that
 * called it gives FAILSOFT_FORKED there; a thread of the library ends, and the child with it.
 */
typedef void (*failsoft_loader)(failsoft_load *request, void *user_data);

/**
 * Called at the end of an asynchronous read, exactly once if the call that started it gave FAILSOFT_OK: with how it
 * ended and its outcome, which is never NULL and which the program frees with failsoft_outcome_free. `outcome_data` is
 * what the call was given; it is not used after this.
 *
 * It should return soon: with `delivery` = `threads`, other outcomes of the router wait for it. It must neither throw
 * nor jump out.
 */
typedef void (*failsoft_on_outcome)(failsoft_status status, failsoft_outcome *outcome, void *outcome_data);

/**
 * Called once for a read, when nothing of the library needs the `user_data` of its loader any more.
 */
typedef void (*failsoft_on_release)(void *user_data);

/**
 * Called at the end of an asynchronous read of many keys, as failsoft_on_outcome at that of one. `outcomes` is NULL if
 * the call as such failed, and is to be freed with failsoft_outcomes_free.
 */
typedef void (*failsoft_on_outcomes)(failsoft_status status, failsoft_outcomes *outcomes, void *outcome_data);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Settings with their defaults, for a router that begins with these nodes: `host:port`, `[v6]:port`,
 * `redis://user:password@host:port` or `valkey://...`, with TLS `rediss://...` or `valkeys://...`, parted by commas; one
 * is enough. Without a port it is 6379. The addresses are checked by
 * failsoft_router_open. The caller frees it with failsoft_config_free; NULL if `nodes` is NULL or no UTF-8.
 */
failsoft_config *failsoft_config_new(const char *nodes);

/**
 * Sets one key to a value, both texts. A duration is a number of milliseconds and its key ends in `_ms`; "" turns off
 * what can be off.
 *
 * Keys: `max_retries` (3), `max_redirects` (5), `base_backoff_ms` (50), `attempt_timeout_ms` (250), `deadline_ms`
 * (1000), `connect_timeout_ms` (500), `slot_refresh_interval_ms` (15000), `outage_budget_ms` (30000), `fill` (true),
 * `fill_ttl_ms` (300000), `ttl_jitter` (0.1), `load_timeout_ms` (10000), `failure_pause_ms` (off),
 * `max_concurrent_loads` (256), `max_in_flight` (10000), `address_map`
 * (`from=to,...`), `username`, `password`, `client_name`; the README says what they mean. Of C alone:
 *
 * - `delivery`: `threads` (the default) or `fd`; see failsoft_router_open.
 * - `tls` (false): encrypts all connections. With it: `tls_ca_pem` (authorities to trust instead of Mozilla's),
 *   `tls_client_cert_pem` and `tls_client_key_pem` (both or none), all three PEM texts and not names of files;
 *   `tls_server_name` (the name the certificates are for, if it is not the host's);
 *   `tls_danger_accept_invalid_certs` (false).
 *
 * FAILSOFT_CONFIG: an unknown key or a value that is not allowed; the setting is as it was.
 */
failsoft_status failsoft_config_set(failsoft_config *config,
                                    const char *key,
                                    const char *value);

/**
 * Has `on_event` called for what an operator wants to know of the routers that are opened with these settings.
 * `event_data` has to stay valid until they are closed. NULL is FAILSOFT_INVALID_ARGUMENT.
 */
failsoft_status failsoft_config_on_event(failsoft_config *config, failsoft_on_event on_event, void *event_data);

/**
 * Frees settings; routers that were opened with them stay as they are. NULL is fine.
 */
void failsoft_config_free(failsoft_config *config);

/**
 * Opens a router with these settings, which are copied. It works at once: it connects by itself, in the background, and
 * serves from loaders meanwhile. The caller ends it with failsoft_router_close. `*out` is NULL unless it is FAILSOFT_OK.
 *
 * With `delivery` = `threads`, one thread of the library calls what is to be called at the end of asynchronous reads,
 * one after the other: such a function should return soon. Loaders are called on up to 64 further threads, which may
 * block; loads beyond that wait in a line. With `fd`, nothing is called until the program calls
 * failsoft_router_dispatch. In both, a blocking call calls its own loader on its own thread.
 *
 * FAILSOFT_CONFIG: a bad address or setting; failsoft_last_error names it and what is allowed.
 */
failsoft_status failsoft_router_open(const failsoft_config *config,
                                     failsoft_router **out);

/**
 * Ends a router and frees it: every read under way is completed, with FAILSOFT_CLOSED or with what it came to just
 * before, and what is to be called for it is called before this returns: no loader that has not begun is. It waits for
 * callbacks that are running.
 * Loads that have not been freed yet remain the program's to free.
 *
 * FAILSOFT_MISUSE: inside one of its own callbacks; the router stays open. FAILSOFT_FORKED: in a child process, where
 * nothing can be ended; the handle is of no further use.
 */
failsoft_status failsoft_router_close(failsoft_router *router);

/**
 * Waits until the router knows the cluster, for those who want to: reads need not wait for it. FAILSOFT_UNAVAILABLE: it
 * does not within `timeout_ms` milliseconds.
 */
failsoft_status failsoft_router_ready(failsoft_router *router,
                                      uint64_t timeout_ms);

/**
 * Starts to wait for that; `on_done` is called when it does, or when it does not in time. Otherwise as failsoft_set_async.
 */
failsoft_status failsoft_router_ready_async(failsoft_router *router,
                                            uint64_t timeout_ms,
                                            failsoft_on_done on_done,
                                            void *done_data,
                                            uint64_t *call_id);

/**
 * The descriptor that is readable while there is something to dispatch, for poll, epoll or select; it stays the same
 * and belongs to the router. Nothing but failsoft_router_dispatch reads from it. -1, and failsoft_last_error says why:
 * with `delivery` = `threads`, NULL, in a child process.
 */
int failsoft_router_fd(failsoft_router *router);

/**
 * With `delivery` = `fd`: calls all that is to be called now, on this thread, and does not wait. FAILSOFT_MISUSE: with
 * `threads`.
 */
failsoft_status failsoft_router_dispatch(failsoft_router *router);

/**
 * What the router knows of the cluster and of itself, as a JSON object; asks nobody. The caller frees `*out` with
 * failsoft_string_free; it is NULL unless it is FAILSOFT_OK.
 */
failsoft_status failsoft_health(failsoft_router *router, char **out);

/**
 * Reads a key and waits for it: from its primary, a replica, or `loader`, in this order. `loader` is called on this
 * thread; NULL is none. However many ask for a key at once, one loader runs.
 *
 * `*out` becomes NULL, or the outcome, which the caller frees with failsoft_outcome_free whatever the status is: the
 * value of a read that ended well, the message and code of one that failed. `out` may be NULL.
 *
 * FAILSOFT_OK: found or absent, as failsoft_outcome_found says. FAILSOFT_FALLBACK, FAILSOFT_DEADLINE_EXCEEDED,
 * FAILSOFT_REENTRANT: of the loader. FAILSOFT_UNAVAILABLE: there was none, and no node could say.
 */
failsoft_status failsoft_get_with_fallback(failsoft_router *router,
                                           const uint8_t *key,
                                           size_t len,
                                           failsoft_loader loader,
                                           void *user_data,
                                           failsoft_outcome **out);

/**
 * The same with options for this read; NULL is none.
 */
failsoft_status failsoft_resolve(failsoft_router *router,
                                 const uint8_t *key,
                                 size_t len,
                                 const failsoft_get_options *options,
                                 failsoft_loader loader,
                                 void *user_data,
                                 failsoft_outcome **out);

/**
 * Starts to read a key; `on_outcome` is called at its end, and never if this gives another status than FAILSOFT_OK. It
 * may be called before this returns. `*read_id`, which may be NULL, becomes a number for failsoft_cancel, never 0.
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
 * The same with options for this read; NULL is none.
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
 * Gives an asynchronous read up: it ends with FAILSOFT_CANCELLED, unless it has just ended. Its loader does not begin any
 * more; one that runs goes on while others wait for it. FAILSOFT_OK for a read that has ended, too; FAILSOFT_INVALID_ARGUMENT for a number that never was one's.
 */
failsoft_status failsoft_cancel(failsoft_router *router,
                                uint64_t read_id);

/**
 * Options that set nothing. The caller frees them with failsoft_get_options_free.
 */
failsoft_get_options *failsoft_get_options_new(void);

/**
 * Sets one option to a number of milliseconds as text; "" unsets it.
 *
 * - `ttl_ms`: the time to live of a value that this read loads and writes back, instead of `fill_ttl_ms`.
 * - `deadline_ms`: the most time for the whole read, the loader included.
 *
 * FAILSOFT_INVALID_ARGUMENT: an unknown option, or no number; the option is as it was. Whether servers
 * take a time to live is checked by the read.
 */
failsoft_status failsoft_get_options_set(failsoft_get_options *options, const char *key, const char *value);

/**
 * Has `on_release` called with the `user_data` of each read made with these options, exactly once, when its loader
 * neither runs nor will be called any more: the time to free `user_data`. It is called as well if there is no loader, if
 * it was never called, and if the call that starts the read fails; not in a child process. It may be called on a thread
 * of the library, or inside the call that starts the read or dispatches; it must not call this library. NULL unsets it.
 */
failsoft_status failsoft_get_options_on_release(failsoft_get_options *options,
                                                failsoft_on_release on_release);

/**
 * Frees options. NULL is fine.
 */
void failsoft_get_options_free(failsoft_get_options *options);

/**
 * The key to load, or the first of many, and its length. It belongs to the load; it may hold any bytes and has no NUL
 * at its end. NULL for NULL.
 */
const uint8_t *failsoft_load_key(const failsoft_load *load,
                                 size_t *len);

/**
 * How many keys are to be loaded: 1, unless many were asked for.
 */
size_t failsoft_load_count(const failsoft_load *load);

/**
 * One of the keys to load, from 0, and its length. It belongs to the load. NULL if there is no such key.
 */
const uint8_t *failsoft_load_key_at(const failsoft_load *load, size_t index, size_t *len);

/**
 * Why the primary did not serve it, one of the words of failsoft_outcome_reason. Static; NULL if many keys were asked
 * for.
 */
const char *failsoft_load_reason(const failsoft_load *load);

/**
 * Whether anybody still waits for the answer: a loader that works for long may ask now and then, and give up. False once
 * it is answered, and for NULL.
 */
bool failsoft_load_is_wanted(const failsoft_load *load);

/**
 * Answers a load of one key with a value, which is copied. From any thread; it does not free the load.
 *
 * FAILSOFT_ALREADY_ANSWERED: this is the second answer, and changes nothing. FAILSOFT_MISUSE: a load of many keys.
 * FAILSOFT_FORKED: in a child process that the loader has forked.
 */
failsoft_status failsoft_load_reply(failsoft_load *load, const uint8_t *value, size_t len);

/**
 * Answers a load of one key: it does not exist. Statuses as failsoft_load_reply.
 */
failsoft_status failsoft_load_missing(failsoft_load *load);

/**
 * Answers a load, of one key or many: it failed. All who wait get FAILSOFT_FALLBACK with this code and message, which
 * is copied; NULL is none. Statuses as failsoft_load_reply.
 */
failsoft_status failsoft_load_fail(failsoft_load *load,
                                   int32_t code,
                                   const char *message);

/**
 * Gives the value of one of the keys of a load, which is copied. The answer is complete with failsoft_load_done.
 *
 * FAILSOFT_ALREADY_ANSWERED: the load or this key was answered before. FAILSOFT_INVALID_ARGUMENT: no such key.
 */
failsoft_status failsoft_load_reply_at(failsoft_load *load, size_t index, const uint8_t *value, size_t len);

/**
 * Completes the answer of a load: keys that got no value do not exist. Statuses as failsoft_load_reply, but it is for
 * loads of one key as well.
 */
failsoft_status failsoft_load_done(failsoft_load *load);

/**
 * Frees a load. If it was not answered, it fails: all who wait get FAILSOFT_FALLBACK with code 0. NULL is fine.
 */
void failsoft_load_free(failsoft_load *load);

/**
 * How the read ended; FAILSOFT_INVALID_ARGUMENT for NULL.
 */
failsoft_status failsoft_outcome_status(const failsoft_outcome *outcome);

/**
 * Whether there is a value. Absent (FAILSOFT_OK, and false) is not failed (another status).
 */
bool failsoft_outcome_found(const failsoft_outcome *outcome);

/**
 * The value and its length; NULL and 0 if there is none. An empty value is not NULL. It belongs to the outcome.
 */
const uint8_t *failsoft_outcome_value(const failsoft_outcome *outcome, size_t *len);

/**
 * Who answered: "primary", "replica", "secondary" (the loader) or "none" (it does not exist). Static; NULL if the read
 * failed.
 */
const char *failsoft_outcome_served_by(const failsoft_outcome *outcome);

/**
 * Why the primary did not serve it: "absent", "timeout", "connection", "loading", "cluster_down", "breaker_open",
 * "quarantined", "slot_uncovered", "redirect_limit", "error_reply", "protocol" or "deadline"; later versions may know
 * more. Static; NULL if it did, or the read failed.
 */
const char *failsoft_outcome_reason(const failsoft_outcome *outcome);

/**
 * `host:port` of the node that answered; NULL unless a primary or a replica did. It belongs to the outcome.
 */
const char *failsoft_outcome_node(const failsoft_outcome *outcome);

/**
 * Milliseconds since the value was last known to be current: 0 from the primary and the loader, and
 * FAILSOFT_AGE_UNKNOWN from a replica of which nobody can say.
 */
int64_t failsoft_outcome_age_ms(const failsoft_outcome *outcome);

/**
 * How many attempts were sent to nodes; 0 if the read failed.
 */
uint32_t failsoft_outcome_attempts(const failsoft_outcome *outcome);

/**
 * Whether another caller's load served this one.
 */
bool failsoft_outcome_coalesced(const failsoft_outcome *outcome);

/**
 * The code that failsoft_load_fail was given, if the loader failed; 0 otherwise.
 */
int32_t failsoft_outcome_error_code(const failsoft_outcome *outcome);

/**
 * What went wrong, for people; of a loader that failed, the message it gave. NULL if the read did not fail. It belongs
 * to the outcome.
 */
const char *failsoft_outcome_error_message(const failsoft_outcome *outcome);

/**
 * What the error says beside its message, as failsoft_last_error_detail_name; NULL if there is no such thing. It belongs to
 * the outcome.
 */
const char *failsoft_outcome_error_detail_name(const failsoft_outcome *outcome);

/**
 * The value of that, and its length, as failsoft_last_error_detail. It belongs to the outcome.
 */
const uint8_t *failsoft_outcome_error_detail(const failsoft_outcome *outcome, size_t *len);

/**
 * Frees an outcome and all that belongs to it. NULL is fine.
 */
void failsoft_outcome_free(failsoft_outcome *outcome);

/**
 * Reads many keys at once, at most 65,536, and waits for them. `loader` is called once, on this thread, for all missing
 * keys that nobody loads yet; it has to be there.
 *
 * `*out` becomes NULL, or the outcomes in the order of the keys, which the caller frees with failsoft_outcomes_free
 * whatever the status is. `out` may be NULL.
 *
 * FAILSOFT_OK: every key was read. Otherwise the status of the first key that was not, or of the call as such; each key
 * has its own, by failsoft_outcome_status.
 */
failsoft_status failsoft_get_many_with_fallback(failsoft_router *router,
                                                const uint8_t *const *keys,
                                                const size_t *lens,
                                                size_t count,
                                                failsoft_loader loader,
                                                void *user_data,
                                                failsoft_outcomes **out);

/**
 * The same with options for this call, all its keys together; NULL is none. A key that has no answer by the deadline gets
 * FAILSOFT_DEADLINE_EXCEEDED; the others keep theirs.
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
 * Starts to read many keys; `on_outcomes` is called at the end, as with failsoft_get_with_fallback_async.
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
 * The same with options for this call, as failsoft_resolve_many; NULL is none.
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
 * How many outcomes there are: as many as keys were given.
 */
size_t failsoft_outcomes_count(const failsoft_outcomes *outcomes);

/**
 * The outcome of one key, from 0. It belongs to the outcomes: it is not to be freed. NULL if there is no such key.
 */
const failsoft_outcome *failsoft_outcomes_at(const failsoft_outcomes *outcomes, size_t index);

/**
 * Frees outcomes and all that belongs to them. NULL is fine.
 */
void failsoft_outcomes_free(failsoft_outcomes *outcomes);

/**
 * Writes a value and waits for it. It expires after `*ttl_ms` milliseconds, or with NULL not at all.
 *
 * FAILSOFT_WRITE_REFUSED: the slot's owner may not be written to now, or says no; after a timeout or a broken connection
 * nobody can say whether it was written.
 */
failsoft_status failsoft_set(failsoft_router *router,
                             const uint8_t *key,
                             size_t key_len,
                             const uint8_t *value,
                             size_t value_len,
                             const uint64_t *ttl_ms);

/**
 * Starts to write a value; `on_done` is called at the end with what failsoft_set would give, and never if this gives
 * another status than FAILSOFT_OK. It may be called before this returns. `*call_id`, which may be NULL, becomes a number
 * for failsoft_cancel; of a write that was cancelled nobody can say whether it was done.
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
 * What went wrong in the last call of this thread that did not end with FAILSOFT_OK; "" if there was none. Valid until
 * the next call of this thread. The outcome of a read that failed has its message as well.
 */
const char *failsoft_last_error(void);

/**
 * What that error says beside its message: "key" of a bad setting or of a load that asks for itself, "argument" of a bad
 * argument, "reason" of FAILSOFT_UNAVAILABLE, "limit" of FAILSOFT_DEADLINE_EXCEEDED, "cause" of FAILSOFT_WRITE_REFUSED.
 * NULL if there is no such thing. Valid as failsoft_last_error.
 */
const char *failsoft_last_error_detail_name(void);

/**
 * The value of that, and its length: a name or a word, or a key, which may hold any bytes. A NUL follows. NULL and 0 if
 * there is no such thing. Valid as failsoft_last_error.
 */
const uint8_t *failsoft_last_error_detail(size_t *len);

/**
 * The name of a status: "OK", "CONFIG", ...; "UNKNOWN" for a number that is none. Static.
 */
const char *failsoft_status_name(int status);

/**
 * Frees a text that failsoft_health gave. NULL is fine.
 */
void failsoft_string_free(char *text);

/**
 * The version of the library that runs, such as "0.1.0"; FAILSOFT_VERSION is that of the header. Static.
 */
const char *failsoft_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FAILSOFT_H */
