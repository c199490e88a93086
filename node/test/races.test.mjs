// Callers that leave at every moment, callbacks that fail in every way, routers that close meanwhile: each promise is
// settled once, and nothing stays behind.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { InvalidArgument, Router } from 'failsoft'
import { eventually, Kit, PATIENT } from './testkit.mjs'

const { held } = createRequire(import.meta.url)('../lib/reads.js')
const kit = new Kit()
const unhandled = []
const heard = (error) => unhandled.push(error)
let node

before(async () => {
  process.on('unhandledRejection', heard)
  node = await kit.scripted()
})
after(async () => {
  await kit.close()
  process.off('unhandledRejection', heard)
})

const turn = () => new Promise(setImmediate)
const config = { ...PATIENT, fill: false, loadTimeoutMs: 600_000 }

/** The same dice each time. */
function dice(seed) {
  return (sides) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((seed / 2 ** 32) * sides)
  }
}

class NoLuck extends Error {}

/** Callbacks of every kind. One that never answers ends with its callers. */
const LOADS = [
  () => 'now',
  async () => 'later',
  () => turn().then(() => 'a turn later'),
  () => { throw new NoLuck() },
  () => Promise.reject(new NoLuck()),
  () => turn().then(() => { throw new NoLuck() }),
  () => 42,
  (_key, _reason, { signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new NoLuck()))),
  () => undefined,
  // Were half of them to fail, the others would not be asked.
  ...Array.from({ length: 8 }, (_, n) => (n % 2 ? () => 'now' : async () => 'later'))
]

/** When its caller leaves; undefined: it stays. */
const LEAVES = [
  undefined,
  (leave) => leave(),
  (leave) => queueMicrotask(leave),
  (leave) => process.nextTick(leave),
  (leave) => setImmediate(leave),
  (leave) => setTimeout(leave, 1)
]
// A callback that never answers is for callers who leave.
const NEVER = 7

async function storm(seed, during = () => {}) {
  const roll = dice(seed)
  const router = new Router([node.address], config)
  await router.ready(30_000)
  const reads = []
  const settled = { value: 0, error: 0 }
  for (let i = 0; i < 1500; i++) {
    const key = `storm:${seed}:${roll(40)}`
    const kind = roll(LOADS.length)
    const leaves = LEAVES[kind === NEVER ? 1 + roll(LEAVES.length - 1) : roll(LEAVES.length)]
    const controller = new AbortController()
    // One caller that stays would wait for a callback that never answers: those have keys of their own.
    const own = kind === NEVER ? `never:${i}` : key
    const options = leaves === undefined ? undefined : { signal: controller.signal }
    const calls = [
      () => router.getWithFallback(own, LOADS[kind], options),
      () => router.resolve(own, LOADS[kind], options),
      () => router.getManyWithFallback([own, `${own}:2`], (_keys, context) => {
        const given = LOADS[kind](own, 'absent', context)
        return typeof given?.then === 'function' ? given.then(() => ({})) : new Map([[own, given]])
      }, options)
    ]
    reads.push(calls[roll(calls.length)]().then(
      () => settled.value++,
      (error) => {
        settled.error++
        const known = error instanceof NoLuck || error instanceof InvalidArgument || error.name === 'AbortError' || ['CLOSED', 'SHED'].includes(error.code)
        if (!known) throw error
      }
    ))
    leaves?.(() => controller.abort())
    if (roll(50) === 0) await turn()
    if (i === 750) during(router)
  }
  await Promise.all(reads)
  assert.equal(settled.value + settled.error, reads.length)
  await eventually('nothing goes on', () => router.health().flights === 0 && router.health().waiters === 0)
  await router.close()
  return settled
}

const nothingIsHeld = () => eventually('nothing is held', () => Object.values(held()).every((count) => count === 0))

test('callers leave at every moment, and callbacks fail in every way', async () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const { value, error } = await storm(seed)
    assert.ok(value > 20 && error > 100, `${value} ${error}`)
  }
  await nothingIsHeld()
})

test('the router is closed in the middle of it', async () => {
  for (const seed of [6, 7, 8]) await storm(seed, (router) => router.close())
  await nothingIsHeld()
})

test('a callback may abort its caller, start others, and close its router', async () => {
  const router = new Router([node.address], config)
  const controller = new AbortController()
  const inner = []
  const load = (_key, _reason, { signal }) => {
    // In the listener, too, which runs while completions are taken.
    signal.addEventListener('abort', () => inner.push(router.getWithFallback('inner:2', () => 'v').then(String)))
    inner.push(router.getWithFallback('inner:1', () => 'v').then(String))
    controller.abort()
    return new Promise(() => {})
  }
  await assert.rejects(router.getWithFallback('outer', load, { signal: controller.signal }), { name: 'AbortError' })
  await eventually('both have begun', () => inner.length === 2)
  assert.deepEqual(await Promise.all(inner), ['v', 'v'])
  const closing = router.getWithFallback('closing', () => router.close())
  await assert.rejects(closing, { code: 'CLOSED' })
  await nothingIsHeld()
})

test('one signal for many calls, aborted by a callback of one of them', async () => {
  const router = new Router([node.address], config)
  const controller = new AbortController()
  const load = (key) => (key === 'one:99' ? controller.abort('enough') : undefined, new Promise(() => {}))
  const reads = Array.from({ length: 100 }, (_, i) => router.getWithFallback(`one:${i}`, load, { signal: controller.signal }))
  const ended = await Promise.allSettled(reads)
  assert.deepEqual(new Set(ended.map(({ reason }) => reason)), new Set(['enough']))
  await eventually('no load goes on', () => router.health().flights === 0)
  await router.close()
  await nothingIsHeld()
})

test('a callback does not begin once its caller has left', async () => {
  const router = new Router([node.address], config)
  const controller = new AbortController()
  const begun = []
  const load = (key) => (begun.push(key), controller.abort(), new Promise(() => {}))
  const left = Array.from({ length: 100 }, (_, i) => router.getWithFallback(`left:${i}`, load, { signal: controller.signal }))
  for (const { reason } of await Promise.allSettled(left)) assert.equal(reason.name, 'AbortError')
  assert.equal(begun.length, 1)
  await eventually('no load goes on', () => router.health().flights === 0)
  await router.close()
  await nothingIsHeld()
})

test('a callback does not begin once its time is over, while another one kept the loop busy', async () => {
  const router = new Router([node.address], config)
  await router.ready(30_000)
  const until = (holds) => {
    const limit = Date.now() + 10_000
    while (Date.now() < limit && !holds());
  }
  let begun = 0
  const busy = () => {
    begun++
    until(() => router.health().waiters === 0)
    return 'v'
  }
  const before = router.health().counters.loads
  const reads = ['one', 'two'].map((key) => router.getWithFallback(key, busy, { deadlineMs: 300 }))
  // Both are to be called in one turn of the loop.
  until(() => router.health().counters.loads === before + 2)
  for (const read of reads) await assert.rejects(read, { code: 'DEADLINE_EXCEEDED' })
  assert.ok(begun <= 1, `${begun} have begun`)
  await router.close()
  await nothingIsHeld()
})

test('nothing of all that was an unhandled rejection', async () => {
  await turn()
  assert.deepEqual(unhandled, [])
})
