'use strict'
// Runs callbacks on this environment's own loop, in the context of their callers, and brings what they give to
// the core. The load inside which a callback runs travels in an AsyncLocalStorage.

const { AsyncLocalStorage } = require('node:async_hooks')
const { kindOf } = require('./errors.js')
const { native, keep, use } = require('./reads.js')

/** What a callback is told beside the key and the reason. */
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

function run({ fallback, context, asked }, event) {
  const load = running.get(event.run)
  // It was stopped by one that began before it.
  if (load === undefined) return
  const { arguments_, give } = event.keys === undefined ? one(asked, event) : many(asked, event)
  const ended = (result) => {
    if (running.get(event.run) !== load) return
    leave(event.run)
    give(event.run, result)
  }
  const failed = (error) => {
    if (running.get(event.run) !== load) return
    leave(event.run)
    native.fail(event.run, keep(error))
  }
  try {
    const result = context.runInAsyncScope(() => inside.run(event.run, () => fallback(...arguments_, load)))
    if (typeof result?.then === 'function') Promise.resolve(result).then(ended, failed)
    else ended(result)
  } catch (error) {
    failed(error)
  }
}

const isValue = (value) => typeof value === 'string' || value instanceof Uint8Array

function one(asked, { reason }) {
  return { arguments_: [asked, reason], give: giveOne }
}

function giveOne(number, value) {
  if (value === null || value === undefined) native.give(number)
  else if (isValue(value)) native.give(number, value)
  else native.refuse(number, `${kindOf(value)}; allowed: a string, a Uint8Array, or null`)
}

function many(asked, { keys }) {
  // The keys as they were given: bytes stay the caller's own objects.
  const given = new Map(asked.map((key) => [Buffer.from(key).toString('latin1'), key]))
  return { arguments_: [keys.map((key) => given.get(key.toString('latin1')))], give: giveMany }
}

function giveMany(number, values) {
  const isMap = values instanceof Map
  if (!isMap && (typeof values !== 'object' || values === null || Array.isArray(values))) {
    return native.refuse(number, `${kindOf(values)}; allowed: a Map or an object`)
  }
  const found = [[], []]
  for (const [key, value] of isMap ? values : Object.entries(values)) {
    if (!isValue(key)) return native.refuse(number, `${kindOf(key)} as a key; allowed: a string or a Uint8Array`)
    if (value === null || value === undefined) continue
    if (!isValue(value)) return native.refuse(number, `${kindOf(value)} as a value; allowed: a string, a Uint8Array, or null`)
    found[0].push(key)
    found[1].push(value)
  }
  native.giveMany(number, ...found)
}

use({ add, begin, stop, count: () => running.size })

module.exports = { parent }
