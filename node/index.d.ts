// The types of the package.

/// <reference types="node" />

import type { Config } from './types/config.js'
import type { Health } from './types/health.js'
import type { Reason, ServedBy } from './types/words.js'

export type { Config, TlsOptions } from './types/config.js'
export type { BallotHealth, Count, Counters, Health, NodeHealth, Verdict } from './types/health.js'
export type { Message, MessageSubject } from './types/messages.js'
export type { Cause, EventKind, Reason, ServedBy } from './types/words.js'
export {
  type Code,
  FailsoftError,
  ConfigError,
  InvalidArgument,
  Unavailable,
  DeadlineExceeded,
  Reentrant,
  WriteRefused,
  Closed,
  Forked,
  InternalError
} from './types/errors.js'

/** A key: a string, which is taken as UTF-8, or bytes. It is copied at the call. */
export type Key = string | Uint8Array

/** A value to be stored or written back: a string, which is taken as UTF-8, or bytes. It is copied at the call. */
export type Value = string | Uint8Array

/** A key as a callback gets it: the same string, or a Buffer with the bytes at the time of the call. */
export type CallbackKey<K extends Key> = K extends string ? K : Buffer

/** What values are given as: `string` with the setting `encoding`, `Buffer` without. */
export type Given<V extends Buffer | string> = V extends string ? string : Buffer

/** What a callback gets beside the key and the reason. */
export interface LoadContext {
  /** Aborted when nobody waits for the callback any more. */
  readonly signal: AbortSignal
}

/**
 * Your own store: what the cache is in front of. It gives the value, or null or undefined if there is none: a callback
 * that ends without an answer says that the key does not exist. What it throws, or its promise is rejected with, reaches
 * everyone who waits, as it is.
 */
export type Fallback<K extends Key = string> = (
  key: CallbackKey<K>,
  reason: Reason,
  context: LoadContext
) => Value | null | undefined | PromiseLike<Value | null | undefined>

/** What behaves as a Map with the values of those keys that exist. */
export interface ValueMap {
  get(key: never): unknown
  [Symbol.iterator](): Iterator<readonly [Key, Value | null | undefined]>
}

/** The values of those keys that exist. */
export type Values = ValueMap | Readonly<Record<string, Value | null | undefined>>

/** Your own store, asked for many keys at once: those that are missing and that nobody else loads yet. */
export type ManyFallback<K extends Key = string> = (keys: CallbackKey<K>[], context: LoadContext) => Values | PromiseLike<Values>

/** What one call may set for itself. */
export interface ReadOptions {
  /** The time to live of a value that this call loads and writes back, in milliseconds. */
  ttlMs?: number | undefined
  /** The most time for the whole call, the callback included, in milliseconds. */
  deadlineMs?: number | undefined
  /** Aborted, it rejects the promise with its reason. */
  signal?: AbortSignal | undefined
}

/** What any call that waits may be given. */
export interface WaitOptions {
  /** Aborted, it rejects the promise with its reason. */
  signal?: AbortSignal | undefined
}

/** What a `set` may be given. */
export interface SetOptions {
  /** The time to live, in milliseconds; for good without. */
  ttlMs?: number | undefined
}

/** What a read came to, with the account of how. */
export interface Outcome<V extends Buffer | string = Buffer> {
  /** The value; null if the key does not exist. */
  value: Given<V> | null
  /** Which source answered. */
  servedBy: ServedBy
  /** Why the primary did not serve it; null if it did. */
  reason: Reason | null
  /** Milliseconds since the value was last known to be current; null if nobody can say. */
  ageMs: number | null
  /** How many attempts were sent to nodes. */
  attempts: number
  /** Whether another caller's work served this one. */
  coalesced: boolean
  /** `host:port` of the node that answered, for `primary` and `replica`. */
  node: string | null
}

