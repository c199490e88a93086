// Options and keys of calls: each is read once, and what was read is what is checked.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { InvalidArgument, Router, Unavailable } from 'failsoft'

const { held } = createRequire(import.meta.url)('../lib/reads.js')

// Nobody listens there, so callbacks serve every read.
const router = new Router(['127.0.0.1:1'], { fill: false })
const load = () => 'v'
const loadMany = (keys) => new Map(keys.map((key) => [key, 'v']))

/** Every call that takes options. */
const CALLS = {
  getWithFallback: (options) => router.getWithFallback('k', load, options),
  resolve: (options) => router.resolve('k', load, options),
  getManyWithFallback: (options) => router.getManyWithFallback(['k'], loadMany, options),
  resolveMany: (options) => router.resolveMany(['k'], loadMany, options),
  set: (options) => router.set('k', 'v', options),
  ready: (options) => router.ready(1, options)
}
const WITH_TTL = ['getWithFallback', 'resolve', 'getManyWithFallback', 'resolveMany', 'set']

const refused = (call, argument, problem) =>
  assert.rejects(call, (error) => {
    assert.ok(error instanceof InvalidArgument, error)
    assert.equal(error.argument, argument)
    assert.match(error.message, problem)
    return true
  })

test('options are a plain object', async () => {
  class Options {
    get ttlMs() {
      return '5'
    }
    get signal() {
      return 3
    }
  }
  for (const [name, call] of Object.entries(CALLS)) {
    for (const options of [new Options(), new Map([['ttlMs', 5]]), [], new Date(), Object.create({ ttlMs: 5 }), 3]) {
      await refused(call(options), 'options', /allowed: a plain object of \w+/)
    }
    if (name !== 'set') await refused(call({ signal: {} }), 'signal', /a value of class Object is not allowed; allowed: an AbortSignal$/)
  }
})

test('an option is read once, before what its getter could change', async () => {
  for (const name of WITH_TTL) {
    let reads = 0
    const options = { get ttlMs() { return reads++ === 0 ? 'five' : 5 } }
    await refused(CALLS[name](options), 'ttlMs', /a string is not allowed; allowed: a number of milliseconds/)
    assert.equal(reads, 1, name)
  }
  for (const read of ['getWithFallback', 'resolve', 'set']) {
    const key = new Uint8Array([1])
    const options = { get ttlMs() { return structuredClone(key.buffer, { transfer: [key.buffer] }) && 5 } }
    await refused(router[read](key, read === 'set' ? 'v' : load, options), 'key', /transferred away/)
  }
})

test('members that others added to Object.prototype are no options', async () => {
  const given = { ttlMs: 5 }
  let calls
  try {
    Object.prototype.extend = () => {}
    Object.prototype.deadlineMs = 'soon'
    Object.prototype.signal = 3
    calls = ['getWithFallback', 'getManyWithFallback'].flatMap((name) => [CALLS[name](given), CALLS[name]()])
  } finally {
    for (const name of ['extend', 'deadlineMs', 'signal']) delete Object.prototype[name]
  }
  assert.deepEqual((await Promise.all(calls)).map(String), ['v', 'v', 'v', 'v'])
})

test('members that others added to Object.prototype are no results', async () => {
  const reason = new Error('mine')
  const fail = () => { throw reason }
  const names = ['keys', 'reason', 'recompute', 'outcome', 'outcomes', 'failure', 'thrown', 'detail', 'node', 'ageMs']
  const calls = []
  let told
  try {
    for (const name of names) Object.prototype[name] = () => {}
    calls.push(router.getWithFallback('one', (...given) => ((told = given.slice(0, 2)), 'v')))
    calls.push(router.resolve('none', () => null), router.resolve('fails', fail), router.resolve('nobody'))
    calls.push(router.resolveMany(['a', 'b'], loadMany))
    await Promise.allSettled(calls)
  } finally {
    for (const name of names) delete Object.prototype[name]
  }
  const [one, none, fails, nobody, many] = await Promise.allSettled(calls)
  assert.deepEqual([told[0], typeof told[1]], ['one', 'string'])
  assert.equal(String(one.value), 'v')
  assert.deepEqual([none.value.value, none.value.ageMs, none.value.node], [null, 0, null])
  assert.equal(fails.reason, reason)
  assert.ok(nobody.reason instanceof Unavailable)
  assert.deepEqual(many.value.map((each) => String(each.value.value)), ['v', 'v'])
})

