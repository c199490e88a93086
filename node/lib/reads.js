'use strict'
// The calls under way in this environment (the main thread, or one worker): a table of promises whose places are the
// core's tokens, and one wake-up for all completions that have come meanwhile.

const { AsyncResource } = require('node:async_hooks')
const { Reads } = require('./native.js')
const { made, classes } = require('./errors.js')
const { publish } = require('./messages.js')
const signals = require('./signals.js')
const { make } = require('./wake.js')

// The most rows of one drain, and the bytes for their values; `bindings/node/src/event.rs` says what a row is.
const ROWS = 1024
const BYTES = 64 * 1024
const [HEAD, COLUMNS] = [2, 4]
const [VALUE, MISSING, RELEASED] = [0, 1, 2]

const cells = Buffer.allocUnsafeSlow((HEAD + ROWS * COLUMNS) * 4)
const rows = new Uint32Array(cells.buffer, cells.byteOffset, HEAD + ROWS * COLUMNS)
const bytes = Buffer.allocUnsafeSlow(BYTES)

/** A call under way: its promise, and what its callbacks need. */
class Entry {
  constructor(text, fallback, asked, recompute) {
    this.text = text
    this.fallback = fallback
    this.recompute = recompute
    // The key or the keys as they were given. Buffers belong to the caller, who may have changed them since.
    this.asked = asked
    // The caller's context: a callback sees the caller's AsyncLocalStorages.
    this.context = fallback === undefined ? undefined : new AsyncResource('FAILSOFT_READ')
    this.signal = undefined
    this.token = 0
    // The caller has gone.
    this.left = false
    this.resolve = undefined
    this.reject = undefined
  }
}

// By token. Undefined where the caller has gone and the token is not free yet.
const entries = []
const free = []
let waiting = 0
// What callbacks threw, by its number, while it is on its way through the core.
const thrown = new Map()
let errors = 0
// Set by `callbacks.js`.
let callbacks

const waker = make(drain)
const native = new Reads(waker.wake)

let resolveNow, rejectNow
const capture = (resolve, reject) => {
  resolveNow = resolve
  rejectNow = reject
}

/** The token of the next call. No user's code may run between this and the core's word that the call has begun. */
function next() {
  return free.length > 0 ? free[free.length - 1] : entries.length
}

/** The call with that token has begun: the token is taken. */
function begun() {
  if (free.length > 0) return free.pop()
  return entries.push(undefined) - 1
}

/** Gives an entry the token of its call, which has begun, and makes its promise. */
function enter(entry, token) {
  entry.token = token
  const promise = new Promise(capture)
  entry.resolve = resolveNow
  entry.reject = rejectNow
  entries[token] = entry
  if (waiting++ === 0) {
    waker.hold(drain)
    native.hold()
  }
  return promise
}

/**
 * Starts a call. `launch()` gives the core the `next` token, and returns what the core says at once: null, a value as a
 * string, or a failure, which is thrown. It also checks what can lose its memory, since whatever else is done before it
 * may run the user's code: the signal, hooks that watch resources.
 */
function start(entry, signal, launch) {
  if (signal?.aborted) throw signal.reason
  const answer = launch()
  if (answer !== null) return known(answer, entry.text)
  const promise = enter(entry, begun())
  if (signal !== undefined) listen(entry, signal)
  return promise
}

/** The end of a call of which the core said at once what comes of it. */
function known(answer, text) {
  if (typeof answer !== 'string') throw errorOf(answer)
  return Promise.resolve(text ? answer : Buffer.from(answer, 'latin1'))
}

function listen(entry, signal) {
  try {
    signals.join(signal, entry, abort)
  } catch (error) {
    abort(entry, error)
  }
}

/** The caller no longer waits. */
function abort(entry, reason) {
  entry.left = true
  forget(entry)
  rest()
  native.cancel(entry.token)
  entry.reject(reason)
}

function forget(entry) {
  entries[entry.token] = undefined
  waiting--
  if (entry.signal !== undefined) signals.leave(entry.signal, entry)
}

function rest() {
  if (waiting > 0) return
  waker.release()
  native.rest()
}

