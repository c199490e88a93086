// Outage times through Node: 32 readers on 3 + 3 nodes; a primary is killed, one hangs, all hang.
//
// Prints, for each fault, the failed reads, the worst read, and the p99 from one and from two seconds after the fault.
import { setTimeout as pause } from 'node:timers/promises'
import { Router } from 'failsoft'
import { Kit } from '../../node/test/testkit.mjs'

const READERS = 32
const KEYS = 10_000
const MS = { kill: 7000, hang: 7000, 'all hung': 5000 }

const store = async (key) => {
  await pause(2)
  return `v${key.slice(1)}`
}

async function reader(router, number, until, seen) {
  for (let at = number * 7919; ; ) {
    const began = performance.now()
    if (began > until) return
    at += 104_729
    const read = { began }
    try {
      const { value, servedBy } = await router.resolve(`k${at % KEYS}`, store)
      read.failed = String(value) !== `v${at % KEYS}`
      read.source = servedBy
    } catch (error) {
      read.failed = true
      read.source = error.code ?? error.name
    }
    read.took = performance.now() - began
    seen.push(read)
    await pause(1)
  }
}

const p99 = (times) => (times.length > 0 ? times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)].toFixed(1) : '-')

async function outage(router, kit, name) {
  const seen = []
  const until = performance.now() + 1000 + MS[name]
  const readers = Array.from({ length: READERS }, (_, i) => reader(router, i, until, seen))
  await pause(1000)
  const fault = performance.now()
  if (name === 'kill') await kit.ask('kill', { node: 0 })
  else if (name === 'hang') await kit.ask('hang', { node: 1 })
  // The killed one stays dead: it cannot be hung.
  else for (let node = 1; node < 6; node++) await kit.ask('hang', { node })
  await Promise.all(readers)
  const sources = {}
  for (const { source } of seen) sources[source] = (sources[source] ?? 0) + 1
  const after = (ms) => p99(seen.filter(({ began }) => began > fault + ms).map(({ took }) => took))
  const cells = [seen.length, seen.filter(({ failed }) => failed).length, seen.reduce((worst, { took }) => Math.max(worst, took), 0).toFixed(1), after(1000), after(2000)]
  console.log(name.padEnd(10) + cells.map((cell) => String(cell).padStart(9)).join(''), JSON.stringify(sources))
}

const kit = new Kit()
try {
  const router = new Router(await kit.cluster(3, 1))
  await router.ready(30_000)
  while (router.health().slotsOk < 16_384) await pause(10)
  for (let i = 0; i < KEYS; i++) await router.set(`k${i}`, `v${i}`)
  console.log('fault         reads   failed    worst  p99 >1s  p99 >2s  by source; times in ms')
  for (const name of Object.keys(MS)) await outage(router, kit, name)
  await router.close()
} finally {
  await kit.close()
}
