// The types of the package. What settings exist, their defaults and their ranges are the core's word.

/// <reference types="node" />

/** A key: a string, which is taken as UTF-8, or bytes. */
export type Key = string | Uint8Array

/** A value to be stored or written back: a string, which is taken as UTF-8, or bytes. */
export type Value = string | Uint8Array

/** Which source answered; `none`: the key does not exist. */
export type ServedBy = 'primary' | 'replica' | 'secondary' | 'none'

/** Why the primary did not serve a read. */
export type Reason =
  | 'absent'
  | 'timeout'
  | 'connection'
  | 'loading'
  | 'cluster_down'
  | 'breaker_open'
  | 'quarantined'
  | 'slot_uncovered'
  | 'redirect_limit'
  | 'error_reply'
  | 'protocol'
  | 'deadline'

/** What a callback is told beside the key and the reason. */
export interface LoadContext {
  /** Aborted when nobody waits for the callback any more. */
  readonly signal: AbortSignal
}

/**
 * Your own store: what the cache is in front of. It gives the value, or null or undefined if there is none. What
 * it throws, or its promise is rejected with, reaches everyone who waits, as it is.
 */
export type Fallback<K extends Key = string> = (
  key: K,
  reason: Reason,
  context: LoadContext
) => Value | null | undefined | PromiseLike<Value | null | undefined>

/** The values of those keys that exist. */
export type Values<K extends Key = string> =
  | ReadonlyMap<K, Value | null | undefined>
  | Readonly<Record<string, Value | null | undefined>>

/** Your own store, asked for many keys at once: those that are missing and that nobody else loads yet. */
export type ManyFallback<K extends Key = string> = (
  keys: K[],
  context: LoadContext
) => Values<K> | PromiseLike<Values<K>>

