#!/usr/bin/env node
'use strict'
// The command `failsoft`, the same one from cargo, pip and npm.

const { runCommand } = require('../lib/native.js')

process.exitCode = runCommand(['failsoft', ...process.argv.slice(2)])
