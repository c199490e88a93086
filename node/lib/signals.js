'use strict'
// AbortSignals: one listener for each signal, however many calls it is passed to.

const { invalid, kindOf } = require('./errors.js')

const watched = new WeakMap()

/** Throws unless it is an AbortSignal. */
function check(signal) {
  if (typeof signal?.addEventListener !== 'function' || typeof signal.aborted !== 'boolean') {
    throw invalid('signal', `${kindOf(signal)} is not an AbortSignal`)
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
    watched.set(signal, watch)
    signal.addEventListener('abort', listener, { once: true })
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
  signal.removeEventListener('abort', watch.listener)
}

module.exports = { check, join, leave }
