// Invalidations: what they take, what reads get from the call on, and what one that is incomplete tells.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import * as failsoft from 'failsoft'
import { eventually, Kit, PATIENT } from './testkit.mjs'

const { Router } = failsoft
const kit = new Kit()
let router

before(async () => {
  router = new Router(await kit.cluster(3, 0), PATIENT)
  await router.ready(30_000)
})
after(async () => {
  await router.close()
  await kit.close()
})

test('keys of both kinds are deleted, and are copied at the call', async () => {
  const binary = Buffer.from([0, 255, 13, 10])
  const keys = ['käse', binary, new Uint8Array(Buffer.from('array')), '']
  for (const key of keys) await router.set(key, 'old')
  const others = ['other', Buffer.from([1, 255, 13, 10])]
  for (const key of others) await router.set(key, 'kept')
  const before = router.health().counters.invalidations
  const copy = Buffer.from(binary)
  const done = router.invalidate('käse', copy, keys[2], '', 'käse')
  copy[0] = 1
  keys[2].fill(0)
  assert.equal(await done, undefined)
  assert.equal(router.health().counters.invalidations, before + 4)
  for (const key of ['käse', binary, 'array', '']) assert.equal(await router.getWithFallback(key), null)
  for (const key of others) assert.equal(String(await router.getWithFallback(key)), 'kept')
})

test('from the call on, before its end, nothing older is read, and nothing older is written back', async () => {
  let release
  const held = new Promise((resolve) => (release = resolve))
  let began
  const begun = new Promise((resolve) => (began = resolve))
  const early = router.getWithFallback('early', async () => {
    began()
    await held
    return 'old'
  })
  await begun
  const done = router.invalidate('early')
  const later = router.getWithFallback('early', () => 'new')
  assert.equal(String(await later), 'new')
  await done
  release()
  assert.equal(String(await early), 'old')
  await eventually('what was loaded is not written back', async () =>
    router.health().counters.fillsSkipped.some(({ what }) => what === 'lease_gone')
  )
  assert.notEqual(String(await router.getWithFallback('early', () => 'new')), 'old')
})

test('a callback may invalidate the key that it loads', async () => {
  const load = async (key) => {
    await router.invalidate(key, 'inside:2')
    return 'old'
  }
  assert.equal(String(await router.getWithFallback('inside', load)), 'old')
  assert.equal(String(await router.getWithFallback('inside', () => 'new')), 'new')
  const loadMany = async (keys) => {
    await router.invalidate(...keys)
    return new Map(keys.map((key) => [key, 'of many']))
  }
  assert.deepEqual((await router.getManyWithFallback(['inside:3', 'inside:4'], loadMany)).map(String), ['of many', 'of many'])
})

test('one that is incomplete names each step of each key', async () => {
  const node = await kit.scripted()
  // Nothing is decoded: keys are bytes.
  const text = new Router(node.address, { ...PATIENT, encoding: 'utf8' })
  await text.ready(10_000)
  await text.set('one', 'old')
  // It may run no scripts and not delete.
  await node.behave('EVALSHA', 'NOPERM no')
  await node.behave('DEL', 'NOPERM no')
  const two = Buffer.from([0, 255])
  const error = await text.invalidate('one', two).then(assert.fail, (error) => error)
  assert.ok(error instanceof failsoft.InvalidationIncomplete && error instanceof failsoft.FailsoftError, error)
  assert.equal(error.code, 'INVALIDATION_INCOMPLETE')
  assert.equal(error.name, 'InvalidationIncomplete')
  assert.match(error.message, /2 of the keys/)
  const lacks = (key) => ['key', 'echo'].map((step) => ({ key, step, cause: 'denied' }))
  const sorted = error.pending.toSorted((a, b) => Buffer.compare(b.key, a.key))
  assert.deepEqual(sorted, [...lacks(Buffer.from('one')), ...lacks(two)])
  assert.ok(error.pending.every(({ key }) => Buffer.isBuffer(key)))

  // As with every error, what it tells is its own.
  assert.deepEqual({ ...error }, { name: error.name, code: error.code, pending: error.pending })
  const cloned = structuredClone({ ...error })
  assert.deepEqual(cloned.pending.map(({ step, cause }) => [step, cause]), error.pending.map(({ step, cause }) => [step, cause]))
  assert.deepEqual(cloned.pending.map(({ key }) => Buffer.from(key)), error.pending.map(({ key }) => key))
  assert.match(inspect(error), /pending: \[/)
  assert.match(JSON.stringify(error), /"step":"echo","cause":"denied"/)

  const { value, servedBy, reason } = await text.resolve('one', () => 'new')
  assert.deepEqual([value, servedBy, reason], ['new', 'secondary', 'invalidated'])
  const { invalidations, invalidationsOwed, counters } = text.health()
  assert.deepEqual([invalidations, invalidationsOwed, counters.invalidations], [2, 2, 0])
  assert.ok(counters.invalidationsIncomplete >= 2)
  await text.close()
})

test('one that waits keeps the process and its promise until the router is closed', async () => {
  const node = await kit.scripted()
  const closing = new Router(node.address, PATIENT)
  await closing.ready(10_000)
  await node.behave('EVALSHA', 'silent')
  const waits = closing.invalidate('k').then(assert.fail, (error) => error)
  await eventually('it is on its way', async () => (await node.calls('EVALSHA')) > 0)
  await closing.close()
  assert.equal((await waits).code, 'CLOSED')
  for (const keys of [['k'], []]) {
    const error = await closing.invalidate(...keys).then(assert.fail, (error) => error)
    assert.ok(error instanceof failsoft.Closed, error)
  }
})

test('what is no key is told by the promise, and nothing is invalidated', async () => {
  await router.set('good', 'v')
  const lost = new Uint8Array(4)
  structuredClone(lost, { transfer: [lost.buffer] })
  for (const bad of [undefined, null, 42, ['good'], new Map(), '\ud800', lost, new DataView(new ArrayBuffer(1))]) {
    const error = await router.invalidate('good', bad).then(assert.fail, (error) => error)
    assert.ok(error instanceof failsoft.InvalidArgument && error.argument === 'keys', inspect(error))
    assert.match(error.message, /allowed: a string or a Uint8Array/)
  }
  assert.equal(String(await router.getWithFallback('good')), 'v')
  assert.equal(await router.invalidate(), undefined)
  assert.equal(String(await router.getWithFallback('good')), 'v')
})