/**
 * Reads through a cluster, and through what the caller gives it when the cluster may not answer. It connects by
 * itself and works at once. Every call but `health` gives a promise, which bad arguments reject as well.
 *
 * Make one for a process and keep it. One with nothing under way keeps no process alive.
 *
 * @example
 * const router = new Router(['127.0.0.1:7000'], { encoding: 'utf8' })
 * const user = await router.getWithFallback('user:42', (key) => store.load(key))
 */
export class Router<V extends Buffer | string = Buffer> implements AsyncDisposable {
  /**
   * @param nodes Seeds, one that answers is enough: `host:port`, `[v6]:port`, `redis://user:password@host:port` or
   * `rediss://…`; a list, or a string with commas.
   * @param config Settings; durations in milliseconds.
   * @throws {ConfigError} A bad setting or address; its `key` says which.
   *
   * @example
   * new Router('10.0.0.1:6379,10.0.0.2:6379', { deadlineMs: 500, tls: true })
   */
  constructor(nodes: string | readonly string[], config?: Config<V>)

  /**
   * Reads a key: the value, or null if neither the cluster nor the callback has it.
   *
   * @param fallback Asked on a miss, and when no node may answer; once for all who ask for the key meanwhile.
   * @throws {Unavailable} Nobody could say, and there is no callback.
   * @throws {DeadlineExceeded} `deadlineMs` of this call passed, or `loadTimeoutMs` for the callback.
   * @throws {Reentrant} The callback asked for its own key.
   * @throws {InvalidArgument} A bad key or option, or a callback's result that is no value.
   * @throws {Closed} The router was closed.
   * @throws What the callback throws, as it is.
   *
   * @example
   * const user = await router.getWithFallback('user:42', async (key, reason, { signal }) => {
   *   const response = await fetch(`http://users/${key}`, { signal })
   *   return response.ok ? response.text() : null
   * }, { ttlMs: 60_000 })
   */
  getWithFallback<K extends Key>(key: K, fallback?: Fallback<K> | null, options?: ReadOptions): Promise<Given<V> | null>

  /**
   * The same with the account of how: who served it, and why the primary did not.
   *
   * @throws As `getWithFallback`.
   *
   * @example
   * const { value, servedBy, reason, ageMs } = await router.resolve('user:42', loadUser)
   */
  resolve<K extends Key>(key: K, fallback?: Fallback<K> | null, options?: ReadOptions): Promise<Outcome<V>>

  /**
   * Reads many keys, at most 65,536: the values in their order, null for a key that does not exist.
   *
   * @param fallback Asked once, for the keys that are missing and that nobody else loads yet; gives a Map or a plain
   * object, and a key that is not in it does not exist.
   * @throws The first error of any key, as `getWithFallback`.
   *
   * @example
   * const users = await router.getManyWithFallback(['user:42', 'user:43'], async (keys) => new Map(await store.loadAll(keys)))
   */
  getManyWithFallback<K extends Key>(keys: Iterable<K>, fallback: ManyFallback<K>, options?: ReadOptions): Promise<(Given<V> | null)[]>

  /**
   * The same with the end of each key, in their order, as `Promise.allSettled` has it.
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
   * Writes a value.
   *
   * @throws {WriteRefused} No node may take it now, or it is not known whether it was written: see `cause`.
   * @throws {InvalidArgument} A bad key, value or option.
   * @throws {Closed} The router was closed.
   *
   * @example
   * await router.set('user:42', 'Ada', { ttlMs: 60_000 })
   */
  set(key: Key, value: Value, options?: SetOptions): Promise<void>

  /**
   * Waits for a first view of the cluster, so many milliseconds at most. Nothing needs it: reads work at once.
   *
   * @throws {Unavailable} The time is over.
   * @throws {Closed} The router was closed.
   *
   * @example
   * await router.ready(5_000)
   */
  ready(timeoutMs: number, options?: WaitOptions): Promise<void>

  /**
   * What the router knows of the cluster and of itself, now; asks nobody.
   *
   * @throws {Forked} The router belongs to the parent process.
   *
   * @example
   * const { slotsOk, nodes } = router.health()
   */
  health(): Health

  /**
   * Ends the router; what is under way is rejected with `Closed`. Closing twice is fine.
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
