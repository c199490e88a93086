// Reads, their callbacks and their errors, on a healthy cluster and on scripted nodes.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import * as failsoft from 'failsoft'
import { eventually, Kit, PATIENT } from './testkit.mjs'

const { Router } = failsoft
const kit = new Kit()
let nodes, router

before(async () => {
  nodes = await kit.cluster(3, 0)
  router = new Router(nodes, PATIENT)
  await router.ready(30_000)
})
after(async () => {
  await router.close()
  await kit.close()
})

test('what is set is read, as bytes and as text, and keys may be either', async () => {
  const key = Buffer.from([0, 255, 13, 10])
  await router.set(key, Buffer.from([1, 0, 2]))
  assert.deepEqual(await router.getWithFallback(key), Buffer.from([1, 0, 2]))
  assert.deepEqual(await router.getWithFallback(new Uint8Array(key)), Buffer.from([1, 0, 2]))
  await router.set('käse', 'schön', { ttlMs: 60_000 })
  const text = new Router(nodes, { ...PATIENT, encoding: 'utf-8' })
  assert.equal(await text.getWithFallback('käse'), 'schön')
  assert.equal((await text.resolve(Buffer.from('käse'))).value, 'schön')
  assert.equal(await text.getWithFallback('reads:none'), null)
  await text[Symbol.asyncDispose]()
  assert.equal(text.health().closed, true)
})

test('values of every size come whole, small ones and large ones in one batch', async () => {
  const sizes = [0, 1, 100, 8191, 8192, 8193, 65_536, 3_000_000]
  for (const size of sizes) await router.set(`size:${size}`, Buffer.alloc(size, size % 251))
  const reads = sizes.flatMap((size) => Array.from({ length: 40 }, () => router.getWithFallback(`size:${size}`).then((value) => [size, value])))
  const many = Array.from({ length: 3000 }, () => router.getWithFallback('size:100').then((value) => [100, value]))
  for (const [size, value] of await Promise.all([...reads, ...many])) {
    assert.equal(value.length, size)
    assert.ok(value.every((byte) => byte === size % 251))
  }
})

test('an outcome tells who served, and why not the primary', async () => {
  await router.set('outcome', 'v')
  const hit = await router.resolve('outcome')
  assert.deepEqual({ ...hit, node: null }, { value: Buffer.from('v'), servedBy: 'primary', reason: null, ageMs: 0, attempts: 1, coalesced: false, node: null })
  assert.ok(nodes.includes(hit.node))
  const miss = await router.resolve('outcome:miss', () => 'loaded', { ttlMs: 60_000 })
  assert.equal(miss.servedBy, 'secondary')
  assert.equal(miss.reason, 'absent')
  assert.equal((await router.resolve('outcome:none')).servedBy, 'none')
})

test('a callback is told key, reason and signal, and may be async or not', async () => {
  const key = 'callback:1'
  const seen = []
  const load = (...told) => {
    seen.push(told)
    return 'v'
  }
  assert.deepEqual(await router.getWithFallback(key, load), Buffer.from('v'))
  assert.equal(seen.length, 1)
  assert.equal(seen[0][0], key)
  assert.equal(seen[0][1], 'absent')
  assert.ok(seen[0][2].signal instanceof AbortSignal && !seen[0][2].signal.aborted)
  assert.deepEqual(await router.getWithFallback('callback:2', async () => Uint8Array.of(7)), Buffer.of(7))
  for (const nothing of [null, undefined]) assert.equal(await router.getWithFallback('callback:3', async () => nothing), null)
  // Promise-like is enough.
  const like = { then: (resolve) => resolve('like') }
  assert.deepEqual(await router.getWithFallback('callback:4', () => like), Buffer.from('like'))
})

