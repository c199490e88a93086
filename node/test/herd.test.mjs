// Many callers, one load: who shares it, who may leave, what travels into the callback.
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { createRequire } from 'node:module'
import { after, test } from 'node:test'
import { Reentrant, Router } from 'failsoft'
import { eventually, Kit, PATIENT } from './testkit.mjs'

const { held } = createRequire(import.meta.url)('../lib/reads.js')
const kit = new Kit()
after(() => kit.close())

/** A router over one scripted node, which has no key. */
async function routed(config = {}) {
  const node = await kit.scripted()
  const router = new Router([node.address], { ...PATIENT, fill: false, ...config })
  await router.ready(30_000)
  return { node, router }
}

/** A callback that goes on when it is told to. */
function gated(value = 'v') {
  const gate = { calls: 0, stopped: 0 }
  gate.open = new Promise((resolve) => (gate.release = resolve))
  gate.load = async (_key, _reason, { signal }) => {
    gate.calls++
    signal.addEventListener('abort', () => gate.stopped++)
    await gate.open
    return value
  }
  return gate
}

/** Keeps the loop busy until the core says so. */
function busyUntil(router, holds) {
  const until = Date.now() + 30_000
  while (!holds(router.health())) assert.ok(Date.now() < until)
}

test('a thousand callers of one key make one load', async () => {
  const { router } = await routed()
  const gate = gated()
  const reads = Array.from({ length: 1000 }, () => router.resolve('herd', gate.load))
  await eventually('all wait', () => router.health().waiters === 1000)
  gate.release()
  const outcomes = await Promise.all(reads)
  assert.equal(gate.calls, 1)
  assert.ok(outcomes.every(({ value }) => value.equals(Buffer.from('v'))))
  assert.equal(outcomes.filter(({ coalesced }) => coalesced).length, 999)
  await router.close()
})

test('a failed load fails all who waited with the same object, and nothing keeps it', async () => {
  const { router } = await routed()
  const failure = new Error('no luck')
  let fail
  const load = () => new Promise((_, reject) => (fail = reject))
  const reads = Array.from({ length: 100 }, () => router.getWithFallback('herd', load).catch((error) => error))
  await eventually('all wait', () => router.health().waiters === 100)
  fail(failure)
  for (const error of await Promise.all(reads)) assert.equal(error, failure)
  await router.close()
  await eventually('nothing is held', () => held().thrown === 0)
})

test('the errors of a burst are let go of, though nothing is read after it', async () => {
  // More than one drain takes; the core keeps a result for those who set out before it, no longer than this deadline.
  // All run at once: after the first of these errors, no more would.
  const router = new Router(['127.0.0.1:1'], { deadlineMs: 200, maxConcurrentLoads: 5000 })
  let begin
  const begun = new Promise((resolve) => (begin = resolve))
  const fail = async () => {
    await begun
    throw new Error('no luck')
  }
  const reads = Array.from({ length: 5000 }, (_, i) => router.getWithFallback(`burst:${i}`, fail).catch((error) => error.message))
  await eventually('all have begun', () => router.health().counters.loads === 5000)
  begin()
  assert.deepEqual(new Set(await Promise.all(reads)), new Set(['no luck']))
  await eventually('none is held', () => held().thrown === 0)
  await router.close()
})

test('an aborted caller is rejected at once, and the load goes on for the others', async () => {
  const { router } = await routed()
  const gate = gated()
  const controllers = Array.from({ length: 3 }, () => new AbortController())
  const reads = controllers.map(({ signal }) => router.getWithFallback('herd', gate.load, { signal }).catch((error) => error))
  await eventually('all wait', () => router.health().waiters === 3 && gate.calls === 1)
  controllers[0].abort()
  assert.equal((await reads[0]).name, 'AbortError')
  const reason = new Error('enough')
  controllers[1].abort(reason)
  assert.equal(await reads[1], reason)
  await eventually('two have left', () => router.health().waiters === 1)
  assert.equal(gate.stopped, 0)
  gate.release()
  assert.deepEqual(await reads[2], Buffer.from('v'))
  assert.equal(gate.calls, 1)
  await router.close()
})

test('a callback does not begin for a caller who has left, and that of another takes over', async () => {
  const { router } = await routed()
  const controller = new AbortController()
  let begun = 0
  const left = Array.from({ length: 100 }, () => router.getWithFallback('left', () => begun++, { signal: controller.signal }))
  const stays = router.getWithFallback('left', () => 'taken over')
  // Without a turn of the loop nothing is called, but the loads have begun.
  busyUntil(router, ({ waiters }) => waiters === 101)
  controller.abort()
  const ended = await Promise.allSettled(left)
  assert.deepEqual(new Set(ended.map(({ reason }) => reason?.name)), new Set(['AbortError']))
  assert.equal(String(await stays), 'taken over')
  assert.equal(begun, 0)
  await router.close()
})

