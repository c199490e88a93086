// The types of the package.

/// <reference types="node" />

import type { Config } from './types/config.js'
import type { Health } from './types/health.js'
import type { InvalidationRecord, Reason, ServedBy } from './types/words.js'

export type { Config, TlsOptions } from './types/config.js'
export type { BallotHealth, Count, Counters, Health, NodeHealth, StoreHealth, Verdict } from './types/health.js'
export type { Message, MessageSubject } from './types/messages.js'
export type { Cause, Coalesce, Durability, EventKind, InvalidationRecord, Reason, ServedBy, ShedCause, Step } from './types/words.js'
export {
  type Code,
  FailsoftError,
  ConfigError,
  InvalidArgument,
  Unavailable,
  DeadlineExceeded,
  Shed,
  Reentrant,
  WriteRefused,
  type IncompleteStep,
  InvalidationIncomplete,
  Closed,
  Forked,
  InternalError
} from './types/errors.js'

/** A key: bytes, or a string, which is written as UTF-8. It is copied at the call. */
export type Key = string | Uint8Array

/** A value to be stored or written back: bytes, or a string, which is written as UTF-8. It is copied at the call. */
export type Value = string | Uint8Array

/** A key as a callback gets it: the same string, or a Buffer with a copy of the bytes, made at the call. */
export type CallbackKey<K extends Key> = K extends string ? K : Buffer

/** The type of the values that reads give: `string` with the setting `encoding`, `Buffer` without. */
export type Given<V extends Buffer | string> = V extends string ? string : Buffer

/** What a callback gets besides the key and the reason. */
export interface LoadContext {
  /**
   * Aborted when nobody waits for the callback any more. After `loadTimeoutMs` the callers have their error, but the
   * callback may run on for as long again, since its value may still be written back; then it is aborted, too.
   */
  readonly signal: AbortSignal
}

/**
 * Your own store, which the cache is in front of. It gives the value, or null if the key does not exist; undefined
 * means the same, so a callback that returns nothing says that the key does not exist. What it throws, or rejects its
 * promise with, reaches everyone who waits, as the same object.
 */
export type Fallback<K extends Key = string> = (
  key: CallbackKey<K>,
  reason: Reason,
  context: LoadContext
) => Value | null | undefined | PromiseLike<Value | null | undefined>

/** A Map of the keys that exist to their values, or an object that behaves like one. */
export interface ValueMap {
  get(key: never): unknown
  [Symbol.iterator](): Iterator<readonly [Key, Value | null | undefined]>
}

/** The keys that exist, with their values. A key that is missing, or has null or undefined, does not exist. */
export type Values = ValueMap | Readonly<Record<string, Value | null | undefined>>

/** Your own store, asked for several keys at once: those that are missing and that nobody else is loading yet. */
export type ManyFallback<K extends Key = string> = (keys: CallbackKey<K>[], context: LoadContext) => Values | PromiseLike<Values>

/** Options of a read, in a plain object. */
export interface ReadOptions {
  /** The time to live, in milliseconds, of a value that this call loads and writes back. `fillTtlMs` by default. */
  ttlMs?: number | undefined
  /** The most time, in milliseconds, for the whole call with its callback. None by default. */
  deadlineMs?: number | undefined
  /**
   * How old, in milliseconds, what stands in may be (the answer of a replica, or a copy in this process), instead of the
   * settings `stalenessBudgetMs` and `outageBudgetMs`; 0: nothing stands in.
   */
  stalenessBudgetMs?: number | undefined
  /** When it is aborted, the promise is rejected with its reason. */
  signal?: AbortSignal | undefined
}

/** Options of a read of one key, in a plain object. */
export interface KeyOptions<K extends Key = string> extends ReadOptions {
  /**
   * Called instead of the fallback, by the same rules, when the primary says that there is no such key and nobody is known
   * to have changed it: for the reasons `absent`, `expired` and `unknown`, and for `evicted` unless the key is read often.
   * Everything else goes to the fallback, without which it is refused.
   */
  recompute?: Fallback<K> | null | undefined
}

