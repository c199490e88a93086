// Settings: every key, default and range is the core's, written in JavaScript's way.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { ConfigError, Router } from 'failsoft'

const { settings } = createRequire(import.meta.url)('../lib/native.js')
const NODES = ['127.0.0.1:1']
const folder = new URL('../', import.meta.url)
// What JavaScript adds: how values are given back, and a value that is no text.
const OWN = ['encoding', 'tls']

const refused = (config, nodes = NODES) => {
  try {
    new Router(nodes, config)
  } catch (error) {
    assert.ok(error instanceof ConfigError, error)
    assert.equal(error.code, 'CONFIG')
    return error
  }
  assert.fail(`taken: ${JSON.stringify(config)}`)
}

test('the keys are the core\'s, in the types, too, and their defaults are taken', () => {
  const known = settings()
  const types = readFileSync(new URL('types/config.d.ts', folder), 'utf8').split('export interface Config<')[1].split('\n}')[0]
  const typed = [...types.matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name)
  assert.deepEqual(typed.toSorted(), [...Object.keys(known), ...OWN].toSorted())
  for (const [key, row] of Object.entries(known)) new Router(NODES, { [key]: row.default })
  assert.deepEqual(known.deadlineMs, { default: 1000, allowed: '1 ms to 1 h' })
  assert.equal(known.addressMap.default, null)
  for (const [key, row] of Object.entries(known).filter(([, row]) => row.default !== null)) {
    const shown = typeof row.default === 'number' ? row.default.toLocaleString('en-US') : `\`${row.default}\``
    const doc = types.split(`  ${key}?:`)[0].trimEnd()
    assert.ok(doc.endsWith(` ${shown} by default. */`), key)
  }
})

test('no setting is named in JavaScript', () => {
  const names = Object.keys(settings())
  for (const file of readdirSync(new URL('lib', folder))) {
    const code = readFileSync(new URL(`lib/${file}`, folder), 'utf8').replace(/\/\/.*|'failsoft:\w+'/g, '')
    const own = names.filter((name) => new RegExp(`\\b${name}\\b`).test(code))
    // These are also options of one call.
    assert.deepEqual(own.filter((name) => !['deadlineMs', 'holdMs', 'stalenessBudgetMs'].includes(name)), [], file)
  }
})

test('bad settings are named as they were written', () => {
  for (const [key, value, problem] of [
    ['deadline', 1, /no such key; allowed: deadlineMs/],
    ['dead_line', 1, /no such key; allowed: deadlineMs/],
    ['deadlineMs', -1, /out of range; allowed: 1 ms to 1 h/],
    ['deadlineMs', NaN, /out of range/],
    ['deadlineMs', '1s', /is not a duration/],
    ['fill', 3, /is not a boolean/],
    ['maxRetries', 11, /allowed: 0 to 10/],
    ['maxRetries', 1.5, /allowed: 0 to 10/],
    ['maxRetries', 1e300, /allowed: 0 to 10/],
    ['maxRetries', {}, /allowed: 0 to 10/],
    ['maxRetries', () => 1, /allowed: 0 to 10/],
    ['addressMap', { 'a:': 'b' }, /address/],
    ['addressMap', { '127.0.0.1:1': 3 }, /a number is not allowed; allowed: addresses, as strings/],
    ['invalidateDurability', 'some', /"some" is not allowed; allowed: primary, replica or all/],
    ['invalidateDurability', 1, /is not a text; allowed: primary, replica or all/],
    ['encoding', 'latin1', /allowed: 'utf8', 'utf-8', or null/],
    ['tls', 3, /a number is not allowed; allowed: true, false, or a plain object of ca, cert, key, servername, rejectUnauthorized$/],
    ['password', '', /1 to 65536/]
  ]) {
    const error = refused({ [key]: value })
    assert.equal(error.key, key)
    assert.match(error.message, problem)
    assert.ok(error.message.startsWith(`\`${key}\`: `), error.message)
  }
  assert.equal(refused(7).key, 'config')
  for (const nodes of [[], '127.0.0.1:1,,127.0.0.1:2', ['nowhere:0'], 3, null, [3], ['redis://user:secret@host:7000/3']]) {
    const error = refused({}, nodes)
    assert.equal(error.key, 'nodes')
    assert.doesNotMatch(error.message, /secret/)
  }
  assert.equal(refused({ username: 'u' }).key, 'username')
})

