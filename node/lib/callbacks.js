'use strict'
// Runs callbacks on this environment's own loop, in the contexts of their callers, and passes their results to the
// core. An AsyncLocalStorage carries the load inside which a callback runs.

const { AsyncLocalStorage } = require('node:async_hooks')
const { kindOf, thrownText } = require('./errors.js')
const { flaw } = require('./octets.js')
const { isPlain } = require('./plain.js')
const { native, keep, use } = require('./reads.js')

/** What a callback gets besides the key and the reason. */
class Context {
  #controller

  /** Aborted when nobody waits for the callback any more. Made when it is first read. */
  get signal() {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  static stop(context) {
    // Made here, so that a signal that is read only later is aborted, too.
    context.#controller ??= new AbortController()
    context.#controller.abort()
  }
}

const inside = new AsyncLocalStorage()
// The callbacks that are running and whose results are wanted, by the numbers of their runs.
const running = new Map()
// Callbacks that begin once the whole batch has been taken.
let waiting = []

/** The run inside which the current code is, if any. */
function parent() {
  return running.size === 0 ? undefined : inside.getStore()
}

function add(entry, event) {
  // The caller has gone: another caller's callback takes over.
  if (entry === undefined) return native.abandon(event.run)
  running.set(event.run, new Context())
  waiting.push([entry, event])
}

function begin() {
  while (waiting.length > 0) {
    const batch = waiting
    waiting = []
    for (const [entry, event] of batch) run(entry, event)
  }
}

function stop(number) {
  const context = running.get(number)
  if (context === undefined) return
  leave(number)
  native.abandon(number)
  Context.stop(context)
}

function leave(number) {
  running.delete(number)
  // While it is enabled, every promise of the process costs more in some versions of Node.
  if (running.size === 0) inside.disable()
}

function run({ fallback, recompute, context, asked, left }, event) {
  const load = running.get(event.run)
  // A callback that began earlier in this batch has stopped it.
  if (load === undefined) return
  if (left || !native.mayBegin(event.run)) {
    // Its caller has gone or has run out of time: if others wait, the callback of one of them takes over.
    leave(event.run)
    return native.abandon(event.run)
  }
  const callback = event.recompute ? recompute : fallback
  const { given, take } = event.keys === null ? one(asked, event) : many(asked, event)
  const ended = (result) => {
    if (running.get(event.run) !== load) return
    leave(event.run)
    answer(event.run, take, result)
  }
  const failed = (error) => {
    if (running.get(event.run) !== load) return
    leave(event.run)
    native.fail(event.run, keep(error))
  }
  let result, later
  const call = () => {
    result = callback(...given, load)
    later = typeof result?.then === 'function'
    // In the callback's contexts, too: there are results that do their work only when their `then` is called.
    if (later) result = Promise.resolve(result)
  }
  try {
    context.runInAsyncScope(() => inside.run(event.run, call))
    // It may have a `then` of its own, which may throw.
    if (later) result.then(ended, failed)
  } catch (error) {
    return failed(error)
  }
  if (!later) ended(result)
}

/** Gives the core a callback's result, or says why it cannot be taken. Reading it may run the user's code, which may throw. */
function answer(number, take, result) {
  let problem
  try {
    problem = take(number, result)
  } catch (error) {
    problem = `${kindOf(result)} that cannot be read: ${thrownText(error)}`
  }
  if (problem !== undefined) native.refuse(number, problem)
}

function one(asked, { run, reason }) {
  // A key of bytes is the copy made at the call, whatever the caller's own buffer holds by now.
  return { given: [typeof asked === 'string' ? asked : native.key(run), reason], take: takeOne }
}

const VALUE = 'allowed: a string, a Uint8Array, or null'

function takeOne(number, value) {
  if (value === null || value === undefined) return native.give(number)
  const problem = flaw(value)
  if (problem !== undefined) return `${problem}; ${VALUE}`
  native.give(number, value)
}

function many(asked, { keys }) {
  // Strings as they were given; bytes as copies made at the call.
  const texts = new Map(asked.filter((key) => typeof key === 'string').map((key) => [Buffer.from(key).toString('latin1'), key]))
  return { given: [keys.map((key) => texts.get(key.toString('latin1')) ?? key)], take: takeMany }
}

function takeMany(number, values) {
  const pairs = pairsOf(values)
  if (pairs === undefined) return `${kindOf(values)}; allowed: a Map or a plain object`
  const found = [[], []]
  // Everything is read before anything is checked: reading may run the user's code, which may detach other buffers.
  for (const [key, value] of Array.from(pairs, ([key, value]) => [key, value])) {
    const badKey = flaw(key)
    if (badKey !== undefined) return `as a key ${badKey}; allowed: a string or a Uint8Array`
    if (value === null || value === undefined) continue
    const badValue = flaw(value)
    if (badValue !== undefined) return `as a value ${badValue}; ${VALUE}`
    found[0].push(key)
    found[1].push(value)
  }
  native.giveMany(number, ...found)
}

/** The pairs of a Map of any realm, of an object that behaves like one, or of a plain object; undefined for anything else. */
function pairsOf(values) {
  if (typeof values !== 'object' || values === null || Array.isArray(values)) return undefined
  if (typeof values[Symbol.iterator] === 'function') return typeof values.get === 'function' ? values : undefined
  return isPlain(values) ? Object.entries(values) : undefined
}

use({ add, begin, stop, count: () => running.size })

module.exports = { parent }
