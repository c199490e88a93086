'use strict'
// What may be a key or a value: a string, or a Uint8Array of any realm.

// By what it is and not by its prototype: other realms have their own, and anything may claim to have ours.
const { isUint8Array } = require('node:util').types
const { kindOf } = require('./errors.js')

/** What is wrong with it; undefined: nothing. */
function flaw(given) {
  if (typeof given === 'string') {
    if (given.isWellFormed()) return undefined
    // Otherwise different strings would be the same bytes, and so the same key.
    return 'a string with half of a surrogate pair, which UTF-8 cannot write'
  }
  if (!isUint8Array(given)) return kindOf(given)
  if (given.length === 0 && isDetached(given.buffer)) return 'a Uint8Array whose memory was transferred away'
  return undefined
}

/** A buffer that has no memory any more cannot be looked at. */
function isDetached(buffer) {
  try {
    new Uint8Array(buffer)
    return false
  } catch {
    return true
  }
}

module.exports = { flaw, isUint8Array }
