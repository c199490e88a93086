// Copies of the package in contexts of their own, as test runners load it for each file: they work, and are collected.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, resolve } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { createContext, runInContext, runInNewContext } from 'node:vm'
import { eventually, Kit, PATIENT } from './testkit.mjs'

const require = createRequire(import.meta.url)
const main = fileURLToPath(new URL('../index.js', import.meta.url))
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')
const COPIES = 10
const kit = new Kit()
after(() => kit.close())

/** Loads a file and what it requires into a context; addons are the thread's. */
function load(context, file, loaded = {}) {
  if (file.endsWith('.node')) return require(file)
  if (loaded[file] !== undefined) return loaded[file].exports
  const module = (loaded[file] = { exports: {} })
  const own = (name) => (name.startsWith('.') ? load(context, resolve(dirname(file), name), loaded) : require(name))
  runInContext(`(function (require, module, exports) {${readFileSync(file, 'utf8')}\n})`, context)(own, module, module.exports)
  return module.exports
}

/** What is alive of contexts in which this was done. */
async function remains(use) {
  const alone = async () => {
    const globals = { process, Buffer, AbortController }
    const context = createContext(globals)
    runInContext('globalThis.large = new Array(1e4).fill(0)', context)
    await use(load(context, main), context)
    return new WeakRef(globals.large)
  }
  const contexts = []
  for (let i = 0; i < COPIES; i++) contexts.push(await alone())
  // The last one may still be on the stack of the engine.
  await eventually('they are collected', async () => {
    await new Promise(setImmediate)
    collect()
    return contexts.filter((context) => context.deref() !== undefined).length <= 1
  })
}

test('a copy that was only loaded is collected', () => remains(() => {}))

test('a copy is collected after its reads and loads, closed or not', async () => {
  const { address } = await kit.scripted()
  for (const closes of [true, false]) {
    await remains(async ({ Router }, context) => {
      const router = new Router([address], { ...PATIENT, fill: false })
      const load = runInContext('async () => "v"', context)
      assert.deepEqual(await router.getWithFallback('k', load), Buffer.from('v'))
      const fail = runInContext('async () => { throw new Error("no luck") }', context)
      await assert.rejects(router.getWithFallback('k2', fail), (error) => error.message === 'no luck')
      const controller = new AbortController()
      const left = router.getWithFallback('k3', () => new Promise(() => {}), { signal: controller.signal })
      await eventually('it loads', () => router.health().flights === 1)
      controller.abort()
      await assert.rejects(left, { name: 'AbortError' })
      if (closes) await router.close()
    })
  }
})

test('a copy that waits is not collected', async () => {
  const { address } = await kit.scripted()
  let release
  const read = (() => {
    const { Router } = load(createContext({ process, Buffer, AbortController }), main)
    const loading = new Promise((resolve) => (release = resolve))
    return new Router([address], { ...PATIENT, fill: false }).getWithFallback('k', () => loading)
  })()
  for (let i = 0; i < 10; i++) {
    await new Promise(setImmediate)
    collect()
  }
  release('v')
  assert.deepEqual(await read, Buffer.from('v'))
})

test('a copy that has rested is woken again', async () => {
  const { Router } = load(createContext({ process, Buffer, AbortController }), main)
  const { address } = await kit.scripted()
  const router = new Router([address], { ...PATIENT, fill: false })
  for (let round = 0; round < 3; round++) {
    assert.deepEqual(await router.getWithFallback('k', () => 'v'), Buffer.from('v'))
    for (let i = 0; i < 3; i++) {
      await new Promise(setImmediate)
      collect()
    }
  }
  await router.close()
})
