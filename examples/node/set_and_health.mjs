// Waits for the cluster, writes a value, and looks at what the router knows.
//
//     node set_and_health.mjs 127.0.0.1:7000
import { Router, Unavailable, WriteRefused } from 'failsoft'

const nodes = process.argv.slice(2)
const router = new Router(nodes.length > 0 ? nodes : ['127.0.0.1:7000'], { encoding: 'utf8' })
try {
  await router.ready(5_000)
} catch (error) {
  if (!(error instanceof Unavailable)) throw error
  // Reads with a callback work all the same, and the router goes on trying.
  console.log('no view of the cluster yet:', error.reason)
}
try {
  await router.set('user:43', 'Grace', { ttlMs: 300_000 })
} catch (error) {
  if (!(error instanceof WriteRefused)) throw error
  // After `timeout` and `connection` it is not known whether it was written.
  console.log('not written:', error.cause)
}
console.log(await router.getWithFallback('user:43', () => 'Grace, from the store'))
const health = router.health()
for (const { address, role, breaker, trouble } of health.nodes) console.log(address, role, breaker, trouble)
console.log(health.slotsOk, 'slots are served,', health.counters.sets, 'values were set')
await router.close()
