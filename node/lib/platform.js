'use strict'
// The name of this platform: what its addon and its npm package are called by.

const { closeSync, openSync, readSync } = require('node:fs')
const { arch, execPath, platform, report } = process

// The beginning of a program, where the dynamic loader is named that it wants.
const HEAD = 4096

function name() {
  return platform === 'linux' ? `linux-${arch}-${libc()}` : `${platform}-${arch}`
}

/** `gnu` or `musl`, by the dynamic loader of Node's own program. Node's report knows it, too, but takes milliseconds. */
function libc() {
  const head = begin(execPath)
  if (head.includes('/ld-musl-')) return 'musl'
  if (head.includes('/ld-linux')) return 'gnu'
  return reported()
}

function begin(file) {
  const head = Buffer.alloc(HEAD)
  let opened
  try {
    opened = openSync(file)
    readSync(opened, head, 0, HEAD, 0)
  } catch {
    // What cannot be read names nothing.
  } finally {
    if (opened !== undefined) closeSync(opened)
  }
  return head
}

/** Node built against musl reports no version of glibc. */
function reported() {
  const before = report.excludeNetwork
  // Otherwise it looks up the names of all open connections.
  report.excludeNetwork = true
  const glibc = report.getReport().header.glibcVersionRuntime
  report.excludeNetwork = before
  return glibc === undefined ? 'musl' : 'gnu'
}

module.exports = { name: name(), libc, reported }
