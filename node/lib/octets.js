'use strict'
// What can be a key or a value: a string, or a Uint8Array of any realm.

// Looks at the object itself, not at its prototype: other realms have their own, and any object can be given ours.
const { isUint8Array } = require('node:util').types
const { kindOf } = require('./errors.js')

// These work on views of any realm.
const View = Object.getPrototypeOf(Uint8Array)
const { get: lengthOf } = Object.getOwnPropertyDescriptor(View.prototype, 'length')
const { keys: keysOf } = View.prototype

/** What is wrong with it; undefined if nothing is. */
function flaw(given) {
  if (typeof given === 'string') {
    if (given.isWellFormed()) return undefined
    // Taken, different strings would become the same bytes, and so the same key.
    return 'a string that UTF-8 cannot write, with half of a surrogate pair in it'
  }
  if (!isUint8Array(given)) return kindOf(given)
  if (lengthOf.call(given) === 0 && hasLostMemory(given)) return 'a Uint8Array whose memory was transferred away, or has shrunk'
  return undefined
}

/** A view of memory that its buffer no longer has: its length is 0 like that of an empty one, but its methods throw. */
function hasLostMemory(view) {
  try {
    keysOf.call(view)
    return false
  } catch {
    return true
  }
}

module.exports = { flaw, isUint8Array }
