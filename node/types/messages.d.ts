// What an operator may want to know, by `node:diagnostics_channel`.

import type { Router } from '../index.js'
import type { Cause, EventKind, Reason } from './words.js'
import type { Verdict } from './health.js'

/** Whom a message names, and why. */
export interface MessageSubject {
  /** `host:port` of a node; null for a fill. */
  node: string | null
  /** Why a node gives no view or gets no reads, its verdict, or the cause of a fill that failed; null for one that gets reads again. */
  reason: Reason | Verdict | Cause | null
}

/**
 * A message of `failsoft:view` (`no_view`: no cluster is found, `health().refusals` has what the nodes said instead),
 * `failsoft:node` (`node_down`, `node_up`: nodes get no reads, or get them again), `failsoft:verdict` (nodes are on
 * another side of a partition than before), `failsoft:fill` (`fill_failed`: loaded values were not written back), or
 * `failsoft:panic` (`panicked`: a defect in the background of the library, which goes on). A router gives at most one of
 * each kind a second, which counts all that happened since the last one.
 *
 * @example
 * import { subscribe } from 'node:diagnostics_channel'
 * subscribe('failsoft:node', (message) => {
 *   const { event, subjects } = message as Message
 *   logger.warn({ event, subjects })
 * })
 */
export interface Message {
  /** Which router; undefined if it is gone already. */
  router: Router<Buffer | string> | undefined
  /** What it is about. */
  event: EventKind
  /** How often it happened since the last message of this kind. */
  count: number
  /** The nodes that it happened to, and why: at most 16 different ones; none for a panic. */
  subjects: MessageSubject[]
}
