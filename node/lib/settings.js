'use strict'
// A router's settings as the addon takes them (`bindings/node/src/given.rs`), each read once. Which exist, and what they
// may be, is the core's.

const { kindOf, misconfigured } = require('./errors.js')
const { flaw, isUint8Array } = require('./octets.js')
const { ownOf } = require('./plain.js')

const TEXT = ['utf8', 'utf-8']

/** The settings of the addon, and whether values are given as strings. */
function read(config) {
  const own = ownOf(config)
  if (own === undefined) throw misconfigured('config', `${kindOf(config)} is not allowed; allowed: a plain object of settings`)
  const { encoding, ...settings } = own
  const text = TEXT.includes(encoding)
  if (encoding !== undefined && encoding !== null && !text) {
    throw misconfigured('encoding', `${kindOf(encoding)} is not allowed; allowed: 'utf8', 'utf-8', or null`)
  }
  return { settings: members(settings, given), text }
}

/** What a setting is. */
function given(value) {
  if (Array.isArray(value)) return list(value)
  const own = ownOf(value)
  return own === undefined ? single(value) : as('members', members(own, single))
}

function list(values) {
  const texts = []
  for (const value of values) {
    const item = single(value)
    if (item.kind !== 'text') return as('other', `an array with ${item.kind === 'other' ? item.value : kindOf(value)} in it`)
    texts.push(value)
  }
  return as('list', texts)
}

function single(value) {
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return as(value === null ? 'null' : typeof value, value)
  const problem = flaw(value)
  if (problem !== undefined) return as('other', problem)
  return as(isUint8Array(value) ? 'bytes' : 'text', value)
}

/** The members that are not undefined. */
function members(own, what) {
  const defined = Object.keys(own).filter((name) => own[name] !== undefined)
  return defined.map((name) => ({ name, value: what(own[name]) }))
}

function as(kind, value) {
  return { kind, value }
}

module.exports = { read, given }
