// The second callback: called instead of the fallback for keys that nobody is known to have changed.
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { InvalidArgument, Router } from 'failsoft'
import { eventually, Kit, PATIENT } from './testkit.mjs'

const { held } = createRequire(import.meta.url)('../lib/reads.js')
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')
const kit = new Kit()
const node = await kit.scripted()
const router = new Router([node.address], { encoding: 'utf8', ...PATIENT })
await router.ready(10_000)
after(async () => {
  await router.close()
  await kit.close()
})

/** Another client, who tells nobody. */
async function remove(node, key) {
  const [host, port] = node.address.split(':')
  const socket = connect(Number(port), host)
  socket.write(`*2\r\n$3\r\nDEL\r\n$${key.length}\r\n${key}\r\n`)
  for await (const reply of socket) return assert.equal(String(reply), ':1\r\n')
}

/** Two callbacks, and what they were called with. */
function asked(value = 'v') {
  const calls = []
  const call = (name) => (key, reason) => (calls.push([name, key, reason]), value)
  return { calls, fallback: call('fallback'), recompute: call('recompute') }
}

const refused = (call, argument, problem) =>
  assert.rejects(call, (error) => {
    assert.ok(error instanceof InvalidArgument, error)
    assert.equal(error.argument, argument)
    assert.match(error.message, problem)
    return true
  })

for (const kind of ['plain', 'async']) {
  test(`the one that fits is called, and never both: ${kind}`, async () => {
    const node = await kit.scripted()
    const router = new Router([node.address], { encoding: 'utf8', ...PATIENT })
    await router.ready(10_000)
    const { calls, fallback, recompute } = asked(kind === 'plain' ? 'v' : Promise.resolve('v'))
    for (const key of ['unknown', 'invalidated']) await router.set(key, 'old')
    await router.set('expired', 'old', { ttlMs: 1 })
    await remove(node, 'unknown')
    await router.invalidate('invalidated')
    // Its time to live counts from when the router heard that it was written.
    const until = performance.now() + 10
    await eventually('it has expired', () => performance.now() > until)
    const callbacks = { absent: 'recompute', unknown: 'recompute', expired: 'recompute', invalidated: 'fallback' }
    for (const [reason, callback] of Object.entries(callbacks)) {
      const outcome = await router.resolve(reason, fallback, { recompute })
      assert.deepEqual([outcome.value, outcome.servedBy, outcome.reason], ['v', 'secondary', reason])
      assert.deepEqual(calls.splice(0), [[callback, reason, reason]])
    }
    await node.behave('GET', 'ERR no')
    assert.equal(await router.getWithFallback('error', fallback, { recompute }), 'v')
    assert.deepEqual(calls, [['fallback', 'error', 'error_reply']])
    await router.close()
  })
}

test('it follows the rules of the fallback', async () => {
  const { calls, fallback } = asked()
  const thrown = { mine: true }
  await assert.rejects(router.getWithFallback('rules:1', fallback, { recompute: async () => { throw thrown } }), (error) => error === thrown)
  assert.equal(await router.getWithFallback('rules:2', fallback, { recompute: () => null }), null)
  await refused(router.getWithFallback('rules:3', fallback, { recompute: () => 3 }), 'recompute', /the recompute gave a number/)
  const storage = new AsyncLocalStorage()
  const given = []
  const recompute = (key, reason, { signal }) => (given.push(key, reason, signal.aborted), storage.getStore())
  assert.equal(await storage.run('mine', () => router.getWithFallback(Buffer.from('rules:4'), fallback, { recompute, deadlineMs: 60_000 })), 'mine')
  assert.deepEqual([String(given[0]), ...given.slice(1)], ['rules:4', 'absent', false])
  assert.deepEqual(calls, [])
})

test('it is refused alone, for many keys, and where it cannot be called', async () => {
  const recompute = () => 'v'
  for (const name of ['getWithFallback', 'resolve']) {
    for (const fallback of [undefined, null]) {
      await refused(router[name]('k', fallback, { recompute }), 'recompute', /there is no fallback beside it/)
    }
    await refused(router[name]('k', recompute, { recompute: 3 }), 'recompute', /a number cannot be called; allowed: a function$/)
    for (const none of [undefined, null]) {
      assert.equal(String(await router[name]('none', () => null, { recompute: none }).then((given) => given?.value ?? null)), 'null')
    }
  }
  for (const name of ['getManyWithFallback', 'resolveMany']) {
    await refused(router[name](['k'], () => ({}), { recompute }), 'recompute', /no such option; allowed: ttlMs/)
  }
})

test('when its caller goes away, that of the next one takes over', async () => {
  const { calls, fallback, recompute } = asked()
  const gone = new AbortController()
  let begun
  const begins = new Promise((resolve) => (begun = resolve))
  const never = (key, reason, { signal }) => (begun(signal), new Promise(() => {}))
  const first = router.getWithFallback('over', fallback, { recompute: never, signal: gone.signal })
  const signal = await begins
  const second = router.resolve('over', fallback, { recompute })
  const told = assert.rejects(first, { name: 'AbortError' })
  gone.abort()
  await told
  const { value, reason } = await second
  assert.deepEqual([value, reason, signal.aborted], ['v', 'absent', true])
  assert.deepEqual(calls, [['recompute', 'over', 'absent']])
})

test('nothing holds it afterwards', async () => {
  const callbacks = Array.from({ length: 100 }, (_, i) => new WeakRef(reading(i)))
  function reading(i) {
    const recompute = () => 'v'
    const gone = new AbortController()
    router.getWithFallback(`held:${i}`, () => 'v', { recompute, signal: gone.signal }).catch(() => {})
    if (i % 2) gone.abort()
    return recompute
  }
  await eventually('they are gone', async () => {
    collect()
    await sleep(0)
    return callbacks.every((callback) => callback.deref() === undefined)
  })
  const { waiting, loads } = held()
  assert.deepEqual({ waiting, loads }, { waiting: 0, loads: 0 })
})