test('a buffer may be used again as soon as it was given away', async () => {
  const scratch = Buffer.alloc(9)
  const row = async (key) => `row of ${key}`
  const reads = ['alias:A:1', 'alias:B:1'].map((key) => {
    scratch.write(key)
    return router.getWithFallback(scratch, row, { ttlMs: 60_000 }).then(String)
  })
  assert.deepEqual(await Promise.all(reads), ['row of alias:A:1', 'row of alias:B:1'])
  await eventually('it is written back', async () => String(await router.getWithFallback('alias:A:1')) === 'row of alias:A:1')

  const [first, second] = [Buffer.from('alias:C'), new Uint8Array(Buffer.from('alias:D'))]
  const keys = [first, second, 'alias:E']
  const asked = []
  const many = router.getManyWithFallback(keys, async (missing) => {
    asked.push(...missing.map(String))
    return new Map(missing.map((key) => [key, `row of ${key}`]))
  })
  first.write('ALIAS')
  second.fill(0)
  keys.length = 0
  assert.deepEqual((await many).map(String), ['row of alias:C', 'row of alias:D', 'row of alias:E'])
  assert.deepEqual(asked, ['alias:C', 'alias:D', 'alias:E'])

  const value = Buffer.from('as it was')
  const set = router.set(scratch, value)
  value.fill(0)
  scratch.fill(0)
  await set
  assert.equal(String(await router.getWithFallback('alias:B:1')), 'as it was')
})

test('what a callback throws or rejects with comes back as the same object', async () => {
  const odd = { getter: Symbol('x') }
  for (const thrown of [new TypeError('no'), odd, undefined, 'text']) {
    const rejects = async () => {
      throw thrown
    }
    const throws = () => {
      throw thrown
    }
    for (const load of [rejects, throws]) {
      const caught = await router.getWithFallback('thrown', load).then(assert.fail, (error) => error)
      assert.equal(caught, thrown)
    }
  }
  const hostile = {
    get then() {
      throw odd
    }
  }
  assert.equal(await router.resolve('thrown', () => hostile).catch((error) => error), odd)
})

test('a result that is no value is an invalid argument', async () => {
  for (const wrong of [42, true, {}, [], new Date(), Symbol('s')]) {
    const error = await router.getWithFallback('wrong', () => wrong).catch((error) => error)
    assert.ok(error instanceof failsoft.InvalidArgument)
    assert.match(error.message, /allowed: a string, a Uint8Array, or null/)
  }
  for (const wrong of [42, 'text', [], null, { a: 1 }, new Map([[1, 'a']])]) {
    const [settled] = await router.resolveMany(['wrong'], () => wrong)
    assert.equal(settled.status, 'rejected')
    assert.equal(settled.reason.code, 'INVALID_ARGUMENT')
  }
})

test('many keys: values in their order, one callback for those that are missing', async () => {
  await router.set('many:1', 'one')
  const asked = []
  const bytes = Buffer.from('many:3')
  const load = async (keys) => {
    asked.push(keys)
    return new Map([[bytes, 'three'], ['many:4', null]])
  }
  const values = await router.getManyWithFallback(['many:1', 'many:2', bytes, 'many:4', 'many:1'], load)
  assert.deepEqual(values, [Buffer.from('one'), null, Buffer.from('three'), null, Buffer.from('one')])
  assert.equal(asked.length, 1)
  assert.deepEqual(new Set(asked[0]), new Set(['many:2', bytes, 'many:4']))
  assert.deepEqual(await router.getManyWithFallback(new Set(['many:5']), () => ({ 'many:5': 'five' })), [Buffer.from('five')])
  assert.deepEqual(await router.getManyWithFallback([], assert.fail), [])
  const failure = new Error('no luck')
  const settled = await router.resolveMany(['many:1', 'many:6'], () => Promise.reject(failure))
  assert.equal(settled[0].value.servedBy, 'primary')
  assert.equal(settled[1].reason, failure)
  await assert.rejects(router.getManyWithFallback(['many:6'], () => Promise.reject(failure)), (error) => error === failure)
})

