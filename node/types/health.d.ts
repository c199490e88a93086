// What `health()` gives. Every field is the core's; a test holds the two together.

import type { Reason } from './words.js'

/** On which side of a partition a node is. `minority`: it gets no read and no write. */
export type Verdict = 'majority' | 'minority' | 'unknown'

/** One node, as a router knows it. Times are in milliseconds. */
export interface NodeHealth {
  /** Where it listens: `host:port`, or `[v6]:port`. */
  address: string
  /** Its node id; null until a view of the cluster has named it. */
  id: string | null
  /** By the newest view. */
  role: 'primary' | 'replica'
  /** A replica's primary. */
  replicaOf: string | null
  /** Its config epoch. */
  epoch: number
  /** How many slots it owns. */
  slots: number
  /** `closed`: it gets reads. */
  breaker: 'closed' | 'open' | 'half_open' | 'readmitting'
  /** Why it gets no reads. */
  trouble: Reason | null
  /** For how long now. */
  troubleMs: number | null
  /** Time since its last answer. */
  contactMs: number | null
  /** For a replica: how long ago it was last known to hold all that its primary had. */
  lagMs: number | null
  /** Whether it is proved to be the primary it is taken for, so that it may be written to. */
  validated: boolean
  /** Whether the cluster counts it as failed. */
  failed: boolean
  /** On which side of a partition it is. */
  verdict: Verdict
  /** Requests in flight to it. */
  inFlight: number
  /** `cluster_state` is ok, by its own word. */
  clusterOk: boolean
  /** The highest epoch it has seen. */
  currentEpoch: number | null
  /** Its replication offset. */
  offset: number | null
  /** A replica's link to its primary. */
  linkUp: boolean | null
  /** `replica-priority`. */
  priority: number | null
  /** `evicted_keys`. */
  evicted: number | null
  /** `expired_keys`. */
  expired: number | null
  /** `maxmemory_policy`. */
  maxmemoryPolicy: string | null
  /** The server's version. */
  version: string | null
  /** What an ACL keeps from the router, so that the fields above lack it. */
  denied: string[]
}

/** What one node said of the cluster's health when it was last asked because something was wrong. */
export interface BallotHealth {
  /** Who said it. */
  address: string
  /** Milliseconds since it was asked. */
  ageMs: number
  /** The primaries that own slots, in its view. */
  primaries: number
  /** Those that are neither FAIL nor PFAIL. */
  primariesOk: number
  /** Whether that is more than half of them: by its own view the node is in the majority. */
  majority: boolean
  /** The highest config epoch in its view. */
  epoch: number
  /** `cluster_state` is ok; null where an ACL denies `CLUSTER INFO`, as for those below. */
  clusterOk: boolean | null
  /** `cluster_slots_pfail`. */
  slotsPfail: number | null
  /** `cluster_slots_fail`. */
  slotsFail: number | null
  /** `cluster_current_epoch`. */
  currentEpoch: number | null
  /** `cluster_my_epoch`. */
  myEpoch: number | null
}

/** One number, of what for which reason. */
export interface Count {
  /** The status of an attempt, the source of a read (`error` for an error to the caller), or a write's cause. */
  what: string
  /** Why the primary did not serve; empty if it did. */
  reason: Reason | ''
  /** How many. */
  count: number
}

/** What a router counted since it was made. Only rows above zero are listed. */
export interface Counters {
  /** Attempts by status and reason: one read can add several. */
  attempts: Count[]
  /** Reads by source and reason: every read that ended, exactly once. */
  reads: Count[]
  /** Runs of callbacks. */
  loads: number
  /** Loaded values written back. */
  fills: number
  /** Loaded values not written back, by cause. */
  fillsSkipped: Count[]
  /** Values set. */
  sets: number
  /** Those of them that went to a node of which it was not known whether it is in the majority. */
  setsInDoubt: number
  /** Values that were not set, by cause. */
  setsRefused: Count[]
  /** Panics in background tasks that were caught: each is a defect of Failsoft. */
  panics: number
}

/** What a router knows of the cluster and of itself, at one moment. */
export interface Health {
  /** `standalone`: a single server without cluster mode. `unknown`: no view has come yet. */
  kind: 'cluster' | 'standalone' | 'unknown'
  /** Whether the router was closed. */
  closed: boolean
  /** Slots that have an owner, of 16,384. */
  slotsAssigned: number
  /** Slots whose owner gets reads. */
  slotsOk: number
  /** No majority of the cluster is in reach: reads go to the callback, nothing is written. */
  down: boolean
  /** More than half of the slots' owners are out of this router's own reach. */
  isolated: boolean
  /** At most five. */
  ballots: BallotHealth[]
  /** Redirected slots that no view has confirmed yet. */
  movedPatches: number
  /** Retries that the router-wide budget allows now. */
  retryTokens: number
  /** Refreshes of the view so far. */
  refreshes: number
  /** Keys being loaded by callbacks. */
  flights: number
  /** Reads that wait for a callback. */
  waiters: number
  /** Callbacks that run on after `loadTimeoutMs`. */
  detachedLoads: number
  /** What runs in the background panicked when it last ran: views and probes may be missing. It is tried again. */
  stalled: boolean
  /** Who gave no view of the cluster when last asked, and what they said or did instead. */
  refusals: Record<string, string>
  /** The nodes. */
  nodes: NodeHealth[]
  /** What was counted since the router was made. */
  counters: Counters
}
