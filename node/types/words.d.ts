// The lists of words, the same in every language. They come from the core; a test compares the two.

/** Which source answered; `secondary` is the callback, `near` and `stale` are copies in this process, and `none` means that the key does not exist. */
export type ServedBy = 'near' | 'primary' | 'replica' | 'secondary' | 'stale' | 'none'

/** Why the primary did not serve a read. */
export type Reason =
  | 'absent'
  | 'expired'
  | 'evicted'
  | 'invalidated'
  | 'unknown'
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
  | 'slow_source'
  | 'shed'
  | 'failed_source'

/** Why a `set` was refused, a loaded value not written back, or a step of an invalidation not acknowledged. */
export type Cause =
  | 'slot_uncovered'
  | 'no_view'
  | 'breaker_open'
  | 'quarantined'
  | 'verdict_unknown'
  | 'cluster_down'
  | 'loading'
  | 'no_contact'
  | 'not_proved'
  | 'owner_changed'
  | 'redirect_limit'
  | 'exists'
  | 'lease_gone'
  | 'held'
  | 'server_refused'
  | 'denied'
  | 'error_reply'
  | 'protocol'
  | 'timeout'
  | 'connection'
  | 'not_replicated'
  | 'busy'

/** Why a callback was not called: the breaker of the store is open, or too many loads wait in line. */
export type ShedCause = 'breaker_open' | 'queue_full'

/** A step of an invalidation. */
export type Step = 'hold' | 'key' | 'echo' | 'replicas'

/**
 * Where it is known from that a key was invalidated: the mark beside the key (`mark`) or in another shard (`echo`), what
 * this process made or heard of (`process`), or the log (`log`).
 */
export type InvalidationRecord = 'mark' | 'echo' | 'process' | 'log'

/** Who has to have an invalidation before it is complete: its primary alone, one replica, too, or all of them. */
export type Durability = 'primary' | 'replica' | 'all'

/** What equal reads under way share: the runs of callbacks, or the requests to nodes, too. */
export type Coalesce = 'loads' | 'reads'

/** What a message of the channels `failsoft:view`, `failsoft:node`, `failsoft:verdict`, `failsoft:fill`, `failsoft:store` and `failsoft:panic` is about. */
export type EventKind =
  | 'no_view'
  | 'node_down'
  | 'node_up'
  | 'verdict'
  | 'fill_failed'
  | 'store_down'
  | 'store_up'
  | 'store_slow'
  | 'store_fast'
  | 'panicked'
