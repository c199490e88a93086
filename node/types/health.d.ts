// What `health()` returns. The fields are the core's; a test compares the two.

import type { Reason } from './words.js'

/**
 * On which side of a partition a node is. `majority`: also if nothing speaks against the node. `minority`: it gets no
 * reads and no writes. `unknown`: it gets reads and `set`s, but no loaded values are written back to it.
 */
export type Verdict = 'majority' | 'minority' | 'unknown'

/** One node, as a router knows it. Times are in whole milliseconds; what is not known is null. */
export interface NodeHealth {
  /** Where it listens: `host:port`, or `[v6]:port`. */
  address: string
  /** Its node id; null until a view of the cluster has named it. */
  id: string | null
  /** Its role by the newest view. */
  role: 'primary' | 'replica'
  /** For a replica: the address of its primary. */
  replicaOf: string | null
  /** Its config epoch. */
  epoch: number
  /** How many slots it owns. */
  slots: number
  /**
   * `closed`: it gets reads. `open`: it gets none. `half_open`: the same, and a probe is under way. `readmitting`: it
   * gets a growing share of them.
   */
  breaker: 'closed' | 'open' | 'half_open' | 'readmitting'
  /** Why it gets no reads, or not all of them; null if it gets all. */
  trouble: Reason | null
  /** For how long that has been so. */
  troubleMs: number | null
  /** Time since its last answer; null before the first one. */
  contactMs: number | null
  /** For a replica: time since it was last known to have everything that its primary had. */
  lagMs: number | null
  /** Whether it has proved to be the primary that it is taken for, so that it may be written to. */
  validated: boolean
  /** Whether the cluster counts it as failed. */
  failed: boolean
  /** On which side of a partition it is. */
  verdict: Verdict
  /**
   * How it is listened to for invalidations: `heard` (all that it tells is known), `open` (up to when that is complete is
   * not known just now), `closed`, `denied` (it does not let us) or `too_costly` (it has too many clients); null if it
   * owns no slots.
   */
  listening: 'heard' | 'open' | 'closed' | 'denied' | 'too_costly' | null
  /** The same for what happens to the keys of the near cache; null without one. */
  tracking: 'heard' | 'open' | 'closed' | 'denied' | 'too_costly' | null
  /**
   * The same for which keys it evicts and which have expired; null without `evictionEvents`. Whether its
   * `notify-keyspace-events` lets it tell that is not known.
   */
  events: 'heard' | 'open' | 'closed' | 'denied' | 'too_costly' | null
  /** How many requests it has not answered yet. */
  inFlight: number
  /** Whether it says that `cluster_state` is ok; false until it was first asked. */
  clusterOk: boolean
  /** The highest config epoch that it has seen. */
  currentEpoch: number | null
  /** Its replication offset, in bytes. */
  offset: number | null
  /** For a replica: whether it is connected to its primary. */
  linkUp: boolean | null
  /** A replica's `replica-priority`: the lowest is promoted first, 0 never. */
  priority: number | null
  /** `evicted_keys`: how many keys it has evicted since it was started. */
  evicted: number | null
  /** `expired_keys`: how many keys have expired since it was started. */
  expired: number | null
  /** Its `maxmemory_policy`. */
  maxmemoryPolicy: string | null
  /** The server's version. */
  version: string | null
  /** The commands that it refused, as unknown or as not allowed; what they would tell is missing above. */
  denied: string[]
}

/** What one node said of the cluster's health when it was last asked because something was wrong. */
export interface BallotHealth {
  /** The node that said it. */
  address: string
  /** Milliseconds since it was asked. */
  ageMs: number
  /** How many primaries with slots it knows. */
  primaries: number
  /** How many of them are neither FAIL nor PFAIL in its view. */
  primariesOk: number
  /** Whether these are more than half: by its own view, the node is in the majority. */
  majority: boolean
  /** The highest config epoch in its view. */
  epoch: number
  /** Whether its `cluster_state` is ok; like the fields below, null where it refuses `CLUSTER INFO`. */
  clusterOk: boolean | null
  /** `cluster_slots_pfail`: slots whose owners it cannot reach. */
  slotsPfail: number | null
  /** `cluster_slots_fail`: slots whose owners count as failed. */
  slotsFail: number | null
  /** `cluster_current_epoch`: the highest epoch that it has seen. */
  currentEpoch: number | null
  /** `cluster_my_epoch`: its own config epoch. */
  myEpoch: number | null
}

