// What a callback gives, however odd: every waiter gets an answer at once, and nothing stays behind.
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { createContext, runInContext } from 'node:vm'
import { InvalidArgument, Reentrant, Router } from 'failsoft'
import { eventually, Kit, PATIENT } from './testkit.mjs'

const { held } = createRequire(import.meta.url)('../lib/reads.js')
const kit = new Kit()
let router

before(async () => {
  const node = await kit.scripted()
  // A hang would show: it would take longer than the tests may.
  router = new Router([node.address], { ...PATIENT, fill: false, loadTimeoutMs: 600_000 })
  await router.ready(30_000)
})
after(async () => {
  await router.close()
  await kit.close()
})

const other = createContext({})
const foreign = (source) => runInContext(source, other)
const detached = () => {
  const bytes = new Uint8Array(8)
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  return bytes
}
const shrunk = () => {
  const bytes = new Uint8Array(new ArrayBuffer(8, { maxByteLength: 8 }), 2, 4)
  bytes.buffer.resize(4)
  return bytes
}
const hostile = new Proxy({}, {
  get(_, name) {
    if (name === 'then') return undefined
    throw new Error(`no ${String(name)}`)
  },
  getPrototypeOf() {
    throw new Error('no prototype')
  },
  ownKeys() {
    throw new Error('no keys')
  }
})
const throwing = {
  get odd() {
    throw new Error('a getter')
  }
}
// A stranger's message may itself be hostile.
const worse = {
  get odd() {
    throw hostile
  }
}
const broken = {
  get: () => undefined,
  *[Symbol.iterator]() {
    yield ['odd', 'v']
    throw new Error('half way')
  }
}
const unpaired = '\ud800x'
// Whoever reads the second value takes the memory of the first away.
const robbed = {
  get odd() {
    this.taken = new Uint8Array([1])
    return this.taken
  },
  get later() {
    structuredClone(this.taken.buffer, { transfer: [this.taken.buffer] })
    return 'v'
  }
}
Object.defineProperty(robbed, 'taken', { writable: true, enumerable: false })

const BAD_VALUES = {
  'a number': 42, 'an object that throws': hostile, 'a fake Uint8Array': Object.create(Uint8Array.prototype), 'transferred memory': detached(), 'shrunk memory': shrunk(),
  'half a surrogate pair': unpaired, 'wider numbers': new Uint16Array(1), 'an ArrayBuffer': new ArrayBuffer(2), 'a view': new DataView(new ArrayBuffer(2)),
  'a String object': new String('v'), 'a symbol': Symbol('v'), 'a function': () => 'v'
}
const BAD_MAPPINGS = {
  'an object that throws': hostile, 'a getter that throws': throwing, 'a getter that throws what throws': worse, 'a Map behind a Proxy': new Proxy(new Map([['odd', 'v']]), {}),
  'an iterator that throws': broken, 'memory that goes while it is read': robbed, 'pairs that are none': { get() {}, *[Symbol.iterator]() { yield 7 } }, 'a list of pairs': [['odd', 'v']], 'a Set': new Set(['odd']),
  'a Date': new Date(), 'a WeakMap': new WeakMap(), 'a Map with a number as a key': new Map([[1, 'v']]), 'half a surrogate pair as a key': { [unpaired]: 'v' },
  ...Object.fromEntries(Object.entries(BAD_VALUES).map(([name, value]) => [`${name} as a value`, { odd: value }]))
}

/** What all who wait get, with a callback that answers at once and with one that answers later. */
async function each(ask, given) {
  const answers = []
  for (const load of [() => given, async () => given]) {
    answers.push(...await Promise.all(Array.from({ length: 3 }, () => ask(load).catch((error) => error))))
  }
  return answers
}

test('one key: what is no value is an invalid argument for all who wait', async () => {
  for (const [name, given] of Object.entries(BAD_VALUES)) {
    for (const error of await each((load) => router.getWithFallback('odd', load), given)) {
      assert.ok(error instanceof InvalidArgument, `${name}: ${String(error)}`)
      assert.equal(error.argument, 'fallback')
      assert.match(error.message, /^the fallback gave .*allowed: a string, a Uint8Array, or null$/)
    }
  }
})

test('many keys: what is no mapping, or throws when it is read, is an invalid argument for all who wait', async () => {
  for (const [name, given] of Object.entries(BAD_MAPPINGS)) {
    for (const error of await each((load) => router.getManyWithFallback(['odd'], load), given)) {
      assert.ok(error instanceof InvalidArgument, `${name}: ${String(error)}`)
      assert.match(error.message, /^the fallback gave /)
    }
    // A caller of one key that waits for the load of many is told, too.
    let release
    const many = router.resolveMany(['odd', 'even'], () => new Promise((resolve) => (release = () => resolve(given))))
    await eventually('it loads', () => release !== undefined)
    const one = assert.rejects(router.getWithFallback('odd', assert.fail), InvalidArgument, name)
    await eventually('it is waited for', () => router.health().waiters === 2)
    release()
    await one
    for (const { reason } of await many) assert.equal(reason.code, 'INVALID_ARGUMENT')
  }
})

