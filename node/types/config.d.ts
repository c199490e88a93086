// The settings of a router. The core decides which exist, with their defaults and ranges; a test compares the names.

import type { Coalesce, Durability } from './words.js'

/** How connections are encrypted, with the names of Node's own `tls`. */
export interface TlsOptions {
  /** The authorities to trust instead of Mozilla's, as PEM. */
  ca?: string | Uint8Array | undefined
  /** The client's certificate chain, as PEM; needs `key`. */
  cert?: string | Uint8Array | undefined
  /** The client's private key, as PEM; needs `cert`. */
  key?: string | Uint8Array | undefined
  /** The name that the servers' certificates are for, if it is not the host of their addresses. */
  servername?: string | undefined
  /** `false` accepts every certificate. `true` by default. */
  rejectUnauthorized?: boolean | undefined
}

/**
 * The settings of a router, all optional, in a plain object, of which only its own members count. Durations are in
 * milliseconds; `null` turns off what can be off.
 *
 * `V` is the type of values: `string` with `encoding`, `Buffer` without. A plain `Config` can have either, so the type
 * of a router made from it covers both; `Config<Buffer>`, `Config<string>` and `{ … } satisfies Config` are definite.
 */
export interface Config<V extends Buffer | string = Buffer | string> {
  /** How many more attempts on the primary a read may make after its first. 3 by default. */
  maxRetries?: number | undefined
  /** How many redirects a read may follow. 5 by default. */
  maxRedirects?: number | undefined
  /** The pause before another attempt on the same source; it doubles, with full jitter. 50 by default. */
  baseBackoffMs?: number | undefined
  /** The most time for one attempt on one node. 250 by default. */
  attemptTimeoutMs?: number | undefined
  /** The most time for the whole cluster side of a read. 1,000 by default. */
  deadlineMs?: number | undefined
  /** The most time to open a connection, with TLS and login. 500 by default. */
  connectTimeoutMs?: number | undefined
  /** How often the slot map and the nodes are checked when nothing is wrong. 15,000 by default. */
  slotRefreshIntervalMs?: number | undefined
  /** How old a replica's answer, or a copy, may be where invalidations may have been missed. 2,000 by default. */
  stalenessBudgetMs?: number | undefined
  /** How old it may be where all invalidations since are known; 0: nothing ever stands in. 30,000 by default. */
  outageBudgetMs?: number | undefined
  /** The most bytes of a near cache, which serves hot keys without asking a node; 0: there is none. 0 by default. */
  nearCacheBytes?: number | undefined
  /** The most bytes of copies in this process, which stand in when nothing else answers. 67,108,864 by default. */
  standinBytes?: number | undefined
  /** Whether a loaded value is written back to the primary that confirmed the miss. `true` by default. */
  fill?: boolean | undefined
  /** The time to live of a value that is written back. 300,000 by default. */
  fillTtlMs?: number | undefined
  /** The largest share of a time to live, from 0 to 1, that chance takes off it. 0.1 by default. */
  ttlJitter?: number | undefined
  /** How early a key that is read often is loaded anew before it expires: 1 is about as early as its load takes. 0 by default. */
  earlyRefresh?: number | undefined
  /** The share of what primaries and near copies serve that is loaded again in the background, to compare. 0 by default. */
  verifySample?: number | undefined
  /** For how long an invalidation is known, and sent again; `outageBudgetMs` counts up to this. 60,000 by default. */
  invalidationTtlMs?: number | undefined
  /** How old the proof may be that a node still tells its invalidations. 1,000 by default. */
  trustWindowMs?: number | undefined
  /** Who has to have an invalidation before it is complete; failed replicas do not count. `replica` by default. */
  invalidateDurability?: Durability | undefined
  /** For how long a writer inside `writing` holds its keys unless it is done earlier. 10,000 by default. */
  holdMs?: number | undefined
  /** Whether nodes are asked to tell which keys they evict and which have expired. `false` by default. */
  evictionEvents?: boolean | undefined
  /** The most time that callers wait for a load, its time in line included. 10,000 by default. */
  loadTimeoutMs?: number | undefined
  /** After so long a caller gets a copy, if one may stand in, and the load goes on. `null` by default. */
  softLoadTimeoutMs?: number | null | undefined
  /** For how long a callback's word that a key does not exist counts for later callers. `null` by default. */
  negativeTtlMs?: number | null | undefined
  /** For how long callers of a key whose load failed get the same error without another load. Off by default. */
  failurePauseMs?: number | null | undefined
  /**
   * For how long a lease stands that its load does not prolong. With it a load waits for another process's load of the
   * same key, and takes over when that one's lease is gone. Off by default.
   */
  leaseTtlMs?: number | null | undefined
  /** What equal reads under way share: the runs of callbacks, or the requests to nodes, too. `loads` by default. */
  coalesce?: Coalesce | undefined
  /** How long a callback may take; loads are shed while they do and others wait for as long. 50 by default. */
  sloMs?: number | null | undefined
  /** The most loads that run at once; others wait in line, except those that a callback asks for. 256 by default. */
  maxConcurrentLoads?: number | undefined
  /** The most reads in flight to one node; further ones go to the next source. 10,000 by default. */
  maxInFlight?: number | undefined
  /** Announced addresses and the reachable ones, for nodes behind NAT; in a list or a string as pairs `from=to`. */
  addressMap?: Readonly<Record<string, string>> | readonly string[] | string | null | undefined
  /** The ACL user to log in as. */
  username?: string | null | undefined
  /** The password to log in with. It never appears in errors. */
  password?: string | null | undefined
  /** The name of the connections in `CLIENT LIST`. */
  clientName?: string | null | undefined
  /** Encrypts all connections. */
  tls?: TlsOptions | boolean | null | undefined
  /** Makes values strings instead of Buffers. What is not UTF-8 becomes U+FFFD, as in `buffer.toString()`. */
  encoding?: (V & ('utf8' | 'utf-8')) | null | undefined
}
