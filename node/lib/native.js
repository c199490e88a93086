'use strict'
// Finds the addon: in this package, or in the package for this platform that npm installed beside it.

const { platform, arch } = process

function triple() {
  if (platform !== 'linux') return `${platform}-${arch}`
  // Node built against musl reports no version of glibc.
  const glibc = process.report.getReport().header.glibcVersionRuntime
  return `linux-${arch}-${glibc === undefined ? 'musl' : 'gnu'}`
}

function load() {
  const name = triple()
  const tried = [`../failsoft.${name}.node`, `failsoft-${name}`]
  for (const place of tried) {
    try {
      return require(place)
    } catch (error) {
      // What is there and does not load says why itself.
      if (error.code !== 'MODULE_NOT_FOUND') throw error
    }
  }
  throw new Error(`failsoft: there is no addon for ${name} here; the npm package failsoft-${name} would bring it`)
}

module.exports = load()