/** What one read may set for itself. */
export interface ReadOptions {
  /** The time to live of a value that this read loads and writes back, in milliseconds. */
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

/** What a read came to, with the account of how. */
export interface Outcome<V extends Buffer | string = Buffer> {
  /** The value; null if the key does not exist. */
  value: V | null
  /** Which source answered. */
  servedBy: ServedBy
  /** Why the primary did not serve it; null if it did. */
  reason: Reason | null
  /** Milliseconds since the value was last known to be current. */
  ageMs: number
  /** How many attempts were sent to nodes. */
  attempts: number
  /** Whether another caller's work served this one. */
  coalesced: boolean
  /** `host:port` of the node that answered, for `primary` and `replica`. */
  node: string | null
}

/** How connections are encrypted, in the words of Node's own `tls`. */
export interface TlsOptions {
  /** PEM of the authorities to trust, instead of Mozilla's. */
  ca?: string | Uint8Array | undefined
  /** PEM of the client's certificate chain; belongs to `key`. */
  cert?: string | Uint8Array | undefined
  /** PEM of the client's key. */
  key?: string | Uint8Array | undefined
  /** The name that the servers' certificates are for, if it is not the host they are reached at. */
  servername?: string | undefined
  /** `false` believes every certificate. */
  rejectUnauthorized?: boolean | undefined
}

/** The settings of a router; what is not given has the default of the core. Durations are in milliseconds. */
export interface Config {
  /** How many more attempts on the primary one read may make after the first. */
  maxRetries?: number | undefined
  /** How many redirects one read may follow. */
  maxRedirects?: number | undefined
  /** The pause before another attempt on a source; it doubles, with full jitter. */
  baseBackoffMs?: number | undefined
  /** The most time for one attempt on one node. */
  attemptTimeoutMs?: number | undefined
  /** The most time for the whole cluster side of one read. */
  deadlineMs?: number | undefined
  /** The most time to open a connection. */
  connectTimeoutMs?: number | undefined
  /** How often the slot map and the nodes are looked at when nothing is wrong. */
  slotRefreshIntervalMs?: number | undefined
  /** How old the answer of a replica that stands in may be; 0: it never does. */
  outageBudgetMs?: number | undefined
  /** Whether a loaded value is written back to the primary that confirmed the miss. */
  fill?: boolean | undefined
  /** The time to live of a value that is written back. */
  fillTtlMs?: number | undefined
  /** The share of a time to live that chance may take off it. */
  ttlJitter?: number | undefined
  /** The most time that callers wait for one run of a callback. */
  loadTimeoutMs?: number | undefined
  /** The most reads in flight to one node; beyond it a read goes to the next source. */
  maxInFlight?: number | undefined
  /** Announced address to reachable address, for nodes behind NAT; a list has pairs `from=to`. */
  addressMap?: Readonly<Record<string, string>> | readonly string[] | string | null | undefined
  /** The ACL user to log in as. */
  username?: string | null | undefined
  /** The password to log in with; never shown in errors. */
  password?: string | null | undefined
  /** The name of the connections in `CLIENT LIST`. */
  clientName?: string | null | undefined
  /** Encrypts all connections. */
  tls?: TlsOptions | boolean | null | undefined
  /** `utf8` gives strings instead of Buffers; what is no UTF-8 becomes U+FFFD, as in `buffer.toString()`. */
  encoding?: 'utf8' | null | undefined
}

/** One node, as a router knows it. */
export interface NodeHealth {
  address: string
  id: string | null
  role: 'primary' | 'replica'
  replicaOf: string | null
  epoch: number
  slots: number
  breaker: 'closed' | 'open' | 'half_open' | 'readmitting'
  /** Why it gets no reads, and for how long now. */
  trouble: Reason | null
  troubleMs: number | null
  contactMs: number | null
  lagMs: number | null
  validated: boolean
  failed: boolean
  inFlight: number
  clusterOk: boolean
  currentEpoch: number | null
  offset: number | null
  linkUp: boolean | null
  priority: number | null
  evicted: number | null
  expired: number | null
  maxmemoryPolicy: string | null
  version: string | null
  /** What an ACL keeps from the router, so that the fields above lack it. */
  denied: string[]
}

/** One number, of what for which reason. */
export interface Count {
  what: string
  reason: string
  count: number
}

/** What a router knows of the cluster and of itself, at one moment. */
export interface Health {
  kind: 'cluster' | 'standalone' | 'unknown'
  closed: boolean
  /** Slots that have an owner, of 16,384, and those whose owner gets reads. */
  slotsAssigned: number
  slotsOk: number
  movedPatches: number
  retryTokens: number
  refreshes: number
  /** Keys being loaded by callbacks, reads that wait for them, callbacks that run on after `loadTimeoutMs`. */
  flights: number
  waiters: number
  detachedLoads: number
  /** Who gave no view of the cluster when last asked, and what they said or did instead. */
  refusals: Record<string, string>
  nodes: NodeHealth[]
  counters: { attempts: Count[]; reads: Count[]; loads: number; fills: number; fillsSkipped: Count[] }
}

/**
 * Reads through a cluster, and through what the caller gives it when the cluster may not answer. It connects by
 * itself and works at once. Every call but `health` gives a promise, and tells also bad arguments by it.
 */
export interface Router<V extends Buffer | string = Buffer> extends AsyncDisposable {
  /** The value; null if neither the cluster nor the callback has the key. */
  getWithFallback<K extends Key>(key: K, fallback?: Fallback<K> | null, options?: ReadOptions): Promise<V | null>
  /** The same with the account of how. */
  resolve<K extends Key>(key: K, fallback?: Fallback<K> | null, options?: ReadOptions): Promise<Outcome<V>>
  /** Values in the order of the keys; rejected with the first error of any key. */
  getManyWithFallback<K extends Key>(keys: Iterable<K>, fallback: ManyFallback<K>, options?: WaitOptions): Promise<(V | null)[]>
  /** What became of each key, in their order, as `Promise.allSettled` has it. */
  resolveMany<K extends Key>(
    keys: Iterable<K>,
    fallback: ManyFallback<K>,
    options?: WaitOptions
  ): Promise<PromiseSettledResult<Outcome<V>>[]>
  /** Writes a value, for good or with a time to live. */
  set(key: Key, value: Value, options?: { ttlMs?: number | undefined }): Promise<void>
  /** Waits for a first view of the cluster; rejected with `Unavailable` when the time is over. */
  ready(timeoutMs: number, options?: WaitOptions): Promise<void>
  /** What the router knows, now. */
  health(): Health
  /** Ends the router; what is under way is rejected with `Closed`. */
  close(): Promise<void>
}

export interface RouterConstructor {
  /** `nodes`: seeds, one that answers is enough; `host:port`, `[v6]:port`, `redis://…` or `rediss://…`. */
  new (nodes: string | readonly string[], config: Config & { encoding: 'utf8' }): Router<string>
  new (nodes: string | readonly string[], config?: Config & { encoding?: null | undefined }): Router<Buffer>
}

export const Router: RouterConstructor

/** The kinds of errors as words, the same in every language. */
export type Code =
  | 'CONFIG'
  | 'INVALID_ARGUMENT'
  | 'UNAVAILABLE'
  | 'DEADLINE_EXCEEDED'
  | 'REENTRANT'
  | 'WRITE_REFUSED'
  | 'CLOSED'
  | 'FORKED'
  | 'INTERNAL'

/** What all errors of Failsoft derive from; a callback's own error is none of them. */
export class FailsoftError extends Error {
  readonly code: Code
}

/** A bad key, value or address among the settings; no connection was made. */
export class ConfigError extends FailsoftError {
  readonly code: 'CONFIG'
  /** The setting. */
  readonly key: string
}

/** A bad key, value or option, or a callback with a result that is no answer. */
export class InvalidArgument extends FailsoftError {
  readonly code: 'INVALID_ARGUMENT'
  /** The argument. */
  readonly argument: string
}

/** No source could say whether the key exists, or `ready` timed out. */
export class Unavailable extends FailsoftError {
  readonly code: 'UNAVAILABLE'
  /** Why the primary did not serve. */
  readonly reason: Reason
}

/** The caller's deadline passed, or the callback took longer than `loadTimeoutMs`. */
export class DeadlineExceeded extends FailsoftError {
  readonly code: 'DEADLINE_EXCEEDED'
  /** Which of the two. */
  readonly limit: 'deadlineMs' | 'loadTimeoutMs'
}

/** A callback asked, directly or through others, for the key that it is loading. */
export class Reentrant extends FailsoftError {
  readonly code: 'REENTRANT'
}

/** A `set` was refused, or nobody can say whether it was written. */
export class WriteRefused extends FailsoftError {
  readonly code: 'WRITE_REFUSED'
  /** Why. */
  readonly cause: string
}

/** The router is closed. */
export class Closed extends FailsoftError {
  readonly code: 'CLOSED'
}

/** The router belongs to the process that this one was forked from. */
export class Forked extends FailsoftError {
  readonly code: 'FORKED'
}

/** A defect of Failsoft. */
export class InternalError extends FailsoftError {
  readonly code: 'INTERNAL'
}

/** The version of the package. */
export const version: string
