// The errors. `name`, `code` and details are own properties, so that loggers and `{ ...error }` keep them.

import type { Cause, Reason, ShedCause, Step } from './words.js'

/** The kinds of errors as words, the same in every language. */
export type Code =
  | 'CONFIG'
  | 'INVALID_ARGUMENT'
  | 'UNAVAILABLE'
  | 'DEADLINE_EXCEEDED'
  | 'SHED'
  | 'REENTRANT'
  | 'WRITE_REFUSED'
  | 'INVALIDATION_INCOMPLETE'
  | 'CLOSED'
  | 'FORKED'
  | 'INTERNAL'

/** The base class of all errors of Failsoft. What a callback throws is not wrapped in one. */
export class FailsoftError extends Error {
  readonly code: Code
}

/** An unknown setting, a bad value of one, or a bad address. No connection was made. */
export class ConfigError extends FailsoftError {
  readonly code: 'CONFIG'
  /** The name of the setting; `nodes` for an address. */
  readonly key: string
}

/** A bad key, value or option, or a callback's result that cannot be taken. */
export class InvalidArgument extends FailsoftError {
  readonly code: 'INVALID_ARGUMENT'
  /** The name of the argument; `fallback` for a callback's result. */
  readonly argument: string
}

/** No source could say whether the key exists, or `ready` timed out. */
export class Unavailable extends FailsoftError {
  readonly code: 'UNAVAILABLE'
  /** Why the primary did not serve the read. */
  readonly reason: Reason
}

/** The deadline of the call has passed, or the callback took longer than `loadTimeoutMs`. */
export class DeadlineExceeded extends FailsoftError {
  readonly code: 'DEADLINE_EXCEEDED'
  /** Which of the two it was. */
  readonly limit: 'deadlineMs' | 'loadTimeoutMs'
}

/** The callback was not called, to spare the store behind it. */
export class Shed extends FailsoftError {
  readonly code: 'SHED'
  /** `breaker_open`: the store's breaker is open, or tries others. `queue_full`: too many loads wait in line. */
  readonly cause: ShedCause
}

/** A callback asked, directly or through others, for the key that it is loading. */
export class Reentrant extends FailsoftError {
  readonly code: 'REENTRANT'
  /** The key that was asked for again. What is not UTF-8 in it becomes U+FFFD. */
  readonly key: string
}

/** A `set` was refused, or it is not known whether it was done. */
export class WriteRefused extends FailsoftError {
  readonly code: 'WRITE_REFUSED'
  /** Why. After `timeout` and `connection` it is not known whether the value was written. */
  readonly cause: Cause
}

/** A step that a key's invalidation lacks. */
export interface IncompleteStep {
  /** A copy of the key, also with the setting `encoding`. */
  key: Buffer
  /** `hold`: nothing that is loaded is kept. `key`: the key is deleted where it lives. `echo`: it is announced in another shard. */
  step: Step
  /** Why it was not acknowledged. After `timeout` and `connection` it is not known whether it was done. */
  cause: Cause
}

/**
 * Steps of an invalidation were not acknowledged in time. They are sent again in the background for `invalidationTtlMs`;
 * meanwhile this process reads keys whose deletion is pending from their callbacks alone.
 */
export class InvalidationIncomplete extends FailsoftError {
  readonly code: 'INVALIDATION_INCOMPLETE'
  /** The steps, by keys: one entry for each, so three for a key that lacks them all. */
  readonly pending: IncompleteStep[]
}

/** The router is closed. */
export class Closed extends FailsoftError {
  readonly code: 'CLOSED'
}

/** The router belongs to the process that this one was forked from. Make a new one here. */
export class Forked extends FailsoftError {
  readonly code: 'FORKED'
}

/** A defect of Failsoft. */
export class InternalError extends FailsoftError {
  readonly code: 'INTERNAL'
}
