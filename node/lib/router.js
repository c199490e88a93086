'use strict'
// The router as its users see it: checks arguments and starts calls. `reads.js` ends them.

const { inspect } = require('node:util')
const { NativeRouter, NativeWriting, maxInvalidated, maxKeys } = require('./native.js')
const { made, invalid, kindOf } = require('./errors.js')
const { flaw, isUint8Array } = require('./octets.js')
const { isPlain, ownOf } = require('./plain.js')
const { Entry, begun, enter, known, native, next, start } = require('./reads.js')
const { parent } = require('./callbacks.js')
const { numbered } = require('./messages.js')
const { read, given } = require('./settings.js')
const signals = require('./signals.js')
const { Writing, within } = require('./writing.js')

const READ_MANY = ['ttlMs', 'deadlineMs', 'stalenessBudgetMs', 'signal']
const READ = ['recompute', ...READ_MANY]
const WAIT = ['signal']
const SET = ['ttlMs']
const INVALIDATE = ['holdMs']
const MAX_KEYS = maxKeys()
const MAX_INVALIDATED = maxInvalidated()
const NONE = Object.freeze({ __proto__: null })

/** Reads from a cluster, and from the caller's own store when the cluster has no answer. */
class Router {
  #native
  #near
  #text

  constructor(nodes, config = NONE) {
    const { settings, text } = read(config)
    const opened = NativeRouter.open(native, numbered(this), given(nodes), settings, text)
    if (!(opened instanceof NativeRouter)) throw made(opened)
    this.#native = opened
    this.#near = opened.near()
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
      const { ttlMs: ttl, deadlineMs: deadline, stalenessBudgetMs: stalenessBudget, signal } = checked(options, READ_MANY)
      const asked = listed(keys, MAX_KEYS)
      callable('fallback', fallback)
      const entry = new Entry(this.#text, fallback, asked)
      const wish = { ask: true, account: true, parent: parent(), ttl, deadline, stalenessBudget, recompute: false }
      return start(entry, signal, () => {
        for (const key of asked) octets('keys', key)
        return this.#native.readMany(next(), asked, wish)
      })
    })
  }

  set(key, value, options) {
    return attempt(() => {
      const { ttlMs } = checked(options, SET)
      return start(new Entry(false), undefined, () => {
        octets('key', key)
        octets('value', value)
        return this.#native.set(next(), key, value, ttlMs)
      })
    })
  }

  invalidate(...keys) {
    return attempt(() => {
      const { holdMs } = checked(isPlain(keys.at(-1)) ? keys.pop() : undefined, INVALIDATE)
      return start(new Entry(false), undefined, () => {
        for (const key of keys) octets('keys', key)
        return this.#native.invalidate(next(), keys, holdMs)
      })
    })
  }

  lastInvalidation(key, options) {
    return attempt(() => {
      const { signal } = checked(options, WAIT)
      return start(new Entry(false), signal, () => {
        octets('key', key)
        return this.#native.lastInvalidation(next(), key)
      })
    })
  }

  withinStalenessBudget(key, maxAgeMs) {
    return attempt(() => {
      if (maxAgeMs !== undefined) number('maxAgeMs', maxAgeMs)
      return start(new Entry(false), undefined, () => {
        octets('key', key)
        return this.#native.withinStalenessBudget(next(), key, maxAgeMs)
      })
    })
  }

  async writing(keys, transaction) {
    if (transaction !== undefined) callable('transaction', transaction)
    const written = typeof keys === 'string' || isUint8Array(keys) ? [keys] : listed(keys, MAX_INVALIDATED)
    // Not left to the core, which counts a key once: those behind would not be held.
    if (written.length > MAX_INVALIDATED) throw invalid('keys', `more than ${MAX_INVALIDATED} keys in one call`)
    let native
    await start(new Entry(false), undefined, () => {
      for (const key of written) octets('keys', key)
      const answer = this.#native.beginWriting(next(), written)
      if (!(answer instanceof NativeWriting)) return answer
      native = answer
      return null
    })
    const end = () => start(new Entry(false), undefined, () => this.#native.endWriting(next(), native))
    const writing = new Writing(() => attempt(end))
    return transaction === undefined ? writing : within(writing, transaction)
  }

  ready(timeoutMs, options) {
    return attempt(() => {
      number('timeoutMs', timeoutMs)
      const { signal } = checked(options, WAIT)
      return start(new Entry(false), signal, () => this.#native.ready(next(), timeoutMs))
    })
  }

  health() {
    const health = this.#native.health()
    if (typeof health !== 'string') throw made(health)
    return camel(JSON.parse(health))
  }

  close() {
    return attempt(() => start(new Entry(false), undefined, () => this.#native.close(next())))
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

  /** A read without options, outside of callbacks: as `start` does it, but nothing is made for one that is known at once. */
  #get(key, fallback) {
    if (parent() !== undefined) return this.#read(key, fallback, undefined, false)
    const asks = fallback !== undefined && fallback !== null
    if (asks) callable('fallback', fallback)
    octets('key', key)
    if (this.#near !== null) {
      const value = this.#near(key)
      if (value !== undefined) return known(value, this.#text)
    }
    const failure = this.#native.get(next(), key, asks)
    if (failure !== null) return known(failure)
    const token = begun()
    return enter(new Entry(this.#text, asks ? fallback : undefined, key), token)
  }

  #read(key, fallback, options, account) {
    const own = checked(options, READ)
    const { ttlMs: ttl, deadlineMs: deadline, stalenessBudgetMs: stalenessBudget, signal } = own
    if (fallback !== undefined && fallback !== null) callable('fallback', fallback)
    const entry = new Entry(this.#text, fallback ?? undefined, key, own.recompute ?? undefined)
    const [ask, recompute] = [entry.fallback !== undefined, entry.recompute !== undefined]
    const wish = { ask, account, parent: parent(), ttl, deadline, stalenessBudget, recompute }
    return start(entry, signal, () => {
      octets('key', key)
      return this.#native.read(next(), key, wish)
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
    else if (name === 'recompute') own.recompute === null || callable(name, own.recompute)
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