/** Options of `ready`, in a plain object. */
export interface WaitOptions {
  /** When it is aborted, the promise is rejected with its reason. */
  signal?: AbortSignal | undefined
}

/** Options of `set`, in a plain object. */
export interface SetOptions {
  /** The time to live in milliseconds. Without it the value does not expire. */
  ttlMs?: number | undefined
}

/** Options of `invalidate`, in a plain object. */
export interface InvalidateOptions {
  /**
   * For how long, in milliseconds (1 to 3,600,000), nothing that is loaded of these keys is written back, by any process:
   * for a store that is read from copies which lag behind. Not at all by default.
   */
  holdMs?: number | undefined
}

/** A writer's place inside `writing`. When nothing refers to it any more, it ends, too. */
export interface Writing {
  /**
   * The transaction is over, however it ended: the keys are invalidated, as by `invalidate`, and this writer's hold is
   * lifted. A second call gives the same promise.
   *
   * @throws {InvalidationIncomplete} As `invalidate`.
   * @throws {Closed} The router was closed. The hold ends after `holdMs`.
   */
  done(): Promise<void>

  /** The same, for `await using`; fulfilled without an error if `done` was called before, which told of it. */
  [Symbol.asyncDispose](): Promise<void>
}

/** The result of a read, and how it was obtained. */
export interface Outcome<V extends Buffer | string = Buffer> {
  /** The value; null if the key does not exist. */
  value: Given<V> | null
  /** Which source answered. */
  servedBy: ServedBy
  /** Why the primary did not serve it; null if it did. */
  reason: Reason | null
  /** Milliseconds since the value was last known to be current; null if that is not known. */
  ageMs: number | null
  /** How many attempts the read sent to nodes. */
  attempts: number
  /** Whether the answer comes from the load of another read. */
  coalesced: boolean
  /** The node that answered, as `host:port`; null unless it was a primary or a replica. */
  node: string | null
}

/** The last invalidation of a key that there is a record of. */
export interface LastInvalidation {
  /** Milliseconds since then, by the clock of the server that has the record; null where no clock was asked. */
  ageMs: number | null
  /** When it was by that clock; null where none was asked. */
  at: Date | null
  /**
   * Its id, of which the first eight digits name the router that made it (`id` in its health); null if no more is known
   * than that there was one.
   */
  id: string | null
  /** Whether this router made it. */
  own: boolean
  /** Where it is known from. */
  record: InvalidationRecord
}

/**
 * Reads from a cluster, and from your own store when the cluster has no answer. It connects by itself and can be used
 * at once. Every method except `health` returns a promise, which is also rejected for bad arguments.
 *
 * Make one for the whole process and keep it. It keeps the process alive only while calls are under way.
 *
 * @example
 * const router = new Router(['127.0.0.1:7000'], { encoding: 'utf8' })
 * const user = await router.getWithFallback('user:42', (key) => store.load(key))
 */
export class Router<V extends Buffer | string = Buffer> implements AsyncDisposable {
  /**
   * @param nodes The seed nodes, as a list or a string with commas; one that answers is enough. Each is `host:port`,
   * `[v6]:port`, `redis://user:password@host:port`, or with TLS `rediss://…`.
   * @param config Settings; durations in milliseconds.
   * @throws {ConfigError} A bad setting or address; `key` says which.
   *
   * @example
   * new Router('10.0.0.1:6379,10.0.0.2:6379', { deadlineMs: 500, tls: true })
   */
  constructor(nodes: string | readonly string[], config?: Config<V>)

