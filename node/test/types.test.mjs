// What the types repeat of the core is the core's: words, errors, and every field of `health()`.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import * as failsoft from 'failsoft'
import { ROOT } from './testkit.mjs'

const require = createRequire(import.meta.url)
const { words } = require('../lib/native.js')
const { CHANNELS } = require('../lib/messages.js')
const types = (name) => readFileSync(new URL(`../types/${name}.d.ts`, import.meta.url), 'utf8')
const core = (name) => readFileSync(`${ROOT}crates/failsoft/src/${name}.rs`, 'utf8')
const literals = (text) => [...text.matchAll(/'([^']+)'/g)].map(([, word]) => word)
const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())

/** The words of a union. */
const union = (text, name) => literals(text.split(`export type ${name} =`)[1].split('\n\n')[0])

test('the lists of words are the core\'s', () => {
  const known = words()
  assert.ok(known.Reason.length > 10)
  assert.deepEqual(Object.keys(CHANNELS), known.EventKind)
  for (const [name, list] of Object.entries(known)) assert.deepEqual(union(types('words'), name), list, name)
})

test('the kinds of errors are the core\'s, but for a callback\'s own', () => {
  const codes = [...core('error').matchAll(/=> "([A-Z_]+)",/g)].map(([, code]) => code)
  assert.ok(codes.includes('FALLBACK'))
  const ours = [...new Set(codes)].filter((code) => code !== 'FALLBACK').toSorted()
  const text = types('errors')
  assert.deepEqual(union(text, 'Code').toSorted(), ours)
  const classes = Object.values(failsoft).filter((one) => one?.prototype instanceof failsoft.FailsoftError)
  assert.deepEqual(classes.map(({ code }) => code).toSorted(), ours)
  for (const { name, code } of classes) {
    assert.match(text, new RegExp(`export class ${name} extends FailsoftError \\{\\n  readonly code: '${code}'\\n`))
  }
})

/** The fields of a struct of the core, with the types that TypeScript has for them. */
function fields(struct) {
  const source = ['health', 'tally'].map(core).find((text) => text.includes(`pub struct ${struct} {`))
  const body = source.split(`pub struct ${struct} {`)[1].split('\n}')[0]
  return Object.fromEntries([...body.matchAll(/^ {4}pub (\w+): (.+),$/gm)].map(([, name, type]) => [camel(name), typed(type)]))
}

function typed(type) {
  const inner = /^(?:Option|Vec)<(.+)>$/.exec(type)?.[1]
  if (type.startsWith('Option<')) return `${typed(inner)} | null`
  if (type.startsWith('Vec<')) return `${typed(inner)}[]`
  if (/^[uif]\d+$|^[ui]size$/.test(type)) return 'number'
  if (type === 'bool') return 'boolean'
  if (type === "&'static str" || type === 'String') return 'string'
  if (type === 'BTreeMap<String, String>') return 'Record<string, string>'
  return type
}

/** The fields of an interface; a list of words is a string. */
function declared(name) {
  const body = types('health').split(`export interface ${name} {`)[1].split('\n}')[0]
  const text = (type) => type.replace(/\b(Reason|Verdict)( \| '')?|'\w+'( \| '\w+')*/g, 'string')
  return Object.fromEntries([...body.matchAll(/^ {2}(\w+): (.+)$/gm)].map(([, field, type]) => [field, text(type)]))
}

test('health() has the fields and types of the core\'s account', () => {
  for (const name of ['Health', 'StoreHealth', 'NodeHealth', 'BallotHealth', 'Counters', 'Count']) {
    const expected = fields(name)
    assert.ok(Object.keys(expected).length > 2, name)
    assert.deepEqual(declared(name), expected, name)
  }
})

test('every public method has its text, with what it throws and an example', () => {
  const text = readFileSync(new URL('../index.d.ts', import.meta.url), 'utf8').split('export class Router<')[1]
  for (const method of ['constructor', 'getWithFallback', 'resolve', 'getManyWithFallback', 'resolveMany', 'set', 'invalidate', 'ready', 'health', 'close']) {
    const before = text.split(new RegExp(`^  ${method}[<(]`, 'm'))[0]
    const doc = before.slice(before.lastIndexOf('/**'))
    assert.match(doc, /@example/, method)
    if (method !== 'close') assert.match(doc, /@throws/, method)
  }
})
