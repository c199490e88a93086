'use strict'
// The name of this platform, which is part of the names of its addon and its npm package.

const { closeSync, openSync, readSync } = require('node:fs')
const { arch, execPath, platform, report } = process

// How many bytes of a program to read: its dynamic loader is named near the beginning.
const HEAD = 4096

function name() {
  return platform === 'linux' ? `linux-${arch}-${libc()}` : `${platform}-${arch}`
}

/** `gnu` or `musl`, by the dynamic loader that Node's own program names. Node's report tells it, too, but takes milliseconds. */
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
    // A file that cannot be read names no loader.
  } finally {
    if (opened !== undefined) closeSync(opened)
  }
  return head
}

/** The same by Node's report: a Node built against musl reports no version of glibc. */
function reported() {
  const before = report.excludeNetwork
  // Otherwise the report looks up the host names of all open connections.
  report.excludeNetwork = true
  const glibc = report.getReport().header.glibcVersionRuntime
  report.excludeNetwork = before
  return glibc === undefined ? 'musl' : 'gnu'
}

module.exports = { name: name(), libc, reported }
