// What the near cache serves: in the call itself, by a promise that is fulfilled, and never what may be out of date.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import { Router } from 'failsoft'
import { Kit, PATIENT } from './testkit.mjs'

const NEAR = { ...PATIENT, nearCacheBytes: 1 << 20 }
const { held } = createRequire(import.meta.url)('../lib/reads.js')
const kit = new Kit()
let nodes, bytes, text

before(async () => {
  nodes = await kit.cluster(3, 0)
  bytes = new Router(nodes, NEAR)
  text = new Router(nodes, { ...NEAR, encoding: 'utf8' })
  await bytes.ready(30_000)
})
after(async () => {
  await bytes.close()
  await text.close()
  await kit.close()
})

const never = (key) => {
  throw new Error(`${key} went to the callback`)
}

/** Whether it is settled before anything else has run. */
const settled = (promise) => !inspect(promise).includes('<pending>')

/** Reads until a near copy serves at once; every read on the way has this value. Which reads make a copy is a matter of chance. */
async function near(router, key, value, read = () => router.getWithFallback(key, never)) {
  const deadline = Date.now() + 30_000
  for (;;) {
    const promise = read()
    if (settled(promise)) return promise
    assert.deepEqual(await promise, value)
    assert.ok(Date.now() < deadline, 'no near copy')
  }
}

test('bytes and text of every size come as they are', async () => {
  for (const size of [0, 1, 100, 5000, 16_000]) {
    const value = Buffer.from(Array.from({ length: size }, (_, i) => i % 256))
    await bytes.set(`near:${size}`, value)
    const given = await near(bytes, `near:${size}`, value)
    assert.ok(Buffer.isBuffer(given))
    assert.deepEqual(given, value)
    assert.notEqual(given, await near(bytes, `near:${size}`, value), 'everybody has one of their own')
    const decoded = value.toString('utf8')
    assert.equal(await near(text, `near:${size}`, decoded), decoded)
  }
  for (const value of ['grün 🌳', '\ufeffmark', 'plain']) {
    await text.set('near:text', value)
    assert.equal(await near(text, 'near:text', value), value)
  }
})

test('whoever changes what it was given changes it for nobody else', async () => {
  await bytes.set('near:mine', 'value')
  const mine = await near(bytes, 'near:mine', Buffer.from('value'))
  mine.fill(0)
  assert.deepEqual(await near(bytes, 'near:mine', Buffer.from('value')), Buffer.from('value'))
})

test('many at once, with and without options, and inside callbacks', async () => {
  await text.set('near:many', 'v')
  await near(text, 'near:many', 'v')
  const reads = Array.from({ length: 1000 }, (_, i) => text.getWithFallback('near:many', never, i % 2 === 0 ? undefined : { ttlMs: 1000 }))
  assert.deepEqual(await Promise.all(reads), Array(1000).fill('v'))
  assert.equal(await near(text, 'near:many', 'v', () => text.getWithFallback('near:many', never, { deadlineMs: 5000 })), 'v')
  assert.equal(await text.getWithFallback('near:outer', async () => `${await text.getWithFallback('near:many', never)}!`), 'v!')
  const outcome = await text.resolve('near:many', never)
  assert.equal(outcome.value, 'v')
  const { waiting } = held()
  assert.equal(waiting, 0, 'no promise is left in the table')
})

test('an invalidation counts from its call on', async () => {
  for (let round = 0; round < 20; round++) {
    await text.set('near:inv', String(round))
    await near(text, 'near:inv', String(round))
    const told = text.invalidate('near:inv')
    const read = text.getWithFallback('near:inv', () => 'loaded')
    assert.ok(!settled(read))
    assert.equal(await read, 'loaded')
    await told
  }
})

test('a bad call fails as ever, and takes no place', async () => {
  const router = new Router(nodes, { ...NEAR, encoding: 'utf8' })
  await router.set('near:bad', 'v')
  await near(router, 'near:bad', 'v')
  const { places } = held()
  const invalid = { code: 'INVALID_ARGUMENT' }
  await assert.rejects(router.getWithFallback(7, never), invalid)
  await assert.rejects(router.getWithFallback('\ud800', never), invalid)
  await assert.rejects(router.getWithFallback('near:bad', 7), invalid)
  await assert.rejects(router.getWithFallback('near:bad', never, { ttlMs: 0 }), invalid)
  await assert.rejects(router.getWithFallback('near:bad', never, { signal: AbortSignal.abort(new Error('gone')) }), /^Error: gone$/)
  await assert.rejects(router.getWithFallback('near:bad', never, { deadlineMs: 0 }), { code: 'DEADLINE_EXCEEDED' })
  await router.close()
  await assert.rejects(router.getWithFallback('near:bad', never), { code: 'CLOSED' })
  await assert.rejects(router.getWithFallback('near:bad', never, { ttlMs: 1000 }), { code: 'CLOSED' })
  assert.equal(held().places, places)
})
