'use strict'
// Messages for operators on `node:diagnostics_channel`. Nobody has to listen.

const { channel } = require('node:diagnostics_channel')

// The channel for each of the core's kinds of messages.
const CHANNELS = {
  no_view: channel('failsoft:view'),
  node_down: channel('failsoft:node'),
  node_up: channel('failsoft:node'),
  verdict: channel('failsoft:verdict'),
  fill_failed: channel('failsoft:fill'),
  store_down: channel('failsoft:store'),
  store_up: channel('failsoft:store'),
  store_slow: channel('failsoft:store'),
  store_fast: channel('failsoft:store'),
  panicked: channel('failsoft:panic')
}

const routers = new Map()
const gone = new FinalizationRegistry((number) => routers.delete(number))
let last = 0

/** A number for a router that is about to be made. */
function numbered(router) {
  last = (last + 1) >>> 0
  routers.set(last, new WeakRef(router))
  gone.register(router, last)
  return last
}

function publish({ router, event, count, subjects }) {
  const target = CHANNELS[event]
  if (!target?.hasSubscribers) return
  const named = subjects.map(({ node, reason }) => ({ node: node ?? null, reason: reason ?? null }))
  target.publish({ router: routers.get(router)?.deref(), event, count, subjects: named })
}

module.exports = { CHANNELS, numbered, publish }
