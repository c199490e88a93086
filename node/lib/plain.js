'use strict'
// Plain objects, in which options, settings and many values are given: only what is their own counts.

/** Whether it has no class, in any realm. What an instance of a class inherits would be missed in silence. */
function isPlain(value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === null || (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'hasOwnProperty'))
}

/** A copy of its own members, for which each of them is read once; undefined unless it is a plain object. */
function ownOf(value) {
  return isPlain(value) ? { __proto__: null, ...value } : undefined
}

module.exports = { isPlain, ownOf }
