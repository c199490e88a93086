// CPU of the client process for each read, beside other Node clients: one run, each client in processes of its own.
//
//     node bench/node/cpu.mjs [--rounds 5] [--node HOST:PORT]
//
// Without --node it starts a cluster of its own with the test kit. Compare only within one run.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const KEYS = 1000
const VALUE = Buffer.alloc(100, 'x')
// Reads of one round, for each number in flight.
const READS = { 1: 3_000, 64: 40_000, 512: 40_000 }

async function failsoft(address) {
  const { Router } = await import('failsoft')
  const router = new Router([address])
  await router.ready(10_000)
  const load = async () => {
    throw new Error('a read went to the fallback')
  }
  return { read: (key) => router.getWithFallback(key, load), close: () => router.close() }
}

async function ioredis(address, options = {}) {
  const { Cluster } = await import('ioredis')
  const [host, port] = address.split(':')
  const client = new Cluster([{ host, port: Number(port) }], options)
  await client.ping()
  // Bytes, as the others give them.
  return { read: (key) => client.getBuffer(key), close: () => client.disconnect() }
}

async function nodeRedis(address) {
  const { createCluster, RESP_TYPES } = await import('redis')
  const client = createCluster({ rootNodes: [{ url: `redis://${address}` }] }).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
  await client.connect()
  return { read: (key) => client.get(key), close: () => client.destroy() }
}

async function valkeyGlide(address) {
  const { GlideClusterClient, Decoder } = await import('@valkey/valkey-glide')
  const [host, port] = address.split(':')
  const client = await GlideClusterClient.createClient({ addresses: [{ host, port: Number(port) }], defaultDecoder: Decoder.Bytes })
  return { read: (key) => client.get(key), close: () => client.close() }
}

const CLIENTS = {
  failsoft,
  ioredis,
  'ioredis, auto-pipelining': (address) => ioredis(address, { enableAutoPipelining: true }),
  'node-redis': nodeRedis,
  'valkey-glide': valkeyGlide
}

/** Microseconds of CPU for each read, of one round after a warm-up, by the number in flight. */
async function measure(name, address) {
  const { read, close } = await CLIENTS[name](address)
  const reader = async (first, reads) => {
    for (let i = first; i < first + reads; i++) {
      const value = await read(`key:${i % KEYS}`)
      if (!VALUE.equals(value)) throw new Error(`${name}: a wrong value: ${value}`)
    }
  }
  const round = async (inFlight, reads) => {
    const began = process.cpuUsage()
    await Promise.all(Array.from({ length: inFlight }, (_, i) => reader(i * 31, Math.floor(reads / inFlight))))
    const { user, system } = process.cpuUsage(began)
    return (user + system) / (Math.floor(reads / inFlight) * inFlight)
  }
  const results = {}
  for (const [inFlight, reads] of Object.entries(READS)) {
    await round(Number(inFlight), reads / 2)
    results[inFlight] = await round(Number(inFlight), reads)
  }
  await close()
  return results
}

async function fill(address) {
  const { Router } = await import('failsoft')
  const router = new Router([address], { attemptTimeoutMs: 4000, deadlineMs: 16_000 })
  await router.ready(30_000)
  while (router.health().slotsOk < 16_384) await new Promise((resolve) => setTimeout(resolve, 10))
  for (let i = 0; i < KEYS; i++) await router.set(`key:${i}`, VALUE)
  await router.close()
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]

function report(rounds) {
  const columns = Object.keys(READS)
  const row = (name, cells) => console.log(name.padEnd(26) + cells.map((cell) => cell.padStart(8)).join(''))
  const medians = Object.fromEntries(Object.entries(rounds).map(([name, all]) => [name, columns.map((c) => median(all.map((r) => r[c])))]))
  console.log(`CPU of the client process for each read, microseconds, medians of ${rounds.failsoft.length}; ${new Date().toISOString().slice(0, 10)}, Node ${process.version}`)
  row('in flight', columns)
  for (const [name, cells] of Object.entries(medians)) row(name, cells.map((cell) => cell.toFixed(2)))
  const best = columns.map((_, i) => Math.min(...Object.keys(medians).filter((name) => name !== 'failsoft').map((name) => medians[name][i])))
  row('of the best peer', columns.map((_, i) => (medians.failsoft[i] / best[i]).toFixed(2)))
}

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '5' }, node: { type: 'string' }, client: { type: 'string' } } })
if (options.client !== undefined) {
  console.log(JSON.stringify(await measure(options.client, options.node)))
  process.exit()
}
const { Kit } = await import('../../node/test/testkit.mjs')
const kit = options.node === undefined ? new Kit() : undefined
const address = options.node ?? (await kit.cluster(3, 0))[0]
try {
  await fill(address)
  const rounds = {}
  // The clients take turns, so that whatever else the machine does falls on all of them.
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const name of Object.keys(CLIENTS)) {
      const program = [fileURLToPath(import.meta.url), '--client', name, '--node', address]
      const ended = spawnSync(process.execPath, program, { encoding: 'utf8', timeout: 120_000, stdio: ['ignore', 'pipe', 'inherit'] })
      if (ended.status !== 0) throw new Error(`${name} ended with ${ended.status ?? ended.signal}`)
      ;(rounds[name] ??= []).push(JSON.parse(ended.stdout.trim().split('\n').at(-1)))
    }
  }
  report(rounds)
} finally {
  await kit?.close()
}
