// The first read: from the cluster if it has the key, else from your own store.
//
//     node first_read.mjs 127.0.0.1:7000
import { Router } from 'failsoft'

// Your own store: what the cache is in front of.
const loadUser = async (key) => (key === 'user:42' ? 'Ada' : null)

const nodes = process.argv.slice(2)
const router = new Router(nodes.length > 0 ? nodes : ['127.0.0.1:7000'], { encoding: 'utf8' })
const user = await router.getWithFallback('user:42', loadUser)
const { value, servedBy, reason } = await router.resolve('user:42', loadUser, { ttlMs: 60_000 })
console.log(user, value, servedBy, reason)
await router.close()
