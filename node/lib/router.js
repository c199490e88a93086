'use strict'
// The router as its users see it: checks arguments and starts calls. `reads.js` ends them.

const { inspect } = require('node:util')
const { NativeRouter, NativeWriting, maxInvalidated, maxKeys } = require('./native.js')
const { made, invalid, kindOf } = require('./errors.js')
const { flaw, isUint8Array } = require('./octets.js')
const { isPlain, ownOf } = require('./plain.js')
const { Entry, enter, errorOf, native, refused, start } = require('./reads.js')
const { parent } = require('./callbacks.js')
const { numbered } = require('./messages.js')
const { read, given } = require('./settings.js')
const signals = require('./signals.js')
const { Writing, within } = require('./writing.js')

const READ = ['ttlMs', 'deadlineMs', 'stalenessBudgetMs', 'signal']
const WAIT = ['signal']
const SET = ['ttlMs']
const INVALIDATE = ['holdMs']
const MAX_KEYS = maxKeys()
const MAX_INVALIDATED = maxInvalidated()
const NONE = Object.freeze({ __proto__: null })

/** Reads from a cluster, and from the caller's own store when the cluster has no answer. */
class Router {
  #native
  #text

  constructor(nodes, config = NONE) {
    const { settings, text } = read(config)
    const opened = NativeRouter.open(native, numbered(this), given(nodes), settings)
    if (!(opened instanceof NativeRouter)) throw made(opened)
    this.#native = opened
    this.#text = text
  }

