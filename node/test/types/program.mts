// A program in TypeScript, as a module: it is checked, and run against a router without a cluster.
import { type Config, type Fallback, type Health, type KeyOptions, type Outcome, type Reason, type ServedBy, type Writing, DeadlineExceeded, FailsoftError, InvalidArgument, InvalidationIncomplete, Router, Unavailable } from 'failsoft'

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
  await text.getWithFallback('user:44')
} catch (error) {
  if (!(error instanceof FailsoftError)) throw error
  if (error instanceof Unavailable) console.log(error.code satisfies 'UNAVAILABLE', error.reason)
  if (error instanceof DeadlineExceeded) throw new Error(error.limit)
  if (error instanceof InvalidArgument) throw new Error(error.argument)
}
try {
  await text.invalidate('user:42', Buffer.from('b'), new Uint8Array(1))
} catch (error) {
  if (!(error instanceof InvalidationIncomplete)) throw error
  for (const { key, step, cause } of error.pending) {
    const told: [Buffer, 'hold' | 'key' | 'echo' | 'replicas', string] = [key, step, cause]
    if (told.length !== 3) throw new Error(error.code satisfies 'INVALIDATION_INCOMPLETE')
  }
}
// There is no node that could hold a key, so it is not called.
export async function writes() {
  await text.invalidate('user:42', Buffer.from('b'), { holdMs: 1500 })
  await text.invalidate({ holdMs: 1500 })
  const given: number = await text.writing(['user:42', Buffer.from('b')], async () => 1)
  const sync: string = await text.writing('user:42', () => `${given}`)
  const place: Writing = await text.writing(new Set([sync]))
  await place.done()
  await place[Symbol.asyncDispose]()
}

// What the types refuse.
// @ts-expect-error a setting that does not exist
const unknown = () => new Router([], { deadline: 3 })
// @ts-expect-error a duration is a number
const wrong = () => new Router([], { deadlineMs: '3' })
// @ts-expect-error a callback gives a value
const load = () => router.getWithFallback('k', async () => 42)
// @ts-expect-error keys are given one by one
const list = () => router.invalidate(['a', 'b'])
// @ts-expect-error options come last
const first = () => router.invalidate({ holdMs: 3 }, 'a')
// @ts-expect-error keys are no numbers
const bad = () => router.writing([1], () => 1)
// @ts-expect-error an option that does not exist
const option = () => router.getWithFallback('k', null, { ttl: 3 })
// @ts-expect-error bytes, unless text was asked for
const string: Promise<string | null> = router.getWithFallback('k', () => 'v')

// Settings that are built first: with or without an encoding, or with one that is not known to the types.
const settings: Config = { deadlineMs: 500 }
const either = new Router('127.0.0.1:1', settings)
const some: Buffer | string | null = await either.getWithFallback('k', () => 'v')
const plain = { deadlineMs: 500 } satisfies Config
const buffers: Router = new Router('127.0.0.1:1', plain)
const strings: Router<string> = new Router('127.0.0.1:1', { deadlineMs: 500, encoding: 'utf-8' } satisfies Config<string>)

// A router of one's own.
class Users extends Router<string> {
  constructor() {
    super('127.0.0.1:1', { encoding: 'utf8', deadlineMs: 200 })
  }
  user(id: number): Promise<string | null> {
    return this.getWithFallback(`user:${id}`, loadUser)
  }
}
class Bare extends Router {}
const ours = new Users()
const bare = new Bare('127.0.0.1:1', settings satisfies Config as Config<Buffer>)
const user42: string | null = await ours.user(42)

// Literal keys, and keys of both kinds, with a callback that knows nothing of them.
const loadMany = async (keys: string[]): Promise<Map<string, string>> => new Map(keys.map((key) => [key, `row of ${key}`]))
const literal: (string | null)[] = await ours.getManyWithFallback(['a', 'b'], loadMany, { ttlMs: 60_000, deadlineMs: 5_000 })
const grown = await ours.getManyWithFallback(['a', 'b'] as const, async (keys) => {
  const rows = new Map<string, string>()
  for (const key of keys) rows.set(key, key)
  return rows
})
const rows: { id: string; value: Buffer }[] = [{ id: 'a', value: Buffer.from('A') }]
const mixed = await ours.getManyWithFallback(['a', Buffer.from('b')], () => new Map(rows.map((row) => [row.id, row.value])))
const told: string | null = await ours.getWithFallback(new Uint8Array([107]), (key: Buffer) => key)
const computing: KeyOptions = { ttlMs: 60_000, recompute: loadUser }
const computed: Outcome<string> = await ours.resolve('user:42', loadUser, computing)
const ofBytes: string | null = await ours.getWithFallback(new Uint8Array([107]), (key) => key, { recompute: (key: Buffer) => key })

// The account, every field with its type.
const health: Health = router.health()
const sides: ('majority' | 'minority' | 'unknown')[] = health.nodes.map((node) => node.verdict)
const numbers: number[] = [health.ballots.length, health.counters.sets, health.counters.setsInDoubt, health.counters.setsRefused.length]
const flags: boolean[] = [health.down, health.isolated]
const words: [ServedBy, Reason | null] = [outcome.servedBy, outcome.reason]
if (words[0] === 'secondary' && words[1] === 'connection') numbers.push(sides.length, Number(flags[0]))

// @ts-expect-error strings are what was asked for, not Buffers
const untold: Router<Buffer> = new Router('127.0.0.1:1', { encoding: 'utf8' })
// @ts-expect-error many keys have one callback
const both = () => ours.getManyWithFallback(['a'], () => ({}), { recompute: loadUser })
// @ts-expect-error a list of pairs is no mapping
const pairs = () => ours.getManyWithFallback(['a'], () => [['a', 'b']])
// @ts-expect-error an encoding that does not exist
const latin = () => new Router('127.0.0.1:1', { encoding: 'latin1' })
await Promise.all([either, buffers, strings, ours, bare, untold].map((one) => one.close()))
console.log(String(some), user42, literal.join(), grown.join(), mixed.join(), told, pairs.length + latin.length, numbers.length)

const slots: number = health.slotsOk
await string
await Promise.all([router.close(), text.close()])
console.log(String(bytes), outcome.servedBy, String(values[0]), values[1], name, slots, [unknown, wrong, load, list, option].length)
