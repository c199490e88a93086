'use strict'
// The name of this platform: what its addon and its npm package are called by.

const { platform, arch } = process

function name() {
  if (platform !== 'linux') return `${platform}-${arch}`
  // Node built against musl reports no version of glibc.
  const glibc = process.report.getReport().header.glibcVersionRuntime
  return `linux-${arch}-${glibc === undefined ? 'musl' : 'gnu'}`
}

module.exports = { name: name() }
