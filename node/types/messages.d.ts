// Messages for operators on `node:diagnostics_channel`.

import type { Router } from '../index.js'
import type { Cause, EventKind, Reason } from './words.js'
import type { Verdict } from './health.js'

/** A node that a message names, and why. */
export interface MessageSubject {
  /** The node's address, as `host:port`; null for a fill and for the store. */
  node: string | null
  /**
   * Why the node gives no view or gets no reads, its verdict, why the fill failed, or what is wrong with the store; null
   * for a node that gets reads again.
   */
  reason: Reason | Verdict | Cause | 'failing' | 'slow' | null
}

/**
 * A message of `failsoft:view` (`no_view`: no cluster is found; `health().refusals` has what the nodes said instead),
 * `failsoft:node` (`node_down`, `node_up`: nodes get no reads, or get them again), `failsoft:verdict` (nodes are on
 * another side of a partition than before), `failsoft:fill` (`fill_failed`: loaded values were not written back),
 * `failsoft:store` (`store_down`, `store_up`: the breaker of the store behind the callbacks has opened, or closed; `store_slow`, `store_fast`: it is slow, or fast again), or
 * `failsoft:panic` (`panicked`: a defect in the background of the library, which continues). A router publishes at most
 * one a second of each kind, with the count of what happened since the last one.
 *
 * @example
 * import { subscribe } from 'node:diagnostics_channel'
 * subscribe('failsoft:node', (message) => {
 *   const { event, subjects } = message as Message
 *   logger.warn({ event, subjects })
 * })
 */
export interface Message {
  /** The router that it comes from; undefined if that no longer exists. */
  router: Router<Buffer | string> | undefined
  /** Its kind. */
  event: EventKind
  /** How often it happened since the last message of this kind. */
  count: number
  /** The nodes it happened to, and why: at most 16 different ones, and none for a panic. */
  subjects: MessageSubject[]
}