test('a signal that throws ends its own call alone', async () => {
  const broken = (method) => {
    const throws = () => { throw new Error(method) }
    return { aborted: false, addEventListener() {}, removeEventListener() {}, [method]: throws }
  }
  await assert.rejects(router.getWithFallback('k', load, { signal: broken('addEventListener') }), { message: 'addEventListener' })
  const both = [router.getWithFallback('x', load, { signal: broken('removeEventListener') }), router.getWithFallback('y', load)]
  assert.deepEqual((await Promise.all(both)).map(String), ['v', 'v'])
  assert.equal(held().waiting, 0)
  await refused(router.getWithFallback('k', load, { signal: { aborted: false, addEventListener() {} } }), 'signal', /allowed: an AbortSignal$/)
})

test('a signal that takes the memory of a key away comes too late, or is found out', async () => {
  const taken = (key) => structuredClone(key.buffer, { transfer: [key.buffer] })
  const asked = []
  for (const name of ['getWithFallback', 'resolve', 'resolveMany']) {
    const many = name === 'resolveMany'
    const ask = (given) => (asked.push(String(given)), many ? {} : null)
    const read = (key, signal) => router[name](many ? [key] : key, ask, { signal: { removeEventListener() {}, ...signal } })
    const late = new Uint8Array([107])
    await read(late, { aborted: false, addEventListener: () => taken(late) })
    const early = new Uint8Array([107])
    let looks = 0
    const signal = { addEventListener() {}, removeEventListener() {}, get aborted() { return looks++ > 0 && taken(early) === 0 } }
    await refused(router[name](many ? [early] : early, ask, { signal }), many ? 'keys' : 'key', /transferred away/)
  }
  assert.deepEqual(asked, ['k', 'k', 'k'])
})

test('a method of something else than a router rejects its promise', async () => {
  const given = { getWithFallback: ['k'], resolve: ['k'], getManyWithFallback: [['k'], loadMany], resolveMany: [['k'], loadMany], set: ['k', 'v'], ready: [1], close: [] }
  for (const [name, values] of Object.entries(given)) {
    for (const other of [undefined, {}, new Proxy(router, {})]) await assert.rejects(router[name].apply(other, values), TypeError, name)
  }
  for (const other of [Router.prototype, Object.create(router), new Proxy(router, {})]) assert.equal(typeof inspect(other), 'string')
})

test('keys are read up to one more than the most, and their iterator is closed', async () => {
  for (const name of ['getManyWithFallback', 'resolveMany']) {
    let [taken, closed] = [0, false]
    const endless = (function* () {
      try {
        while (taken < 1e6) yield `k${taken++}`
      } finally {
        closed = true
      }
    })()
    await refused(router[name](endless, loadMany), 'keys', /more than 65536 keys/)
    assert.deepEqual([taken, closed], [65_537, true])
  }
})

test('arguments that are refused say what is allowed', async () => {
  class Unnamed {
    static name = ''
  }
  await refused(router.resolveMany(3, loadMany), 'keys', /a number is not a list of keys; allowed: an iterable of strings and Uint8Arrays$/)
  await refused(router.resolveMany(new Unnamed(), loadMany), 'keys', /an object of no class is not a list of keys/)
  await refused(router.resolve((function* () {})(), load), 'key', /an object of no class; allowed: a string or a Uint8Array/)
  await refused(router.resolve('k', 3), 'fallback', /a number cannot be called; allowed: a function$/)
  await refused(router.ready('1'), 'timeoutMs', /a string is not allowed; allowed: a number of milliseconds$/)
  for (const [given, shown] of [[-1, '-1'], [NaN, 'NaN'], [-Infinity, '-Infinity'], [1e300, '1e300']]) {
    await refused(router.ready(given), 'timeoutMs', new RegExp(`: ${shown} is out of range; allowed: a number of milliseconds, from 0 to less than 2\\^64 seconds$`))
  }
})