test('a load that nobody waits for is told to stop, and the next caller starts another', async () => {
  const { router } = await routed()
  const [gate, controller] = [gated(), new AbortController()]
  // One signal for many reads: one listener, and no warning of too many.
  const warnings = []
  const warn = (warning) => warnings.push(warning)
  process.on('warning', warn)
  const reads = Array.from({ length: 50 }, () => router.getWithFallback('herd', gate.load, { signal: controller.signal }).catch((error) => error.name))
  await eventually('all wait', () => router.health().waiters === 50 && gate.calls === 1)
  controller.abort()
  assert.deepEqual(new Set(await Promise.all(reads)), new Set(['AbortError']))
  await eventually('stopped', () => gate.stopped === 1 && router.health().flights === 0)
  assert.equal(await router.getWithFallback('herd', async () => 'again').then(String), 'again')
  await new Promise(setImmediate)
  process.off('warning', warn)
  assert.deepEqual(warnings, [])
  assert.equal(held().waiting, 0)
  await router.close()
})

test('a signal that is aborted already starts nothing', async () => {
  const { node, router } = await routed()
  const before = await node.calls('GET')
  const signal = AbortSignal.abort('done before')
  await assert.rejects(router.getWithFallback('k', assert.fail, { signal }), (error) => error === 'done before')
  assert.equal(await node.calls('GET'), before)
  const pending = new AbortController()
  const many = router.resolveMany(['a', 'b'], () => new Promise(() => {}), { signal: pending.signal })
  await eventually('it loads', () => router.health().flights === 2)
  pending.abort()
  await assert.rejects(many, { name: 'AbortError' })
  await eventually('it has ended', () => router.health().flights === 0)
  await router.close()
})

test('a callback runs in the context of its caller', async () => {
  const { router } = await routed()
  const storage = new AsyncLocalStorage()
  const seen = []
  const load = async (key) => {
    seen.push([key, storage.getStore()])
    await new Promise(setImmediate)
    seen.push([key, storage.getStore()])
    return 'v'
  }
  const read = (at) => storage.run(`request ${at}`, () => router.getWithFallback(`key ${at}`, load))
  await Promise.all([0, 1, 2, 3].map(read))
  assert.equal(seen.length, 8)
  for (const [key, store] of seen) assert.equal(store, key.replace('key', 'request'))
  await router.close()
})

test('a callback that asks for its own key gets an error, directly and through others', async () => {
  const { router } = await routed()
  const again = () => router.getWithFallback('own', () => 'v')
  await assert.rejects(router.getWithFallback('own', again), Reentrant)
  const through = async () => {
    await new Promise((resolve) => setTimeout(resolve, 5))
    return router.getWithFallback('other', again)
  }
  await assert.rejects(router.getWithFallback('own', through), Reentrant)
  const many = () => router.getManyWithFallback(['own', 'more'], () => new Map())
  await assert.rejects(router.getWithFallback('own', many), Reentrant)
  // Other keys may be asked for.
  const other = () => router.getWithFallback('another', () => 'deep')
  assert.equal(await router.getWithFallback('own', other).then(String), 'deep')
  await router.close()
})

test('a callback that keeps the loop busy for longer than its time gives its own caller what it has', async () => {
  const { router } = await routed({ loadTimeoutMs: 1000 })
  const overstays = () => busyUntil(router, ({ flights }) => flights === 0)
  const busy = () => {
    busyUntil(router, ({ waiters }) => waiters === 4)
    overstays()
    return 'late'
  }
  const ended = await Promise.allSettled(Array.from({ length: 4 }, () => router.resolve('busy', busy)))
  const [own, ...others] = ended.filter(({ status }) => status === 'fulfilled')
  assert.deepEqual([String(own.value.value), own.value.servedBy, own.value.reason, own.value.coalesced], ['late', 'secondary', 'absent', false])
  assert.deepEqual(others, [])
  assert.deepEqual(ended.flatMap(({ reason }) => reason?.code ?? []), Array(3).fill('DEADLINE_EXCEEDED'))
  await router.close()
})

test('so do callbacks of every kind, but for those that fail', async () => {
  const { router } = await routed({ loadTimeoutMs: 1000 })
  const overstays = () => busyUntil(router, ({ flights }) => flights === 0)
  // One that is async has its value before the loop can tell its caller anything, too.
  const later = async () => {
    overstays()
    return 'late'
  }
  assert.equal(String(await router.getWithFallback('busy:1', later)), 'late')
  assert.equal(await router.getWithFallback('busy:2', () => overstays() ?? null), null)
  const many = await router.resolveMany(['busy:3', 'busy:4', 'busy:3'], () => (overstays(), { 'busy:3': 'late' }))
  assert.deepEqual(many.map(({ status, value }) => [status, String(value?.value)]), [['fulfilled', 'late'], ['fulfilled', 'null'], ['fulfilled', 'late']])
  const fails = () => {
    overstays()
    throw new Error('too late')
  }
  await assert.rejects(router.getWithFallback('busy:5', fails), { code: 'DEADLINE_EXCEEDED' })
  await router.close()
})

test('a load that runs on after its time holds nobody', async () => {
  const { router } = await routed({ loadTimeoutMs: 1000 })
  const never = () => new Promise(() => {})
  await assert.rejects(router.getWithFallback('k', never), { code: 'DEADLINE_EXCEEDED' })
  assert.equal(await router.getWithFallback('k', () => 'v').then(String), 'v')
  await router.close()
  await eventually('nothing runs', () => held().loads === 0)
})
