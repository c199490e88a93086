'use strict'
// The package for CommonJS: reads from a Redis or Valkey Cluster that degrade and never fail.

const { version } = require('./lib/native.js')
const errors = require('./lib/errors.js')
const { Router } = require('./lib/router.js')

module.exports = { Router, version: version(), ...errors.classes }