test('many keys take a time to live, a deadline and a signal', async () => {
  await router.getManyWithFallback(['many:ttl'], () => ({ 'many:ttl': 'v' }), { ttlMs: 60_000 })
  await eventually('it is written back', async () => (await router.getWithFallback('many:ttl')) !== null)
  await router.set('many:there', 'v')
  const never = () => new Promise(() => {})
  const [there, missing] = await router.resolveMany(['many:there', 'many:slow'], never, { deadlineMs: 3000 })
  assert.equal(there.value.servedBy, 'primary')
  assert.ok(missing.reason instanceof failsoft.DeadlineExceeded && missing.reason.limit === 'deadlineMs', missing.reason)
  await assert.rejects(router.getManyWithFallback(['many:slow'], never, { deadlineMs: 50 }), failsoft.DeadlineExceeded)
  await assert.rejects(router.getManyWithFallback(['many:slow'], never, { signal: AbortSignal.timeout(50) }), { name: 'TimeoutError' })
})

test('ready ends when a first view is there, when its time is over, or when its signal says so', async () => {
  assert.equal(await router.ready(30_000), undefined)
  const lost = new Router(['127.0.0.1:1'], { deadlineMs: 200 })
  await assert.rejects(lost.ready(20), failsoft.Unavailable)
  const controller = new AbortController()
  const waiting = lost.ready(600_000, { signal: controller.signal })
  controller.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  await lost.close()
})

test('bad arguments are told by the promise, with the name', async () => {
  const bad = [
    [router.getWithFallback(7), 'key'],
    [router.getWithFallback(), 'key'],
    [router.getWithFallback('k', 'v'), 'fallback'],
    [router.resolve('k', null, { ttl: 3 }), 'ttl'],
    [router.resolve('k', null, { ttlMs: -1 }), 'ttlMs'],
    [router.resolve('k', null, { ttlMs: '1' }), 'ttlMs'],
    [router.resolve('k', null, { ttlMs: 0 }), 'ttlMs'],
    [router.resolve('k', null, { deadlineMs: NaN }), 'deadlineMs'],
    [router.resolve('k', null, { signal: {} }), 'signal'],
    [router.resolve('k', null, 3), 'options'],
    [router.set('k', 3), 'value'],
    [router.set('k', 'v', { ttlMs: -1 }), 'ttlMs'],
    [router.resolveMany('k', () => {}), 'keys'],
    [router.resolveMany(['k', 3], () => {}), 'keys'],
    [router.resolveMany(['k']), 'fallback'],
    [router.resolveMany(['k'], () => ({}), { ttl: 3 }), 'ttl'],
    [router.resolveMany(['k'], () => ({}), { ttlMs: 0 }), 'ttlMs'],
    [router.getManyWithFallback(['k'], () => ({}), { deadlineMs: -1 }), 'deadlineMs'],
    [router.ready('soon'), 'timeoutMs'],
    [router.ready(-1), 'timeoutMs']
  ]
  for (const [call, argument] of bad) {
    const error = await call.then(assert.fail, (error) => error)
    assert.ok(error instanceof failsoft.InvalidArgument && error instanceof failsoft.FailsoftError, error)
    assert.equal(error.argument, argument)
    assert.match(error.message, new RegExp(`^\`${argument}\`: `))
  }
})

test('what an error tells is its own: copies keep it', async () => {
  const error = await router.getWithFallback(7).catch((error) => error)
  assert.deepEqual({ ...error }, { name: 'InvalidArgument', code: 'INVALID_ARGUMENT', argument: 'key' })
  assert.deepEqual(JSON.parse(JSON.stringify(error)), { ...error })
  assert.match(error.stack, /^InvalidArgument: `key`: /)
  assert.match(structuredClone(error).stack, /^InvalidArgument: `key`: /)
  assert.equal(structuredClone({ ...error }).code, 'INVALID_ARGUMENT')
  assert.match(inspect(error), /code: 'INVALID_ARGUMENT'/)
  assert.equal(Object.prototype.toString.call(error), '[object Error]')
})