/** Ends a call and frees its token. Gives its entry; undefined if the caller has gone. */
function ended(token) {
  free.push(token)
  const entry = entries[token]
  if (entry !== undefined) forget(entry)
  return entry
}

function drain() {
  let more
  do {
    const events = native.drain(cells, bytes)
    const count = rows[0]
    more = rows[1] !== 0
    for (let row = 0, at = HEAD; row < count; row++, at += COLUMNS) take(rows[at], rows[at + 1], rows[at + 2], rows[at + 3])
    // No user's code runs before all of them are taken, so no token of this batch is used again within it.
    if (events !== null) for (const event of events) react(event)
    callbacks.begin()
  } while (more)
  rest()
}

function take(token, kind, begin, length) {
  if (kind === VALUE) {
    const entry = ended(token)
    if (entry === undefined) return
    const end = begin + length
    if (entry.text) {
      entry.resolve(bytes.toString('utf8', begin, end))
    } else {
      const value = Buffer.allocUnsafe(length)
      bytes.copy(value, 0, begin, end)
      entry.resolve(value)
    }
  } else if (kind === MISSING) {
    ended(token)?.resolve(null)
  } else if (kind === RELEASED) {
    thrown.delete(token)
  }
}

function react(event) {
  if (event.kind === 'run') return callbacks.add(entries[event.token], event)
  if (event.kind === 'stop') return callbacks.stop(event.run)
  if (event.kind === 'message') return publish(event.message)
  // Of one that goes on the end comes later, and settles nothing any more.
  const entry = event.goesOn ? entries[event.token] : ended(event.token)
  if (entry === undefined) return
  try {
    settle(entry, event)
  } catch (error) {
    // For example, a value that is too long for a string.
    entry.reject(error)
  }
}

function settle(entry, event) {
  switch (event.kind) {
    case 'value':
      return entry.resolve(decoded(entry, event.value))
    case 'outcome':
      return entry.resolve(outcomeOf(entry, event.outcome))
    case 'many':
      return entry.resolve(event.outcomes.map((each) => settled(entry, each)))
    case 'done':
      return entry.resolve()
    case 'last':
      return entry.resolve(lastOf(event.last))
    case 'said':
      return entry.resolve(event.said)
    case 'failed':
      return entry.reject(errorOf(event.failure))
    default:
      return entry.reject(new classes.InternalError(`a defect of failsoft: a call ended as '${event.kind}'`))
  }
}

function decoded(entry, value) {
  if (value === undefined || value === null) return null
  return entry.text ? value.toString('utf8') : value
}

function outcomeOf(entry, { value, servedBy, reason, ageMs, attempts, coalesced, node }) {
  return { value: decoded(entry, value), servedBy, reason: reason ?? null, ageMs: ageMs ?? null, attempts, coalesced, node: node ?? null }
}

function lastOf(last) {
  if (last === undefined || last === null) return null
  const { ageMs, atMs, id, own, record } = last
  return { ageMs: ageMs ?? null, at: typeof atMs === 'number' ? new Date(atMs) : null, id: id ?? null, own, record }
}

/** The result for one key, as `Promise.allSettled` has it. */
function settled(entry, { outcome, failure }) {
  if (!outcome) return { status: 'rejected', reason: errorOf(failure) }
  try {
    return { status: 'fulfilled', value: outcomeOf(entry, outcome) }
  } catch (error) {
    // As in `react`; the other keys keep their answers.
    return { status: 'rejected', reason: error }
  }
}

/** The core's error, or the very object that the callback threw. */
function errorOf(failure) {
  return failure.thrown === null ? made(failure) : thrown.get(failure.thrown)
}

/** Keeps what a callback threw, and gives the number for it. */
function keep(error) {
  errors = (errors + 1) >>> 0
  thrown.set(errors, error)
  return errors
}

module.exports = {
  Entry,
  begun,
  enter,
  known,
  native,
  next,
  start,
  keep,
  /** Sets what runs callbacks. */
  use: (them) => (callbacks = them),
  /** What is held at the moment, for tests. */
  held: () => ({ waiting, places: entries.length - free.length, thrown: thrown.size, loads: callbacks.count() })
}
