// Writers: what is held around a transaction and after an invalidation, when it is lifted, and what fails how.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import * as failsoft from 'failsoft'
import { eventually, Kit, PATIENT } from './testkit.mjs'

const { Router } = failsoft
const kit = new Kit()
let router, other

before(async () => {
  const addresses = await kit.cluster(3, 0)
  router = new Router(addresses, PATIENT)
  other = new Router(addresses, PATIENT)
  await Promise.all([router.ready(30_000), other.ready(30_000)])
})
after(async () => {
  await Promise.all([router.close(), other.close()])
  await kit.close()
})

const skipped = (of, cause) => of.health().counters.fillsSkipped.find(({ what }) => what === cause)?.count ?? 0

/** Whether these routers serve the key from the callback each time and keep nothing. */
async function isHeld(key, ...routers) {
  for (const each of routers) {
    const before = skipped(each, 'held')
    for (const value of ['first', 'second']) assert.equal(String(await each.getWithFallback(key, () => value)), value)
    await eventually('what was loaded was not kept', () => skipped(each, 'held') >= before + 2)
  }
}

/** Whether what is loaded is kept. */
async function isFilled(key, by) {
  const { fills } = by.health().counters
  assert.equal(String(await by.getWithFallback(key, () => 'filled')), 'filled')
  await eventually('it is written back', () => by.health().counters.fills === fills + 1)
  assert.equal(String(await by.getWithFallback(key, () => 'again')), 'filled')
}

test('what a transaction gives is given; its keys are held until it is over, for every process', async () => {
  const binary = Buffer.from([0, 255])
  for (const key of ['held', binary]) await router.set(key, 'old')
  const keys = ['held', Buffer.from(binary)]
  const writing = router.writing(keys, async () => {
    for (const key of ['held', binary]) await isHeld(key, router, other)
    return 'done'
  })
  // Keys are copied at the call.
  keys[1][0] = 1
  keys.length = 0
  assert.equal(await writing, 'done')
  for (const key of ['held', binary]) await isFilled(key, other)
})

test('one key is no list of them, and a transaction need not be async', async () => {
  assert.equal(await router.writing('one key', () => 42), 42)
  assert.equal(await router.writing(Buffer.from('bytes'), () => undefined), undefined)
  assert.equal(await router.writing(new Set(['a', 'b']), () => null), null)
  assert.equal(await router.writing([], () => 'nothing to hold'), 'nothing to hold')
})

test('what is loaded inside serves nobody afterwards', async () => {
  let release
  const held = new Promise((resolve) => (release = resolve))
  let early
  await router.writing('late', async () => {
    await new Promise((began) => {
      early = router.getWithFallback('late', () => (began(), held))
    })
  })
  assert.equal(String(await router.getWithFallback('late', () => 'new')), 'new')
  release('old')
  assert.equal(String(await early), 'old')
  await eventually('it is not written back', () => skipped(router, 'held') + skipped(router, 'lease_gone') > 0)
  assert.notEqual(String(await router.getWithFallback('late', () => 'new')), 'old')
})

test('a transaction that fails does so with its own error, and its keys are invalidated and not held any more', async () => {
  const own = new Error('rolled back')
  for (const fails of [() => Promise.reject(own), () => { throw own }]) {
    await router.set('fails', 'old')
    const { invalidations } = router.health().counters
    const error = await router.writing('fails', fails).then(assert.fail, (error) => error)
    assert.equal(error, own)
    assert.equal(router.health().counters.invalidations, invalidations + 2)
    await isFilled('fails', other)
  }
})

test('without a transaction there is a place to be left, once', async () => {
  await router.set('place', 'old')
  const place = await router.writing('place')
  await isHeld('place', router, other)
  const { invalidations } = router.health().counters
  const done = place.done()
  assert.equal(place.done(), done)
  assert.equal(await done, undefined)
  await place[Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]()
  assert.equal(router.health().counters.invalidations, invalidations + 1)
  await isFilled('place', other)

  const disposed = await router.writing('disposed')
  await isHeld('disposed', other)
  await disposed[Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]()
  await isFilled('disposed', other)
})

test('a writer does not lift the hold of another one', async () => {
  const first = await router.writing('shared')
  const second = await other.writing('shared')
  await first.done()
  await isHeld('shared', router, other)
  await second.done()
  await isFilled('shared', router)
})

test('a place that is forgotten ends by itself', async () => {
  await (async () => void (await router.writing('forgotten')))()
  const { invalidations } = router.health().counters
  await eventually('it was collected and ended', async () => {
    global.gc()
    return router.health().counters.invalidations > invalidations
  })
  await eventually('its hold is lifted', async () => {
    await router.getWithFallback('forgotten', () => 'kept')
    return (await router.getWithFallback('forgotten')) !== null
  })
})

