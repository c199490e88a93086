// Nothing stays behind: memory, promises, descriptors, threads, flights.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Router } from 'failsoft'
import { eventually, Kit, PATIENT } from './testkit.mjs'

// `FAILSOFT_LEAK_READS=1000000` is the whole test.
const READS = Number(process.env.FAILSOFT_LEAK_READS ?? 50_000)
// Before the first look: what V8 compiles and keeps meanwhile is no leak.
const WARM_UP = Math.max(20_000, READS / 5)
const READERS = 64
const linux = process.platform === 'linux'
// A young generation that does not grow: what it takes would look like a leak.
const FIXED = '--max-semi-space-size=1'
const { held } = createRequire(import.meta.url)('../lib/reads.js')
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')
const kit = new Kit()
after(() => kit.close())

const count = (folder) => readdirSync(folder).length
/** The same dice each time. */
function dice(seed) {
  return () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return seed / 2 ** 32
  }
}

/** Resident memory without garbage: what is collected is given back by other threads, a little later. */
async function resident() {
  const sizes = []
  for (let i = 0; i < 5; i++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 20))
    sizes.push(process.memoryUsage.rss())
  }
  return Math.min(...sizes)
}

async function used(nodes) {
  const router = new Router(nodes, PATIENT)
  await router.ready(30_000)
  await router.close()
}

async function readsLeaveNothing() {
  const nodes = await kit.cluster(3, 0)
  await used(nodes)
  const [files, threads, roll] = [count('/proc/self/fd'), count('/proc/self/task'), dice(7)]
  const router = new Router(nodes, { ...PATIENT, fill: false })
  await router.ready(30_000)
  for (let i = 0; i < 100; i++) await router.set(`leak:${i}`, Buffer.alloc(100, i))
  const slow = async (key) => {
    await new Promise(setImmediate)
    if (roll() < 0.1) throw new Error('no luck')
    return key
  }
  const seen = { aborted: 0, failed: 0, read: 0 }
  const reader = async (reads) => {
    for (let i = 0; i < reads; i++) {
      const key = roll() < 0.01 ? `leak:miss:${Math.floor(roll() * 1000)}` : `leak:${Math.floor(roll() * 100)}`
      const controller = roll() < 0.01 ? new AbortController() : undefined
      const read = router.getWithFallback(key, slow, controller && { signal: controller.signal })
      if (controller !== undefined) {
        if (roll() < 0.5) await new Promise(setImmediate)
        controller.abort()
      }
      try {
        assert.notEqual(await read, null)
        seen.read++
      } catch (error) {
        if (error.name !== 'AbortError' && error.message !== 'no luck') throw error
        seen[error.name === 'AbortError' ? 'aborted' : 'failed']++
      }
    }
  }
  const sizes = []
  const reads = (number) => Promise.all(Array.from({ length: READERS }, () => reader(Math.floor(number / READERS))))
  await reads(WARM_UP)
  for (let part = 0; part < 10; part++) {
    await reads(READS / 10)
    sizes.push(await resident())
  }
  assert.ok(seen.read > READS * 0.9 && seen.aborted > 0 && seen.failed > 0, JSON.stringify(seen))
  await eventually('no flight', () => router.health().flights === 0 && router.health().waiters === 0)
  await router.close()
  const { places, waiting, loads } = held()
  assert.deepEqual({ places, waiting, loads }, { places: 0, waiting: 0, loads: 0 })
  await eventually('no error is held', () => held().thrown === 0)
  const [first, most] = [sizes[0], Math.max(...sizes.slice(1))]
  assert.ok(most <= first * 1.05, `${first} bytes after the first tenth, later ${most}`)
  await eventually('no thread', () => count('/proc/self/task') <= threads)
  await eventually('no descriptor', () => count('/proc/self/fd') <= files)
}

async function routersLeaveNothing() {
  const nodes = kit.addresses
  await used(nodes)
  collect()
  await eventually('settled', () => held().waiting === 0)
  const files = count('/proc/self/fd')
  for (let i = 0; i < 50; i++) {
    // Neither awaited nor closed.
    new Router(nodes, PATIENT).getWithFallback('leak:abandoned', (key) => key)
  }
  await eventually('no descriptor', async () => {
    await new Promise(setImmediate)
    collect()
    return count('/proc/self/fd') <= files && held().waiting === 0
  })
}

if (process.execArgv.includes(FIXED)) {
  test('reads, a hundredth of them misses and a hundredth aborted, leave nothing', readsLeaveNothing)
  test('routers that nobody closes leave nothing when they are collected', routersLeaveNothing)
} else {
  test('nothing stays behind', { skip: linux ? false : 'needs /proc' }, async () => {
    const { NODE_TEST_CONTEXT, ...env } = process.env
    const ended = await promisify(execFile)(process.execPath, [FIXED, fileURLToPath(import.meta.url)], { env }).catch((error) => error)
    assert.equal(ended.code, undefined, ended.stdout)
  })
}
