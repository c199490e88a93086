// What readers see while their cluster is killed and hung: no failed read. Also through the Express service.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Router } from 'failsoft'
import { eventually, Kit, MODULES, ROOT } from './testkit.mjs'

const READERS = 32
const KEYS = 2_000
const node = fileURLToPath(new URL('..', import.meta.url))

const store = async (key) => {
  await pause(2)
  return `v${key.slice(1)}`
}

async function prepared(kit) {
  // What replicas serve here no copy does.
  const router = new Router(await kit.cluster(3, 1), { standinBytes: 0 })
  await router.ready(30_000)
  await eventually('all slots are served', () => router.health().slotsOk === 16_384)
  for (let i = 0; i < KEYS; i++) await router.set(`k${i}`, `v${i}`)
  return router
}

/** Readers that never stop, and a count of what they saw. */
class Load {
  failed = []
  seen = new Map()
  #stop = false
  #readers

  constructor(read) {
    this.#readers = Array.from({ length: READERS }, (_, i) => this.#reader(read, i * 7919))
  }

  async #reader(read, at) {
    while (!this.#stop) {
      at += 104_729
      try {
        for (const what of await read(at)) this.seen.set(what, (this.seen.get(what) ?? 0) + 1)
      } catch (error) {
        this.failed.push(error)
      }
      await pause(1)
    }
  }

  async until(what, more = READERS) {
    const before = this.seen.get(what) ?? 0
    try {
      await eventually(`served by ${what}`, () => (this.seen.get(what) ?? 0) > before + more)
    } catch (error) {
      this.#stop = true
      throw error
    }
  }

  async finish() {
    this.#stop = true
    await Promise.all(this.#readers)
    assert.deepEqual(this.failed, [])
  }
}

for (const fault of ['kill', 'hang']) {
  test(`a primary meets a ${fault}, its replica is promoted, and then all are killed`, async () => {
    const kit = new Kit()
    try {
      const router = await prepared(kit)
      const load = new Load(async (at) => {
        const { value, servedBy, node } = await router.resolve(`k${at % KEYS}`, store)
        assert.equal(String(value), `v${at % KEYS}`)
        return [servedBy, `${node} ${servedBy}`]
      })
      await load.until('primary')
      await kit.ask(fault, { node: 0 })
      await load.until('replica')
      await kit.ask('wait_promoted', { node: 3 })
      await load.until(`${kit.addresses[3]} primary`)
      await kit.ask('kill_all')
      await load.until('secondary')
      await load.finish()
      await router.close()
    } finally {
      await kit.close()
    }
  })
}

/** A port that was free a moment ago. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

test('the Express service answers while its cluster is killed', async () => {
  const [kit, port] = [new Kit(), await freePort()]
  const folder = mkdtempSync(join(tmpdir(), 'failsoft-service-'))
  const example = join(ROOT, 'examples/node/express_service')
  for (const name of readdirSync(example)) copyFileSync(join(example, name), join(folder, name))
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(join(MODULES, 'express'), join(folder, 'node_modules/express'))
  symlinkSync(node, join(folder, 'node_modules/failsoft'))
  const addresses = await kit.cluster(3, 1)
  const env = { ...process.env, FAILSOFT_NODES: addresses.join(), DATABASE: join(folder, 'users.json'), PORT: String(port) }
  const service = spawn(process.execPath, ['service.mjs'], { cwd: folder, env, stdio: 'inherit' })
  try {
    const get = (path) => fetch(`http://127.0.0.1:${port}${path}`)
    await eventually('it serves all slots', async () => {
      try {
        return (await (await get('/health')).json()).slotsOk === 16_384
      } catch {
        return false
      }
    })
    assert.equal((await get('/users/5000')).status, 404)
    const load = new Load(async (at) => {
      const id = at % 1000
      const response = await get(`/users/${id}`)
      assert.equal(response.status, 200)
      assert.deepEqual(await response.json(), { name: `user ${id}` })
      return [response.headers.get('x-served-by')]
    })
    // By then most users are in the cache.
    await load.until('primary', 2000)
    await kit.ask('kill', { node: 0 })
    await load.until('replica', 10)
    await kit.ask('kill_all')
    await load.until('secondary')
    await load.finish()
    const ended = once(service, 'exit')
    service.kill('SIGTERM')
    assert.deepEqual(await ended, [0, null])
  } finally {
    service.kill('SIGKILL')
    await kit.close()
    rmSync(folder, { recursive: true })
  }
})
