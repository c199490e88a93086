'use strict'
// What may be a key or a value: a string, or a Uint8Array of any realm.

// By what it is and not by its prototype: other realms have their own, and anything may claim to have ours.
const { isUint8Array } = require('node:util').types
const { kindOf } = require('./errors.js')

// For views of any realm.
const View = Object.getPrototypeOf(Uint8Array)
const { get: lengthOf } = Object.getOwnPropertyDescriptor(View.prototype, 'length')
const { keys: keysOf } = View.prototype

/** What is wrong with it; undefined: nothing. */
function flaw(given) {
  if (typeof given === 'string') {
    if (given.isWellFormed()) return undefined
    // Otherwise different strings would be the same bytes, and so the same key.
    return 'a string with half of a surrogate pair, which UTF-8 cannot write'
  }
  if (!isUint8Array(given)) return kindOf(given)
  if (lengthOf.call(given) === 0 && hasLostMemory(given)) return 'a Uint8Array whose memory was transferred away, or has shrunk'
  return undefined
}

/** A view of what its buffer has no longer is as long as an empty one, but cannot be looked at. */
function hasLostMemory(view) {
  try {
    keysOf.call(view)
    return false
  } catch {
    return true
  }
}

module.exports = { flaw, isUint8Array }
