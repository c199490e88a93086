// When a key was last invalidated, and whether it is known that nobody has for a while.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Closed, InvalidArgument, Router, Unavailable } from 'failsoft'
import { eventually, Kit, PATIENT } from './testkit.mjs'

const kit = new Kit()
let nodes
let router

before(async () => {
  nodes = await kit.cluster(3, 0)
  router = new Router(nodes, PATIENT)
  await router.ready(30_000)
})
after(async () => {
  await router.close()
  await kit.close()
})

test('it is told by whom and when', async () => {
  const other = new Router(nodes, PATIENT)
  assert.equal(await router.lastInvalidation('history:none'), null)
  const before = Date.now()
  await router.invalidate('history:one')
  for (const asked of [router, other]) {
    const last = await asked.lastInvalidation(Buffer.from('history:one'))
    assert.deepEqual([last.record, last.own], ['mark', asked === router])
    assert.match(last.id, new RegExp(`^${router.health().id}[0-9a-f]{8}$`))
    assert.ok(last.at.getTime() >= before - 10 && last.at.getTime() <= Date.now())
    assert.ok(last.ageMs >= 0 && last.ageMs <= Date.now() - before + 10)
  }
  await other.close()
})

test('whether nobody has touched a key is told once its nodes were heard for so long', async () => {
  await router.invalidate('history:two')
  assert.equal(await router.withinStalenessBudget('history:two', 3_600_000), false)
  await eventually('nobody has touched it', () => router.withinStalenessBudget('history:two', 300))
  await router.invalidate('history:two')
  assert.equal(await router.withinStalenessBudget('history:two'), false)
})

test('bad arguments and a closed router are told by the promise', async () => {
  await assert.rejects(router.lastInvalidation(42), InvalidArgument)
  await assert.rejects(router.withinStalenessBudget('k', -1), InvalidArgument)
  await assert.rejects(router.withinStalenessBudget('k', '1'), InvalidArgument)
  const signal = AbortSignal.abort(new Error('gone'))
  await assert.rejects(router.lastInvalidation('k', { signal }), { message: 'gone' })
  const closed = new Router(['127.0.0.1:1'])
  await assert.rejects(closed.lastInvalidation('k'), Unavailable)
  assert.equal(await closed.withinStalenessBudget('k', 0), false)
  await closed.close()
  await assert.rejects(closed.lastInvalidation('k'), Closed)
})
