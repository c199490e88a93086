#!/usr/bin/env node
'use strict'
// The command `failsoft`: the same as cargo and pip install.

const { runCommand } = require('../lib/native.js')

process.exitCode = runCommand(['failsoft', ...process.argv.slice(2)])