/** The breaker of your own store, which callbacks ask. Times are in whole milliseconds. */
export interface StoreHealth {
  /** `closed`: loads run. `open`: they are shed. `half_open`: some are let in, to see how the store is. */
  state: 'closed' | 'open' | 'half_open'
  /** For how long that has been so. */
  stateMs: number
  /** Why it is not closed; null if it is. */
  trouble: 'failing' | 'slow' | null
  /**
   * The newest calls: those that ended within six seconds, or as many more seconds, up to a minute, as it takes for 20
   * calls; and those that run and have taken longer than `sloMs` already.
   */
  calls: number
  /** The share of them that failed. */
  failureShare: number
  /** What 95 of 100 of them did not exceed, rounded up by an eighth at the most; null without calls. */
  p95Ms: number | null
  /**
   * `maxRetries` as it is in force: no more than 2 while more than one in twenty of these calls takes longer than `sloMs`,
   * until they have been fast again for a minute.
   */
  maxRetries: number
  /** `coalesce` as it is in force: `reads` during the same time. */
  coalesce: 'loads' | 'reads'
  /** How often that time has begun so far. */
  slowed: number
}

/** A counter with its labels. */
export interface Count {
  /** The status of an attempt, the source of a read (`error` if it ended with one), or the `Cause` of a write. */
  what: string
  /** Why the primary did not serve the read; empty if it did, and for writes. */
  reason: Reason | ''
  /** How many there were. */
  count: number
}

/** What a router has counted since it was made. Lists have only counts above zero. */
export interface Counters {
  /** Attempts, by status and reason. One read can add several. */
  attempts: Count[]
  /** Reads that have ended, by source and reason; each exactly once. */
  reads: Count[]
  /** How many times callbacks were run. */
  loads: number
  /** Loads whose callback was not run, to spare the store: its breaker was open, or the line too long. */
  shed: number
  /** Served values that were compared with what the store has, by what that came to: `fresh`, `stale` or `raced`. */
  verified: Count[]
  /** Loaded values that were written back. */
  fills: number
  /** Loaded values that were not written back, by cause. */
  fillsSkipped: Count[]
  /** Values written by `set`. */
  sets: number
  /** How many of them went to a node of which it was not known whether it is in the majority. */
  setsInDoubt: number
  /** How many of them found that a writer holds the key: it was deleted instead. */
  setsHeld: number
  /** Calls of `set` that were refused, by cause. */
  setsRefused: Count[]
  /** Keys invalidated, those included that were sent again. */
  invalidations: number
  /** Attempts to invalidate a key of which a step was not acknowledged in time. */
  invalidationsIncomplete: number
  /** Entries of the log of invalidations that were not written. Nothing that is read depends on it. */
  invalidationsUnlogged: number
  /** Panics in the background that were caught. Each is a defect of Failsoft. */
  panics: number
}

/** What a router knows of the cluster and of itself, at one moment. */
export interface Health {
  /** The router's own name, eight hexadecimal digits drawn when it was made: the ids of its invalidations begin with it. */
  id: string
  /** `standalone`: a single server without cluster mode. `unknown`: no view has come yet. */
  kind: 'cluster' | 'standalone' | 'unknown'
  /** Whether the router was closed. */
  closed: boolean
  /** How many of the 16,384 slots have an owner. */
  slotsAssigned: number
  /** How many of them have an owner that gets reads. */
  slotsOk: number
  /** Whether no majority of the cluster is in reach. Reads go to callbacks then, and nothing is written. */
  down: boolean
  /** Whether more than half of the slots' owners are out of this router's own reach. */
  isolated: boolean
  /** What nodes said of the cluster's health when they were last asked because something was wrong: at most five. */
  ballots: BallotHealth[]
  /** How many slots have a new owner according to a redirect, which no view has confirmed yet. */
  movedPatches: number
  /** How many retries the budget of the whole router allows now. */
  retryTokens: number
  /** How often the view of the cluster was refreshed. */
  refreshes: number
  /** How many keys callbacks are loading. */
  flights: number
  /** How many reads wait for a callback. */
  waiters: number
  /** How many loads wait in line because `maxConcurrentLoads` are running. */
  queuedLoads: number
  /** How many callbacks are still running after `loadTimeoutMs`. */
  detachedLoads: number
  /** How many copies of values there are in this process, which may stand in when nothing else can answer. */
  copies: number
  /** How many bytes they take, keys and what keeping them costs included; at most `nearCacheBytes` or `standinBytes`. */
  copiesBytes: number
  /** Your own store, as the calls of the callbacks show it. */
  store: StoreHealth
  /** How many keys this router invalidated, or heard that another one did, within `invalidationTtlMs`. */
  invalidations: number
  /**
   * How many of them no node has acknowledged to be gone, or another owner may have lost: they are read from their
   * callbacks alone until they are told again, or, if another router made them, only together with their marks.
   */
  invalidationsOwed: number
  /**
   * Whether the router's background work panicked when it last ran, so that views and probes may be missing. That is a
   * defect of Failsoft; the work is tried again after five seconds at most.
   */
  stalled: boolean
  /**
   * By address, the nodes that gave no view of the cluster when they were last asked, or that refuse reads: what each
   * said or did instead.
   */
  refusals: Record<string, string>
  /** The nodes that are known. */
  nodes: NodeHealth[]
  /** What the router has counted. */
  counters: Counters
}