test('values and mappings of another realm, and those that only behave as a Map, are taken', async () => {
  const text = (value) => value?.toString() ?? null
  assert.equal(text(await router.getWithFallback('odd', () => foreign('new Uint8Array([104, 105])'))), 'hi')
  assert.equal(text(await router.getWithFallback(foreign('new Uint8Array([107])'), (key) => key)), 'k')
  assert.equal(text(await router.getWithFallback('odd', () => foreign('Promise.resolve("v")'))), 'v')
  assert.equal(text(await router.getWithFallback('odd', () => new Uint8Array(new SharedArrayBuffer(2)))), '\0\0')
  const growing = new Uint8Array(new SharedArrayBuffer(1, { maxByteLength: 8 }))
  growing.buffer.grow(3)
  assert.equal(text(await router.getWithFallback('odd', () => growing)), '\0\0\0')
  const shorter = new Uint8Array(new ArrayBuffer(8, { maxByteLength: 8 }))
  shorter.buffer.resize(2)
  assert.equal(text(await router.getWithFallback(shorter, (key) => `${key.length}`)), '2')
  const empty = new ArrayBuffer(8, { maxByteLength: 8 })
  empty.resize(0)
  assert.equal(text(await router.getWithFallback('odd', () => new Uint8Array(empty))), '')
  const map = { get: () => 'unused', *[Symbol.iterator]() { yield ['a', 'v'] } }
  for (const given of [foreign('new Map([["a", "v"]])'), foreign('({ a: "v" })'), Object.assign(Object.create(null), { a: 'v' }), map, new (class extends Map {})([['a', 'v']])]) {
    assert.deepEqual((await router.getManyWithFallback(['a', 'b'], () => given)).map(text), ['v', null])
  }
  assert.deepEqual((await router.getManyWithFallback(foreign('["a"]'), () => ({ a: 'v' }))).map(text), ['v'])
})

test('a promise whose own members throw fails its own load alone, and at once', async () => {
  const throws = (name) => () => { throw new Error(name) }
  const [then, maker] = [Promise.resolve('v'), Promise.resolve('v')]
  then.then = throws('then')
  Object.defineProperty(maker, 'constructor', { get: throws('constructor') })
  const later = { get then() { return this.seen ? throws('seen')() : ((this.seen = true), (given) => given('v')) } }
  for (const [name, given] of Object.entries({ then, constructor: maker, seen: later })) {
    const both = [router.getWithFallback('odd', () => given), router.getWithFallback('even', () => 'v')]
    const [odd, even] = await Promise.allSettled(both)
    assert.equal(odd.reason?.message, name)
    assert.equal(String(even.value), 'v', name)
  }
})

test('a result that does its work when its then is called does it inside the callback', async () => {
  const storage = new AsyncLocalStorage()
  const lazy = (work) => () => ({ then: (given, failed) => work().then(given, failed) })
  const seen = storage.run('of the caller', () => router.getWithFallback('odd', lazy(async () => storage.getStore())))
  assert.equal(String(await seen), 'of the caller')
  const own = lazy(() => router.getWithFallback('own', own))
  await assert.rejects(router.getWithFallback('own', own), (error) => error instanceof Reentrant && error.key === 'own')
})

test('a value that is too long for a string fails its own key alone', async (t) => {
  const texts = new Router(['127.0.0.1:1'], { encoding: 'utf8' })
  const { toString } = Buffer.prototype
  // One that is really too long has 512 MiB.
  t.mock.method(Buffer.prototype, 'toString', function (...given) {
    if (this[0] === 0) throw new RangeError('too long')
    return toString.apply(this, given)
  })
  const [odd, even] = await texts.resolveMany(['odd', 'even'], () => ({ odd: new Uint8Array(1), even: 'v' }))
  assert.deepEqual([odd.status, odd.reason.message, even.value.value], ['rejected', 'too long', 'v'])
  await assert.rejects(texts.getManyWithFallback(['odd'], () => ({ odd: new Uint8Array(1) })), RangeError)
  await texts.close()
})

test('keys and values that cannot be written as bytes are invalid arguments', async () => {
  for (const bad of [unpaired, `${unpaired}\udc00`, detached(), shrunk(), Object.create(Uint8Array.prototype), 7, null, hostile]) {
    for (const call of [router.getWithFallback(bad), router.resolve(bad), router.resolveMany([bad], () => ({})), router.set(bad, 'v'), router.set('k', bad)]) {
      const error = await call.then(assert.fail, (error) => error)
      assert.ok(error instanceof InvalidArgument, String(error))
      assert.match(error.message, /allowed: a string or a Uint8Array$/)
    }
  }
})

test('nothing of all that stays behind', async () => {
  const { flights, waiters, detachedLoads } = router.health()
  assert.deepEqual({ flights, waiters, detachedLoads }, { flights: 0, waiters: 0, detachedLoads: 0 })
  const { waiting, places, loads } = held()
  assert.deepEqual({ waiting, places, loads }, { waiting: 0, places: 0, loads: 0 })
})
