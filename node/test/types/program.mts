// A program in TypeScript, as a module: it is checked, and run against a router without a cluster.
import { type Fallback, type Outcome, DeadlineExceeded, FailsoftError, InvalidArgument, Router, Unavailable } from 'failsoft'

interface User {
  name: string
}

const users = new Map<string, User>([['user:42', { name: 'Ada' }]])
const loadUser: Fallback = async (key, reason, { signal }) => {
  const why: string = reason
  if (signal.aborted || why === '') return null
  const user = users.get(key)
  return user && JSON.stringify(user)
}

const router = new Router(['127.0.0.1:1'], { deadlineMs: 200, addressMap: { '127.0.0.1:1': '127.0.0.1:2' } })
const bytes: Buffer | null = await router.getWithFallback('user:42', loadUser)
const outcome: Outcome = await router.resolve('user:42', loadUser, { ttlMs: 60_000, signal: AbortSignal.timeout(10_000) })
const values: (Buffer | null)[] = await router.getManyWithFallback(['user:42', 'user:43'], (keys) =>
  Object.fromEntries(keys.map((key) => [key, users.get(key)?.name]))
)
const settled = await router.resolveMany([Buffer.from('b')], (keys) => new Map(keys.map((key) => [key, key])))
for (const each of settled) {
  if (each.status === 'rejected') throw each.reason
  const { servedBy, node }: { servedBy: string; node: string | null } = each.value
  if (node !== null) throw new Error(servedBy)
}

const text = new Router('127.0.0.1:1', { encoding: 'utf8', tls: { rejectUnauthorized: true }, deadlineMs: 200 })
const name: string | null = await text.getWithFallback('user:42', (key) => users.get(key)?.name)
try {
  await text.getWithFallback('user:42')
} catch (error) {
  if (!(error instanceof FailsoftError)) throw error
  if (error instanceof Unavailable) console.log(error.code satisfies 'UNAVAILABLE', error.reason)
  if (error instanceof DeadlineExceeded) throw new Error(error.limit)
  if (error instanceof InvalidArgument) throw new Error(error.argument)
}

// What the types refuse.
// @ts-expect-error a setting that does not exist
const unknown = () => new Router([], { deadline: 3 })
// @ts-expect-error a duration is a number
const wrong = () => new Router([], { deadlineMs: '3' })
// @ts-expect-error a callback gives a value
const load = () => router.getWithFallback('k', async () => 42)
// @ts-expect-error an option that does not exist
const option = () => router.getWithFallback('k', null, { ttl: 3 })
// @ts-expect-error bytes, unless text was asked for
const string: Promise<string | null> = router.getWithFallback('k', () => 'v')

const slots: number = router.health().slotsOk
await string
await Promise.all([router.close(), text.close()])
console.log(String(bytes), outcome.servedBy, String(values[0]), values[1], name, slots, [unknown, wrong, load, option].length)