test('a router shows its state and its nodes', async () => {
  class Mine extends Router {}
  const mine = new Mine(nodes, PATIENT)
  await mine.ready(30_000)
  const shown = inspect(mine)
  assert.match(shown, /^Mine \{\n?\s+kind: 'cluster',\s+closed: false,\s+slotsOk: 16384,/)
  for (const address of nodes) assert.ok(shown.includes(`'${address}': 'primary'`), shown)
  assert.equal(inspect({ a: { b: mine } }, { depth: 0 }), '{ a: [Object] }')
  await mine.close()
  assert.match(inspect(mine), /closed: true/)
})

test('each kind of error is told apart', async () => {
  const lost = new Router(['127.0.0.1:1'], { deadlineMs: 1000, loadTimeoutMs: 50 })
  const unavailable = await lost.getWithFallback('k').catch((error) => error)
  assert.ok(unavailable instanceof failsoft.Unavailable && unavailable.reason === 'connection', unavailable)
  assert.equal(unavailable.name, 'Unavailable')
  const never = () => new Promise(() => {})
  const late = await lost.getWithFallback('k', never).catch((error) => error)
  assert.ok(late instanceof failsoft.DeadlineExceeded && late.limit === 'loadTimeoutMs', late)
  const unhurried = new Router(['127.0.0.1:1'], { deadlineMs: 200 })
  const own = await unhurried.resolve('k2', never, { deadlineMs: 20 }).catch((error) => error)
  await unhurried.close()
  assert.ok(own instanceof failsoft.DeadlineExceeded && own.limit === 'deadlineMs', own)
  const refused = await lost.set('k', 'v').catch((error) => error)
  assert.ok(refused instanceof failsoft.WriteRefused && typeof refused.cause === 'string', refused)
  await lost.close()
  await lost.close()
  const closed = await lost.getWithFallback('k', never).catch((error) => error)
  assert.ok(closed instanceof failsoft.Closed, closed)
  assert.equal(lost.health().closed, true)
  const codes = Object.values(failsoft).filter((one) => one?.prototype instanceof failsoft.FailsoftError).map((one) => one.code)
  assert.deepEqual(codes.sort(), ['CLOSED', 'CONFIG', 'DEADLINE_EXCEEDED', 'FORKED', 'INTERNAL', 'INVALIDATION_INCOMPLETE', 'INVALID_ARGUMENT', 'REENTRANT', 'SHED', 'UNAVAILABLE', 'WRITE_REFUSED'])
})

test('a store that fails is spared', async () => {
  const router = new Router(['127.0.0.1:1'], { deadlineMs: 200 })
  const fails = async () => { throw new Error('on fire') }
  for (let n = 0; n < 20; n++) await assert.rejects(router.getWithFallback('k', fails), /on fire/)
  const shed = await router.getWithFallback('k', () => assert.fail('it is not called')).catch((error) => error)
  assert.ok(shed instanceof failsoft.Shed && shed.code === 'SHED' && shed.cause === 'breaker_open', shed)
  const { store, counters } = router.health()
  assert.deepEqual([store.state, store.trouble, store.calls, store.failureShare], ['open', 'failing', 20, 1])
  assert.deepEqual([counters.loads, counters.shed], [20, 1])
  await router.close()
})

test('closing ends what is under way', async () => {
  const node = await kit.scripted()
  await node.behave('GET', 'silent')
  const closing = new Router([node.address], PATIENT)
  await closing.ready(10_000)
  const read = closing.getWithFallback('k').catch((error) => error)
  await eventually('the read is on its way', async () => (await node.calls('GET')) > 0)
  await closing.close()
  assert.equal((await read).code, 'CLOSED')
})