  /**
   * Reads a key: the value, or null if neither the cluster nor the callback has it.
   *
   * @param fallback Called if the key is missing, and if no node may answer; once for all callers that ask meanwhile.
   * @throws {Unavailable} No node could say whether the key exists, and there is no callback.
   * @throws {DeadlineExceeded} `deadlineMs` of this call has passed, or the callback took longer than `loadTimeoutMs`.
   * @throws {Shed} The callback was not called, to spare a store that can't cope.
   * @throws {Reentrant} The callback asked for the key that it is loading.
   * @throws {InvalidArgument} A bad key or option, or a callback's result that is not a value.
   * @throws {Closed} The router was closed.
   * @throws What the callback throws, as the same object.
   *
   * @example
   * const user = await router.getWithFallback('user:42', async (key, reason, { signal }) => {
   *   const response = await fetch(`http://users/${key}`, { signal })
   *   return response.ok ? response.text() : null
   * }, { ttlMs: 60_000 })
   */
  getWithFallback<K extends Key>(key: K, fallback?: Fallback<K> | null, options?: KeyOptions<K>): Promise<Given<V> | null>

  /**
   * Like `getWithFallback`, but also tells who served the value, and why the primary did not.
   *
   * @throws As `getWithFallback`.
   *
   * @example
   * const { value, servedBy, reason, ageMs } = await router.resolve('user:42', loadUser)
   */
  resolve<K extends Key>(key: K, fallback?: Fallback<K> | null, options?: KeyOptions<K>): Promise<Outcome<V>>

  /**
   * Reads up to 65,536 keys: gives their values in the same order, with null for a key that does not exist.
   *
   * @param fallback Called once, for the keys that are missing and that nobody else is loading yet. It gives a Map or a
   * plain object; a key that is not in it does not exist.
   * @throws The error of the first key that has one, as `getWithFallback`.
   *
   * @example
   * const users = await router.getManyWithFallback(['user:42', 'user:43'], async (keys) => new Map(await store.loadAll(keys)))
   */
  getManyWithFallback<K extends Key>(keys: Iterable<K>, fallback: ManyFallback<K>, options?: ReadOptions): Promise<(Given<V> | null)[]>

  /**
   * Like `getManyWithFallback`, but gives an outcome or an error for each key, in the form of `Promise.allSettled`.
   *
   * @throws {InvalidArgument} A bad key or option.
   * @throws {Closed} The router was closed.
   *
   * @example
   * for (const each of await router.resolveMany(keys, loadUsers)) {
   *   if (each.status === 'fulfilled') console.log(each.value.servedBy)
   * }
   */
  resolveMany<K extends Key>(
    keys: Iterable<K>,
    fallback: ManyFallback<K>,
    options?: ReadOptions
  ): Promise<PromiseSettledResult<Outcome<V>>[]>

  /**
   * Writes a value to the key's primary. While a writer holds the key (`writing`), here or in another process, the key is
   * deleted instead.
   *
   * @throws {WriteRefused} No node may take it now, or it is not known whether it was written; `cause` says why.
   * @throws {InvalidArgument} A bad key, value or option.
   * @throws {Closed} The router was closed.
   *
   * @example
   * await router.set('user:42', 'Ada', { ttlMs: 60_000 })
   */
  set(key: Key, value: Value, options?: SetOptions): Promise<void>

  /**
   * Invalidates keys: to be called after what they stand for has changed in your own store. From the call on, before the
   * promise is awaited, no read of this process gets anything older: not from a node, not from a load that is under way,
   * and not from one whose value would be written back. When the promise is fulfilled, the keys are deleted, with the
   * leases of all loads under way in any process, and each is marked as invalidated beside its own place and in another
   * shard. Without keys nothing is done. A call can be given some ten thousands of keys, sent together. It may be made
   * inside a callback, also for the key that this one loads.
   *
   * @param keys They are copied at the call. Options may come after them.
   * @throws {InvalidationIncomplete} Steps were not acknowledged within `deadlineMs` milliseconds; `pending` says which
   * and why. They, but for a hold, are sent again in the background for `invalidationTtlMs` milliseconds, and meanwhile reads of keys
   * whose deletion is pending go to their callbacks, with the reason `invalidated`.
   * @throws {InvalidArgument} A bad key or option. None of the keys is invalidated then.
   * @throws {Closed} The router was closed.
   *
   * @example
   * await db.query('UPDATE users SET name = $1 WHERE id = $2', [name, 42])
   * await router.invalidate('user:42', 'users:by-name')
   */
  invalidate(...keys: Key[]): Promise<void>
  invalidate(...keysAndOptions: [...keys: Key[], options: InvalidateOptions]): Promise<void>

