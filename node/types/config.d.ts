// The settings of a router. What settings exist, their defaults and their ranges are the core's word; a test holds the
// two together.

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

/**
 * The settings of a router; what is not given has the default of the core. Durations are in milliseconds.
 *
 * `V` is what values are: `string` with `encoding`, `Buffer` without. A plain `Config` may have either, and so a router
 * made of it gives either; `Config<Buffer>`, `Config<string>` and `{ … } satisfies Config` say which.
 */
export interface Config<V extends Buffer | string = Buffer | string> {
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
  /** For how long callers of a key whose load failed get the same error, without another load. */
  failurePauseMs?: number | null | undefined
  /** The most loads that run at once; beyond it they wait in line. What a callback asks this router for does not wait. */
  maxConcurrentLoads?: number | undefined
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
  /** Gives strings instead of Buffers; what is no UTF-8 becomes U+FFFD, as in `buffer.toString()`. */
  encoding?: (V & ('utf8' | 'utf-8')) | null | undefined
}