test('every form of a setting is taken', () => {
  new Router('127.0.0.1:1', { maxRetries: 0, deadlineMs: 1, ttlJitter: 0, fill: false, password: null, clientName: undefined })
  new Router('127.0.0.1:1, [::1]:2,redis://localhost:3')
  new Router(NODES, { addressMap: { '127.0.0.1:1': '127.0.0.1:2' } })
  new Router(NODES, { addressMap: 'off', password: 'off', failurePauseMs: null })
  new Router(NODES, { addressMap: ['127.0.0.1:1=127.0.0.1:2'], tls: true, invalidateDurability: 'all' })
  new Router(NODES, { tls: { servername: 'cache', rejectUnauthorized: false } })
  new Router(NODES, { tls: false, encoding: 'utf8' })
  new Router(NODES, { encoding: 'utf-8' })
  assert.match(refused({ tls: { ca: 'nothing' } }).message, /tls/)
  assert.match(refused({ tls: { key: Buffer.from('key') } }).message, /belong together/)
  assert.equal(refused({ tls: { hostname: 'x' } }).key, 'tls.hostname')
  assert.equal(refused({ tls: { ca: 3 } }).key, 'tls.ca')
})

test('what is no plain object is refused, whatever it has inside', () => {
  class Settings {
    deadlineMs = 5
  }
  for (const given of [new Map([['deadlineMs', 5]]), new Date(), new Number(5), [], new Settings(), Object.create({ deadlineMs: 5 }), null, () => {}]) {
    const error = refused(given)
    assert.equal(error.key, 'config')
    assert.match(error.message, /allowed: a plain object of settings$/)
    for (const [key, allowed] of [['tls', /allowed: true, false, or a plain object of ca/], ['addressMap', /allowed: a plain object, an array or a string: at most/]]) {
      // An empty list of addresses is a list, and null is off.
      if (given === null || (key === 'addressMap' && Array.isArray(given))) continue
      const error = refused({ [key]: given })
      assert.equal(error.key, key)
      assert.match(error.message, allowed)
      assert.equal(error.message.split('allowed:').length, 2)
    }
  }
  new Router(NODES, { __proto__: null, deadlineMs: 5 })
  new Router(NODES, runInNewContext('({ deadlineMs: 5, tls: {}, addressMap: { "a:1": "b:1" } })'))
})

test('a text that UTF-8 cannot write is refused, and not shown', () => {
  for (const key of ['username', 'password', 'clientName']) {
    const error = refused({ [key]: 'mine\ud800' })
    assert.equal(error.key, key)
    assert.match(error.message, /half of a surrogate pair.*; allowed: /)
    assert.doesNotMatch(error.message, /mine/)
  }
  assert.equal(refused({ tls: { servername: '\ud800' } }).key, 'tls.servername')
  assert.equal(refused({ addressMap: { '127.0.0.1:1': '\ud800:1' } }).key, 'addressMap')
  assert.equal(refused({ addressMap: { '\ud800:1': '127.0.0.1:1' } }).key, 'addressMap')
  for (const nodes of ['\ud800:1', ['\ud800:1']]) assert.match(refused({}, nodes).message, /^`nodes`: .*half of a surrogate pair/)
})

test('a setting is read once, and only if it is the object\'s own', () => {
  let reads = 0
  const once = (value) => ({ get: () => (reads++ === 0 ? value : Symbol('read again')), enumerable: true })
  for (const [key, value] of [['deadlineMs', 5], ['encoding', 'utf8'], ['tls', true], ['addressMap', ['127.0.0.1:1=127.0.0.1:2']]]) {
    reads = 0
    new Router(NODES, Object.defineProperty({}, key, once(value)))
    assert.equal(reads, 1, key)
  }
  try {
    Object.prototype.extend = () => {}
    Object.prototype.encoding = 'latin1'
    new Router(NODES)
    new Router(NODES, { tls: {}, addressMap: { '127.0.0.1:1': '127.0.0.1:2' } })
  } finally {
    delete Object.prototype.extend
    delete Object.prototype.encoding
  }
})

test('nodes that are no addresses are named, with what is allowed', () => {
  for (const [nodes, what] of [
    [new Set(NODES), 'a value of class Set'],
    [{}, 'an object'],
    [null, 'null'],
    [[undefined], 'an array with undefined in it'],
    [(function* () {})(), 'an object of no class'],
    [new (class {})(), 'an object of no class']
  ]) assert.equal(refused({}, nodes).message, `\`nodes\`: ${what} is not allowed; allowed: a string, or an array of strings`)
})
