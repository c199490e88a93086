// Processes and worker threads: what keeps them alive, how they end, what is told as unhandled.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { Router } from 'failsoft'
import { Kit, PATIENT } from './testkit.mjs'

const LONG = 60_000
const cwd = fileURLToPath(new URL('..', import.meta.url))
const kit = new Kit()
let nodes, silent

before(async () => {
  nodes = await kit.cluster(3, 0)
  const node = await kit.scripted()
  await node.behave('GET', 'silent')
  silent = node.address
})
after(() => kit.close())

const PACKAGE = JSON.stringify(cwd)
const PRELUDE = `
  import { setTimeout as pause } from 'node:timers/promises'
  import { Worker } from 'node:worker_threads'
  const unhandled = []
  process.on('unhandledRejection', (error) => unhandled.push(error))
  const [nodes, silent, config] = JSON.parse(process.env.GIVEN)
`

/** Runs a program to its end; a limit of time stops it. */
function run(program, has = "import { Router } from 'failsoft'") {
  const env = { ...process.env, GIVEN: JSON.stringify([nodes, silent, PATIENT]) }
  return promisify(execFile)(process.execPath, ['--input-type=module', '-e', has + PRELUDE + program], { cwd, env, timeout: LONG })
}

test('a router with nothing in flight keeps no process alive, open or closed', async () => {
  const program = `
    const router = new Router(nodes, config)
    await router.ready(30_000)
    await router.getWithFallback('k', () => 'v')
    const closed = new Router(nodes, config)
    await closed.close()
    process.on('exit', (code) => console.log('ended by itself', code))`
  assert.equal((await run(program)).stdout, 'ended by itself 0\n')
})

test('a read in flight keeps it alive until it ends, and so does one that waits for its callback', async () => {
  const program = `
    const router = new Router([silent], { ...config, attemptTimeoutMs: 500, deadlineMs: 500 })
    router.resolve('k', () => new Promise((resolve) => setTimeout(resolve, 300, 'v').unref())).then(({ servedBy }) => console.log(servedBy))`
  assert.equal((await run(program)).stdout, 'secondary\n')
})

test('an aborted read keeps it alive no longer', async () => {
  const program = `
    const router = new Router([silent], { ...config, attemptTimeoutMs: 100, deadlineMs: 100, loadTimeoutMs: 600_000 })
    const controller = new AbortController()
    const began = () => { controller.abort(); return new Promise(() => {}) }
    router.getWithFallback('k', began, { signal: controller.signal }).catch((error) => console.log(error.name))`
  assert.equal((await run(program)).stdout, 'AbortError\n')
})

test('nothing is an unhandled rejection that its user did not cause', async () => {
  const program = `
    const router = new Router(['127.0.0.1:1'], { deadlineMs: 100, loadTimeoutMs: 50 })
    const late = async () => { await pause(150); throw new Error('late') }
    const controller = new AbortController()
    const rejected = []
    const caught = (read) => read.catch((error) => rejected.push(error.code ?? error.name))
    // After its time, after its caller has left, for several callers, for many keys.
    await caught(router.getWithFallback('a', late))
    const left = caught(router.getWithFallback('b', async () => { controller.abort(); throw new Error('left') }, { signal: controller.signal }))
    const shared = Array.from({ length: 10 }, () => caught(router.getWithFallback('c', async () => { throw new Error('shared') })))
    const several = router.resolveMany(['d', 'e'], async () => { throw new Error('several') })
    await Promise.all([left, ...shared, several])
    const open = caught(router.getWithFallback('f', () => new Promise(() => {})))
    await router.close()
    await open
    await pause(300)
    console.log(rejected.length, unhandled.length)
    // One that its user does not handle is told once.
    router.getWithFallback('g').then(() => {})
    await pause(10)
    console.log(unhandled.map((error) => error.code).join())`
  assert.equal((await run(program)).stdout, '13 0\nCLOSED\n')
})

