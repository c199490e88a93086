'use strict'
// What the addon calls when something has come. The addon is loaded once for a thread, whereas this package is loaded again
// into each context of `vm`, such as a test file's. So what the addon holds belongs to the main context, and holds a
// copy of the package only while that waits for something: afterwards the copy can be collected with its context.
// The copy itself has to hold what is called.

const { runInThisContext } = require('node:vm')

const make = runInThisContext(`(target) => {
  const weak = new WeakRef(target)
  let strong
  return {
    wake: () => (strong ?? weak.deref())?.(),
    hold: (same) => { strong = same },
    release: () => { strong = undefined }
  }
}`, 'failsoft:wake')

module.exports = { make }
