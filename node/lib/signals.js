'use strict'
// AbortSignals: one listener for each signal, however many calls it is passed to.

const { invalid, kindOf } = require('./errors.js')

const watched = new WeakMap()

/** Throws unless it is an AbortSignal. */
function check(signal) {
  const listens = typeof signal?.addEventListener === 'function' && typeof signal.removeEventListener === 'function'
  if (!listens || typeof signal.aborted !== 'boolean') {
    throw invalid('signal', `${kindOf(signal)} is not allowed; allowed: an AbortSignal`)
  }
}

/** Calls `abort(entry, reason)` when the signal is aborted, unless the entry has left by then. */
function join(signal, entry, abort) {
  let watch = watched.get(signal)
  if (watch === undefined) {
    const members = new Set()
    const listener = () => {
      watched.delete(signal)
      for (const member of members) abort(member, signal.reason)
    }
    watch = { members, listener }
    signal.addEventListener('abort', listener, { once: true })
    watched.set(signal, watch)
  }
  watch.members.add(entry)
  entry.signal = signal
}

function leave(signal, entry) {
  const watch = watched.get(signal)
  if (watch === undefined) return
  watch.members.delete(entry)
  if (watch.members.size > 0) return
  watched.delete(signal)
  try {
    signal.removeEventListener('abort', watch.listener)
  } catch {
    // One that is not Node's own may throw; the call has ended all the same, and so should those that end with it.
  }
}

module.exports = { check, join, leave }
