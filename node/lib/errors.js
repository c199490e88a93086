'use strict'
// The errors, one class for each kind. What a callback throws is not wrapped in any of them.

/** The base class of all errors of Failsoft. */
class FailsoftError extends Error {
  static code = 'INTERNAL'

  constructor(message) {
    super(message)
    // Own properties, so that loggers and `{ ...error }` keep them.
    this.name = this.constructor.name
    this.code = this.constructor.code
  }
}

class ConfigError extends FailsoftError {
  static code = 'CONFIG'
}

class InvalidArgument extends FailsoftError {
  static code = 'INVALID_ARGUMENT'
}

class Unavailable extends FailsoftError {
  static code = 'UNAVAILABLE'
}

class DeadlineExceeded extends FailsoftError {
  static code = 'DEADLINE_EXCEEDED'
}

class Shed extends FailsoftError {
  static code = 'SHED'
}

class Reentrant extends FailsoftError {
  static code = 'REENTRANT'
}

class WriteRefused extends FailsoftError {
  static code = 'WRITE_REFUSED'
}

class InvalidationIncomplete extends FailsoftError {
  static code = 'INVALIDATION_INCOMPLETE'
}

class Closed extends FailsoftError {
  static code = 'CLOSED'
}

class Forked extends FailsoftError {
  static code = 'FORKED'
}

class InternalError extends FailsoftError {}

const kinds = {
  ConfigError,
  InvalidArgument,
  Unavailable,
  DeadlineExceeded,
  Shed,
  Reentrant,
  WriteRefused,
  InvalidationIncomplete,
  Closed,
  Forked,
  InternalError
}
const byCode = new Map(Object.values(kinds).map((kind) => [kind.code, kind]))

for (const kind of [FailsoftError, ...byCode.values()]) {
  // `stack` begins with the name, and is written before the constructor can set one.
  Object.defineProperty(kind.prototype, 'name', { value: kind.name, writable: true, configurable: true })
}

/** The error for a failure of the core; not for what a callback threw. */
function made({ code, message, detail }) {
  const Kind = byCode.get(code) ?? InternalError
  const error = new Kind(message)
  if (detail) error[detail.name] = detail.value
  return error
}

/** The error for an argument that is refused here, before the core sees it. */
function invalid(argument, problem) {
  return made({ code: 'INVALID_ARGUMENT', message: `\`${argument}\`: ${problem}`, detail: { name: 'argument', value: argument } })
}

/** The same for a setting. */
function misconfigured(key, problem) {
  return made({ code: 'CONFIG', message: `\`${key}\`: ${problem}`, detail: { name: 'key', value: key } })
}

/** What a value is, for messages. Looking at it may run the user's code, which may throw. */
function kindOf(value) {
  if (value === null || value === undefined) return String(value)
  if (typeof value !== 'object') return `a ${typeof value}`
  try {
    const name = value.constructor?.name
    return typeof name === 'string' && name !== '' ? `a value of class ${name}` : 'an object of no class'
  } catch {
    return 'an object'
  }
}

/** What was thrown, as text for messages. */
function thrownText(error) {
  try {
    return String(error?.message ?? error)
  } catch {
    return kindOf(error)
  }
}

module.exports = { classes: { FailsoftError, ...kinds }, made, invalid, misconfigured, kindOf, thrownText }