test('a process may end with reads and callbacks under way', async () => {
  for (const ending of ['process.exit(7)', 'process.kill(process.pid, "SIGTERM")', 'setImmediate(() => { throw new Error("boom") })']) {
    const program = `
      const router = new Router([silent, ...nodes], { ...config, attemptTimeoutMs: 50 })
      for (let i = 0; i < 500; i++) router.getWithFallback('k' + i, async () => { await pause(5); return 'v' }).catch(() => {})
      await pause(60)
      ${ending}`
    const ended = await run(program).then(assert.fail, (error) => error)
    const expected = ending.includes('SIGTERM') ? [null, 'SIGTERM'] : [ending.includes('exit') ? 7 : 1, null]
    assert.deepEqual([ended.code, ended.signal], expected, ended.stderr)
  }
})

test('a worker that alone has loaded the package may end, and others after it', async () => {
  const worker = `
    const { parentPort, workerData } = require('node:worker_threads')
    const { Router } = require(${PACKAGE})
    const router = new Router(workerData.nodes, workerData.config)
    const open = () => { for (let i = 0; i < 200; i++) router.getWithFallback('w' + i, () => new Promise(() => {})).catch(() => {}) }
    router.getWithFallback('k', () => 'v').then((value) => { open(); parentPort.postMessage(String(value)) })`
  const program = `
    for (let round = 0; round < 5; round++) {
      const workers = Array.from({ length: 4 }, () => new Worker(${JSON.stringify(worker)}, { eval: true, execArgv: [], workerData: { nodes, config } }))
      const values = await Promise.all(workers.map((worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))))
      if (values.some((value) => value !== 'v')) throw new Error(values)
      await Promise.all(workers.map((worker) => worker.terminate()))
    }
    const { Router } = await import('failsoft')
    const router = new Router(nodes, config)
    console.log(String(await router.getWithFallback('k')), unhandled.length)`
  assert.equal((await run(program, '')).stdout, 'v 0\n')
})

test('a worker ends by itself when nothing is in flight, and its routers are its own', async () => {
  const router = new Router(nodes, PATIENT)
  await router.set('mine', 'v')
  const program = `
    const { workerData } = require('node:worker_threads')
    const { Router } = require(${PACKAGE})
    const router = new Router(workerData.nodes, workerData.config)
    router.getWithFallback('mine', () => { throw new Error('a miss') })`
  const workers = Array.from({ length: 4 }, () => new Worker(program, { eval: true, workerData: { nodes, config: PATIENT } }))
  const codes = await Promise.all(workers.map(async (worker) => (await once(worker, 'exit'))[0]))
  assert.deepEqual(codes, [0, 0, 0, 0])
  assert.deepEqual(await router.getWithFallback('mine'), Buffer.from('v'))
  await router.close()
})

test('a worker that ends itself in its callback takes nothing with it', async () => {
  const program = `
    const { workerData } = require('node:worker_threads')
    const { Router } = require(${PACKAGE})
    const router = new Router(workerData.nodes, workerData.config)
    for (let i = 0; i < 50; i++) router.getWithFallback('exit' + i, () => process.exit(3)).catch(() => {})`
  const worker = new Worker(program, { eval: true, workerData: { nodes, config: PATIENT } })
  assert.equal((await once(worker, 'exit'))[0], 3)
  const router = new Router(nodes, PATIENT)
  assert.equal(await router.getWithFallback('exit1', () => 'here').then(String), 'here')
  await router.close()
})

test('threads of the library take no signals', { skip: process.platform === 'linux' ? false : 'needs /proc' }, async () => {
  const router = new Router(nodes, PATIENT)
  await router.ready(30_000)
  const ours = readdirSync('/proc/self/task').filter((task) => readFileSync(`/proc/self/task/${task}/comm`, 'utf8').startsWith('failsoft'))
  assert.ok(ours.length > 0)
  for (const task of ours) {
    const blocked = BigInt(`0x${/SigBlk:\s*(\w+)/.exec(readFileSync(`/proc/self/task/${task}/status`, 'utf8'))[1]}`)
    // All but SIGKILL, SIGSTOP, and the two that the C library keeps for itself.
    const [HUP, TERM, USR1, CHLD] = [1, 15, 10, 17]
    for (const signal of [HUP, TERM, USR1, CHLD]) assert.ok(blocked & (1n << BigInt(signal - 1)), `${signal} in ${blocked.toString(2)}`)
  }
  await router.close()
})
