// The Node driver of the conformance suite: does with `failsoft` what the lines on its input say.
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { FailsoftError, Router } from '../../../../node/index.mjs'

const PROTOCOL = 1
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const bytesOf = (blob) => Buffer.from(blob, 'base64')
const blobOf = (value) => (value === null ? null : value.toString('base64'))
const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

const routers = new Map()
// What goes on at a router's `release`.
const holds = new Map()
// The call's own way to be cancelled, by its id.
const calls = new Map()

/** An error that is not ours is the callback's own. */
function failure(error) {
  if (error?.name === 'AbortError') return { error: { code: 'CANCELLED', message: String(error.message) } }
  const code = error instanceof FailsoftError ? error.code : 'FALLBACK'
  // Settings have their own names in JavaScript; the suite knows the core's.
  const message = String(error?.message ?? error).replace(/`[A-Za-z]+`/g, snake)
  return { error: { code, message } }
}

function account({ value, servedBy, reason, ageMs, attempts, coalesced, node }) {
  return { value: blobOf(value), served_by: servedBy, reason, age_ms: ageMs, attempts, coalesced, node }
}

/** The names of a `health()`, as the suite has them. */
function snaked(value) {
  if (Array.isArray(value)) return value.map(snaked)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [/^[a-zA-Z]+$/.test(name) ? snake(name) : name, snaked(field)]))
}

/** What is asked for, without what is not. */
function options(detail, signal) {
  const given = { signal }
  if (detail.ttl_ms != null) given.ttlMs = detail.ttl_ms
  if (detail.deadline_ms != null) given.deadlineMs = detail.deadline_ms
  if (detail.staleness_budget_ms != null) given.stalenessBudgetMs = detail.staleness_budget_ms
  return given
}

function fallbackOf(router, behaviour) {
  if (behaviour === null || behaviour === undefined) return undefined
  const load = async (key, ...told) => {
    const many = Array.isArray(key)
    const [reason, context] = many ? [null, ...told] : told
    // Before the runner hears of it: its `release` may come at once.
    const released = 'hold' in behaviour ? new Promise((resolve) => holds.set(router, [...(holds.get(router) ?? []), resolve])) : undefined
    say({ started: { router, keys: (many ? key : [key]).map(blobOf), reason } })
    let done = false
    context.signal.addEventListener('abort', () => done || say({ cancelled: { router } }))
    try {
      return await act(router, behaviour, key, released)
    } finally {
      done = true
    }
  }
  if (!('panic' in behaviour)) return load
  return (key, told) => {
    const many = Array.isArray(key)
    say({ started: { router, keys: (many ? key : [key]).map(blobOf), reason: many ? null : told } })
    throw new Error(behaviour.panic)
  }
}

async function act(router, behaviour, key, released) {
  const [[name, detail]] = Object.entries(behaviour)
  if (name === 'never') return new Promise(() => {})
  if (name === 'hold') {
    await released
    return act(router, detail, key)
  }
  if (name === 'slow') {
    await pause(detail.ms)
    return act(router, detail.then, key)
  }
  if (name === 'ask') {
    return own(routers.get(router).getWithFallback(bytesOf(detail.key), fallbackOf(router, detail.fallback)))
  }
  if (name === 'invalidate') {
    await own(routers.get(router).invalidate(...detail.keys.map(bytesOf)))
    return act(router, detail.then, key)
  }
  return immediate(name, detail, key)
}

/** What a callback's own call came to; an error of ours is told as a text. */
async function own(call) {
  try {
    return await call
  } catch (error) {
    throw error instanceof FailsoftError ? new Error(`${error.code}: ${error.message}`) : error
  }
}

/** What a callback gives that neither waits nor asks. */
function immediate(name, detail, key) {
  const many = Array.isArray(key)
  const each = (value) => (many ? new Map(key.map((one) => [one, value(one)])) : value(key))
  switch (name) {
    case 'value':
      return each(() => bytesOf(detail))
    case 'echo':
      return each((one) => Buffer.concat([Buffer.from('loaded:'), one]))
    case 'missing':
      return each(() => null)
    case 'mapping': {
      const pairs = detail.map(([one, value]) => [bytesOf(one), bytesOf(value)])
      return many ? new Map(pairs) : pairs.find(([one]) => one.equals(key))?.[1]
    }
    case 'wrong_type':
      return 42
    case 'error':
      throw new Error(detail)
    default:
      throw new Error(`an unknown behaviour: ${name}`)
  }
}

async function perform(router, name, detail, signal) {
  if (name === 'open') {
    const config = Object.fromEntries(Object.entries(detail.config).map(([key, value]) => [camel(key), value]))
    routers.set(router, new Router(detail.nodes, config))
    return { done: {} }
  }
  const to = routers.get(router)
  const fallback = fallbackOf(router, detail.fallback)
  switch (name) {
    case 'get':
    case 'resolve': {
      const given = { recompute: fallbackOf(router, detail.recompute), ...options(detail, signal) }
      if (name === 'get') return { value: blobOf(await to.getWithFallback(bytesOf(detail.key), fallback, given)) }
      return { outcome: account(await to.resolve(bytesOf(detail.key), fallback, given)) }
    }
    case 'get_many':
      return { values: (await to.getManyWithFallback(detail.keys.map(bytesOf), fallback, options(detail, signal))).map(blobOf) }
    case 'resolve_many': {
      const results = await to.resolveMany(detail.keys.map(bytesOf), fallback, options(detail, signal))
      const told = ({ status, value, reason }) => (status === 'fulfilled' ? { ok: { outcome: account(value) } } : failure(reason))
      return { outcomes: results.map(told) }
    }
    case 'last_invalidation': {
      const last = await to.lastInvalidation(bytesOf(detail.key), { signal })
      if (last === null) return { last }
      const { ageMs, at, id, own, record } = last
      return { last: { age_ms: ageMs, at_ms: at === null ? null : at.getTime(), id, own, record } }
    }
    case 'within_staleness_budget':
      return { said: await to.withinStalenessBudget(bytesOf(detail.key), detail.max_age_ms) }
    case 'health':
      return { health: snaked(to.health()) }
    case 'release':
      for (const release of holds.get(router) ?? []) release()
      holds.delete(router)
      break
    case 'set':
      await to.set(bytesOf(detail.key), bytesOf(detail.value), detail.ttl_ms == null ? undefined : { ttlMs: detail.ttl_ms })
      break
    case 'invalidate':
      await to.invalidate(...detail.keys.map(bytesOf))
      break
    case 'ready':
      await to.ready(detail.timeout_ms, { signal })
      break
    case 'close':
      await to.close()
      break
    default:
      throw new Error(`an unknown request: ${name}`)
  }
  return { done: {} }
}

async function answer({ id, router, op }) {
  const [[name, detail]] = Object.entries(op)
  const controller = new AbortController()
  calls.set(id, controller)
  let result
  try {
    result = { ok: await perform(router, name, detail, controller.signal) }
  } catch (error) {
    result = failure(error)
  }
  calls.delete(id)
  say({ reply: { id, result } })
}

say({ hello: { binding: 'node', protocol: PROTOCOL, cannot: {} } })
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  const cancel = request.op.cancel
  if (cancel === undefined) {
    answer(request)
  } else {
    calls.get(cancel.call)?.abort()
    say({ reply: { id: request.id, result: { ok: { done: {} } } } })
  }
}
process.exit()
