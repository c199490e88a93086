'use strict'
// Finds the addon, in this package or in the package for this platform that npm installed beside it.

const { name } = require('./platform.js')

function load() {
  for (const place of [`../failsoft.${name}.node`, `failsoft-${name}`]) {
    try {
      return require(place)
    } catch (error) {
      // An addon that exists but does not load says why itself.
      if (error.code !== 'MODULE_NOT_FOUND') throw error
    }
  }
  throw new Error(`failsoft: found no addon for ${name}; it comes with the npm package failsoft-${name}`)
}

module.exports = load()