  /**
   * When and by whom a key was last invalidated, as far as there is a record of it: the marks that it leaves beside the
   * key and in another shard for `invalidationTtlMs` milliseconds, what this process made or heard of in that time, or a
   * log of the newest invalidations. Null if there is no record.
   *
   * @throws {Unavailable} Nobody can say: no node could be asked that would have a mark.
   * @throws {InvalidArgument} A bad key or option.
   * @throws {Closed} The router was closed.
   *
   * @example
   * const last = await router.lastInvalidation('user:42')
   * console.log(last === null ? 'none is known' : last.ageMs)
   */
  lastInvalidation(key: Key, options?: WaitOptions): Promise<LastInvalidation | null>

  /**
   * Whether it is known that nobody has invalidated a key for `maxAgeMs` milliseconds: what was read of it in that time is
   * as good as it was then. False if one has, if an invalidation of this process is not acknowledged yet, or if one may
   * have been missed: the nodes that tell of it were not heard for all that time. They are heard only while this process
   * reads from them, or asks this. What has ended within the last `trustWindowMs` may not be known yet; beyond
   * `invalidationTtlMs` it is always false. No node is asked.
   *
   * @param maxAgeMs 2,000 by default.
   * @throws {InvalidArgument} A bad key or age.
   * @throws {Closed} The router was closed.
   *
   * @example
   * if (await router.withinStalenessBudget('user:42', 5_000)) return rendered
   */
  withinStalenessBudget(key: Key, maxAgeMs?: number): Promise<boolean>

  /**
   * Holds keys around a transaction of your own store: from before it until after it nothing that is loaded of these keys
   * is kept, by any process; then they are invalidated. So nobody keeps an older value, whatever the transaction waits
   * for, and also when this process dies inside. Reads of these keys are served all the while, from the callback if need
   * be. A writer who takes longer than the setting `holdMs` loses its hold.
   *
   * @param keys One key or several. They are copied at the call.
   * @param transaction Called once the keys are held. Whether it fails or not, the keys are invalidated and the hold is
   * lifted at its end. What it throws or rejects its promise with is what the caller gets. Without it, the promise gives
   * what ends the writing.
   * @returns What the transaction gives.
   * @throws {InvalidationIncomplete} Before the transaction, which then is not run: a key could not be held (the step
   * `hold`) or was not deleted. After it: as `invalidate`; the transaction has been done.
   * @throws {InvalidArgument} A bad key, or a transaction that is no function.
   * @throws {Closed} The router was closed.
   *
   * @example
   * await router.writing(['user:42', 'users:by-name'], async () => {
   *   await db.query('UPDATE users SET name = $1 WHERE id = $2', [name, 42])
   * })
   */
  writing<T>(keys: Key | Iterable<Key>, transaction: () => T | PromiseLike<T>): Promise<T>
  /**
   * The same without a callback.
   *
   * @example
   * await using writing = await router.writing('user:42')
   * await db.query('UPDATE users SET name = $1 WHERE id = $2', [name, 42])
   */
  writing(keys: Key | Iterable<Key>): Promise<Writing>

  /**
   * Waits for a first view of the cluster, `timeoutMs` milliseconds at most. This is never necessary: reads work at
   * once.
   *
   * @throws {Unavailable} There was none in that time; `reason` says why.
   * @throws {Closed} The router was closed.
   *
   * @example
   * await router.ready(5_000)
   */
  ready(timeoutMs: number, options?: WaitOptions): Promise<void>

  /**
   * What the router knows of the cluster and of itself at this moment. No node is asked for it.
   *
   * @throws {Forked} The router belongs to the parent process.
   *
   * @example
   * const { slotsOk, nodes } = router.health()
   */
  health(): Health

  /**
   * Ends the router. Calls under way are rejected with `Closed`. It may be called twice.
   *
   * @example
   * await router.close()
   */
  close(): Promise<void>

  /** The same as `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** The version of the package. */
export const version: string
