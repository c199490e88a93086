// What a near hit costs in Node: nanoseconds for each read in turn, beside what a caller could do without Failsoft.
//
//     node bench/node/near.mjs [--rounds 7] [--node HOST:PORT]
//
// Without --node it starts a cluster of its own with the test kit. The rows that name no router are what the same loop
// costs with a Map, with a promise of what is in it, and with an async function.
import { parseArgs } from 'node:util'
import { Router } from 'failsoft'

const KEYS = Array.from({ length: 1000 }, (_, i) => `key:${i}`)
const VALUE = 'x'.repeat(100)
const READS = 200_000

const never = (key) => {
  throw new Error(`${key} went to the callback`)
}

const near = (router) => router.health().counters.reads.reduce((sum, { what, count }) => sum + (what === 'near' ? count : 0), 0)

/** Reads every key until a near copy serves it. */
async function warm(router) {
  for (const key of KEYS) while ((await router.resolve(key)).servedBy !== 'near');
}

const each = (read) => async () => {
  for (let i = 0; i < READS / KEYS.length; i++) for (const key of KEYS) await read(key)
}

const once = (read) => () => {
  let length = 0
  for (let i = 0; i < READS / KEYS.length; i++) for (const key of KEYS) length += read(key).length
  if (length === 0) throw new Error('no values')
}

/** A round in which near copies serve, and a failure if they did not. */
function of(router, read) {
  const reads = each(read)
  return async () => {
    const before = near(router)
    await reads()
    const served = near(router) - before
    if (served < READS * 0.99) throw new Error(`${served} of ${READS} were served near`)
  }
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '7' }, node: { type: 'string' } } })
const { Kit } = await import('../../node/test/testkit.mjs')
const kit = options.node === undefined ? new Kit() : undefined
try {
  const address = options.node ?? (await kit.cluster(3, 0))[0]
  const text = new Router([address], { nearCacheBytes: 64 << 20, encoding: 'utf8' })
  const bytes = new Router([address], { nearCacheBytes: 64 << 20 })
  await text.ready(10_000)
  for (const key of KEYS) await text.set(key, VALUE)
  const values = new Map(KEYS.map((key) => [key, VALUE]))
  const table = {
    Map: once((key) => values.get(key)),
    'Promise.resolve of a Map': each((key) => Promise.resolve(values.get(key))),
    'async function of a Map': each(async (key) => values.get(key)),
    'failsoft, utf8': of(text, (key) => text.getWithFallback(key, never)),
    'failsoft, Buffers': of(bytes, (key) => bytes.getWithFallback(key, never)),
    'failsoft, utf8, with options': of(text, (key) => text.getWithFallback(key, never, { ttlMs: 1000 })),
    'failsoft, utf8, resolve': of(text, (key) => text.resolve(key, never))
  }
  const results = {}
  // The rows take turns, so that whatever else the machine does falls on all of them; the first round warms up.
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const [name, run] of Object.entries(table)) {
      await warm(text)
      await warm(bytes)
      const began = process.hrtime.bigint()
      await run()
      const nanos = Number(process.hrtime.bigint() - began) / READS
      if (round > 0) (results[name] ??= []).push(nanos)
    }
  }
  console.log(`A near hit, nanoseconds, median (least to most); ${new Date().toISOString().slice(0, 10)}, Node ${process.version}`)
  for (const [name, all] of Object.entries(results)) {
    const [middle, least, most] = [median(all), Math.min(...all), Math.max(...all)].map(Math.round)
    console.log(`${name.padEnd(30)}${String(middle).padStart(8)} (${least} to ${most})`)
  }
  await text.close()
  await bytes.close()
} finally {
  await kit?.close()
}
