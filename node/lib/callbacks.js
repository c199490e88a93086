'use strict'
// Runs callbacks on this environment's own loop, in the context of their callers, and brings what they give to
// the core. The load inside which a callback runs travels in an AsyncLocalStorage.

const { AsyncLocalStorage } = require('node:async_hooks')
const { kindOf, thrownText } = require('./errors.js')
const { flaw } = require('./octets.js')
const { native, keep, use } = require('./reads.js')

/** What a callback gets beside the key and the reason. */
class Context {
  #controller

  /** Aborted when nobody waits for the callback any more. Made when it is first asked for. */
  get signal() {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  static stop(context) {
    // One that is asked for later is aborted, too.
    context.#controller ??= new AbortController()
    context.#controller.abort()
  }
}

const inside = new AsyncLocalStorage()
// The callbacks that run and whose result is wanted, by the number of their run.
const running = new Map()
// Those that are to begin when all of a batch is taken.
let waiting = []

/** The run inside which the caller is, if there can be any. */
function parent() {
  return running.size === 0 ? undefined : inside.getStore()
}

function add(entry, event) {
  // Its caller went away: another caller's callback takes over.
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
  // While it is enabled, some versions of Node pay for it with every promise of the process.
  if (running.size === 0) inside.disable()
}

function run({ fallback, context, asked, left }, event) {
  const load = running.get(event.run)
  // It was stopped by one that began before it.
  if (load === undefined) return
  if (left || !native.mayBegin(event.run)) {
    // Its caller has left, or its time is over: where others wait, the callback of one of them takes over.
    leave(event.run)
    return native.abandon(event.run)
  }
  const { given, take } = event.keys === undefined ? one(asked, event) : many(asked, event)
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
  try {
    result = context.runInAsyncScope(() => inside.run(event.run, () => fallback(...given, load)))
    later = typeof result?.then === 'function'
  } catch (error) {
    return failed(error)
  }
  if (later) Promise.resolve(result).then(ended, failed)
  else ended(result)
}

/** Gives the core a callback's result, or the reason why it is none. Reading it may run code of the user's, which may throw. */
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
  // Bytes are those that were asked for, whatever the caller's own buffer holds by now.
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
  // Strings as they were given; bytes are copies.
  const texts = new Map(asked.filter((key) => typeof key === 'string').map((key) => [Buffer.from(key).toString('latin1'), key]))
  return { given: [keys.map((key) => texts.get(key.toString('latin1')) ?? key)], take: takeMany }
}

function takeMany(number, values) {
  const pairs = pairsOf(values)
  if (pairs === undefined) return `${kindOf(values)}; allowed: a Map or a plain object`
  const found = [[], []]
  // All is read before any of it is judged: reading may run code of the user's, which may take the memory of others away.
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

/** The pairs of a Map, of whatever realm and make, or of a plain object; undefined for anything else. */
function pairsOf(values) {
  if (typeof values !== 'object' || values === null || Array.isArray(values)) return undefined
  if (typeof values[Symbol.iterator] === 'function') return typeof values.get === 'function' ? values : undefined
  return isPlain(values) ? Object.entries(values) : undefined
}

/** Of no class: anything else would look like an object without any of the keys. */
function isPlain(value) {
  const prototype = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

use({ add, begin, stop, count: () => running.size })

module.exports = { parent }