  getWithFallback(key, fallback, options) {
    // As `attempt` does it, without a function of its own for each read.
    try {
      return options === undefined ? this.#get(key, fallback) : this.#read(key, fallback, options, false)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  resolve(key, fallback, options) {
    return attempt(() => this.#read(key, fallback, options, true))
  }

  async getManyWithFallback(keys, fallback, options) {
    const outcomes = await this.resolveMany(keys, fallback, options)
    return outcomes.map((outcome) => {
      if (outcome.status === 'rejected') throw outcome.reason
      return outcome.value.value
    })
  }

  resolveMany(keys, fallback, options) {
    return attempt(() => {
      const { ttlMs: ttl, deadlineMs: deadline, stalenessBudgetMs: stalenessBudget, signal } = checked(options, READ)
      const asked = listed(keys, MAX_KEYS)
      callable('fallback', fallback)
      const entry = new Entry(this.#text, fallback, asked)
      const wish = { ask: true, account: true, parent: parent(), ttl, deadline, stalenessBudget }
      return start(entry, signal, (token) => {
        for (const key of asked) octets('keys', key)
        return this.#native.readMany(token, asked, wish)
      })
    })
  }

  set(key, value, options) {
    return attempt(() => {
      const { ttlMs } = checked(options, SET)
      return start(new Entry(false), undefined, (token) => {
        octets('key', key)
        octets('value', value)
        return this.#native.set(token, key, value, ttlMs)
      })
    })
  }

  invalidate(...keys) {
    return attempt(() => {
      const { holdMs } = checked(isPlain(keys.at(-1)) ? keys.pop() : undefined, INVALIDATE)
      return start(new Entry(false), undefined, (token) => {
        for (const key of keys) octets('keys', key)
        return this.#native.invalidate(token, keys, holdMs)
      })
    })
  }

  lastInvalidation(key, options) {
    return attempt(() => {
      const { signal } = checked(options, WAIT)
      return start(new Entry(false), signal, (token) => {
        octets('key', key)
        return this.#native.lastInvalidation(token, key)
      })
    })
  }

  withinStalenessBudget(key, maxAgeMs) {
    return attempt(() => {
      if (maxAgeMs !== undefined) number('maxAgeMs', maxAgeMs)
      return start(new Entry(false), undefined, (token) => {
        octets('key', key)
        return this.#native.withinStalenessBudget(token, key, maxAgeMs)
      })
    })
  }

  async writing(keys, transaction) {
    if (transaction !== undefined) callable('transaction', transaction)
    const written = typeof keys === 'string' || isUint8Array(keys) ? [keys] : listed(keys, MAX_INVALIDATED)
    // Not left to the core, which counts a key once: those behind would not be held.
    if (written.length > MAX_INVALIDATED) throw invalid('keys', `more than ${MAX_INVALIDATED} keys in one call`)
    let native
    await start(new Entry(false), undefined, (token) => {
      for (const key of written) octets('keys', key)
      const begun = this.#native.beginWriting(token, written)
      if (!(begun instanceof NativeWriting)) return begun
      native = begun
      return null
    })
    const writing = new Writing(() => start(new Entry(false), undefined, (token) => this.#native.endWriting(token, native)))
    return transaction === undefined ? writing : within(writing, transaction)
  }

  ready(timeoutMs, options) {
    return attempt(() => {
      number('timeoutMs', timeoutMs)
      const { signal } = checked(options, WAIT)
      return start(new Entry(false), signal, (token) => this.#native.ready(token, timeoutMs))
    })
  }

  health() {
    const health = this.#native.health()
    if (typeof health !== 'string') throw made(health)
    return camel(JSON.parse(health))
  }

  close() {
    return attempt(() => start(new Entry(false), undefined, (token) => this.#native.close(token)))
  }

  [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    return this.close()
  }

  /** For `console.log`: the state of the router and of its nodes. */
  [inspect.custom](depth, options) {
    // A proxy of one, or an object that inherits from one, is shown as what it is.
    if (!(#native in this)) return inspect(this, { ...options, customInspect: false })
    const name = this.constructor.name
    if (depth < 0) return `[${name}]`
    const { kind, closed, slotsOk, nodes } = this.health()
    const state = ({ role, breaker, trouble }) => (breaker === 'closed' ? role : `${role}, ${breaker}: ${trouble}`)
    const shown = { kind, closed, slotsOk, nodes: Object.fromEntries(nodes.map((node) => [node.address, state(node)])) }
    return `${name} ${inspect(shown, options)}`
  }

  /** A read without options, outside of callbacks: as `start` does it. */
  #get(key, fallback) {
    if (parent() !== undefined) return this.#read(key, fallback, undefined, false)
    if (fallback !== undefined && fallback !== null) callable('fallback', fallback)
    const entry = new Entry(this.#text, fallback ?? undefined, key)
    const promise = enter(entry)
    let failure
    try {
      octets('key', key)
      failure = this.#native.get(entry.token, key, entry.fallback !== undefined)
    } catch (error) {
      return refused(entry, error, promise)
    }
    return failure === null ? promise : refused(entry, errorOf(failure), promise)
  }

  #read(key, fallback, options, account) {
    const { ttlMs: ttl, deadlineMs: deadline, stalenessBudgetMs: stalenessBudget, signal } = checked(options, READ)
    if (fallback !== undefined && fallback !== null) callable('fallback', fallback)
    const entry = new Entry(this.#text, fallback ?? undefined, key)
    const ask = entry.fallback !== undefined
    const wish = { ask, account, parent: parent(), ttl, deadline, stalenessBudget }
    return start(entry, signal, (token) => {
      octets('key', key)
      return this.#native.read(token, key, wish)
    })
  }
}

/** Makes a call whose errors all come by its promise, also those that are found at once. */
function attempt(call) {
  try {
    return call()
  } catch (error) {
    return Promise.reject(error)
  }
}

function octets(argument, given) {
  const problem = flaw(given)
  if (problem !== undefined) throw invalid(argument, `${problem}; allowed: a string or a Uint8Array`)
}

function callable(argument, given) {
  if (typeof given !== 'function') throw invalid(argument, `${kindOf(given)} cannot be called; allowed: a function`)
}

function listed(keys, most) {
  if (typeof keys === 'string' || typeof keys?.[Symbol.iterator] !== 'function' || isUint8Array(keys)) {
    throw invalid('keys', `${kindOf(keys)} is not a list of keys; allowed: an iterable of strings and Uint8Arrays`)
  }
  const asked = []
  for (const key of keys) {
    asked.push(key)
    // With one too many the core refuses the call. There may be no end of them.
    if (asked.length > most) break
  }
  return asked
}

function number(argument, given) {
  if (typeof given !== 'number') throw invalid(argument, `${kindOf(given)} is not allowed; allowed: a number of milliseconds`)
}

/** The options of a call, each read once and checked. The core checks whether numbers are in range. */
function checked(options, allowed) {
  if (options === undefined || options === null) return NONE
  const own = ownOf(options)
  if (own === undefined) throw invalid('options', `${kindOf(options)} is not allowed; allowed: a plain object of ${allowed.join(', ')}`)
  for (const name of Object.keys(own)) {
    if (!allowed.includes(name)) throw invalid(name, `no such option; allowed: ${allowed.join(', ')}`)
    if (own[name] === undefined) continue
    if (name === 'signal') signals.check(own.signal)
    else number(name, own[name])
  }
  return own
}

/** The core's report with its field names in camelCase. Other keys, such as addresses, stay as they are. */
function camel(value) {
  if (Array.isArray(value)) return value.map(camel)
  if (typeof value !== 'object' || value === null) return value
  const named = ([name, field]) => [/^[a-z_]+$/.test(name) ? name.replace(/_(.)/g, (_, c) => c.toUpperCase()) : name, camel(field)]
  return Object.fromEntries(Object.entries(value).map(named))
}

module.exports = { Router }
