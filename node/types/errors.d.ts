// The errors. Each has its `name` and `code` as properties of its own, so that spreading it and loggers keep them.

import type { Cause, Reason } from './words.js'

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
  /** The argument; `fallback` for a callback's result. */
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
  /** The key that closes the circle; what is no UTF-8 in it is U+FFFD. */
  readonly key: string
}

/** A `set` was refused, or nobody can say whether it was written. */
export class WriteRefused extends FailsoftError {
  readonly code: 'WRITE_REFUSED'
  /** Why. */
  readonly cause: Cause
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
