'use strict'
// The errors, a class for each kind; a callback's own error is none of them.

/** What all errors of Failsoft derive from. */
class FailsoftError extends Error {
  static code = 'INTERNAL'

  constructor(message) {
    super(message)
    // Its own, so that spreading it and loggers keep them.
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

class Reentrant extends FailsoftError {
  static code = 'REENTRANT'
}

class WriteRefused extends FailsoftError {
  static code = 'WRITE_REFUSED'
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
  Reentrant,
  WriteRefused,
  Closed,
  Forked,
  InternalError
}
const byCode = new Map(Object.values(kinds).map((kind) => [kind.code, kind]))

for (const kind of [FailsoftError, ...byCode.values()]) {
  // The stack begins with it, and is written before the constructor can set anything.
  Object.defineProperty(kind.prototype, 'name', { value: kind.name, writable: true, configurable: true })
}

/** The error for a failure of the core that is no error of a callback. */
function made({ code, message, detail }) {
  const Kind = byCode.get(code) ?? InternalError
  const error = new Kind(message)
  if (detail) error[detail.name] = detail.value
  return error
}

/** An argument or a setting that is found to be bad here, before the core sees it. */
function invalid(argument, problem) {
  return made({ code: 'INVALID_ARGUMENT', message: `\`${argument}\`: ${problem}`, detail: { name: 'argument', value: argument } })
}

function misconfigured(key, problem) {
  return made({ code: 'CONFIG', message: `\`${key}\`: ${problem}`, detail: { name: 'key', value: key } })
}

/** What a value is, for messages. Looking at it may run code of its own, which may throw. */
function kindOf(value) {
  if (value === null || value === undefined) return String(value)
  if (typeof value !== 'object') return `a ${typeof value}`
  try {
    return `a value of class ${value.constructor?.name ?? 'null'}`
  } catch {
    return 'an object'
  }
}

/** What was thrown, for messages. */
function thrownText(error) {
  try {
    return String(error?.message ?? error)
  } catch {
    return kindOf(error)
  }
}

module.exports = { classes: { FailsoftError, ...kinds }, made, invalid, misconfigured, kindOf, thrownText }