test('an invalidation may hold its keys for a while', async () => {
  await router.set('lag', 'old')
  await router.invalidate('lag', 'lag:2', { holdMs: 3_600_000 })
  for (const key of ['lag', 'lag:2']) await isHeld(key, router, other)
  // A hold of its own: no other writer lifts it, nor an invalidation without one.
  await router.invalidate('lag', { holdMs: undefined })
  await other.writing('lag', () => {})
  await isHeld('lag', other)
  await router.invalidate('brief', { holdMs: 1 })
  await eventually('it has ended by itself', async () => {
    await other.getWithFallback('brief', () => 'kept')
    return (await other.getWithFallback('brief')) !== null
  })
})

test('who cannot hold its keys is not let in, and what is left of it is nothing', async () => {
  const node = await kit.scripted()
  const refused = new Router(node.address, PATIENT)
  await refused.ready(10_000)
  await node.behave('HOLD', 'ERR no')
  for (const transaction of [() => assert.fail('it is not run'), undefined]) {
    const error = await refused.writing(['k', 'l'], transaction).then(assert.fail, (error) => error)
    assert.ok(error instanceof failsoft.InvalidationIncomplete, inspect(error))
    assert.deepEqual(new Set(error.pending.map(({ key, step, cause }) => `${key} ${step} ${cause}`)), new Set(['k hold error_reply', 'l hold error_reply']))
  }
  // A hold may have come about whose answer was lost.
  await eventually('each of them is lifted', async () => (await node.calls('ZREM')) === 4)
  await refused.close()
})

test('an end that is incomplete is told after a transaction that succeeded, and not in place of its error', async () => {
  const node = await kit.scripted()
  const patient = new Router(node.address, PATIENT)
  await patient.ready(10_000)
  const own = new Error('rolled back')
  const refuse = async () => {
    for (const command of ['INVALIDATE', 'DEL']) await node.behave(command, 'ERR no')
  }
  const succeeds = await patient.writing('k', refuse).then(assert.fail, (error) => error)
  assert.ok(succeeds instanceof failsoft.InvalidationIncomplete, inspect(succeeds))
  assert.ok(succeeds.pending.some(({ step, cause }) => step === 'key' && cause === 'error_reply'))
  const { invalidationsIncomplete } = patient.health().counters
  // With room for its beginning again, before it cannot be ended.
  await node.allow()
  const fails = await patient.writing('l', () => refuse().then(() => Promise.reject(own))).then(assert.fail, (error) => error)
  assert.equal(fails, own)
  assert.ok(patient.health().counters.invalidationsIncomplete > invalidationsIncomplete)
  await patient.close()
})

test('a closed router lets nobody in, and who is inside is told at the end', async () => {
  const node = await kit.scripted()
  const closing = new Router(node.address, PATIENT)
  await closing.ready(10_000)
  const place = await closing.writing('k')
  await closing.close()
  const late = await closing.writing('k', () => assert.fail('it is not run')).then(assert.fail, (error) => error)
  assert.ok(late instanceof failsoft.Closed, inspect(late))
  const end = await place.done().then(assert.fail, (error) => error)
  assert.ok(end instanceof failsoft.Closed, inspect(end))
  // Told once.
  await place[Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]()
})

test('what cannot be taken is told by the promise, and nobody is inside', async () => {
  const nobody = () => assert.fail('it is not run')
  for (const bad of [undefined, null, 42, [42], ['k', null], '\ud800', {}]) {
    const error = await router.writing(bad, nobody).then(assert.fail, (error) => error)
    assert.ok(error instanceof failsoft.InvalidArgument && error.argument === 'keys', inspect(error))
  }
  for (const bad of [null, 42, 'text', {}]) {
    const error = await router.writing('k', bad).then(assert.fail, (error) => error)
    assert.ok(error instanceof failsoft.InvalidArgument && error.argument === 'transaction', inspect(error))
    assert.match(error.message, /allowed: a function/)
  }
  function* endless() {
    for (;;) yield 'k'
  }
  const many = await router.writing(endless(), nobody).then(assert.fail, (error) => error)
  assert.ok(many instanceof failsoft.InvalidArgument && many.argument === 'keys', inspect(many))
  for (const holdMs of [0, -1, 3_600_001, NaN, Infinity, '1']) {
    const error = await router.invalidate('k', { holdMs }).then(assert.fail, (error) => error)
    assert.ok(error instanceof failsoft.InvalidArgument && error.argument === 'holdMs', inspect(error))
  }
  const option = await router.invalidate('k', { ttlMs: 1 }).then(assert.fail, (error) => error)
  assert.match(option.message, /`ttlMs`: no such option; allowed: holdMs/)
})
